package usage

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// flush writes everything since the last flush, with the offset it belongs to, in one atomic batch. Without sync a
// crash of the machine may take the newest flushes, which is as if they had not been: the log is read again from there.
func (p *partition) flush(ctx context.Context, sync bool) error {
	begun := p.cfg.Now()
	if err := p.takeOut(ctx); err != nil {
		return err
	}
	if err := p.drainSeries(); err != nil {
		return err
	}
	p.drainParts()
	if p.state.Offset >= p.state.RebuildTo {
		p.state.RebuildTo = 0
	}
	p.write(appendTable(nil, p.number, tableState), p.state.encode())
	if err := p.commit(sync); err != nil {
		return err
	}
	p.flushTook = p.cfg.Now().Sub(begun)
	p.counts.flush.Observe(int64(p.flushTook))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushed = p.state
	p.current()
	clear(p.fresh.requests)
	clear(p.fresh.cancels)
	clear(p.fresh.refusals)
	p.outbox.written()
	return nil
}

// commit writes the batch and begins another.
func (p *partition) commit(sync bool) error {
	options := pebble.NoSync
	if sync {
		options = pebble.Sync
	}
	if err := p.store.Commit(p.batch, options); err != nil {
		return err
	}
	p.batch = p.store.DB.NewBatch()
	return nil
}

// seal puts the index on disk. The state goes first and for good, so that the index is never ahead of it: an entry of a
// record that the state has not seen would make that record its own duplicate's victim.
func (p *partition) seal(ctx context.Context) error {
	if err := p.flush(ctx, true); err != nil {
		return err
	}
	begun := p.cfg.Now()
	p.index.Release(p.state.ClockMs)
	p.index.Advance(p.state.ClockMs)
	err := p.index.Seal(p.state.Offset)
	p.counts.seal.Observe(int64(p.cfg.Now().Sub(begun)))
	return err
}

// takeOut subtracts the events that were cancelled since the last flush. Their share is read from the log, in order of
// their offsets, since the index holds no more than where they are. One that can not be read stays counted.
func (p *partition) takeOut(ctx context.Context) error {
	if len(p.cancels) == 0 {
		return nil
	}
	return p.back.each(ctx, &p.cancels, func(offset int64, found bool) error {
		why := errors.New("retention has removed it")
		if found {
			why = p.takeOutOne()
		}
		if why != nil {
			p.tally.unreadable++
			p.counts.add(&p.tally)
			p.cfg.Notify(Notice{What: Unreadable, Partition: p.number, Detail: fmt.Sprintf("offset %d", offset), Err: why})
		}
		return nil
	})
}

// takeOutOne subtracts the event that back has read, or says why it can not. Whether the event counts is not asked
// again: the index says that it did, and a change of its meter that was told since, with a time before the event's
// receipt by the clock of another gateway, does not change what was added. How it is read does not change at all.
func (p *partition) takeOutOne() error {
	rec, r, j := &p.back.record, &p.back.view, &judged{}
	if err := p.back.reader.Read(rec.Value, r); err != nil {
		return err
	}
	if r.Adjustment {
		return errors.New("it is no event")
	}
	s := p.scopeOf(rec.Key, r)
	if s.meter == nil {
		return fmt.Errorf("there is no meter %q", s.EventName)
	}
	if reason, _ := share(&p.back.reader, r, s.meter, j); reason != "" {
		return fmt.Errorf("its share can not be read: %s", reason)
	}
	if keepsEvents(j.meter) {
		p.key = appendEvent(p.key[:0], p.number, appendSeries(nil, j.meter.ID, j.customer), r.TimestampMs, rec.Offset)
		p.erase(p.key)
		return nil
	}
	p.add(p.seriesOf(s, j.meter.ID, j.customer), floorDiv(r.TimestampMs, minuteMs), -1, &j.value, true)
	return nil
}
