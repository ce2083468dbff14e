package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// drainMax is how long a drain may take: 2 s less than the 10 s that are promised, for a busy machine.
	drainMax = 8 * time.Second
	// Of drainMax, drainAnswersMax is for the log to answer the open requests, drainStateMax for what was counted to be
	// written down (if that is not enough, it is counted again), and drainLogMax for closing the log. The rest is for the
	// answers that come of that.
	drainAnswersMax = 3 * time.Second
	drainStateMax   = 2 * time.Second
	drainLogMax     = 1500 * time.Millisecond
	// tick is how often files are looked at and readiness is compared with what was logged last.
	tick = time.Second
	// reasonEvery bounds how often a new reason for the same state is logged.
	reasonEvery = time.Minute
)

// serveCommand is `gateway serve`.
type serveCommand struct {
	settings `embed:""`
}

func (c *serveCommand) Run(m *Main, onLine map[string]bool) error {
	c.onLine = onLine
	start := time.Now()
	var files watch
	if c.Config != "" {
		files.add(c.Config)
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	files.add(cfg.watched()...)
	tuneRuntime()
	log := newLogger(m.Stderr)
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
	return g.run(m.Signals, newReloader(g, c.load, files))
}

// run serves until a signal ends it. It is the one goroutine that changes what is in force.
func (g *gateway) run(signals <-chan os.Signal, r *reloader) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var said readiness
	var spilled spillSaid
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				r.reload("SIGHUP")
				continue
			}
			g.log.Info().Str(logSignal, s.String()).Msg("draining")
			return g.drainUnless(signals)
		case now := <-ticker.C:
			g.logReadiness(&said, now)
			g.logSpill(&spilled, now)
			r.poll(now)
		case err := <-g.served:
			ctx, cancel := context.WithTimeout(context.Background(), drainMax)
			defer cancel()
			_ = g.drain(ctx)
			return fmt.Errorf("the public listener ended: %w", err)
		}
	}
}

// readiness is what was last said in the log about readiness.
type readiness struct {
	reason string // empty: ready
	at     time.Time
}

// logReadiness writes a line when readiness has changed. While there is a reason not to be ready, its words may change
// every second (so many bytes free); a new one is a line every reasonEvery at most.
func (g *gateway) logReadiness(last *readiness, now time.Time) {
	reason := strings.Join(g.notReady(), "; ")
	switch {
	case reason == last.reason, reason != "" && last.reason != "" && now.Sub(last.at) < reasonEvery:
		return
	case reason == "":
		g.log.Info().Msg("ready again")
	default:
		g.log.Warn().Str(logReason, reason).Msg("not ready")
	}
	*last = readiness{reason, now}
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

// greet is what the greeting says, for a gateway that made its own key.
func (g *gateway) greet() greetingData {
	scheme, insecure := "http", ""
	if g.cfg.TLS.Cert != "" {
		scheme, insecure = "https", " -k"
	}
	addr := g.public.Addr().String()
	host, port, _ := net.SplitHostPort(addr)
	return greetingData{
		Version: version, URL: scheme + "://" + addr, Scheme: scheme, Host: host, Port: port,
		Admin: g.admin.ln.Addr().String(), Log: g.cfg.logName(),
		Business: defaultBusiness, Key: g.defaultKey, KeyFile: g.defaultKeyPath, Insecure: insecure,
	}
}
