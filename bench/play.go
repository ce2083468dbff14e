package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"tollgate/bench/internal/ledger"
	"tollgate/bench/internal/load"
	"tollgate/bench/internal/scenario"
	"tollgate/bench/internal/stage"
)

// A player runs the phases of one scenario on one log, one after the other.
type player struct {
	scenario *scenario.Scenario
	dir      string
	result   *played
	figures  scenario.Figures
	gateway  *stage.Gateway
	kafka    *stage.Kafka // nil: the journal
	books    []*ledger.Ledger
}

// usageTopic is the gateway's unless kafka.topic_prefix says otherwise, which scenarios do not.
const usageTopic = "tollgate.usage"

// play starts what is needed, plays, ends the gateway in order, and looks at the log.
func (p *player) play(ctx context.Context, binary string, onKafka bool) (err error) {
	if binary == "" {
		if binary, err = stage.BuildGateway(ctx, p.dir); err != nil {
			return err
		}
	}
	if p.scenario.Uses(scenario.SlowDisk) {
		if _, err := stage.FindStrace(); err != nil {
			return err // now and not in the midst of it
		}
	}
	var brokers []string
	if onKafka {
		if p.kafka, err = stage.StartKafka(ctx, p.dir); err != nil {
			return err
		}
		defer p.kafka.Kill()
		brokers = p.kafka.Brokers
	}
	p.gateway, err = stage.StartGateway(ctx, stage.GatewayConfig{Binary: binary, Dir: p.dir, Config: p.scenario.GatewayConfig(), Brokers: brokers})
	if err != nil {
		return err
	}
	defer p.gateway.Kill()
	if err := defineMeters(ctx, p.gateway.URL, p.scenario.Meters); err != nil {
		return err
	}
	for i := range p.scenario.Phases {
		if err := p.phase(ctx, &p.scenario.Phases[i]); err != nil {
			return fmt.Errorf("phase %s: %w", p.scenario.Phases[i].Name, err)
		}
	}
	if err := p.gateway.Drain(); err != nil {
		return err
	}
	p.result.Verdict, err = verifyLog(ctx, p.books, brokers, p.gateway.DataDir, usageTopic)
	if err == nil {
		p.figures.AddVerdict(p.result.Verdict.Verdict)
	}
	return err
}

// phase runs its loads side by side, and its faults meanwhile.
func (p *player) phase(ctx context.Context, ph *scenario.Phase) error {
	reports := make([]*load.Report, len(ph.Loads))
	books := make([]*ledger.Ledger, len(ph.Loads))
	errs := make([]error, len(ph.Loads)+1)
	configs, err := p.configs(ph)
	if err != nil {
		return err
	}
	if ph.Settled {
		if err := settle(ctx, p.gateway.MetricsURL()); err != nil {
			return err
		}
	}
	show := newLine(os.Stderr, ph.Warmup+ph.Duration)
	var all sync.WaitGroup
	for i, config := range configs {
		each := show.show
		if i > 0 {
			each = nil // the line is the first load's
		}
		all.Go(func() { reports[i], books[i], errs[i] = load.Run(ctx, config, each) })
	}
	if ph.Faults != nil {
		all.Go(func() { errs[len(ph.Loads)] = p.faults(ctx, ph.Faults) })
	}
	all.Wait()
	show.end()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	p.result.Loads[ph.Name] = map[string]*load.Report{}
	for i, l := range ph.Loads {
		if reports[i].Interrupted {
			return context.Canceled
		}
		fmt.Printf("-- %s, %s\n", ph.Name, l.Name)
		printReport(os.Stdout, reports[i])
		p.result.Loads[ph.Name][l.Name] = reports[i]
		p.figures.AddLoad(ph.Name, l, reports[i])
		p.books = append(p.books, books[i])
		if err := books[i].Save(filepath.Join(p.dir, ph.Name+"."+l.Name+".ledger")); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) configs(ph *scenario.Phase) (all []load.Config, err error) {
	for i := range ph.Loads {
		c, err := p.config(ph, &ph.Loads[i])
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (p *player) config(ph *scenario.Phase, l *scenario.Load) (load.Config, error) {
	businesses, errBusinesses := parseBusinesses(strings.Join(p.scenario.BusinessesOf(l), "\n"))
	rate, errRate := p.figures.Rate(l)
	c := load.Config{
		Target: p.gateway.URL, Businesses: businesses, Rate: rate, Batch: l.Batch, Connections: l.Connections,
		Sessions: l.Sessions, SkewSessions: l.SkewSessions, Duration: ph.Duration, Warmup: ph.Warmup, Meters: l.Meters,
		HotMeterShare: l.Hot, Customers: l.Customers, Zipf: l.Zipf, Seed: 1,
		ServerPID: p.gateway.PID(), ServerMetrics: p.gateway.MetricsURL(),
	}
	if p.kafka != nil {
		c.BrokerPID = p.kafka.PID()
	}
	return c, errors.Join(errBusinesses, errRate)
}

// faults does what the phase says, at its times. It returns when the last one is over and what was ended runs again.
func (p *player) faults(ctx context.Context, f *scenario.Faults) error {
	begin := time.Now()
	for i := range f.Times {
		if !wait(ctx, time.Until(begin.Add(time.Duration(i+1)*f.Every))) {
			return ctx.Err()
		}
		if err := p.fault(ctx, f); err != nil {
			return fmt.Errorf("%s, for the %d. time: %w", f.Do, i+1, err)
		}
	}
	return nil
}

func (p *player) fault(ctx context.Context, f *scenario.Faults) error {
	switch f.Do {
	case scenario.KillGateway:
		p.gateway.Kill()
		wait(ctx, f.Down)
		return p.gateway.Start(ctx)
	case scenario.KillBroker:
		p.kafka.Kill()
		wait(ctx, f.Down)
		return p.kafka.Start(ctx)
	case scenario.SlowDisk:
		slow, err := stage.SlowDown(ctx, p.gateway.PID(), f.Delay, p.dir)
		if err != nil {
			return err
		}
		wait(ctx, f.Down)
		return slow.Mend()
	default: // PauseBroker; Parse knows no others
		if err := p.kafka.Pause(); err != nil {
			return err
		}
		wait(ctx, f.Down)
		return p.kafka.Continue()
	}
}

// wait returns false when the context ended first.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
