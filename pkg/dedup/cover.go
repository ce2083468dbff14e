package dedup

import (
	"errors"
	"math/bits"
	"sync/atomic"
)

// cover is one coarse filter over the oldest runs of a view. What it calls new is in none of them, so that their own
// filters, each a miss of main memory, are asked for the few others only. It is in memory alone: after Open it is filled
// again from the runs.
//
// Who owns what. Its words and ones are the filler's, one goroutine, which adds bits with atomics while others ask. A
// view has it when it is over a run of it; bits are taken out only while no view has it that anybody looks at:
//
//	filler                                       whoever asks
//	add the bits of a run
//	lock, show a view with one run more, unlock  lock, acquire that view, unlock
//	                                             what it calls new is in none of the view's covered runs
//	lock, show a view without it, unlock         lock, release the last view with it, unlock
//	clear
//
// It follows from where runs are in a view what is covered, and not from their offsets: what is inserted at an earlier
// offset than others comes into a later run.
type cover struct {
	filter filter
	ones   int64 // bits that are set
}

const (
	// coverFrom is with how many runs it begins to pay.
	coverFrom = 3
	// With coverBits an entry one in ten new ones passes. With fewer it is not filled, and what has expired is left in it
	// until two bits of three are set: then one in five passes, and it is begun anew.
	coverBits = 5
)

// full tells that too much is in it, as what has expired is still.
func (c *cover) full() bool { return c.ones > int64(len(c.filter.words))*64/3*2 }

// block reads a block while bits may be added to it. What it lacks of them is of no run that the view has as covered.
func (c *cover) block(id ID) (b [blockWords]uint64) {
	at := c.filter.probe.block(id) * blockWords
	words := c.filter.words[at : at+blockWords]
	for i := range b {
		b[i] = atomic.LoadUint64(&words[i])
	}
	return b
}

// maybe tells that an ID may be in a covered run; false: it surely is not.
func (c *cover) maybe(id ID) bool {
	b := c.block(id)
	return quick(&b, id[1])
}

// each is filter.each for the cover.
func (c *cover) each(qs []query, among, maybe []int) []int {
	words, p, sum := c.filter.words, c.filter.probe, uint64(0)
	for _, i := range among {
		sum += atomic.LoadUint64(&words[p.block(qs[i].id)*blockWords])
	}
	c.filter.touched = sum
	for _, i := range among {
		if c.maybe(qs[i].id) {
			maybe = append(maybe, i)
		}
	}
	return maybe
}

// add sets bits of a block, and tells how many of them were not set. It leaves ones alone, which is beside what the
// others read of the filter.
func (c *cover) add(at uint64, block *[blockWords]uint64) (ones int) {
	words := c.filter.words[at*blockWords : (at+1)*blockWords]
	for i, w := range block {
		if fresh := w &^ words[i]; fresh != 0 {
			atomic.StoreUint64(&words[i], words[i]|w)
			ones += bits.OnesCount64(fresh)
		}
	}
	clear(block[:])
	return ones
}

// coverAll covers until there is nothing left to cover, and notes how that ended.
func (x *Index) coverAll() {
	for {
		more, err := x.coverOnce()
		if errors.Is(err, errQuit) {
			return
		}
		x.mu.Lock()
		x.coverFailure = err
		x.mu.Unlock()
		if err != nil || !more {
			return
		}
	}
}

// coverOnce covers the oldest run that is not covered, and tells whether there was one.
func (x *Index) coverOnce() (bool, error) {
	v, r := x.beginCover()
	if r == nil {
		return false, nil
	}
	err := x.fill(r)
	x.endCover(v, r, err == nil)
	return true, err
}

// beginCover chooses the run that is filled in next, if any, and holds it. It makes the cover, or clears it, when it is
// over nothing so far.
func (x *Index) beginCover() (held *view, r *run) {
	x.mu.Lock()
	if r = x.nextToCover(); r == nil {
		x.mu.Unlock()
		return nil, nil
	}
	held = x.hold()
	first := x.view.cover == nil
	x.mu.Unlock()
	if first {
		x.covers.Add(1)
	}
	switch {
	case !first:
	case x.cover == nil:
		c := &cover{filter: filter{words: alloc[uint64](int(x.coverBlocks * blockWords)), probe: probe{x.coverBlocks, quickBits}}}
		x.mu.Lock()
		x.cover = c
		x.mu.Unlock()
	case x.cover.ones > 0:
		clear(x.cover.filter.words)
		x.cover.ones = 0
	}
	return held, r
}

// nextToCover is the oldest run that is not covered, if that pays and may be now, with mu held.
func (x *Index) nextToCover() *run {
	v := x.view
	if v == nil || v.covered == len(v.runs) {
		return nil
	}
	if v.cover == nil {
		pays := len(v.runs) >= x.coverFrom && v.entries*coverBits <= int64(x.coverBlocks)*blockBytes*8
		// While somebody looks at what was covered before, it can not be cleared; the last of them wakes the filler.
		if !pays || x.coverViews > 0 {
			return nil
		}
	}
	return v.runs[v.covered]
}

// fill adds a run to the cover. The entries come in the order of its blocks.
func (x *Index) fill(r *run) error {
	c := x.cover
	s := source{run: r, pages: newPageReader(&r.pageFile, r.entryPage(), r.pages(), make([]byte, x.cfg.bufferBytes()))}
	var block [blockWords]uint64
	at, ones := uint64(0), 0
	defer func() { c.ones += int64(ones) }()
	for n := 0; ; n++ {
		if n&0xffff == 0 && x.quitting() {
			return errQuit
		}
		ok, err := s.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if to := c.filter.probe.block(s.head.id); to != at {
			ones += c.add(at, &block)
			at = to
		}
		c.filter.probe.set(&block, s.head.id[1])
	}
	ones += c.add(at, &block)
	return nil
}

// endCover shows that a run is covered when it was filled in whole, and gives it back. When it was merged with others
// meanwhile, what they became comes next.
func (x *Index) endCover(held *view, r *run, filled bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.release(held)
	v := x.view
	switch {
	case v == nil || !filled:
	case x.cover.full():
		x.show(v.runs, 0)
	case v.covered < len(v.runs) && v.runs[v.covered] == r:
		x.show(v.runs, v.covered+1)
	}
}

// stillCovered is how many of the oldest runs are covered after some neighbours were replaced by one run or by none. What
// was merged out of covered runs is covered; out of covered ones and others, it is not, and nothing behind it is.
func stillCovered(covered, at, removed, added int) int {
	inside := min(max(covered-at, 0), removed)
	if inside < removed || removed == 0 {
		added = 0
	}
	return covered - inside + added
}
