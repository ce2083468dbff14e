package webhook

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
)

const (
	// lookEvery is how soon a change of a destination is noticed.
	lookEvery = 250 * time.Millisecond
	// measureEvery is how often the end of the events topic is asked for, for the backlog.
	measureEvery = 5 * time.Second
	// finishMax is how long a runner may take to write down its last outcomes. A group gives back within seconds.
	finishMax = 2 * time.Second
)

// shift is one time of delivering: from being given the partition until it is wanted back. Its goroutine, run, owns the
// maps; each runner is a goroutine of its own.
type shift struct {
	c       *Courier
	ledger  *ledger
	pages   *pages
	waiting atomic.Int64 // deliveries of all runners that wait
	end     atomic.Int64 // of the events topic, as it was asked for last
	asking  sync.Mutex   // held by who asks for it in ends

	running  map[string]*runner // by the destination's id
	sweeping map[string]bool    // destinations whose remains are being removed
	swept    chan struct{}      // a sweep has ended; holds one
}

func newShift(c *Courier) *shift {
	return &shift{
		c: c, ledger: newLedger(&c.cfg), pages: newPages(c.cfg.Events),
		running: map[string]*runner{}, swept: make(chan struct{}, 1),
	}
}

// run delivers until ctx ends. Then tries are cut off at once, and what is known of others is written down.
func (s *shift) run(ctx context.Context, claim commitlog.Claim) {
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var writer, others sync.WaitGroup
	writer.Go(func() { s.ledger.run(writing) })
	others.Go(func() { s.measure(ctx) })
	tick := time.NewTicker(s.c.lookEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		s.look(ctx, &others)
		s.report(claim)
		select {
		case <-tick.C:
		case <-s.swept:
			s.sweeping = nil
		case <-ctx.Done():
		}
	}
	for _, r := range s.running {
		<-r.gone
	}
	others.Wait()
	stop()
	writer.Wait()
	s.c.counts.backlog.Store(0)
}

// look compares what runs with the destinations that there are.
func (s *shift) look(ctx context.Context, others *sync.WaitGroup) {
	enabled := map[string]*control.Destination{}
	for _, d := range s.c.destinations() {
		if d.Enabled {
			enabled[d.ID] = d
		}
	}
	for id, r := range s.running {
		select {
		case <-r.gone:
			delete(s.running, id)
			continue
		default:
		}
		if d := enabled[id]; d != nil && d.EnabledMs == r.enabledMs {
			r.update(d)
		} else {
			r.end()
		}
	}
	for id, d := range enabled {
		if s.running[id] == nil && !s.sweeping[id] {
			r := newRunner(s, d)
			s.running[id] = r
			go r.run(ctx)
		}
	}
	s.sweep(ctx, others)
}

// measure asks where the events end.
func (s *shift) measure(ctx context.Context) {
	for ctx.Err() == nil {
		_, _ = s.ask(ctx)
		pause(ctx, measureEvery)
	}
}

func (s *shift) ask(ctx context.Context) (int64, error) {
	_, next, err := s.c.cfg.Log.Bounds(ctx, s.c.cfg.EventsTopic, partition)
	if err == nil {
		s.end.Store(next)
	}
	return next, err
}

// ends is where the events end, or where they ended a while ago if that is behind an offset anyway: destinations that
// begin together share one question.
func (s *shift) ends(ctx context.Context, offset int64) (int64, error) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if end := s.end.Load(); end >= offset {
		return end, nil
	}
	return s.ask(ctx)
}

// report shows how far the destination is that is furthest behind.
func (s *shift) report(claim commitlog.Claim) {
	end := s.end.Load()
	if end == 0 { // the log has not said yet where it ends, or holds nothing
		return
	}
	looked, durable := end, end
	for _, r := range s.running {
		if at := r.shownPosition.Load(); at >= 0 {
			looked, durable = min(looked, at), min(durable, r.shownNext.Load())
		}
	}
	s.c.counts.backlog.Store(end - looked)
	claim.Commit(max(durable, 0))
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
