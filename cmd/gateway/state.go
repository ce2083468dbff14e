package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"tollgate/internal/metrics"
	"tollgate/pkg/thinevent"
	"tollgate/pkg/usage"
)

// stateCommand looks at what the worker has counted, while no gateway works on it.
type stateCommand struct {
	Verify  stateVerify  `cmd:"" help:"Count everything anew from the log and compare; exit 1 if anything differs. The gateway must be stopped."`
	Rebuild stateRebuild `cmd:"" help:"Set the state and the index of events aside, so that the next start makes both anew from the log. The gateway must be stopped."`
}

type stateVerify struct {
	settings `embed:""`
	Timeout  time.Duration `help:"How long the log and the meters may take to be there." default:"30s"`
}

func (c *stateVerify) Run(m *Main, onLine map[string]bool) error {
	cfg, err := c.configuration(onLine)
	if err != nil {
		return err
	}
	return cfg.withState(func() error {
		if _, err := os.Stat(filepath.Join(cfg.stateDir(), "store")); err != nil {
			return fmt.Errorf("%w; nothing was counted in this data dir yet", err)
		}
		g, err := openForState(cfg, newLogger(m.Stderr), c.Timeout)
		if err != nil {
			return err
		}
		defer g.abandon()
		uc := cfg.usageConfig()
		uc.Log, uc.Control = g.commitLog, g.control
		report, err := usage.Verify(context.Background(), uc)
		if err != nil {
			return err
		}
		if n := printReport(m.Stdout, &report); n > 0 {
			return fmt.Errorf("%d differences between the state in %s and the log; `gateway state rebuild --data-dir %s` has it counted anew", n, cfg.stateDir(), cfg.DataDir)
		}
		return nil
	})
}

// printReport prints a line a partition and one for each difference that is told, and returns how many there are.
func printReport(w io.Writer, r *usage.Report) (differences int64) {
	for i := range r.Partitions {
		p := &r.Partitions[i]
		differences += p.Different
		fmt.Fprintln(w, p)
		for _, d := range p.Differences {
			fmt.Fprintln(w, "  "+d)
		}
	}
	return differences
}

type stateRebuild struct {
	settings `embed:""`
}

func (c *stateRebuild) Run(m *Main, onLine map[string]bool) error {
	cfg, err := c.configuration(onLine)
	if err != nil {
		return err
	}
	return cfg.withState(func() error {
		aside, err := usage.Rebuild(cfg.usageConfig())
		if err != nil {
			return err
		}
		if aside == "" {
			fmt.Fprintf(m.Stdout, "There is no state in %s: the next start counts everything from the log.\n", cfg.stateDir())
		} else {
			fmt.Fprintf(m.Stdout, "The state was moved to %s, and the identifiers beside it likewise. The next start counts everything anew from the log; "+
				"remove what was moved once the totals are right.\n", aside)
		}
		if aside, err = thinevent.Rebuild(cfg.eventsDir(), time.Now()); err != nil || aside == "" {
			return err
		}
		fmt.Fprintf(m.Stdout, "The index of thin events was moved to %s. The next start makes it anew from the log; remove what was moved once events are listed again.\n", aside)
		return nil
	})
}

// configuration is what the gateway of this data dir runs with, but for keys, which are not looked at.
func (s *settings) configuration(onLine map[string]bool) (*Config, error) {
	s.onLine = onLine
	return s.load()
}

// withState runs f while no gateway has the data dir.
func (c *Config) withState(f func() error) error {
	place := journalPlace{DataDir: c.DataDir}
	return place.aloneIn(c.DataDir, f)
}

// openForState opens the log and the meters alone, and waits until both are there.
func openForState(cfg *Config, log zerolog.Logger, wait time.Duration) (*gateway, error) {
	g := &gateway{cfg: cfg, started: cfg, log: log.Level(zerolog.ErrorLevel), registry: metrics.New()}
	for _, step := range []func() error{g.openPlainLog, g.openControl} {
		if err := step(); err != nil {
			g.abandon()
			return nil, err
		}
	}
	for end := time.Now().Add(wait); ; time.Sleep(50 * time.Millisecond) {
		err := errors.Join(g.commitLog.Ready(), g.control.Ready())
		if err == nil {
			return g, nil
		}
		if time.Now().After(end) {
			g.abandon()
			return nil, err
		}
	}
}
