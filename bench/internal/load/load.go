// Package load sends meter events to a gateway, or to anything with its paths, and measures how it answers.
//
// The model: a run has sessions, each with its share of the rate and a schedule of intended send times; connections
// belong to a session and take the next time from its schedule. A request that goes out late, because all connections
// wait for answers or because this process got no processor, counts its latency from when it should have gone out, so
// that a target which stalls can not hide the requests that it kept from being sent (coordinated omission). Times that
// nobody came to send at all are counted, and enter the latencies as what they waited at least. With rate 0 there is
// no schedule: each connection sends when it has its answer, and latencies are those of a target under as much load
// as the connections make.
//
// Every event is sent once and never again, also when its answer is lost: what is found twice in the log, the target
// has doubled. Events carry identifiers of package ledger, and the outcome of each is in the ledger that Run returns.
//
// A request is built once for each connection and then patched in place; a run allocates nothing for a request. Run
// may be called several times at once, for loads of different kinds side by side.
//
//	report, ledger, err := load.Run(ctx, load.Config{Target: "http://127.0.0.1:8080", Businesses: …, Rate: 100_000}, nil)
package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/bench/internal/hist"
	"tollgate/bench/internal/ledger"
)

// run is one load while it goes on.
type run struct {
	c        Config
	start    time.Time
	measure  time.Time // the warm-up ends
	end      time.Time
	draws    *draws
	sessions []*session
	workers  []*worker
	shards   [shardsMax]shard
	errors   kinds

	began, stopped totals // of the measured time; written by the watch
}

// shardsMax bounds what histograms cost however many connections there are; workers share them in turn.
const shardsMax = 8

// A shard is written by several workers, atomically.
type shard struct {
	latency  hist.Histogram // of requests answered by 200, and of those that nobody came to send
	lateness hist.Histogram // how much later than intended requests were sent
	acked    atomic.Uint64  // events, from the start on
	requests atomic.Uint64  // answered or failed, from the start on
	failed   atomic.Uint64  // of these, not acknowledged
	missed   atomic.Uint64  // requests that nobody came to send
	_        [64]byte
}

// Run makes the load and returns when it is over, or soon after the context has ended: then the report says so. The
// ledger is whole in both cases. It fails when the configuration is not sound, and when the target opens no session.
func Run(ctx context.Context, c Config, each func(Second)) (*Report, *ledger.Ledger, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, nil, err
	}
	if err := allowFiles(c.Connections); err != nil {
		return nil, nil, err
	}
	r := &run{c: c, draws: newDraws(c)}
	if err := r.open(ctx); err != nil {
		return nil, nil, err
	}
	r.start = time.Now()
	r.measure = r.start.Add(c.Warmup)
	r.end = r.measure.Add(c.Duration)
	shares := c.shares()
	for i, s := range r.sessions {
		s.schedule = newSchedule(c, r.start, i, shares[i])
	}
	ctx, stop := context.WithDeadline(ctx, r.end)
	defer stop()
	watch := newWatch(r, each)
	var sending sync.WaitGroup
	sending.Go(func() { watch.gauge.run(ctx, r.start) })
	for _, w := range r.workers {
		sending.Go(func() { w.work(ctx) })
	}
	watched := make(chan *Report, 1)
	go func() { watched <- watch.run(ctx) }()
	sending.Wait()
	report := <-watched
	r.finish(report)
	book := &ledger.Ledger{Run: c.Run}
	for _, w := range r.workers {
		w.client.close()
		book.Lanes = append(book.Lanes, &w.lane)
	}
	return report, book, nil
}

// open makes the sessions and the connections' requests before the clock starts.
func (r *run) open(ctx context.Context) error {
	for i := range r.c.Sessions {
		s := &session{c: &r.c, business: r.c.Businesses[i%len(r.c.Businesses)]}
		if _, err := s.token(ctx, time.Now()); err != nil {
			return fmt.Errorf("open session %d: %w", i, err)
		}
		r.sessions = append(r.sessions, s)
	}
	for i, session := range deal(r.c.Connections, r.c.shares()) {
		r.workers = append(r.workers, newWorker(r, i, r.sessions[session]))
	}
	return nil
}

// finish counts the intended times that passed without a request, once the workers have ended.
func (r *run) finish(report *Report) {
	until := min(time.Since(r.start), r.end.Sub(r.start))
	for i, s := range r.sessions {
		missed, shard := uint64(0), &r.shards[i%shardsMax]
		for due, ok := s.schedule.next(); ok && due.Sub(r.start) < until; due, ok = s.schedule.next() {
			missed++
			if !due.Before(r.measure) {
				shard.latency.Record(until - due.Sub(r.start))
			}
		}
		shard.missed.Add(missed)
	}
	report.finish(r)
}
