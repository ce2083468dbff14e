package usage

import (
	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

// event applies one event.
func (p *partition) event(s *scope, rec *recordbatch.Record, r *meterevent.Record, clockMs int64) error {
	id := p.store.identify(&s.hash, r.Identifier)
	j := &p.judged
	if reason, raw := judge(&p.reader, r, s.meter, rec.TimestampMs, j); reason != "" {
		if _, _, err := p.index.Insert(aboutEvent(id, aboutRefusal, floorDiv(clockMs, hourMs)), rec.Offset, clockMs, numberOf(reason)); err != nil {
			return err
		}
		p.refuse(s, rec, r, reason, raw, clockMs)
		return nil
	}
	kind := uint8(kindCounted)
	early, err := p.cancelledBefore(id, rec.Offset, clockMs)
	if err != nil {
		return err
	}
	if early != nil {
		kind = kindCancelled
	}
	prev, found, err := p.index.Insert(id, rec.Offset, clockMs, kind)
	if err != nil {
		return err
	}
	if found {
		p.tally.duplicates++
		_, _, err = p.index.Insert(aboutEvent(id, aboutDuplicate, prev.Offset), rec.Offset, clockMs, 0)
		return err
	}
	if p.replaying {
		return nil
	}
	if r.HasRequest {
		p.keepRequest(id, rec, r, clockMs)
	}
	if early != nil {
		p.tally.cancelledEarly++
		return p.batch.Delete(appendPending(nil, p.number, early.hour, early.offset), nil)
	}
	p.tally.counted++
	return p.fold(s, j, r.TimestampMs, rec.Offset, clockMs)
}

// fold adds an event to the totals.
func (p *partition) fold(s *scope, j *judged, timeMs, offset, clockMs int64) error {
	if keepsEvents(j.meter) {
		return p.keep(j, timeMs, offset, clockMs)
	}
	p.add(p.seriesOf(s, j.meter.ID, j.customer), floorDiv(timeMs, minuteMs), 1, &j.value, false)
	return nil
}

// keepsEvents says whether a meter's events replace one another, so that each has to be kept until it is settled.
func keepsEvents(m *control.Meter) bool {
	return m.Formula == control.Last || m.Window != control.NoWindow
}

// keep keeps one event by itself.
func (p *partition) keep(j *judged, timeMs, offset, clockMs int64) error {
	series := appendSeries(nil, j.meter.ID, j.customer)
	k := kept{timeMs: timeMs, offset: offset, clockMs: clockMs, value: j.value}
	day := floorDiv(timeMs, dayMs)
	if day < p.state.minuteFloor() {
		// It came so late that only settled events are kept of its day. So it is settled at once, and can not be cancelled.
		p.value = k.append(p.value[:0])
		p.key = appendHour(p.key[:0], p.number, tableSurvivors, series, bucketHour(j.meter.Window, timeMs))
		return p.batch.Merge(p.key, p.value, nil)
	}
	p.key = appendEvent(p.key[:0], p.number, series, timeMs, offset)
	p.value = k.appendValue(p.value[:0])
	if err := p.batch.Set(p.key, p.value, nil); err != nil {
		return err
	}
	p.key = appendThinning(p.key[:0], p.number, floorDiv(clockMs, hourMs), j.meter.Window, series, timeMs)
	return p.batch.Set(p.key, nil, nil)
}

func appendEvent(dst []byte, partition int32, series []byte, timeMs, offset int64) []byte {
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
