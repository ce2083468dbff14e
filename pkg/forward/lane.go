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
	next      int64
	writtenAt time.Time
	writer    string
	tidied    bool

	looking sync.Mutex // held by a request of the lane that uses view

	mu    sync.Mutex
	state laneState // guarded by mu
}

// laneState is what others see.
type laneState struct {
	next, end               int64
	receivedMs, timestampMs int64 // the oldest that is unsent and known; 0: none
	events                  int
	waiting                 string
}

const (
	// idleWrite is how soon a range that was passed is said to be, when no other follows; idleEmpty likewise of records
	// that nothing was to be sent of.
	idleWrite = time.Second
	idleEmpty = time.Minute
	// groupsMax and rolledMax bound a range that is rolled up.
	groupsMax = 20_000
	// windowGrace is how long after a window's end it is closed by the wall clock.
	windowGrace = 2 * time.Second
)

// put queues an entry. t.mu is held.
func (l *lane) put(e entry) {
	l.queue = append(l.queue, e)
	l.queued += len(e.items)
	l.queuedBytes += e.bytes
	l.end = e.end
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run lives until ctx ends.
func (l *lane) run(ctx context.Context) {
	for pause := l.f.cfg.BackoffMin; ctx.Err() == nil; pause = min(2*pause, l.f.cfg.BackoffMax) {
		err := l.live(ctx)
		if ctx.Err() != nil {
			return
		}
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

func (l *lane) live(ctx context.Context) error {
	if err := l.takeUp(ctx); err != nil {
		return err
	}
	for {
		b, err := l.collect(ctx)
		if err != nil {
			return err
		}
		if b.size() > 0 {
			if err := l.decide(ctx, b); err != nil {
				return err
			}
			if err := l.send(ctx, b, false); err != nil {
				return err
			}
		}
		l.passed(b)
	}
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
		if err := l.send(ctx, b, true); err != nil {
			return err
		}
		l.passed(b)
	}
	l.t.mu.Lock()
	l.queue, l.queued, l.queuedBytes, l.end, l.placed = nil, 0, 0, l.next, true
	l.t.mu.Unlock()
	return nil
}

// gap goes on behind what retention took.
func (l *lane) gap(from, oldest int64) {
	l.f.counts.gaps.Add(uint64(oldest - from))
	l.f.cfg.Notify(Notice{What: Gap, Business: l.s.scope.String(), Detail: fmt.Sprintf("offsets %d to %d of partition %d", from, oldest-1, l.t.partition)})
	l.next = max(oldest, l.before.End)
}

// refill reads a range that was decided before.
func (l *lane) refill(ctx context.Context, b *batch) error {
	return l.t.readRange(ctx, l.view, l.s.scope, b.cursor.Next, b.cursor.End, func(e entry) error {
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

// show tells others how the lane stands.
func (l *lane) show(b *batch, waiting string) {
	st := laneState{next: l.next, waiting: waiting}
	if b != nil && b.size() > 0 {
		st.receivedMs, st.timestampMs, st.events = b.receivedMs, b.timestampMs, b.records
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
