package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tollgate/bench/internal/compare"
	"tollgate/bench/internal/ledger"
	"tollgate/bench/internal/load"
	"tollgate/bench/internal/logs"
	"tollgate/bench/internal/machine"
	"tollgate/bench/internal/stage"
	"tollgate/bench/internal/topics"
	"tollgate/bench/internal/verify"
)

// A contest runs all entrants in turn, one at a time.
type contest struct {
	command  *compareCommand
	length   time.Duration
	kill     killPlan
	result   *compare.Result
	entrants []*entrant
	binary   string
	kafka    *stage.Kafka // nil: a broker that is not ours
	brokers  []string
	runs     int            // so far, for names
	batches  map[string]int // bytes of a batch or fsync, of the gateway's last run on each log
	rate     float64        // events a second of the gateway's last run on the broker
}

// An entrant is what takes part, or is left out.
type entrant struct {
	compare.Entrant
	peer    *compare.Peer // nil: the gateway
	onKafka bool          // what it keeps is in a topic
}

// A killPlan says when the broker is killed while an entrant is loaded.
type killPlan struct {
	every, down, length time.Duration
	times               int
}

func (k killPlan) withDefaults() killPlan {
	if k.times == 0 {
		k = killPlan{every: 10 * time.Second, down: time.Second, length: 36 * time.Second, times: 2}
	}
	return k
}

const (
	contestConnections = 64
	contestRate        = 20_000 // events a second where there is a rate
	contestPartitions  = 12
	javaWarmups        = 4         // a virtual machine compiles what it runs first
	batchBytesDefault  = 64 << 10  // of the floors, when the gateway did not say what its were
	aMillion           = 1_000_000 // µs in a second
)

// groupSizes are those with which the floor of the disk is run by itself.
var groupSizes = []int{4 << 10, 64 << 10, 1 << 20}

func (q *contest) add(e *entrant) { q.entrants = append(q.entrants, e) }

// run makes all passes. The result holds what was measured also when it fails.
func (q *contest) run(ctx context.Context) error {
	q.batches = map[string]int{}
	if err := q.prepare(ctx); err != nil {
		return err
	}
	q.list()
	if q.kafka != nil { // a broker that is cold would make the first entrant look bad
		if _, err := q.once(ctx, compare.Run{Pass: compare.Saturate, Batch: slices.Max(q.command.Batch)}, q.entrants[0]); err != nil {
			return err
		}
	}
	for _, batch := range q.command.Batch {
		for round := 1; round <= q.command.Rounds; round++ {
			if err := q.round(ctx, batch, round); err != nil {
				return err
			}
		}
	}
	largest := slices.Max(q.command.Batch)
	for _, pass := range []string{compare.FixedRate, compare.BrokerKill} {
		for _, e := range q.entrants {
			quiet := pass == compare.BrokerKill && (q.command.SkipBrokerKill || q.kafka == nil || !e.onKafka)
			if e.LeftOut != "" || e.Kind == compare.Self || quiet {
				continue
			}
			if err := q.measure(ctx, compare.Run{Pass: pass, Batch: largest}, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (q *contest) list() {
	for _, e := range q.entrants {
		q.result.Entrants = append(q.result.Entrants, e.Entrant)
		if e.LeftOut != "" {
			fmt.Printf("left out: %s: %s\n", e.Name, e.LeftOut)
		}
	}
}

// round lets everybody run once, the floors that make their own load last: with batches as large as the gateway's were.
func (q *contest) round(ctx context.Context, batch, round int) error {
	for _, e := range q.entrants {
		if e.LeftOut != "" || e.Kind == compare.Self {
			continue
		}
		if err := q.measure(ctx, compare.Run{Pass: compare.Saturate, Batch: batch, Round: round}, e); err != nil {
			return err
		}
	}
	for _, e := range q.entrants {
		if e.LeftOut == "" && (e.Name == compare.FloorHTTP || e.Name == compare.FloorProduce) && q.rate > 0 {
			r := compare.Run{Pass: compare.AtRate, Batch: batch, Round: round, Rate: q.rate}
			if e.Kind == compare.Self {
				r.BatchBytes = q.batchBytes(e)
			}
			if err := q.measure(ctx, r, e); err != nil {
				return err
			}
		}
		if e.LeftOut != "" || e.Kind != compare.Self {
			continue
		}
		runs := []compare.Run{{Pass: compare.Work, Batch: batch, Round: round, BatchBytes: q.batchBytes(e)}}
		if e.Name == compare.FloorFsync && batch == q.command.Batch[0] {
			for _, size := range groupSizes {
				runs = append(runs, compare.Run{Pass: compare.Work, Round: round, BatchBytes: size})
			}
		}
		for _, r := range runs {
			if err := q.measure(ctx, r, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (q *contest) batchBytes(e *entrant) int {
	on := compare.Tollgate
	if e.Name == compare.FloorFsync {
		on = compare.TollgateJournal
	}
	if n := q.batches[on]; n > 0 {
		return n
	}
	return batchBytesDefault
}

// prepare builds what takes part and starts the broker.
func (q *contest) prepare(ctx context.Context) (err error) {
	release, err := alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	if q.binary = q.command.Gateway; q.binary == "" {
		if q.binary, err = stage.BuildGateway(ctx, q.command.Dir); err != nil {
			return err
		}
	}
	for _, e := range q.entrants {
		if e.peer == nil || e.LeftOut != "" {
			continue
		}
		fmt.Println("building", e.Name)
		if err := stage.BuildPeer(ctx, e.peer.Build, q.workDir(e), q.command.built); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			fmt.Println(err)
			e.LeftOut = "it does not build: " + oneLine(err.Error())
		}
	}
	if q.brokers = q.command.brokers; len(q.brokers) > 0 {
		return nil
	}
	// What was deleted is gone a second later and not after a minute, and not half a minute after the start.
	err = stage.ConfigureKafka(q.command.Dir, map[string]string{"log.segment.delete.delay.ms": "1000", "log.initial.task.delay.ms": "1000"})
	if err != nil {
		return err
	}
	if q.kafka, err = stage.StartKafka(ctx, q.command.Dir); err != nil {
		return err
	}
	q.brokers = q.kafka.Brokers
	return nil
}

func (q *contest) close() {
	if q.kafka != nil {
		q.kafka.Kill()
		os.RemoveAll(filepath.Join(q.command.Dir, "kafka", "n1", "data"))
	}
}

func (q *contest) workDir(e *entrant) string {
	return filepath.Join(filepath.Dir(q.command.List), e.peer.Dir)
}

// measure makes a run and keeps it. It fails when the contest can not go on, and not when the entrant can not.
func (q *contest) measure(ctx context.Context, r compare.Run, e *entrant) error {
	r, err := q.once(ctx, r, e)
	if err != nil {
		return err
	}
	q.result.Runs = append(q.result.Runs, r)
	if r.Pass == compare.Saturate && e.Name == compare.Tollgate {
		q.rate = r.EventsPerS
	}
	fmt.Println(lineOf(&r))
	return nil
}

// oneLine is the end of a text, as it fits into a table.
func oneLine(text string) string {
	const most = 300
	text = strings.Join(strings.Fields(text), " ")
	return strings.ToValidUTF8(text[max(0, len(text)-most):], "")
}

func lineOf(r *compare.Run) string {
	text := fmt.Sprintf("%-11s batch %3d round %d  %-18s", r.Pass, r.Batch, r.Round, r.Entrant)
	if r.Error != "" {
		return text + " " + r.Error
	}
	text += fmt.Sprintf(" %10s events/s  %7.3f µs  broker %6.3f µs  p99 %7.2f ms", thousands(r.EventsPerS), r.CPU, r.BrokerCPU, r.P99)
	if r.Failed > 0 {
		text += fmt.Sprintf("  failed %d", r.Failed)
	}
	if r.Log != nil {
		text += fmt.Sprintf("  missing %d of %d", r.Log.Missing, r.Log.Acked)
		if r.Log.Duplicated > 0 {
			text += fmt.Sprintf(", duplicated %d", r.Log.Duplicated)
		}
	}
	return text
}

// once makes a run in a directory of its own, alone on the machine, and removes what it has stored. What goes wrong
// with the entrant stands in the run.
func (q *contest) once(ctx context.Context, r compare.Run, e *entrant) (compare.Run, error) {
	release, err := alone(ctx)
	if err != nil {
		return r, err
	}
	defer release()
	q.runs++
	r.Entrant = e.Name
	name := fmt.Sprintf("compare-%03d-%s", q.runs, e.Name)
	dir := filepath.Join(q.command.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return r, err
	}
	topic := name + ".usage" // as the gateway calls it, with a prefix
	if err := topics.Make(ctx, q.brokers, topic, contestPartitions); err != nil {
		return r, err
	}
	t := turn{contest: q, entrant: e, run: &r, dir: dir, prefix: name + ".", topic: topic}
	if e.Kind == compare.Self {
		err = t.work(ctx)
	} else {
		err = t.serve(ctx)
	}
	if removed := topics.Remove(ctx, q.brokers, name); removed != nil {
		return r, errors.Join(err, removed)
	}
	var fatal fatalError
	switch {
	case ctx.Err() != nil:
		return r, ctx.Err()
	case errors.As(err, &fatal):
		return r, err
	case err != nil:
		r.Error = oneLine(strings.ReplaceAll(err.Error(), dir, name))
		return r, t.removeData()
	}
	return r, os.RemoveAll(dir)
}

// fatalError is a fault of what the contest stands on.
type fatalError struct{ error }

func (f fatalError) Unwrap() error { return f.error }

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
