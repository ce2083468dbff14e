package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tollgate/bench/internal/compare"
	"tollgate/bench/internal/ledger"
	"tollgate/bench/internal/load"
	"tollgate/bench/internal/logs"
	"tollgate/bench/internal/machine"
	"tollgate/bench/internal/stage"
	"tollgate/bench/internal/verify"
)

// A turn is one run of one entrant.
type turn struct {
	*contest
	entrant *entrant
	run     *compare.Run
	dir     string
	prefix  string
	topic   string
}

// removeData keeps the log lines of a run that failed.
func (t *turn) removeData() error {
	return errors.Join(os.RemoveAll(filepath.Join(t.dir, "data")), os.RemoveAll(filepath.Join(t.dir, "own")))
}

func (t *turn) peerConfig() stage.PeerConfig {
	p := t.entrant.peer
	return stage.PeerConfig{
		Name: p.Name, Run: p.Run, WorkDir: t.workDir(t.entrant), Out: t.command.built, Dir: t.dir,
		Brokers: t.brokers, Topic: t.topic, OTLP: p.Dialect == load.OTLPLogs,
	}
}

// work runs a program that makes its own load.
func (t *turn) work(ctx context.Context) error {
	before := t.brokerCost()
	said, err := stage.RunPeer(ctx, t.peerConfig(), t.length, t.run.BatchBytes, t.run.Rate)
	if err != nil {
		return err
	}
	broker := t.brokerCost().CPU - before.CPU
	t.run.AddSelf(said.Records, said.Bytes, said.Seconds, said.CPUSeconds*aMillion, float64(broker.Microseconds()), said.RSSMaxMiB)
	return nil
}

func (t *turn) brokerCost() machine.Cost {
	if t.kafka == nil {
		return machine.Cost{}
	}
	cost, _ := machine.Usage(t.kafka.PID()) // a broker that is gone fails what follows
	return cost
}

// A server is what is loaded.
type server struct {
	url     string
	pid     int
	stop    func() error // in order, so that what is under way comes to its end
	kill    func()
	gateway *stage.Gateway // nil: a peer
}

func (t *turn) start(ctx context.Context) (server, error) {
	if t.entrant.peer != nil {
		p, err := stage.StartPeer(ctx, t.peerConfig())
		if err != nil {
			return server{}, err
		}
		return server{url: p.URL, pid: p.PID(), stop: func() error { p.Stop(); return nil }, kill: p.Kill}, nil
	}
	const unlimited = 100_000_000
	c := stage.GatewayConfig{Binary: t.binary, Dir: t.dir, Config: map[string]any{
		"businesses": []any{map[string]any{
			"id": stage.PeerBusiness, "keys": []any{map[string]any{"key": stage.PeerKey}},
			"limits": map[string]any{"events_per_second": unlimited, "stream_events_per_second": unlimited},
		}},
		// The others store events and do nothing with them.
		"usage": map[string]any{"disabled": true},
	}}
	if t.entrant.onKafka {
		c.Brokers = t.brokers
		c.Config["kafka"] = map[string]any{"topic_prefix": t.prefix}
	}
	g, err := stage.StartGateway(ctx, c)
	if err != nil {
		return server{}, err
	}
	return server{url: g.URL, pid: g.PID(), stop: g.Drain, kill: g.Kill, gateway: g}, nil
}

// serve starts a server, loads it, ends it, and looks at what it kept.
func (t *turn) serve(ctx context.Context) error {
	s, err := t.start(ctx)
	if err != nil {
		return err
	}
	defer s.kill()
	report, book, err := t.load(ctx, s)
	if err != nil {
		return err
	}
	if report.Interrupted {
		return context.Canceled
	}
	t.run.Add(report)
	if s.gateway != nil {
		if err := t.ask(ctx, s.gateway); err != nil {
			return err
		}
	}
	if err := s.stop(); err != nil {
		return err
	}
	if report.Events == 0 {
		return fmt.Errorf("nothing was acknowledged: %v", report.Errors)
	}
	return t.look(ctx, book)
}

func (t *turn) load(ctx context.Context, s server) (report *load.Report, book *ledger.Ledger, err error) {
	c := load.Config{
		Target: s.url, Dialect: dialectOf(t.entrant), Businesses: []load.Business{{Name: stage.PeerBusiness, Key: stage.PeerKey}},
		Batch: t.run.Batch, Connections: contestConnections, Duration: t.length, Warmup: t.command.Warmup, Seed: compareSeed, ServerPID: s.pid,
	}
	if t.entrant.peer != nil && slices.Contains(t.entrant.peer.Needs, "java") {
		c.Warmup *= javaWarmups
	}
	switch t.run.Pass {
	case compare.Saturate:
	case compare.AtRate:
		c.Rate = t.run.Rate
	default:
		c.Rate = contestRate
	}
	if t.kafka != nil {
		c.BrokerPID = t.kafka.PID()
	}
	if t.run.Pass != compare.BrokerKill {
		return load.Run(ctx, c, nil)
	}
	c.Duration = t.kill.length
	var killed error
	var both sync.WaitGroup
	both.Go(func() { report, book, err = load.Run(ctx, c, nil) })
	both.Go(func() { killed = t.killBroker(ctx, c.Warmup) })
	both.Wait()
	if killed != nil {
		return nil, nil, fatalError{killed}
	}
	return report, book, err
}

func (t *turn) killBroker(ctx context.Context, after time.Duration) error {
	begin := time.Now().Add(after)
	for i := range t.kill.times {
		if !wait(ctx, time.Until(begin.Add(time.Duration(i+1)*t.kill.every))) {
			return ctx.Err()
		}
		t.kafka.Kill()
		wait(ctx, t.kill.down)
		if err := t.kafka.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ask reads from the gateway how large its batches were.
func (t *turn) ask(ctx context.Context, g *stage.Gateway) error {
	m, err := g.Metrics(ctx)
	if err != nil {
		return err
	}
	sizes, bytes := "tollgate_ingest_batch_bytes", m["tollgate_ingest_batch_bytes_sum"]
	if !t.entrant.onKafka {
		sizes, bytes = "tollgate_journal_group_bytes", m["tollgate_journal_bytes_total"]
	}
	if n := m[sizes+"_count"]; n > 0 {
		t.run.BatchBytes = int(m[sizes+"_sum"] / n)
		t.batches[t.entrant.Name] = t.run.BatchBytes
	}
	if n := m["tollgate_events_accepted_total"]; n > 0 {
		t.run.EventBytes = math.Round(bytes / n)
	}
	return nil
}

// look holds the ledger against what was kept, if anything is.
func (t *turn) look(ctx context.Context, book *ledger.Ledger) error {
	if t.entrant.Floor {
		return nil
	}
	tally := verify.NewTally(book)
	visit := func(value []byte) { tally.Visit(value) }
	if dialectOf(t.entrant) == load.OTLPLogs {
		visit = func(value []byte) { tally.VisitEvery(value) }
	}
	var stats logs.Stats
	var err error
	begin := time.Now()
	if t.entrant.onKafka {
		stats, err = logs.Kafka(ctx, t.brokers, t.topic, visit)
	} else {
		stats, err = logs.Journal(ctx, filepath.Join(t.dir, "data"), usageTopic, visit)
	}
	if err != nil {
		return err
	}
	t.run.ReadPerS = math.Round(float64(stats.Records) / time.Since(begin).Seconds())
	t.run.Log = tally.Verdict()
	return nil
}
