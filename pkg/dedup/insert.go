package dedup

import (
	"errors"
	"fmt"
)

// Item is one identifier for InsertMany.
type Item struct {
	ID     ID
	Offset int64
	NowMs  int64 // the clock at this record; it does not go back within a batch, nor between batches
	Kind   uint8

	// The answer.
	Prev  Entry
	Found bool
}

// chunkMax is how many questions are asked of one filter after the other: enough for their cache misses to overlap, and
// few enough that what they touch stays in the cache.
const chunkMax = 128

// Insert notes that id is in the record at offset, unless it was in an earlier one (smaller offset) that still counts at
// nowMs; found then, and prev is that one. Entries at larger offsets are of a life before a crash and do not count; one
// at the same offset is this record itself, applied anew: not found, not inserted twice. nowMs never goes back.
//
// When the table is full it is sealed first, as if by Seal(offset).
func (x *Index) Insert(id ID, offset, nowMs int64, kind uint8) (prev Entry, found bool, err error) {
	one := [1]Item{{ID: id, Offset: offset, NowMs: nowMs, Kind: kind}}
	_, err = x.insert(one[:])
	return one[0].Prev, one[0].Found, err
}

// InsertMany is Insert for each item in turn, several times as fast. When it fails, the items before done are inserted
// and answered, and no other.
func (x *Index) InsertMany(items []Item) (done int, err error) {
	for done < len(items) {
		n, err := x.insert(items[done:min(done+chunkMax, len(items))])
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// insert takes as many items as one table has room for, at least one.
func (x *Index) insert(items []Item) (int, error) {
	items, err := x.fit(items)
	if err != nil {
		return 0, err
	}
	qs := x.queries[:len(items)]
	for i := range items {
		it := &items[i]
		if it.Kind > kindMax {
			return 0, fmt.Errorf("dedup: kind %d is above %d", it.Kind, kindMax)
		}
		qs[i] = query{id: it.ID, offset: it.Offset, since: x.span.since(it.NowMs)}
	}
	x.mu.Lock()
	if x.view == nil {
		x.mu.Unlock()
		return 0, ErrClosed
	}
	v, forgot := x.acquire(), x.durable.forgot
	x.mu.Unlock()
	if x.span.bucket(items[0].NowMs) < x.span.bucket(forgot) {
		err = &BehindError{items[0].NowMs, forgot}
	} else {
		err = x.askRuns(v, qs)
	}
	if err == nil && len(qs) > 1 {
		x.table.warm(qs)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.release(v)
	if err != nil {
		return 0, err
	}
	for i := range items {
		it, q := &items[i], &qs[i]
		at := x.table.ask(q)
		if it.Found = q.found && !q.self; it.Found {
			it.Prev = q.entry
			continue
		}
		it.Prev = Entry{}
		if !q.self {
			x.table.put(at, it.ID, it.Offset, minuteOf(it.NowMs), it.Kind)
		}
	}
	x.clock = max(x.clock, items[len(items)-1].NowMs)
	return len(items), nil
}

// fit returns those of the first items that can be put into the table together, and seals it when there are none.
func (x *Index) fit(items []Item) ([]Item, error) {
	for {
		n := min(x.table.fitting(items), x.table.entriesMax()-x.table.count)
		if n == 0 {
			if err := x.seal(items[0].Offset, max(x.clock, items[0].NowMs)); err != nil {
				return nil, err
			}
			continue
		}
		for x.table.crowded(n) {
			slots := x.table.grown()
			x.mu.Lock()
			x.table.slots = slots
			x.mu.Unlock()
		}
		return items[:n], nil
	}
}

// askRuns answers from the runs, the newest first. The covered ones are asked for what the cover does not call new.
func (x *Index) askRuns(v *view, qs []query) error {
	x.asked.Add(int64(len(qs)))
	among := x.every[:len(qs)]
	for i := len(v.runs) - 1; i >= 0; i-- {
		if i == v.covered-1 {
			x.probed.Add(int64(len(qs)))
			among = v.cover.each(qs, among, x.old[:0])
			x.coverPassed.Add(int64(len(among)))
		}
		if len(among) == 0 {
			return nil
		}
		r := v.runs[i]
		if r.minutes.high < qs[0].since || r.offsets.low > qs[len(qs)-1].offset {
			continue // nothing of it counts, or all of it is of a life before
		}
		maybe, err := r.maybeEach(qs, among, x.maybe[:0])
		if err != nil {
			return err
		}
		x.probed.Add(int64(len(among)))
		x.passed.Add(int64(len(maybe)))
		for _, at := range maybe {
			q := &qs[at]
			if q.found && q.offset >= v.end {
				continue // one entry counts at a time, and this record is in no run
			}
			known, err := r.ask(q)
			if err != nil {
				return err
			}
			if !known {
				x.wrong.Add(1)
			}
		}
	}
	return nil
}

// Find looks without inserting; the newest entry that counts at nowMs.
func (x *Index) Find(id ID, nowMs int64) (Entry, bool, error) {
	q := query{id: id, offset: anyOffset, since: x.span.since(nowMs)}
	x.mu.Lock()
	if x.view == nil {
		x.mu.Unlock()
		return Entry{}, false, ErrClosed
	}
	forgot := x.durable.forgot
	if x.span.bucket(nowMs) < x.span.bucket(forgot) {
		x.mu.Unlock()
		return Entry{}, false, &BehindError{nowMs, forgot}
	}
	x.table.ask(&q)
	v := x.acquire()
	x.mu.Unlock()
	err := find(v, &q)
	err = errors.Join(err, x.leave(v))
	return q.entry, q.found && err == nil, err
}

// leave gives back a view that was read beside everything else: when the index was closed meanwhile, Close could not
// close what was being read.
func (x *Index) leave(v *view) error {
	x.mu.Lock()
	x.release(v)
	closed := x.view == nil
	x.mu.Unlock()
	if !closed {
		return nil
	}
	return x.closeFiles()
}

func find(v *view, q *query) error {
	for i := len(v.runs) - 1; i >= 0; i-- {
		if i == v.covered-1 && !v.cover.maybe(q.id) {
			return nil
		}
		r := v.runs[i]
		if r.minutes.high < q.since {
			continue
		}
		maybe, err := r.maybe(q.id)
		if err == nil && maybe {
			_, err = r.ask(q)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
