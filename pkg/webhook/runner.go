package webhook

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/pkg/control"
)

const (
	// eventsAgain, writeAgain and disableAgain are the pauses after faults of the events, of the cursors topic, of control.
	eventsAgain, writeAgain, disableAgain = time.Second, time.Second, 10 * time.Second
	// wakeMax bounds a runner's sleep, so that a clock that was set is noticed.
	wakeMax = time.Minute
)

// runner delivers to one destination. Its goroutine, run, owns it; the shift sets dest and reads what is shown.
type runner struct {
	s         *shift
	c         *Courier
	place     place
	enabledMs int64
	dest      atomic.Pointer[control.Destination]
	ending    chan struct{} // closed: nothing more is tried
	endOnce   sync.Once
	gone      chan struct{} // closed: run has returned

	shownPosition, shownNext atomic.Int64 // -1: not yet

	// What is taken up. position is the event to look at next, in page or behind it.
	position int64
	page     page
	seen     int             // of page's events
	changed  <-chan struct{} // another event may be there; nil while page has some
	pageAt   time.Time       // events are not asked for before

	// What is known. deliveries are those that wait, or fly; latest is the newest key of an event.
	deliveries map[string]*delivery
	latest     map[string]string
	waiting    dueHeap
	flying     int
	firsts     map[int64]bool // offsets of the first tries that fly
	ended      chan ended
	turn       bool            // whose turn a free place is: what is due, or what is new
	failedRun  int             // failures since the last success
	done       map[string]bool // resends that are no more, while the board shows them
	asked      <-chan struct{} // the board has a resend

	failing   failing
	proposal  chan error // the answer to what is proposed
	proposing sync.WaitGroup
	proposed  bool
	askAt     time.Time // not proposed before
	gaveUp    int       // deliveries that nobody was told about
	lastWhy   string

	book book
}

// ended is a try that is over.
type ended struct {
	d       *delivery
	first   bool
	outcome outcome
	cut     bool // by the end of the shift: nothing is known
}

func newRunner(s *shift, d *control.Destination) *runner {
	r := &runner{
		s: s, c: s.c, place: place{business: d.Business, livemode: d.Livemode, id: d.ID}, enabledMs: d.EnabledMs,
		ending: make(chan struct{}), gone: make(chan struct{}),
		deliveries: map[string]*delivery{}, latest: map[string]string{}, firsts: map[int64]bool{},
		ended: make(chan ended, triesMax), done: map[string]bool{}, proposal: make(chan error, 1),
		book: newBook(),
	}
	r.dest.Store(d)
	r.shownPosition.Store(-1)
	r.shownNext.Store(-1)
	return r
}

// update gives it the destination as it is now. What is tried next sees it.
func (r *runner) update(d *control.Destination) { r.dest.Store(d) }

// end lets tries that fly end as they may, and starts no others.
func (r *runner) end() { r.endOnce.Do(func() { close(r.ending) }) }

// run delivers until the destination is not to be run any more, or ctx ends.
func (r *runner) run(ctx context.Context) {
	defer close(r.gone)
	if err := r.begin(ctx); err != nil {
		if ctx.Err() == nil {
			r.c.counts.evFaults.Add(1)
			r.c.fault(r.place.id, fmt.Errorf("delivering to a destination can not begin: %w", err))
			pause(ctx, eventsAgain)
		}
		return
	}
	defer func() { r.s.waiting.Add(-int64(len(r.waiting))) }()
	ending := r.ending
	for ctx.Err() == nil && (ending != nil || r.flying > 0) {
		if ending != nil {
			r.launch(ctx)
		}
		r.write(false)
		r.disableIfDue(ctx)
		r.tellGivenUp(noticeEvery)
		r.shownPosition.Store(r.position)
		wake := time.NewTimer(r.wake())
		select {
		case e := <-r.ended:
			r.settle(e)
		case err := <-r.book.wrote:
			r.written(err)
		case <-r.changed:
			r.changed = nil
		case <-r.asked:
			r.takeAsked()
		case err := <-r.proposal:
			r.disabled(err)
		case <-wake.C:
		case <-ending:
			ending = nil
		case <-ctx.Done():
		}
		wake.Stop()
	}
	for r.flying > 0 { // cut off with ctx
		r.settle(<-r.ended)
	}
	r.endProposing(ctx)
	r.finish()
}

// begin takes over what the cursors topic says.
func (r *runner) begin(ctx context.Context) error {
	if err := r.c.follower.CaughtUp(ctx); err != nil {
		return err
	}
	since, err := r.c.cfg.Events.Since(r.enabledMs)
	if err != nil {
		return err
	}
	r.asked = r.c.board.wait()
	has, waiting := r.c.board.state(r.place.id)
	r.position = since
	if has != nil {
		r.book.was(*has)
		end, err := r.s.ends(ctx, has.next) // asked after has was read: of the same topic it is not before it
		if err != nil {
			return err
		}
		switch {
		case end >= has.next:
			r.position = max(since, has.next)
		case r.c.mayTell(NoticeStartedOver + r.place.id):
			r.c.cfg.Notify(Notice{What: NoticeStartedOver, Destination: r.place.id, Err: fmt.Errorf(
				"%s ends at offset %d, and the destination had come to %d", r.c.cfg.EventsTopic, end, has.next)})
		}
		if has.failing.sinceMs >= r.enabledMs {
			r.failing = has.failing
		}
	}
	for _, d := range waiting {
		d.recorded = true
		if d.firstMs < r.enabledMs { // of a time when it was enabled before
			r.book.note(d.key)
			r.c.counts.dropped.Add(1)
			continue
		}
		r.add(d)
	}
	r.book.begin(r.c.cfg.Now())
	r.shownNext.Store(r.position)
	return nil
}

// add makes a delivery wait.
func (r *runner) add(d *delivery) {
	r.deliveries[d.key] = d
	r.latest[d.event()] = d.key
	r.wait(d)
}

func (r *runner) wait(d *delivery) {
	heap.Push(&r.waiting, d)
	r.s.waiting.Add(1)
}

// forget ends a delivery.
func (r *runner) forget(d *delivery) {
	delete(r.deliveries, d.key)
	if r.latest[d.event()] == d.key {
		delete(r.latest, d.event())
	}
	if d.resend {
		r.done[d.key] = true
	}
	if d.recorded {
		r.book.note(d.key)
	}
}

// takeAsked takes up what was asked for since it was called last. An event that waits anyway becomes due.
func (r *runner) takeAsked() {
	r.asked = r.c.board.wait()
	now := r.c.cfg.Now().UnixMilli()
	shown := map[string]bool{}
	for _, d := range r.c.board.askedFor(r.place.id) {
		shown[d.key] = true
		if r.deliveries[d.key] != nil || r.done[d.key] {
			continue
		}
		d.recorded = true
		if d.firstMs < r.enabledMs {
			r.done[d.key] = true
			r.book.note(d.key)
			continue
		}
		other := r.deliveries[r.latest[d.event()]]
		if other == nil || other.flying {
			r.add(d)
			continue
		}
		other.dueMs = min(other.dueMs, now)
		heap.Fix(&r.waiting, other.index)
		other.recorded = true
		r.book.note(other.key)
		r.done[d.key] = true
		r.book.note(d.key)
	}
	for key := range r.done {
		if !shown[key] {
			delete(r.done, key)
		}
	}
}

// wake is how long there is nothing to do, if nothing happens.
func (r *runner) wake() time.Duration {
	now := r.c.cfg.Now()
	at := now.Add(wakeMax)
	sooner := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	if len(r.waiting) > 0 {
		if t := time.UnixMilli(r.waiting[0].dueMs); t.After(now) { // what is due already waits for a place
			sooner(t)
		}
	}
	if r.pageAt.After(now) {
		sooner(r.pageAt)
	}
	if t, ok := r.book.due(r.cursor()); ok {
		sooner(t)
	}
	if t, ok := r.disableAt(); ok {
		sooner(t)
	}
	return max(at.Sub(now), time.Millisecond)
}
