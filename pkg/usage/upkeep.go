package usage

import (
	"bytes"
	"context"
	"encoding/json"

	"tollgate/pkg/control"
	"tollgate/pkg/recordbatch"
)

// Upkeep is what time does to a state: events settle, cancels run out, old rows go. It is due when the clock comes into
// another hour, at that record, so that it depends on nothing but the log. The flush before it makes it a step of its
// own: when it is cut short, the state still says the hour before, and doing a part twice changes nothing.

// upkeepDue says whether the hour changes with a record.
func (p *partition) upkeepDue(rec *recordbatch.Record) bool {
	return p.state.Hour != noHour && floorDiv(max(p.state.ClockMs, rec.TimestampMs), hourMs) != p.state.Hour
}

// upkeepRows is how many rows upkeep puts into one batch.
const upkeepRows = 10_000

// upkeep brings the state to the hour of a clock. offset is of the record that brings it.
func (p *partition) upkeep(ctx context.Context, clockMs, offset int64) error {
	p.passWindow(clockMs, offset)
	if err := p.flush(ctx, false); err != nil {
		return err
	}
	begun := p.cfg.Now()
	defer func() { p.counts.upkeep.Observe(int64(p.cfg.Now().Sub(begun))) }()
	hour := floorDiv(clockMs, hourMs)
	if err := p.settle(hour - settledHours); err != nil {
		return err
	}
	if err := p.runOut(hour-settledHours, offset); err != nil {
		return err
	}
	if day := floorDiv(hour, 24); day != floorDiv(p.state.Hour, 24) {
		if err := p.expire(day, clockMs); err != nil {
			return err
		}
	}
	// The clock goes with what it brought: a cancel that found nothing is of the window that the clock comes into.
	p.state.Hour, p.state.ClockMs = hour, clockMs
	return p.flush(ctx, false)
}

// settle thins the events that were received in an hour or before: in each bucket the newest of them can not be
// cancelled any more, so whatever is older will never count.
func (p *partition) settle(hour int64) error {
	from, to := tableBelow(p.number, tableThinning, hour+1)
	rows := 0
	err := p.store.each(from, to, func(key, _ []byte) error {
		bucket, err := parseThinning(key)
		if err != nil {
			return err
		}
		if err := p.settleBucket(bucket, hour); err != nil {
			return err
		}
		if rows++; rows%upkeepRows == 0 {
			return p.commit(false)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.batch.DeleteRange(from, to, nil)
}

// thinning names a bucket: a minute of a meter without window, or a window.
type thinning struct {
	window  control.Window
	series  []byte
	startMs int64
}

var windowKinds = [...]control.Window{control.NoWindow, control.Hour, control.Day}

func bucketMs(w control.Window) int64 {
	switch w {
	case control.Hour:
		return hourMs
	case control.Day:
		return dayMs
	}
	return minuteMs
}

func appendThinning[S ~string | ~[]byte](dst []byte, partition int32, hour int64, w control.Window, series S, timeMs int64) []byte {
	kind := byte(0)
	for i, k := range windowKinds {
		if k == w {
			kind = byte(i)
		}
	}
	dst = append(appendI32(appendTable(dst, partition, tableThinning), hour), kind)
	return appendI32(append(dst, series...), floorDiv(floorTo(timeMs, bucketMs(w)), minuteMs))
}

func parseThinning(key []byte) (t thinning, err error) {
	const seriesAt = tableKeyBytes + 4 + 1
	if len(key) < seriesAt+4 || int(key[seriesAt-1]) >= len(windowKinds) {
		return t, errRow
	}
	end := len(key) - 4
	return thinning{windowKinds[key[seriesAt-1]], key[seriesAt:end], i32At(key[end:]) * minuteMs}, nil
}

// settleBucket keeps the newest settled event of a bucket, and those that are newer.
func (p *partition) settleBucket(t thinning, hour int64) error {
	from := appendEvent(nil, p.number, t.series, t.startMs, 0)
	to := appendEvent(nil, p.number, t.series, t.startMs+bucketMs(t.window)-1, 0)
	to = append(to[:len(to)-8], bytes.Repeat([]byte{0xff}, 9)...)
	return p.store.Back(p.store.DB, from, to, func(key, value []byte) (bool, error) {
		k, err := eventOf(key, value)
		if err != nil || floorDiv(k.clockMs, hourMs) > hour {
			return err == nil, err
		}
		p.value = k.append(p.value[:0])
		p.key = appendHour(p.key[:0], p.number, tableSurvivors, t.series, bucketHour(t.window, k.timeMs))
		if err := p.batch.Merge(p.key, p.value, nil); err != nil {
			return false, err
		}
		return false, p.batch.DeleteRange(from, append([]byte(nil), key...), nil)
	})
}

// eventOf reads a row of table events.
func eventOf(key, value []byte) (k kept, err error) {
	if len(key) < tableKeyBytes+4+16 {
		return k, errRow
	}
	k.timeMs, k.offset = i64At(key[len(key)-16:]), u64At(key[len(key)-8:])
	return k, k.decodeValue(value)
}

// runOut reports the cancels of an hour and before it that have found no event.
func (p *partition) runOut(hour, offset int64) error {
	from, to := tableBelow(p.number, tablePending, hour+1)
	err := p.store.each(from, to, func(_, value []byte) error {
		var row pendingRow
		if err := json.Unmarshal(value, &row); err != nil {
			return errRow
		}
		if row.Spread {
			// One of a spread meter's cancels finds its event, the others can not.
			p.tally.cancels[cancelElsewhere]++
			return nil
		}
		p.tally.cancels[cancelNothing]++
		p.reportNothing(&row, p.meters.named(&row.Scope), offset)
		return nil
	})
	if err != nil {
		return err
	}
	return p.batch.DeleteRange(from, to, nil)
}

// expire drops what is too old on a day.
func (p *partition) expire(day, clockMs int64) error {
	for _, t := range []struct {
		table byte
		end   int64
	}{
		{tableMinutes, day - minuteDays},
		{tableEvents, day - eventDays},
		{tableHours, floorDiv(day-totalDays, periodDays)},
		{tableSurvivors, floorDiv(day-totalDays, periodDays)},
		{tableRequests, day - 2},
		{tableRefusals, day - 2},
		{tableCancels, floorDiv(day-requestDays, replayDays)},
	} {
		from, to := tableBelow(p.number, t.table, t.end)
		if err := p.batch.DeleteRange(from, to, nil); err != nil {
			return err
		}
	}
	kept := p.state.Gaps[:0:0]
	for _, g := range p.state.Gaps {
		if g.ToMs == 0 || g.ToMs > clockMs-totalDays*dayMs {
			kept = append(kept, g)
		}
	}
	p.state.Gaps = kept
	return nil
}
