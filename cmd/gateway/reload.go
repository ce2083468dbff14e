package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tollgate/internal/metrics"
)

// rotateEvery is how often a rotation that is due is tried while it fails.
const rotateEvery = 10 * time.Minute

// reloader puts a changed configuration in force.
type reloader struct {
	g     *gateway
	load  func() (*Config, error)
	files watch
	// rotated is when a rotation was last tried: a full disk must not be a line every second.
	rotated time.Time

	reloaded, refused *metrics.Counter
}

func newReloader(g *gateway, load func() (*Config, error), files watch) *reloader {
	const name, help = "tollgate_config_reloads_total", "Reloads of keys, limits, signing keys and certificate, by what came of them."
	return &reloader{
		g: g, load: load, files: files,
		reloaded: g.registry.Counter(name, help, "result", "in_force"),
		refused:  g.registry.Counter(name, help, "result", "refused"),
	}
}

// poll reloads when a file changed, and rotates signing keys when it is time.
func (r *reloader) poll(now time.Time) {
	if changed := r.files.changed(); len(changed) > 0 {
		slices.Sort(changed)
		r.reload(strings.Join(changed, ", "))
		return
	}
	if r.g.cfg.SessionKeys == "" && now.Sub(r.g.signing.Created()) >= sessionKeysLife && now.Sub(r.rotated) >= rotateEvery {
		r.rotated = now
		r.reload("rotation of the session signing keys")
	}
}

// reload reads everything anew and puts it in force, or nothing of it: a file with a fault leaves the old state.
func (r *reloader) reload(why string) {
	r.files.changed() // what is read next is seen
	restart, err := r.apply()
	if err != nil {
		r.refused.Add(1)
		r.g.log.Error().Err(err).Str(logReason, why).Str(logHint, "what was in force stays so").Msg("reload refused")
		return
	}
	r.reloaded.Add(1)
	r.g.log.Info().Str(logReason, why).Int(logBusiness, len(r.g.cfg.Businesses)).Msg("reloaded")
	if len(restart) > 0 {
		r.g.log.Warn().Strs(logKeys, restart).Msg("these keys changed and need a restart")
	}
}

func (r *reloader) apply() (restart []string, err error) {
	g := r.g
	cfg, err := r.load()
	if err != nil {
		return nil, err
	}
	// What cfg says of other settings is not in force: the data dir is still the one we hold the lock of.
	restart = cfg.differsFrom(g.cfg)
	next := *g.cfg
	next.Businesses = cfg.Businesses
	if next.TLS.Cert != "" && cfg.TLS.Cert != "" {
		next.TLS = cfg.TLS
	}
	next.from = cfg.from
	if err := next.check(); err != nil { // the new keys with the old listener may not go together
		return nil, err
	}
	keys, err := g.apiKeys(&next)
	if err != nil {
		return nil, err
	}
	signing, err := sessionKeys(&next, time.Now())
	if err != nil {
		return nil, fmt.Errorf("session signing keys: %w", err)
	}
	// From here on only a BUG can fail: check has seen limits and certificate.
	if err := g.loadCertificate(next.TLS); err != nil {
		return nil, err
	}
	if err := g.http.SetPolicy(next.policy()); err != nil {
		return nil, err
	}
	if err := g.sessions.Update(keys, signing); err != nil {
		return nil, err
	}
	g.cfg, g.signing = &next, signing
	r.files.add(next.watched()...)
	return restart, nil
}
