package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tollgate/bench/internal/compare"
	"tollgate/bench/internal/stage"
	"tollgate/bench/internal/topics"
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
			e.LeftOut = "it does not build: " + oneLine(q.command.withoutPlaces(err.Error()))
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

// withoutPlaces takes out of a text where this machine keeps things: it gets into a result, which is published.
func (c *compareCommand) withoutPlaces(text string) string {
	replace := []string{c.built, "{out}"}
	if c.Dir != "" {
		replace = append(replace, c.Dir+"/", "", c.Dir, filepath.Base(c.Dir))
	}
	if root, err := stage.ModuleRoot(); err == nil {
		replace = append(replace, root+"/", "", root, ".")
	}
	return strings.NewReplacer(replace...).Replace(text)
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
		r.Error = oneLine(q.command.withoutPlaces(err.Error()))
		return r, t.removeData()
	}
	return r, os.RemoveAll(dir)
}

// fatalError is a fault of what the contest stands on.
type fatalError struct{ error }

func (f fatalError) Unwrap() error { return f.error }
