package usage

import (
	"tollgate/pkg/control"
	"tollgate/pkg/dedup"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

// one takes one record, or passes it again for the index. What became of events is known after settleEvents.
func (p *partition) one(rec *recordbatch.Record, clockMs int64) error {
	r := &p.record
	if err := p.reader.Read(rec.Value, r); err != nil {
		p.invalid()
		return nil
	}
	s := p.scopeOf(rec.Key, r)
	if !r.Adjustment {
		return p.event(s, rec, r, clockMs)
	}
	if err := p.settleEvents(); err != nil {
		return err
	}
	return p.cancel(s, rec, r, clockMs)
}

// asked is an event between the question whether its identifier is new and the answer. It holds no views of its record:
// others were read since.
type asked struct {
	refused     bool // the item is of its refusal, and the answer does not matter
	window      control.Window
	keeps       bool
	series      *series
	value       meterevent.Decimal
	timestampMs int64
	request     meterevent.Request
	hasRequest  bool
	receivedMs  int64
	early       *pending
}

// event judges one event and puts the question whether its identifier is new with those of the events before: many at
// once wait for memory together, and cost a third. Events of one minute are asked for at once, since what the index
// notes with an answer has the minute it is given in.
func (p *partition) event(s *scope, rec *recordbatch.Record, r *meterevent.Record, clockMs int64) error {
	if n := len(p.items); n > 0 && p.items[n-1].NowMs != clockMs && floorDiv(p.items[n-1].NowMs, minuteMs) != floorDiv(clockMs, minuteMs) {
		if err := p.settleEvents(); err != nil {
			return err
		}
	}
	id := p.store.identify(&s.hash, r.Identifier)
	j := &p.judged
	if reason, raw := judge(&p.reader, r, s.meter, rec.TimestampMs, j); reason != "" {
		p.refuse(s, rec, r, reason, raw, clockMs)
		p.items = append(p.items, dedup.Item{
			ID: aboutEvent(id, aboutRefusal, floorDiv(clockMs, hourMs)), Offset: rec.Offset, NowMs: clockMs, Kind: numberOf(reason),
		})
		p.asked = append(p.asked, asked{refused: true})
		return nil
	}
	early, err := p.cancelledBefore(id, rec.Offset, clockMs)
	if err != nil {
		return err
	}
	kind := uint8(kindCounted)
	if early != nil {
		kind = kindCancelled
	}
	p.items = append(p.items, dedup.Item{ID: id, Offset: rec.Offset, NowMs: clockMs, Kind: kind})
	p.asked = append(p.asked, asked{
		window: j.meter.Window, keeps: keepsEvents(j.meter), series: p.seriesOf(s, j.meter.ID, j.customer), value: j.value,
		timestampMs: r.TimestampMs, request: r.Request, hasRequest: r.HasRequest, receivedMs: rec.TimestampMs, early: early,
	})
	return nil
}

// settleEvents asks the index about the events that were judged, and counts those that are the first of their identifier.
func (p *partition) settleEvents() error {
	if len(p.items) == 0 {
		return nil
	}
	if _, err := p.index.InsertMany(p.items); err != nil {
		return err
	}
	again := p.again[:0]
	now := p.items[len(p.items)-1].NowMs
	for i := range p.items {
		it, a := &p.items[i], &p.asked[i]
		switch {
		case a.refused:
		case it.Found:
			p.tally.duplicates++
			again = append(again, dedup.Item{ID: aboutEvent(it.ID, aboutDuplicate, it.Prev.Offset), Offset: it.Offset, NowMs: now})
		case !p.replaying:
			if err := p.count(a, it); err != nil {
				return err
			}
		}
	}
	p.items, p.asked, p.again = p.items[:0], p.asked[:0], again
	_, err := p.index.InsertMany(again)
	return err
}

// count counts an event that is the first of its identifier.
func (p *partition) count(a *asked, it *dedup.Item) error {
	if a.hasRequest {
		p.keepRequest(a, it)
	}
	if a.early != nil {
		p.tally.cancelledEarly++
		p.erase(appendPending(p.key[:0], p.number, a.early.hour, a.early.offset))
		return nil
	}
	p.tally.counted++
	if a.keeps {
		return p.keep(a, it)
	}
	p.add(a.series, floorDiv(a.timestampMs, minuteMs), 1, &a.value, false)
	return nil
}

// keepsEvents says whether a meter's events replace one another, so that each has to be kept until it is settled.
func keepsEvents(m *control.Meter) bool {
	return m.Formula == control.Last || m.Window != control.NoWindow
}

// keep keeps one event by itself.
func (p *partition) keep(a *asked, it *dedup.Item) error {
	k := kept{timeMs: a.timestampMs, offset: it.Offset, clockMs: it.NowMs, value: a.value}
	day := floorDiv(k.timeMs, dayMs)
	if day < p.state.minuteFloor() {
		// It came so late that only settled events are kept of its day. So it is settled at once, and can not be cancelled.
		p.value = k.append(p.value[:0])
		p.key = appendHour(p.key[:0], p.number, tableSurvivors, a.series.key, bucketHour(a.window, k.timeMs))
		return p.batch.Merge(p.key, p.value, nil)
	}
	p.key = appendEvent(p.key[:0], p.number, a.series.key, k.timeMs, k.offset)
	p.value = k.appendValue(p.value[:0])
	if err := p.batch.Set(p.key, p.value, nil); err != nil {
		return err
	}
	p.key = appendThinning(p.key[:0], p.number, floorDiv(k.clockMs, hourMs), a.window, a.series.key, k.timeMs)
	return p.batch.Set(p.key, nil, nil)
}

func appendEvent[S ~string | ~[]byte](dst []byte, partition int32, series S, timeMs, offset int64) []byte {
	dst = appendI32(appendTable(dst, partition, tableEvents), floorDiv(timeMs, dayMs))
	return appendU64(appendI64(append(dst, series...), timeMs), offset)
}

// bucketHour is the hour under which the newest settled event of a bucket is kept: its own, or its day's first.
func bucketHour(w control.Window, timeMs int64) int64 {
	if w == control.Day {
		return floorDiv(timeMs, dayMs) * 24
	}
	return floorDiv(timeMs, hourMs)
}

// closeGap notes when the records go on behind a gap.
func (p *partition) closeGap(atMs int64) {
	if n := len(p.state.Gaps); n > 0 && p.state.Gaps[n-1].ToMs == 0 {
		p.state.Gaps[n-1].ToMs = atMs + meterevent.TimestampFutureMaxMs + 1
	}
}
