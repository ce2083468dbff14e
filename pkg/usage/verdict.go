package usage

import (
	"context"

	"tollgate/pkg/dedup"
)

// Verdict waits until the record of a synchronous request was applied, and tells what became of it (D18).
func (w *Worker) Verdict(ctx context.Context, q VerdictQuery) (Verdict, error) {
	parts, err := w.owned([]int32{q.Partition})
	if err != nil {
		return Verdict{}, err
	}
	p := parts[0]
	offset := q.Offset
	if offset < 0 {
		_, next, err := w.cfg.Log.Bounds(ctx, w.cfg.Topic, q.Partition)
		if err != nil {
			return Verdict{}, err
		}
		offset = next - 1
	}
	if err := p.wait(ctx, offset); err != nil {
		return Verdict{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return Verdict{}, ErrNotOwned
	}
	var v Verdict
	if q.Adjustment {
		v, err = p.verdictOnCancel(&q)
	} else {
		v, err = p.verdict(&q)
	}
	return v, p.judgeError(err)
}

// wait waits until the record at an offset was applied.
func (p *partition) wait(ctx context.Context, offset int64) error {
	p.mu.Lock()
	if p.gone || p.applied > offset {
		p.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	p.waiters = append(p.waiters, waiter{offset, done})
	p.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-p.store.Up().Done():
		return p.store.Usable()
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		for i := range p.waiters {
			if p.waiters[i].done == done {
				last := len(p.waiters) - 1
				p.waiters[i] = p.waiters[last]
				p.waiters[last] = waiter{}
				p.waiters = p.waiters[:last]
				break
			}
		}
		return ctx.Err()
	}
}

// refusal answers for a record that was refused. mu is held.
func (p *partition) refusal(q *VerdictQuery) (v Verdict, found bool, err error) {
	if q.Offset < 0 {
		return v, false, nil
	}
	row, found, err := p.refusalOf(q.Offset, p.clockMs)
	return Verdict{Outcome: OutcomeRefused, Code: string(row.Reason), Message: row.Message, ReceivedMs: row.ReceivedMs}, found, err
}

// verdict is on an event. mu is held.
func (p *partition) verdict(q *VerdictQuery) (Verdict, error) {
	if v, found, err := p.refusal(q); err != nil || found {
		return v, err
	}
	hash := p.store.scopeHash(&q.Scope)
	id := p.store.identify(&hash, []byte(q.Identifier))
	first, found, err := p.index.Find(id, p.clockMs)
	if err != nil {
		return Verdict{}, err
	}
	if !found {
		refused, found, err := p.findRefusal(id, p.clockMs)
		if err != nil || !found {
			return Verdict{}, orNoTrace(err)
		}
		reason := string(reasons[refused.Kind])
		return Verdict{Outcome: OutcomeRefused, Code: reason, Message: reason, ReceivedMs: refused.TimeMs}, nil
	}
	row, found, err := p.requestOf(id, first)
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Outcome: OutcomeDuplicate, ReceivedMs: first.TimeMs}
	if !found {
		if first.Offset == q.Offset {
			return Verdict{}, ErrNoTrace
		}
		return v, nil
	}
	v.ReceivedMs, v.TimestampMs = row.ReceivedMs, row.TimestampMs
	switch {
	case first.Offset == q.Offset:
		v.Outcome = OutcomeNew
	case row.same(q.Request):
		v.Outcome = OutcomeReplay
	case row.Key == q.Request.Key:
		v.Outcome = OutcomeKeyReused
	}
	return v, nil
}

func orNoTrace(err error) error {
	if err != nil {
		return err
	}
	return ErrNoTrace
}

// requestOf finds the request that brought the event of an entry. mu is held.
func (p *partition) requestOf(id dedup.ID, first dedup.Entry) (row requestRow, found bool, err error) {
	if row, found = p.fresh.requests[id]; found && row.Offset == first.Offset {
		return row, true, nil
	}
	found, err = p.store.row(appendRequestKey(nil, p.number, floorDiv(first.TimeMs, dayMs), id), &row)
	return row, found && row.Offset == first.Offset, err
}

// verdictOnCancel is on an adjustment. mu is held.
func (p *partition) verdictOnCancel(q *VerdictQuery) (Verdict, error) {
	if v, found, err := p.refusal(q); err != nil || found {
		return v, err
	}
	last := q.Offset
	if last < 0 {
		last = p.applied - 1
	}
	row, found, err := p.cancelRow(p.store.requestHash(&q.Scope, q.Request.Key), p.clockMs, last)
	if err != nil || !found {
		return Verdict{}, orNoTrace(err)
	}
	v := Verdict{Outcome: OutcomeKeyReused, ReceivedMs: row.ReceivedMs}
	switch {
	case row.Offset == q.Offset:
		v.Outcome = OutcomeNew
	case row.same(q.Request):
		v.Outcome = OutcomeReplay
	}
	return v, nil
}
