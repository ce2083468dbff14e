package webhook

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"

	"tollgate/pkg/control"
	"tollgate/pkg/thinevent"
)

// launch starts tries as there is room.
func (r *runner) launch(ctx context.Context) {
	slots := triesMax
	if r.failedRun >= failingRun {
		slots = failingTriesMax
	}
	for r.flying < slots && r.book.owed() < unwrittenMax {
		now := r.c.cfg.Now()
		d, e, first := r.pick(now)
		if d == nil {
			return
		}
		d.flying = true
		r.flying++
		if first {
			r.deliveries[d.key], r.latest[d.event()] = d, d.key
			r.firsts[d.offset] = true
		}
		dest := r.dest.Load()
		go func() {
			began := r.c.cfg.Now()
			o := r.c.try(ctx, dest, e)
			r.c.counts.trySeconds.Observe(int64(r.c.cfg.Now().Sub(began)))
			r.ended <- ended{d: d, first: first, outcome: o, cut: ctx.Err() != nil && o.kind != delivered}
		}()
	}
}

// pick chooses what is tried next: in turn what is due again and what is new, so that neither waits for the other's end.
func (r *runner) pick(now time.Time) (d *delivery, e *thinevent.Event, first bool) {
	r.turn = !r.turn
	if r.turn {
		if d, e = r.due(now); d == nil {
			d, e, first = r.fresh(now)
		}
		return d, e, first
	}
	if d, e, first = r.fresh(now); d == nil {
		d, e = r.due(now)
	}
	return d, e, first
}

// due takes the delivery that has been due longest.
func (r *runner) due(now time.Time) (*delivery, *thinevent.Event) {
	for len(r.waiting) > 0 && r.waiting[0].dueMs <= now.UnixMilli() && !now.Before(r.pageAt) {
		d := r.waiting[0]
		e, err := r.c.cfg.Events.At(d.offset)
		if err != nil {
			r.eventsFault(err, now)
			return nil, nil
		}
		heap.Pop(&r.waiting)
		r.s.waiting.Add(-1)
		if e == nil || e.ID != d.event() {
			r.c.counts.expired.Add(1)
			r.forget(d)
			r.book.outcome(r.c.cfg.Now())
			continue
		}
		return d, e
	}
	return nil, nil
}

// fresh takes up the next event that the destination wants, if there is one and there is room for it to wait.
func (r *runner) fresh(now time.Time) (*delivery, *thinevent.Event, bool) {
	have := len(r.waiting) + r.flying
	if have >= waitingMax || have >= waitingShare && r.s.waiting.Load() >= waitingTotalMax {
		r.page, r.seen = page{}, 0 // it may be long until there is room
		return nil, nil, false
	}
	if r.changed != nil {
		return nil, nil, false
	}
	dest := r.dest.Load()
	for {
		for r.seen < len(r.page.events) {
			e := r.page.events[r.seen]
			r.seen++
			r.position = e.Offset + 1
			if wants(dest, e) && r.deliveries[e.ID] == nil {
				return &delivery{key: e.ID, offset: e.Offset}, e, true
			}
		}
		r.position = max(r.position, r.page.next)
		if !r.turnPage(now) {
			return nil, nil, false
		}
	}
}

// turnPage reads on, if there is something.
func (r *runner) turnPage(now time.Time) bool {
	if now.Before(r.pageAt) {
		return false
	}
	changed := r.c.cfg.Events.Changed() // before reading: what comes afterwards closes it
	p, err := r.s.pages.from(r.position)
	if err != nil {
		r.eventsFault(err, now)
		return false
	}
	if p.next <= r.position {
		r.changed = changed
		return false
	}
	r.page, r.seen = p, 0
	return true
}

func (r *runner) eventsFault(err error, now time.Time) {
	r.pageAt = now.Add(eventsAgain)
	r.c.counts.evFaults.Add(1)
	r.c.fault("", fmt.Errorf("reading events: %w", err))
}

// wants tells whether an event is for a destination.
func wants(d *control.Destination, e *thinevent.Event) bool {
	if e.Business != d.Business || e.Livemode != d.Livemode || e.CreatedMs < d.EnabledMs {
		return false
	}
	if e.Type == thinevent.TypePing {
		return e.Related != nil && e.Related.ID == d.ID
	}
	return slices.Contains(d.EnabledEvents, e.Type)
}
