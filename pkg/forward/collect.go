package forward

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tollgate/pkg/commitlog"
)

// collect gathers a range until it is full, or nothing more is there, or its window is over.
func (l *lane) collect(ctx context.Context) (*batch, error) {
	cfg := &l.f.cfg
	b := newBatch(l.before, l.next, cfg.Rollup.Milliseconds())
	windowEnd := int64(0)
	tick := time.NewTicker(idleWrite)
	defer tick.Stop()
	for {
		e, ok, err := l.take(ctx)
		if err != nil {
			return nil, err
		}
		if !ok {
			switch {
			case cfg.Rollup == 0 && b.size() > 0, b.size() == 0 && b.records > 0:
				return b, nil
			case cfg.Rollup > 0 && b.size() > 0 && cfg.Now().UnixMilli() >= windowEnd+windowGrace.Milliseconds():
				return b, nil
			case b.size() == 0 && b.cursor.End > b.cursor.Next:
				return b, nil
			}
			var landed chan struct{}
			if l.flying != nil {
				landed = l.flying.landed
			} else if b.size() == 0 {
				if err := l.idle(ctx); err != nil {
					return nil, err
				}
			}
			l.show(b)
			select {
			case <-landed:
				if err := l.land(); err != nil {
					return nil, err
				}
			case <-l.wake:
			case <-tick.C:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			continue
		}
		if cfg.Rollup == 0 {
			b.plain = slices.Grow(b.plain, min(len(e.items), cfg.RangeEvents))
		}
		for n := range e.items {
			i := &e.items[n]
			if window := floorTo(i.receivedMs, max(b.cursor.RollupMs, 1)) + b.cursor.RollupMs; windowEnd == 0 {
				windowEnd = window
			} else if l.full(b) || cfg.Rollup > 0 && window > windowEnd {
				b.cursor.End = i.offset
				l.putBack(entry{items: e.items[n:], end: e.end})
				return b, nil
			}
			if err := l.add(ctx, b, i); err != nil {
				return nil, err
			}
		}
		b.cursor.End = e.end
		if l.full(b) {
			return b, nil
		}
	}
}

func (l *lane) full(b *batch) bool {
	if b.bytes >= l.f.cfg.QueueBytes {
		return true
	}
	if b.cursor.RollupMs > 0 {
		return len(b.order) >= groupsMax || len(b.undo)+len(b.plain) >= l.f.cfg.RangeEvents
	}
	return b.size() >= l.f.cfg.RangeEvents
}

// readAtOnce is how many offsets a lane that reads by itself passes before another may.
const readAtOnce = 50_000

// take returns the next entry, reading by itself when the lane was left behind. ok is false when there is nothing.
func (l *lane) take(ctx context.Context) (e entry, ok bool, err error) {
	l.t.mu.Lock()
	if len(l.queue) > 0 {
		e = l.queue[0]
		l.queue[0] = entry{}
		if l.queue = l.queue[1:]; len(l.queue) == 0 {
			l.queue = nil
		}
		l.queued -= len(e.items)
		l.hold(-e.bytes)
		l.t.mu.Unlock()
		return e, true, nil
	}
	from, to := l.end, l.t.next
	l.t.mu.Unlock()
	if from >= to {
		return e, false, nil
	}
	select {
	case l.t.behind <- struct{}{}:
	case <-ctx.Done():
		return e, false, ctx.Err()
	}
	defer func() { <-l.t.behind }()
	err = l.t.readRange(ctx, l.view, l.s.scope, from, to, func(got *entry) error {
		if e.join(got); e.end == to || e.end-from >= readAtOnce || len(e.items) >= l.f.cfg.RangeEvents || e.bytes >= l.f.cfg.QueueBytes {
			return errEnough
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		l.t.mu.Lock()
		l.end = e.end
		l.t.mu.Unlock()
		return e, true, nil
	case errors.Is(err, commitlog.ErrOffsetOutOfRange):
		return e, false, fmt.Errorf("forward: retention has overtaken %s at %d: %w", l.key, from, err)
	}
	return e, false, err
}

func (l *lane) putBack(e entry) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	for n := range e.items {
		e.bytes += e.items[n].bytes()
	}
	l.queue = append([]entry{e}, l.queue...)
	l.queued += len(e.items)
	l.hold(e.bytes)
}
