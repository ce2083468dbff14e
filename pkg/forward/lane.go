package forward

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tollgate/pkg/usage"
)

// lane sends what one business has in one partition.
type lane struct {
	f    *Forwarder
	s    *sender
	t    *tap
	view View
	key  string
	wake chan struct{}

	// Guarded by t.mu.
	placed      bool
	queue       []entry
	queued      int
	queuedBytes int
	end         int64 // of what was queued

	// The lane's own.
	before    *cursor // the last range, durable or empty
	durable   *cursor
	next      int64   // where the next range begins
	flying    *flight // nil: everything before next is known
	writtenAt time.Time
	writer    string
	tidied    bool

	looking sync.Mutex
	aside   View // guarded by looking; for requests under way, while the lane itself uses view

	mu    sync.Mutex
	state laneState // guarded by mu
}

// laneState is what others see.
type laneState struct {
	end                     int64
	receivedMs, timestampMs int64 // the oldest that is unsent and known; 0: none
	events                  int
}

const (
	// idleWrite is how soon a range that was passed is said to be, when no other follows; idleEmpty likewise of records
	// that nothing was to be sent of.
	idleWrite = time.Second
	idleEmpty = time.Minute
	// groupsMax bounds the groups of a range that is rolled up.
	groupsMax = 20_000
	// windowGrace is how long after a window's end it is closed by the wall clock.
	windowGrace = 2 * time.Second
)

// serve queues what there is up to an offset, unless the queue is full. t.mu is held.
func (l *lane) serve(e *entry, end int64) {
	last := len(l.queue) - 1
	switch {
	case last >= 0 && (l.queued >= l.f.cfg.QueueEvents || l.queuedBytes >= l.f.cfg.QueueBytes),
		e != nil && l.f.queued.Load() >= int64(l.f.cfg.QueuesBytes):
		return
	case e == nil && last >= 0:
		l.queue[last].end = end
	case e == nil:
		l.queue = append(l.queue, entry{end: end})
	default:
		e.end = end
		l.queue = append(l.queue, *e)
		l.queued += len(e.items)
		l.hold(e.bytes)
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	l.end = end
}

// hold counts bytes of the queue. t.mu is held.
func (l *lane) hold(bytes int) {
	l.queuedBytes += bytes
	l.f.queued.Add(int64(bytes))
}

// run lives until ctx ends.
func (l *lane) run(ctx context.Context) {
	defer func() {
		l.t.mu.Lock()
		defer l.t.mu.Unlock()
		l.placed = false // nothing is queued any more
		l.hold(-l.queuedBytes)
	}()
	begun := l.f.cfg.Now()
	for pause := l.f.cfg.BackoffMin; ctx.Err() == nil; pause = min(2*pause, l.f.cfg.BackoffMax) {
		err := l.live(ctx)
		if ctx.Err() != nil {
			return
		}
		l.notPlaced(begun)
		what := Faulty
		if errors.Is(err, errSuperseded) {
			what = Superseded
		}
		if !errors.Is(err, usage.ErrNotOwned) {
			l.f.cfg.Notify(Notice{What: what, Business: l.s.scope.String(), Detail: fmt.Sprintf("partition %d", l.t.partition), Err: err})
		}
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

// notPlaced has a lane that does not even know where it is count as one whose oldest event came when it began to try.
func (l *lane) notPlaced(begun time.Time) {
	l.t.mu.Lock()
	placed := l.placed
	l.t.mu.Unlock()
	if placed {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.receivedMs = begun.UnixMilli()
}

// flight is a range on its way. The next one is decided and sent behind it while its answers are awaited, so that a lane
// is not the slower the longer Stripe takes to answer; a third waits for the first.
type flight struct {
	b      *batch
	landed chan struct{}
	err    error // valid when landed is closed: ctx has ended
}

func (l *lane) live(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		if l.flying != nil {
			<-l.flying.landed
			l.flying = nil
		}
	}()
	if err := l.takeUp(ctx); err != nil {
		return err
	}
	for {
		b, err := l.collect(ctx)
		if err != nil {
			return err
		}
		if b.size() > 0 {
			err = l.begin(ctx, b)
		} else if b.records > 0 {
			err = l.land() // what is left out here is in no cursor, so that none may reach over it
		}
		if err != nil {
			return err
		}
		l.next, l.before = b.cursor.End, &b.cursor
		l.show(nil)
	}
}

// begin decides a range and sends it, and returns when the range before it is known.
func (l *lane) begin(ctx context.Context, b *batch) error {
	if b.cursor.RollupMs > 0 || l.flying != nil && l.flying.over() { // what is rolled up is named by where its range begins
		if err := l.land(); err != nil {
			return err
		}
	}
	last := l.flying
	if err := l.decide(ctx, b, last); err != nil {
		return err
	}
	now := &flight{b: b, landed: make(chan struct{})}
	l.show(b)
	go func() {
		defer close(now.landed)
		now.err = l.send(ctx, b, false, last)
	}()
	err := l.land()
	l.flying = now
	return err
}

func (f *flight) over() bool {
	select {
	case <-f.landed:
		return true
	default:
		return false
	}
}

// land waits for the range that is on its way, if one is.
func (l *lane) land() error {
	f := l.flying
	if f == nil {
		return nil
	}
	<-f.landed
	if f.err != nil {
		return f.err
	}
	l.flying = nil
	l.f.counts.ranges.Add(1)
	return nil
}

// takeUp begins where the cursor is. What is in its range may have been sent.
func (l *lane) takeUp(ctx context.Context) error {
	if err := l.f.board.follower.CaughtUp(ctx); err != nil {
		return err
	}
	oldest, end, err := l.f.cfg.Log.Bounds(ctx, l.f.cfg.UsageTopic, l.t.partition)
	if err != nil {
		return err
	}
	c := l.f.board.get(l.key)
	l.writer, l.durable, l.tidied = l.s.randomName(), c, false
	if c == nil {
		c = &cursor{Object: cursorObject, Business: l.s.scope.business, Livemode: l.s.scope.live, Partition: l.t.partition, Origin: oldest, Next: oldest, End: oldest}
		if err := l.write(ctx, c); err != nil {
			return err
		}
	}
	if c.End > end {
		return fmt.Errorf("forward: the cursor of %s is at %d, and the log ends at %d: it is the cursor of another log", l.key, c.End, end)
	}
	l.before, l.durable, l.next = c, c, c.Next
	if c.Next < oldest {
		if c.End > c.Next {
			l.f.cfg.Notify(Notice{What: Gap, Business: l.s.scope.String(), Detail: fmt.Sprintf("a range at %d was not passed when retention took it", c.Next)})
		}
		l.gap(c.Next, oldest)
	} else if c.End > c.Next {
		b := batchAgain(c)
		if err := l.refill(ctx, b); err != nil {
			return err
		}
		l.show(b)
		if err := l.send(ctx, b, true, nil); err != nil {
			return err
		}
		l.next, l.before = b.cursor.End, &b.cursor
		l.f.counts.ranges.Add(1)
	}
	l.t.mu.Lock()
	l.hold(-l.queuedBytes)
	l.queue, l.queued, l.end, l.placed = nil, 0, l.next, true
	l.t.mu.Unlock()
	return nil
}

// gap goes on behind what retention took.
func (l *lane) gap(from, oldest int64) {
	l.next = max(oldest, l.before.End) // of a range that has lost its beginning nobody can say what was sent
	l.f.counts.gaps.Add(uint64(l.next - from))
	l.f.cfg.Notify(Notice{What: Gap, Business: l.s.scope.String(), Detail: fmt.Sprintf("offsets %d to %d of partition %d", from, l.next-1, l.t.partition)})
}

// refill reads a range that was decided before.
func (l *lane) refill(ctx context.Context, b *batch) error {
	return l.t.readRange(ctx, l.view, l.s.scope, b.cursor.Next, b.cursor.End, func(e *entry) error {
		for n := range e.items {
			if err := l.add(ctx, b, &e.items[n]); err != nil {
				return err
			}
		}
		return nil
	})
}

// add takes an item into a range. A cancel is, while rolling up, the event that it takes out.
func (l *lane) add(ctx context.Context, b *batch, i *item) error {
	if i.cancel && b.cursor.RollupMs > 0 && !b.cancels[i.offset] {
		event, err := l.t.one(ctx, l.view, l.s.scope, i.other)
		if err != nil {
			return err
		}
		i.undone = event
	}
	b.add(i)
	return nil
}

// show tells others how the lane stands, with a range that is not on its way yet.
func (l *lane) show(b *batch) {
	var st laneState
	if l.flying != nil {
		st.take(l.flying.b)
	}
	if b != nil && b.size() > 0 {
		st.take(b)
	}
	l.t.mu.Lock()
	st.end = l.end
	st.events += l.queued
	if st.receivedMs == 0 {
		for _, e := range l.queue {
			if len(e.items) > 0 {
				st.receivedMs, st.timestampMs = e.items[0].receivedMs, e.items[0].timestampMs
				break
			}
		}
	}
	l.t.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = st
}

func (st *laneState) take(b *batch) {
	st.events += b.records
	st.receivedMs, st.timestampMs = oldest(st.receivedMs, b.receivedMs), oldest(st.timestampMs, b.timestampMs)
}

// oldest is the smaller of two times, of which 0 is none.
func oldest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
