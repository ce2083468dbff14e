package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// drainMax is how long SIGTERM may take; promised are 10 s, the rest is for a busy machine.
	drainMax = 8 * time.Second
	// drainAnswersMax of it are for the log to answer what is under way; drainLogMax more for closing it.
	drainAnswersMax = 4 * time.Second
	drainLogMax     = 2 * time.Second
	// tick is how often files are looked at and readiness is compared with what was logged last.
	tick = time.Second
)

// serveCommand is `gateway serve`.
type serveCommand struct {
	settings `embed:""`
}

func (c *serveCommand) Run(m *Main, onLine map[string]bool) error {
	c.onLine = onLine
	cfg, err := c.load()
	if err != nil {
		return err
	}
	tuneRuntime()
	log := newLogger(m.Stderr)
	start := time.Now()
	g, err := open(cfg, log)
	if err != nil {
		return err
	}
	log.Info().Str(logVersion, version).Str(logAddr, g.public.Addr().String()).Str(logAdmin, g.admin.ln.Addr().String()).
		Str(logDataDir, cfg.DataDir).Str(logKind, cfg.logName()).Int(logBusiness, len(cfg.Businesses)).
		Int64(logTook, time.Since(start).Milliseconds()).Msg("serving")
	if g.defaultKey != "" {
		if err := g.greet().write(m.Stdout); err != nil {
			log.Warn().Err(err).Msg("greeting not printed")
		}
	}
	return g.run(m.Signals, c.load)
}

// run serves until a signal ends it. It is the one goroutine that changes what is in force.
func (g *gateway) run(signals <-chan os.Signal, load func() (*Config, error)) error {
	r := newReloader(g, load)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	lastReady := ""
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				r.reload("SIGHUP")
				continue
			}
			g.log.Info().Str(logSignal, s.String()).Msg("draining")
			return g.drainUnless(signals)
		case <-ticker.C:
			lastReady = g.logReadiness(lastReady)
			r.poll(time.Now())
		case err := <-g.served:
			ctx, cancel := context.WithTimeout(context.Background(), drainMax)
			defer cancel()
			_ = g.drain(ctx)
			return fmt.Errorf("the public listener ended: %w", err)
		}
	}
}

// logReadiness writes a line when readiness has changed, and returns it for the next comparison.
func (g *gateway) logReadiness(last string) string {
	now := strings.Join(g.notReady(), "; ")
	switch {
	case now == last:
	case now == "":
		g.log.Info().Msg("ready again")
	default:
		g.log.Warn().Str(logReason, now).Msg("not ready")
	}
	return now
}

// drainUnless drains until it is done, its time is over, or a second signal asks to quit at once.
func (g *gateway) drainUnless(signals <-chan os.Signal) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), drainMax)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- g.drain(ctx) }()
	for {
		select {
		case err := <-done:
			if err != nil {
				g.log.Error().Err(err).Int64(logTook, time.Since(start).Milliseconds()).Msg("drained with faults")
				return err
			}
			g.log.Info().Int64(logTook, time.Since(start).Milliseconds()).Msg("drained")
			return nil
		case s := <-signals:
			if s != syscall.SIGHUP {
				return errForced
			}
		}
	}
}

// greet is what to paste, for a gateway with a key of its own making.
func (g *gateway) greet() greetingData {
	scheme, insecure := "http", ""
	if g.cfg.TLS.Cert != "" {
		scheme, insecure = "https", " -k"
	}
	addr := g.public.Addr().String()
	at := strings.LastIndexByte(addr, ':')
	return greetingData{
		Version: version, URL: scheme + "://" + addr, Scheme: scheme, Host: addr[:at], Port: addr[at+1:],
		Admin: g.admin.ln.Addr().String(), Log: g.cfg.logName(),
		Business: defaultBusiness, Key: g.defaultKey, KeyFile: g.defaultKeyPath, Insecure: insecure,
	}
}

// reloader puts a changed configuration in force.
type reloader struct {
	g     *gateway
	load  func() (*Config, error)
	files watch

	reloaded, refused counter
}

type counter interface{ Add(n uint64) }

func newReloader(g *gateway, load func() (*Config, error)) *reloader {
	const name, help = "tollgate_config_reloads_total", "Reloads of keys, limits, signing keys and certificate, by what came of them."
	r := &reloader{
		g: g, load: load,
		reloaded: g.registry.Counter(name, help, "result", "in_force"),
		refused:  g.registry.Counter(name, help, "result", "refused"),
	}
	r.files.look(g.cfg.watched())
	return r
}

// poll reloads when a file changed, and rotates signing keys when it is time.
func (r *reloader) poll(now time.Time) {
	if changed := r.files.changed(); len(changed) > 0 {
		slices.Sort(changed)
		r.reload(strings.Join(changed, ", "))
		return
	}
	if r.g.cfg.SessionKeys == "" && now.Sub(r.g.signing.Created()) >= sessionKeysLife {
		r.reload("rotation of the session signing keys")
	}
}

// reload reads everything anew and puts it in force, or nothing of it: a file with a fault leaves the old state.
func (r *reloader) reload(why string) {
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
	r.files.look(next.watched())
	return restart, nil
}
