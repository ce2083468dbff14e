package usage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

// What the worker has not come to is in the log alone. Fate looks there, up to a bound, so that a worker that is behind
// does not say of an event with a 200 that it never came.
const (
	aheadRecords = 200_000
	aheadTime    = time.Second
	// elsewhereShare is the part of the bounds in a partition where the plain key of a meter does not lead: only events of
	// a spread meter are there, and a question goes to all partitions, one after the other.
	elsewhereShare = 10
)

// ahead looks for an event among the records that the worker has not come to.
type ahead struct {
	p       *partition
	q       *FateQuery
	records int64
	end     time.Time // by Config.Now

	next int64 // the log ended there when it was asked
	asOf int64 // everything received before was looked at
	read meterevent.RecordReader
	view meterevent.Record
}

// lookAhead makes a fate of an identifier that the index does not know one of the log, from an offset on.
func (p *partition) lookAhead(ctx context.Context, q *FateQuery, from int64, f *Fate) error {
	begun := p.cfg.Now()
	_, next, err := p.cfg.Log.Bounds(ctx, p.cfg.Topic, p.number)
	if err != nil {
		return fmt.Errorf("usage: asking how long partition %d is: %w", p.number, err)
	}
	if next <= from {
		f.AsOfMs = max(f.AsOfMs, begun.UnixMilli())
		return nil
	}
	a := ahead{p: p, q: q, records: aheadRecords, next: next, asOf: f.AsOfMs}
	bound := aheadTime
	plain := meterevent.AppendKey(nil, q.Business, q.Livemode, []byte(q.EventName))
	if commitlog.PartitionFor(plain, p.cfg.Log.Partitions(p.cfg.Topic)) != p.number {
		a.records, bound = a.records/elsewhereShare, bound/elsewhereShare
	}
	a.end = begun.Add(bound)
	bounded, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	rec, complete, err := a.look(bounded, from)
	switch {
	case rec != nil:
		f.Status, f.Topic = Accepted, p.cfg.Topic
		f.Offset, f.ReceivedMs, f.TimestampMs = rec.Offset, rec.TimestampMs, a.view.TimestampMs
	case complete:
		a.asOf = max(a.asOf, begun.UnixMilli())
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && bounded.Err() == nil:
		return fmt.Errorf("usage: looking ahead in partition %d: %w", p.number, err)
	}
	f.AsOfMs = a.asOf
	return nil
}

// look reads on until the event is found, the end that the log had is reached, or a bound is.
func (a *ahead) look(ctx context.Context, from int64) (found *recordbatch.Record, complete bool, err error) {
	reader, err := a.p.cfg.Log.NewReader(a.p.cfg.Topic, a.p.number, from)
	for err == nil {
		var records []recordbatch.Record
		if records, err = reader.Next(ctx); err != nil {
			break
		}
		for i := range records {
			switch {
			case a.is(&records[i]):
				rec := records[i]
				return &rec, false, reader.Close()
			case records[i].Offset >= a.next-1:
				return nil, true, reader.Close()
			}
			a.asOf = max(a.asOf, records[i].TimestampMs)
		}
		if a.records -= int64(len(records)); a.records <= 0 || !a.p.cfg.Now().Before(a.end) {
			return nil, false, reader.Close()
		}
	}
	if errors.Is(err, commitlog.ErrOffsetOutOfRange) {
		err = nil // retention is ahead of the worker, which will tell of it
	}
	if reader != nil {
		_ = reader.Close()
	}
	return nil, false, err
}

// is says whether a record is the event that is looked for.
func (a *ahead) is(rec *recordbatch.Record) bool {
	r := &a.view
	return a.read.Read(rec.Value, r) == nil && !r.Adjustment && r.Livemode == a.q.Livemode &&
		string(r.Identifier) == a.q.Identifier && string(r.EventName) == a.q.EventName && string(r.Business) == a.q.Business
}
