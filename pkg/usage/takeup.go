package usage

import (
	"context"
	"errors"

	"tollgate/pkg/thinevent"
)

// takeUp is the beginning of a partition's reports. This machine may have run the partition before, and others since: what
// the store has of parts, open and closed, may be in the topic already, from here or from them.
//
// Of every subject the records that are in the topic are the first ones, up to some offset. So a part whose id is known
// is in the topic as a whole, and one whose id is not known is not in it at all. Those of one window are put together, as
// if they had never been closed: whoever closed a part of this window since did it behind all that was seen here, and
// will find that this one does so too. See docs/adr/0031.
type takeUp struct {
	p       *partition
	blind   bool // the index of events can not be asked
	through map[subject]int64
	last    map[subject]*unsent
	changed bool
}

// unsent is the newest report of a subject that is to be appended.
type unsent struct {
	report
	changed bool
}

// takeUpReports decides what of the store's parts is still to be reported.
func (f *follower) takeUpReports(ctx context.Context) error {
	p, events := f.p, f.w.cfg.Events
	if events == nil {
		return nil
	}
	t := takeUp{p: p, through: make(map[subject]int64), last: make(map[subject]*unsent)}
	err := f.await(ctx, func(ctx context.Context) error {
		err := events.CaughtUp(ctx)
		var damaged *thinevent.DamagedError
		if errors.As(err, &damaged) {
			// Counting goes on. What is refused waits in the outbox until somebody has made the index well.
			t.blind, err = true, nil
		}
		return err
	})
	if err != nil {
		return err
	}
	closed := appendTable(nil, p.number, tableReports)
	if err := p.store.each(closed, prefixEnd(closed), t.closed); err != nil {
		return err
	}
	open := appendTable(nil, p.number, tableParts)
	if err := p.store.each(open, prefixEnd(open), t.open); err != nil {
		return err
	}
	t.finish()
	p.counts.add(&p.tally)
	if !t.changed {
		return nil
	}
	return p.flush(ctx, true)
}

// known says whether an event counts the records of a part.
func (t *takeUp) known(pt *part) (bool, error) {
	if t.blind {
		return false, nil
	}
	through := t.through[pt.subject]
	if pt.first >= through {
		id := pt.id(t.p.number)
		behind, found, err := t.p.cfg.Events.Reported(id)
		if err != nil || !found {
			return false, err
		}
		through = max(behind, pt.first+1)
		t.through[pt.subject] = through
	}
	if through < pt.through {
		t.p.disagrees(pt.id(t.p.number), pt.through, through)
	}
	t.p.tally.reports[reportRepeated]++
	t.changed = true
	return true, nil
}

// closed takes up a row of the outbox.
func (t *takeUp) closed(key, row []byte) error {
	r, err := decodeReport(key, row)
	if err != nil {
		return err
	}
	t.p.outbox.note(r.bytes, 1)
	if t.blind {
		return nil
	}
	if known, err := t.known(&r.part); known || err != nil {
		t.drop(&r)
		return err
	}
	last := t.last[r.subject]
	if last != nil && last.startMs == r.startMs {
		last.add(&r.part)
		last.changed, t.changed = true, true
		t.drop(&r)
		return nil
	}
	t.keep(last)
	t.last[r.subject] = &unsent{report: r}
	return nil
}

// drop takes a row out of the outbox.
func (t *takeUp) drop(r *report) {
	t.p.erase(r.key)
	t.p.outbox.note(r.bytes, -1)
}

// keep writes a row that others were added to.
func (t *takeUp) keep(r *unsent) {
	if r == nil || !r.changed {
		return
	}
	row := r.part.append(appendI64(nil, r.closedMs))
	t.p.write(r.key, row)
	t.p.outbox.note(r.bytes, -1)
	t.p.outbox.note(len(row), 1)
}

// open takes up an open part.
func (t *takeUp) open(_, row []byte) error {
	p, pt := t.p, &part{open: true, stored: true}
	if err := pt.decode(row); err != nil {
		return err
	}
	if pt.through != 0 {
		known, err := t.known(pt)
		if err != nil {
			return err
		}
		if known {
			*pt = part{subject: pt.subject, until: pt.until, open: true, stored: true}
		}
	}
	p.parts[pt.subject] = pt
	if last := t.last[pt.subject]; last != nil && pt.through != 0 && last.startMs == pt.startMs {
		last.add(pt)
		t.reopen(last)
	}
	return nil
}

// reopen makes a closed part the open one.
func (t *takeUp) reopen(r *unsent) {
	stored := t.p.parts[r.subject] != nil
	r.part.open, r.part.stored = true, stored
	t.p.parts[r.subject] = &r.part
	t.p.touch(&r.part)
	t.drop(&r.report)
	delete(t.last, r.subject)
	t.changed = true
}

// finish opens again what was closed of the open window, and has passed over what events count behind the state.
func (t *takeUp) finish() {
	p := t.p
	for _, last := range t.last {
		if last.startMs == p.windowEnd-windowMs && p.parts[last.subject] == nil {
			t.reopen(last)
			continue
		}
		t.keep(last)
	}
	for about, through := range t.through {
		if through > p.state.Offset {
			pt := p.partAbout(about)
			pt.until = max(pt.until, through)
			p.touch(pt)
		}
	}
	for _, pt := range p.parts {
		switch {
		case pt.through != 0:
			p.openedMs = p.cfg.Now().UnixMilli()
		case pt.until <= p.state.Offset:
			p.dropPart(pt)
			t.changed = true
		}
	}
}
