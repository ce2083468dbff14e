package forward

import (
	"context"
	"errors"
	"sync"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
	"tollgate/pkg/usage"
)

// entry is what a chunk of the log has for one lane. It stands for all offsets below end, and behind the entry before.
type entry struct {
	items []item
	end   int64
	bytes int
}

// tap reads a partition for all lanes that are where it is. A lane whose queue is full is left behind; it reads by itself
// until it has come to where the tap is, and is served again.
type tap struct {
	f         *Forwarder
	view      View
	partition int32
	behind    chan struct{} // one for each lane that reads by itself

	mu sync.Mutex
	// Guarded by mu, as are the queues of the lanes.
	next  int64 // -1: nothing was read yet
	lanes map[scope]*lane
}

// run reads until ctx ends.
func (t *tap) run(ctx context.Context) {
	for pause := 50 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
		if err := t.read(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, usage.ErrNotOwned) {
			t.f.cfg.Notify(Notice{What: Faulty, Detail: "reading " + t.f.cfg.UsageTopic, Err: err})
		}
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

func (t *tap) read(ctx context.Context) error {
	oldest, end, err := t.f.cfg.Log.Bounds(ctx, t.f.cfg.UsageTopic, t.partition)
	if err != nil {
		return err
	}
	if err := t.awaitLanes(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	if t.next < oldest || t.next > end {
		t.next = end
		first := true
		for _, l := range t.lanes { // those before it read by themselves
			if l.placed && l.end >= oldest && l.end <= end && (first || l.end > t.next) {
				t.next, first = l.end, false
			}
		}
	}
	from := t.next
	t.mu.Unlock()
	r, err := t.f.cfg.Log.NewReader(t.f.cfg.UsageTopic, t.partition, from)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		records, err := r.Next(ctx)
		if err != nil {
			return err
		}
		end := records[len(records)-1].Offset + 1
		if err := t.view.Wait(ctx, end-1); err != nil {
			return err
		}
		found := make(map[scope]*entry)
		if err := t.each(t.view, records, t.f.cfg.Rollup > 0, func(s scope, i item) {
			e := found[s]
			if e == nil {
				e = new(entry)
				found[s] = e
			}
			e.items = append(e.items, i)
			e.bytes += i.bytes()
		}); err != nil {
			return err
		}
		t.serve(found, end)
	}
}

// awaitLanes gives lanes the time to know where they are, so that the log is read from there.
func (t *tap) awaitLanes(ctx context.Context) error {
	for range 100 {
		placed := true
		t.mu.Lock()
		for _, l := range t.lanes {
			placed = placed && l.placed
		}
		t.mu.Unlock()
		if placed {
			return ctx.Err()
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// serve hands a chunk to the lanes that are at its beginning.
func (t *tap) serve(found map[scope]*entry, end int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s, l := range t.lanes {
		if !l.placed || l.end != t.next || len(l.queue) > 0 && (l.queued >= t.f.cfg.QueueEvents || l.queuedBytes >= t.f.cfg.QueueBytes) {
			continue
		}
		e := entry{}
		if e0 := found[s]; e0 != nil {
			e = *e0
		}
		e.end = end
		l.put(e)
	}
	t.next = end
}

// each makes items of what is to be forwarded at all; customers are only of use to who rolls up.
func (t *tap) each(view View, records []recordbatch.Record, customers bool, do func(s scope, i item)) error {
	var last *sender
	return view.Each(records, func(rec *recordbatch.Record, o *usage.Ruling) {
		switch o.Kind {
		case usage.RulingCounted, usage.RulingCancels, usage.RulingForgotten:
		default:
			return
		}
		r := &o.Record
		if last == nil || last.scope.live != r.Livemode || last.scope.business != string(r.Business) {
			last = t.f.senders[scope{string(r.Business), r.Livemode}]
		}
		if last == nil || rec.TimestampMs < last.own.Since.UnixMilli() && !last.own.Since.IsZero() {
			return
		}
		i := item{
			offset: rec.Offset, receivedMs: rec.TimestampMs, timestampMs: r.TimestampMs, cancel: r.Adjustment, other: o.Other,
			forgotten: o.Kind == usage.RulingForgotten, identifier: string(r.Identifier), meter: o.Meter, value: o.Value,
		}
		if o.Meter != nil {
			i.name = o.Meter.EventName
		} else {
			i.name = string(r.EventName)
		}
		if customers {
			i.customer = string(o.Customer)
		}
		i.payload = append(i.payload, r.Payload...)
		do(last.scope, i)
	})
}

// readRange reads items of one scope from an offset on until end, and hands them over by chunks. With end < 0 it stops
// after one chunk. The chunk's own end comes with it.
func (t *tap) readRange(ctx context.Context, view View, s scope, from, end int64, do func(e entry) error) error {
	r, err := t.f.cfg.Log.NewReader(t.f.cfg.UsageTopic, t.partition, from)
	if err != nil {
		return err
	}
	defer r.Close()
	for from < end {
		records, err := r.Next(ctx)
		if err != nil {
			return err
		}
		for len(records) > 0 && records[len(records)-1].Offset >= end {
			records = records[:len(records)-1]
		}
		e := entry{end: end}
		if len(records) > 0 {
			if err := view.Wait(ctx, records[len(records)-1].Offset); err != nil {
				return err
			}
			if err := t.each(view, records, true, func(of scope, i item) {
				if of == s {
					e.items = append(e.items, i)
					e.bytes += i.bytes()
				}
			}); err != nil {
				return err
			}
			e.end = records[len(records)-1].Offset + 1
		}
		from = e.end
		if err := do(e); err != nil {
			return err
		}
	}
	return nil
}

var errEnough = errors.New("forward: enough was read")

// one reads what is to be known of the event at one offset; nil: it is gone.
func (t *tap) one(ctx context.Context, view View, s scope, offset int64) (found *item, err error) {
	err = t.readRange(ctx, view, s, offset, offset+1, func(e entry) error {
		if len(e.items) > 0 && !e.items[0].cancel && !e.items[0].forgotten {
			found = &e.items[0]
		}
		return errEnough
	})
	switch {
	case errors.Is(err, errEnough):
		return found, nil
	case errors.Is(err, commitlog.ErrOffsetOutOfRange):
		return nil, nil
	}
	return nil, err
}
