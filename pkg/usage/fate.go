package usage

import (
	"context"

	"tollgate/pkg/dedup"
)

// Fate tells what became of an identifier in partitions that this worker runs, or in all of them when partitions is nil.
// Of several partitions, as a meter that is spread has them, the one that counted it answers.
func (w *Worker) Fate(ctx context.Context, partitions []int32, q FateQuery) (Fate, error) {
	parts, err := w.owned(partitions)
	if err != nil {
		return Fate{}, err
	}
	fates := make([]Fate, 0, len(parts))
	for _, p := range parts {
		f, err := p.fate(ctx, &q)
		if err != nil {
			return Fate{}, err
		}
		fates = append(fates, f)
	}
	return MergeFates(fates...), nil
}

// MergeFates chooses among the answers of several partitions: what was counted or cancelled before what was refused, and
// that before nothing, of which AsOfMs is the least.
func MergeFates(fates ...Fate) Fate {
	rank := map[Status]int{Refused: 1, Accepted: 2, Cancelled: 3, Counted: 4}
	best := Fate{Status: NotFound}
	for i, f := range fates {
		asOf := f.AsOfMs
		if i > 0 {
			asOf = min(asOf, best.AsOfMs)
		}
		switch {
		case i == 0 || rank[f.Status] > rank[best.Status]:
			waiting := best.CancelledBy
			best = f
			if best.CancelledBy == nil && best.Status == NotFound {
				best.CancelledBy = waiting
			}
		case best.Status == NotFound && best.CancelledBy == nil:
			best.CancelledBy = f.CancelledBy
		}
		best.AsOfMs = asOf
	}
	return best
}

func (p *partition) fate(ctx context.Context, q *FateQuery) (Fate, error) {
	hash := p.store.scopeHash(&q.Scope)
	id := p.store.identify(&hash, []byte(q.Identifier))
	f, entry, applied, err := p.lookUp(id)
	if err == nil && f.Status == NotFound {
		if err = p.lookAhead(ctx, q, applied, &f); err != nil || f.Status == NotFound {
			return f, err
		}
		// The worker may have come to it meanwhile, and then it says more.
		if now, found, applied, err := p.lookUp(id); err != nil || applied <= f.Offset {
			return f, err
		} else if f, entry = now, found; f.Status == NotFound {
			return f, nil
		}
	}
	if err != nil {
		return f, err
	}
	f.Topic = p.cfg.Topic
	return f, p.describe(ctx, q, &f, entry)
}

// lookUp asks the index, which knows of all before applied.
func (p *partition) lookUp(id dedup.ID) (f Fate, entry dedup.Entry, applied int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return f, entry, 0, ErrNotOwned
	}
	f, entry, err = p.fateOf(id)
	return f, entry, p.applied, p.judgeError(err)
}

// fateOf is what the index says. mu is held.
func (p *partition) fateOf(id dedup.ID) (f Fate, entry dedup.Entry, err error) {
	f = Fate{Status: NotFound, Partition: p.number, AsOfMs: max(p.clockMs, p.asOfMs)}
	entry, found, err := p.index.Find(id, p.clockMs)
	if err != nil {
		return f, entry, err
	}
	if found {
		f.Status = Counted
		if f.Duplicate, err = p.place(aboutEvent(id, aboutDuplicate, entry.Offset)); err != nil {
			return f, entry, err
		}
		by := aboutEvent(id, aboutCancel, entry.Offset)
		if entry.Kind == kindCancelled {
			f.Status, by = Cancelled, about(id, aboutPending)
		}
		if f.CancelledBy, err = p.place(by); f.CancelledBy != nil {
			f.Status = Cancelled
		}
		return f, entry, err
	}
	if f.CancelledBy, err = p.place(about(id, aboutPending)); err != nil {
		return f, entry, err
	}
	entry, found, err = p.findRefusal(id, p.clockMs)
	if found {
		f.Status, f.Code = Refused, string(reasons[entry.Kind])
	}
	return f, entry, err
}

// place is where something about an identifier is in the log.
func (p *partition) place(id dedup.ID) (*Place, error) {
	e, found, err := p.index.Find(id, p.clockMs)
	if err != nil || !found {
		return nil, err
	}
	return &Place{p.number, e.Offset, e.TimeMs}, nil
}

// describe adds what only the record itself says. A record that is not there any more leaves it at what the index knows:
// times to the minute, and the code without its message.
func (p *partition) describe(ctx context.Context, q *FateQuery, f *Fate, e dedup.Entry) error {
	f.Offset, f.ReceivedMs = e.Offset, e.TimeMs
	back := backReader{log: p.cfg.Log, topic: p.cfg.Topic, partition: p.number}
	rec, found, err := back.one(ctx, e.Offset)
	if err != nil || !found {
		return err
	}
	r := &back.view
	if err := back.reader.Read(rec.Value, r); err != nil || string(r.Identifier) != q.Identifier {
		return nil
	}
	f.ReceivedMs, f.TimestampMs = rec.TimestampMs, r.TimestampMs
	if f.Status != Refused {
		return nil
	}
	m := p.latestMeters().named(&q.Scope)
	var j judged
	if reason, raw := judge(&back.reader, r, m, rec.TimestampMs, &j); reason != "" {
		f.Code, f.Message = string(reason), message(reason, &q.Scope, m, raw, rec.TimestampMs)
	}
	return nil
}
