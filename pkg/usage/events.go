package usage

import (
	"math"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/pkg/control"
)

// events answers for a meter whose events replace one another. It walks from the newest to the oldest and looks only at
// events that count: of a meter with a window the newest of each window, placed at its own time; of formula last without
// one the newest of each window asked for.
func (r *query) events(from, to int64) error {
	first, last := from, to
	if r.m.Window != control.NoWindow {
		unit := bucketMs(r.m.Window)
		first, last = floorTo(from, unit), floorTo(to+unit-1, unit)
	}
	return r.p.store.Iterate(r.from, appendTable(nil, r.p.number, tableEvents), appendTable(nil, r.p.number, tableSurvivors+1), func(it *pebble.Iterator) error {
		c := cursor{r: r, it: it, first: first, hour: math.MaxInt64}
		for before := last; before > first; {
			k, err := c.newest(before)
			if err != nil || k == nil {
				return err
			}
			before = r.next(k)
			if k.timeMs >= from && k.timeMs < to {
				r.take(k)
			}
		}
		return nil
	})
}

// next is the time before which the next event that counts lies.
func (r *query) next(k *kept) int64 {
	if r.m.Window != control.NoWindow {
		return floorTo(k.timeMs, bucketMs(r.m.Window))
	}
	start, _ := r.window(k.timeMs)
	return start
}

// take adds an event that counts.
func (r *query) take(k *kept) {
	a := r.at(k.timeMs)
	a.count++
	a.sum.Add(&k.value)
	if k.newer(&a.newest) {
		a.newest = *k
	}
}

// cursor looks for a series' newest event before a time, in ever earlier places.
type cursor struct {
	r     *query
	it    *pebble.Iterator
	first int64 // nothing before this time is asked for
	key   []byte

	// What was found last and not taken, so that it is not looked for again.
	event, survivor       kept
	hasEvent, hasSurvivor bool
	noEvent, noSurvivor   bool
	hour                  int64
}

// newest is the newest event before a time, single or settled; nil when there is none.
func (c *cursor) newest(before int64) (*kept, error) {
	if err := c.findEvent(before); err != nil {
		return nil, err
	}
	if err := c.findSurvivor(before); err != nil {
		return nil, err
	}
	switch {
	case c.hasEvent && (!c.hasSurvivor || c.event.newer(&c.survivor)):
		k := c.event
		return &k, nil
	case c.hasSurvivor:
		k := c.survivor
		return &k, nil
	}
	return nil, nil
}

func (c *cursor) findEvent(before int64) error {
	if c.noEvent || c.hasEvent && c.event.timeMs < before {
		return nil
	}
	c.hasEvent = false
	for day := floorDiv(before-1, dayMs); day >= max(floorDiv(c.first, dayMs), c.r.floor-(eventDays-minuteDays)); day-- {
		c.key = append(appendI32(appendTable(c.key[:0], c.r.p.number, tableEvents), day), c.r.series...)
		prefix := len(c.key)
		c.key = appendI64(c.key, min(before, (day+1)*dayMs))
		if !c.seek(prefix) {
			if err := c.it.Error(); err != nil {
				return err
			}
			continue
		}
		k, err := eventOf(c.it.Key(), c.it.Value())
		if err != nil {
			return err
		}
		c.event, c.hasEvent = k, true
		return nil
	}
	c.noEvent = true
	return nil
}

// seek finds the last row before c.key that has the first bytes of c.key.
func (c *cursor) seek(prefix int) bool {
	if !c.it.SeekLT(c.key) {
		return false
	}
	found := c.it.Key()
	return len(found) > prefix && string(found[:prefix]) == string(c.key[:prefix])
}

func (c *cursor) findSurvivor(before int64) error {
	if c.noSurvivor || c.hasSurvivor && c.survivor.timeMs < before {
		return nil
	}
	c.hasSurvivor = false
	// A row's hour is its event's, or its day's first.
	end := min(c.hour, floorDiv(before-1, hourMs)+1)
	for period := floorDiv(end-1, 24*periodDays); period >= floorDiv(floorTo(c.first, dayMs), periodDays*dayMs); {
		c.key = append(appendI32(appendTable(c.key[:0], c.r.p.number, tableSurvivors), period), c.r.series...)
		prefix := len(c.key)
		c.key = appendI32(c.key, min(end, (period+1)*24*periodDays))
		if !c.seek(prefix) {
			if err := c.it.Error(); err != nil {
				return err
			}
			period--
			continue
		}
		key := c.it.Key()
		end = i32At(key[len(key)-4:])
		c.hour = end
		if err := c.survivor.decode(c.it.Value()); err != nil {
			return err
		}
		if c.survivor.timeMs < before {
			c.hasSurvivor = true
			return nil
		}
	}
	c.noSurvivor = true
	return nil
}
