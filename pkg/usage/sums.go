package usage

import "github.com/cockroachdb/pebble/v2"

// sums adds up a meter of formula sum or count without a window: whole hours from the rows of hours, the minutes at both
// ends of the range by the minute. An hour whose minutes are not kept any more belongs to where it starts.
func (r *query) sums(from, to int64) error {
	head, tail := floorTo(from+hourMs-1, hourMs), floorTo(to, hourMs)
	if tail < head { // within one hour
		return r.edge(from, to)
	}
	if err := r.edge(tail, to); err != nil {
		return err
	}
	if err := r.hours(head, tail); err != nil {
		return err
	}
	return r.edge(from, head)
}

// edge adds up part of an hour.
func (r *query) edge(from, to int64) error {
	if from >= to {
		return nil
	}
	if floorDiv(from, dayMs) < r.floor {
		if hour := floorTo(from+hourMs-1, hourMs); hour < to {
			return r.hours(hour, hour+hourMs)
		}
		return nil
	}
	prefix := append(appendI32(appendTable(nil, r.p.number, tableMinutes), floorDiv(from, dayMs)), r.series...)
	return r.rows(prefix, from, to, minuteMs)
}

// hours adds up whole hours, the newest first.
func (r *query) hours(from, to int64) error {
	for to > from {
		period := floorDiv(to-1, periodDays*dayMs)
		start := max(from, period*periodDays*dayMs)
		prefix := append(appendI32(appendTable(nil, r.p.number, tableHours), period), r.series...)
		if err := r.rows(prefix, start, to, hourMs); err != nil {
			return err
		}
		to = start
	}
	return nil
}

// rows adds up the rows under a prefix that begin in a range, the newest first.
func (r *query) rows(prefix []byte, from, to, unit int64) error {
	lower := appendI32(append([]byte(nil), prefix...), floorDiv(from, unit))
	upper := appendI32(append([]byte(nil), prefix...), floorDiv(to+unit-1, unit))
	return r.p.store.Iterate(r.from, lower, upper, func(it *pebble.Iterator) error {
		for ok := it.Last(); ok; ok = it.Prev() {
			var t total
			if err := t.decode(it.Value()); err != nil {
				return err
			}
			if t.count == 0 {
				continue // all cancelled
			}
			key := it.Key()
			r.at(i32At(key[len(key)-4:]) * unit).add(&t)
		}
		return nil
	})
}
