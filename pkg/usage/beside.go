package usage

import (
	"context"
	"fmt"
	"time"

	"tollgate/pkg/control"
	"tollgate/pkg/dedup"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

// BesideTimeout is how long a partition that is given back waits for Config.Beside to return.
const BesideTimeout = 15 * time.Second

// RulingKind is what the fold has made of one record.
type RulingKind uint8

// The kinds. Those of adjustments come last.
const (
	// RulingInvalid: the record is none of ours.
	RulingInvalid RulingKind = iota
	// RulingCounted: the event is the first of its identifier, and counts or did until it was cancelled.
	RulingCounted
	// RulingAgain: another event has had its identifier.
	RulingAgain
	// RulingNotCounted: the event was refused; Reason says why.
	RulingNotCounted
	// RulingStillborn: its cancel came first, so that it never counted.
	RulingStillborn
	// RulingForgotten: the record is older than what the index of identifiers keeps, which can not say any more.
	RulingForgotten
	// RulingCancels: the adjustment took out the event at the offset Other.
	RulingCancels
	// RulingCancelsNothing: the adjustment came too late, again, or before its event, which then never counted.
	RulingCancelsNothing
)

// Ruling is what became of a record.
type Ruling struct {
	Kind   RulingKind
	Reason meterevent.Reason // of RulingNotCounted
	// Other is, of a counted event, the offset of the adjustment that took it out, as far as the fold has come; of an
	// adjustment, that of the event. -1: none.
	Other int64
	// Record is the record as it was read, Customer and Value what a counted event brought, by Meter. Of an adjustment
	// there is only Meter, nil where the name has none. They are views of the record's value.
	Record   meterevent.Record
	Meter    *control.Meter
	Customer []byte
	Value    meterevent.Decimal
}

// View looks into the fold of one partition while this worker runs it. It belongs to one goroutine; Fork makes another.
type View struct {
	p      *partition
	reader meterevent.RecordReader
}

// Fork returns a view of the same partition for another goroutine.
func (v *View) Fork() *View { return &View{p: v.p} }

// Partition is the partition's number.
func (v *View) Partition() int32 { return v.p.number }

// Wait returns when the record at an offset was applied, with ErrNotOwned when the partition was given back.
func (v *View) Wait(ctx context.Context, offset int64) error {
	if err := v.p.wait(ctx, offset); err != nil {
		return err
	}
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	if v.p.gone {
		return ErrNotOwned
	}
	return nil
}

// Each tells what became of records that were applied; see Wait. The ruling is valid until do returns. What it says of
// an event is said again whenever it is asked, but for Other, which may come later, and for what was forgotten.
func (v *View) Each(records []recordbatch.Record, do func(rec *recordbatch.Record, o *Ruling)) error {
	meters := v.p.latestMeters()
	var o Ruling
	for i := range records {
		o = Ruling{Other: -1}
		if err := v.rule(meters, &records[i], &o); err != nil {
			return v.p.judgeError(err)
		}
		do(&records[i], &o)
	}
	return nil
}

func (v *View) rule(meters meters, rec *recordbatch.Record, o *Ruling) error {
	p, r := v.p, &o.Record
	if err := v.reader.Read(rec.Value, r); err != nil {
		o.Kind = RulingInvalid
		return nil
	}
	scope := Scope{Business: string(r.Business), Livemode: r.Livemode, EventName: string(r.EventName)}
	o.Meter = meters.named(&scope)
	if !r.Adjustment {
		var j judged
		if o.Reason, _ = judge(&v.reader, r, o.Meter, rec.TimestampMs, &j); o.Reason != "" {
			o.Kind = RulingNotCounted
			return nil
		}
		o.Customer, o.Value = j.customer, j.value
	}
	hash := p.store.scopeHash(&scope)
	id := p.store.identify(&hash, r.Identifier)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.gone:
		return ErrNotOwned
	case rec.Offset >= p.applied:
		return fmt.Errorf("usage: the record at %d was not applied: %w", rec.Offset, ErrNoTrace)
	}
	entry, found, err := p.index.Find(id, p.clockMs)
	switch {
	case err != nil:
		return err
	case r.Adjustment:
		return p.rulingOnCancel(id, entry, found, rec.Offset, o)
	case !found || entry.Offset > rec.Offset:
		o.Kind = RulingForgotten
	case entry.Offset < rec.Offset:
		o.Kind = RulingAgain
	case entry.Kind == kindCancelled:
		o.Kind = RulingStillborn
	default:
		o.Kind = RulingCounted
		cancel, found, err := p.index.Find(aboutEvent(id, aboutCancel, rec.Offset), p.clockMs)
		if err != nil {
			return err
		}
		if found {
			o.Other = cancel.Offset
		}
	}
	return nil
}

// rulingOnCancel says what an adjustment has done. mu is held.
func (p *partition) rulingOnCancel(id dedup.ID, event dedup.Entry, found bool, offset int64, o *Ruling) error {
	o.Kind = RulingCancelsNothing
	if !found || event.Kind == kindCancelled || event.Offset > offset {
		return nil
	}
	first, found, err := p.index.Find(aboutEvent(id, aboutCancel, event.Offset), p.clockMs)
	if err == nil && found && first.Offset == offset {
		o.Kind, o.Other = RulingCancels, event.Offset
	}
	return err
}

// beside is the run of Config.Beside for a partition.
type beside struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func (w *Worker) runBeside(ctx context.Context, p *partition) *beside {
	if w.cfg.Beside == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &beside{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		w.cfg.Beside(ctx, &View{p: p})
	}()
	return b
}

// end ends it, so that nothing of it is sent when another gateway takes the partition up.
func (b *beside) end() {
	if b == nil {
		return
	}
	b.cancel()
	patience := time.NewTimer(BesideTimeout)
	defer patience.Stop()
	select {
	case <-b.done:
	case <-patience.C:
	}
}
