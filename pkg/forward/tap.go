package forward

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
	"tollgate/pkg/usage"
)

// entry is what a stretch of the log has for one lane. It stands for all offsets below end, and behind the entry before.
type entry struct {
	items []item
	text  []byte // which the payloads of the items are parts of
	end   int64
	bytes int
}

// add takes an item, and a copy of the payload.
func (e *entry) add(i *item, payload []byte) {
	from := len(e.text)
	e.text = append(e.text, payload...)
	i.payload = e.text[from:len(e.text):len(e.text)]
	e.items = append(e.items, *i)
	e.bytes += i.bytes()
}

// join takes in the entry behind.
func (e *entry) join(o *entry) {
	e.items = append(e.items, o.items...)
	e.end, e.bytes = o.end, e.bytes+o.bytes
}

// size is what an entry takes, and the next one of its lane is likely to.
type size struct{ items, text int }

func (n size) entry() *entry {
	return &entry{items: make([]item, 0, n.items+n.items/8), text: make([]byte, 0, n.text+n.text/8)}
}

// gatherFor is how long records are gathered before lanes are told of them. A range costs a durable cursor, and a request
// its round trip, whether of one event or of hundreds; and Stripe adds events up behind its answers anyway.
const gatherFor = 500 * time.Millisecond

// A reader that had to wait is where the log ends, and takes what comes in restFor at once instead of batch by batch.
const (
	atEnd   = time.Millisecond
	restFor = 20 * time.Millisecond
)

// tap reads a partition for all lanes that are where it is. A lane whose queue is full is left behind; it reads by itself
// until it has come to where the tap is, and is served again.
type tap struct {
	f         *Forwarder
	view      View
	partition int32
	behind    chan struct{} // one for each lane that reads by itself

	gathering sync.Mutex // taken before mu
	// Guarded by gathering: what was read and not served yet.
	gathered      map[scope]*entry
	sizes         map[scope]size // of the last ones
	gatheredTo    int64
	gatheredBytes int
	timer         *time.Timer // serves it; nil: there is nothing

	mu sync.Mutex
	// Guarded by mu, as are the queues of the lanes.
	next  int64 // of what was served; -1: nothing was read yet
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
	defer t.drop()
	asked := t.f.cfg.Now()
	return eachChunk(ctx, t.f.cfg.Log, t.f.cfg.UsageTopic, t.partition, from, math.MaxInt64, func(records []recordbatch.Record, end int64) error {
		waited := t.f.cfg.Now().Sub(asked)
		if err := t.view.Wait(ctx, end-1); err != nil {
			return err
		}
		if err := t.gather(records, end); err != nil {
			return err
		}
		if waited >= atEnd {
			if err := sleep(ctx, restFor); err != nil {
				return err
			}
		}
		asked = t.f.cfg.Now()
		return nil
	})
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

// gather takes a chunk in. It is served when it is old enough, or as much as a range or a queue.
func (t *tap) gather(records []recordbatch.Record, end int64) error {
	t.gathering.Lock()
	defer t.gathering.Unlock()
	if t.timer == nil {
		t.timer = time.AfterFunc(gatherFor, func() {
			t.gathering.Lock()
			defer t.gathering.Unlock()
			t.serve()
		})
	}
	full := false
	if err := t.each(t.view, records, t.f.cfg.Rollup > 0, func(s scope, i *item, payload []byte) {
		e := t.gathered[s]
		if e == nil {
			e = t.sizes[s].entry()
			t.gathered[s] = e
		}
		e.add(i, payload)
		t.gatheredBytes += i.bytes()
		full = full || len(e.items) >= t.f.cfg.RangeEvents
	}); err != nil {
		t.forget() // a part of the chunk is in it
		return err
	}
	if t.gatheredTo = end; full || t.gatheredBytes >= t.f.cfg.QueueBytes {
		t.serve()
	}
	return nil
}

// drop forgets what was gathered, which is read again.
func (t *tap) drop() {
	t.gathering.Lock()
	defer t.gathering.Unlock()
	t.forget()
}

func (t *tap) forget() {
	if t.timer != nil {
		t.timer.Stop()
	}
	clear(t.gathered)
	t.timer, t.gatheredBytes = nil, 0
}

// serve hands what was gathered to the lanes that are at its beginning. gathering is held.
func (t *tap) serve() {
	if t.timer == nil {
		return // somebody was quicker
	}
	t.timer.Stop()
	t.timer, t.gatheredBytes = nil, 0
	t.mu.Lock()
	defer t.mu.Unlock()
	for s, l := range t.lanes {
		if l.placed && l.end == t.next {
			l.serve(t.gathered[s], t.gatheredTo)
		}
	}
	t.next = t.gatheredTo
	for s, e := range t.gathered {
		t.sizes[s] = size{len(e.items), len(e.text)}
	}
	clear(t.gathered)
}

// each makes items of what is to be forwarded at all; customers are only of use to who rolls up. An item and the payload
// that belongs to it are valid until do returns.
func (t *tap) each(view View, records []recordbatch.Record, customers bool, do func(s scope, i *item, payload []byte)) error {
	var i item
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
		i = item{
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
		do(last.scope, &i, r.Payload)
	})
}

// readRange reads items of one scope from an offset on until end, and hands them over by chunks, with the chunk's own end.
func (t *tap) readRange(ctx context.Context, view View, s scope, from, end int64, do func(e *entry) error) error {
	return eachChunk(ctx, t.f.cfg.Log, t.f.cfg.UsageTopic, t.partition, from, end, func(records []recordbatch.Record, to int64) error {
		e := entry{end: to}
		if len(records) > 0 {
			if err := view.Wait(ctx, records[len(records)-1].Offset); err != nil {
				return err
			}
			if err := t.each(view, records, true, func(of scope, i *item, payload []byte) {
				if of == s {
					e.add(i, payload)
				}
			}); err != nil {
				return err
			}
		}
		return do(&e)
	})
}

// eachChunk reads a partition from an offset on until end, and hands over what comes, with the offset up to which it is
// all that there is. A chunk may be empty where compaction has left nothing.
func eachChunk(ctx context.Context, log commitlog.Log, topic string, partition int32, from, end int64, do func(records []recordbatch.Record, to int64) error) error {
	r, err := log.NewReader(topic, partition, from)
	if err != nil {
		return err
	}
	defer r.Close()
	for from < end {
		records, err := r.Next(ctx)
		if err != nil {
			return err
		}
		from = min(end, records[len(records)-1].Offset+1)
		for len(records) > 0 && records[len(records)-1].Offset >= end {
			records = records[:len(records)-1]
		}
		if err := do(records, from); err != nil {
			return err
		}
	}
	return nil
}

var errEnough = errors.New("forward: enough was read")

// one reads what is to be known of the event at one offset; nil: it is gone.
func (t *tap) one(ctx context.Context, view View, s scope, offset int64) (found *item, err error) {
	err = t.readRange(ctx, view, s, offset, offset+1, func(e *entry) error {
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
