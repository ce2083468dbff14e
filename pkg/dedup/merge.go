package dedup

import (
	"errors"
	"io"
)

// errQuit ends a merge or a filling that Close does not want to wait for.
var errQuit = errors.New("dedup: closing")

// mergeAll drops and merges until there is nothing left to do, and notes how that ended.
func (x *Index) mergeAll() {
	x.mu.Lock()
	again := x.loadFailure != nil
	x.mu.Unlock()
	if again {
		x.disk.Lock()
		x.reload(nil)
		x.disk.Unlock()
	}
	for {
		more, err := x.mergeOnce()
		err = errors.Join(err, x.closeFiles())
		if errors.Is(err, errQuit) {
			return
		}
		x.mu.Lock()
		x.failure = err
		x.mu.Unlock()
		if err != nil || !more {
			return
		}
	}
}

// mergeOnce removes the runs that have expired, or else merges some neighbours, and tells whether it did anything.
func (x *Index) mergeOnce() (bool, error) {
	x.mu.Lock()
	v := x.hold()
	// What is inserted again after a crash begins at the clock of the last Seal, whatever the caller has of its own.
	floor := min(x.released, x.durable.clock)
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		x.release(v)
		x.mu.Unlock()
	}()
	since := x.span.since(floor)
	for i, r := range v.runs {
		if r.minutes.high < since {
			return true, x.install(change{removed: v.runs[i : i+1], forgot: floor})
		}
	}
	some := x.choose(v.runs)
	if some == nil {
		return false, nil
	}
	added, dropped, err := x.merge(v.runs, some, since)
	if err != nil {
		return false, err
	}
	c := change{removed: some, added: added}
	if dropped {
		c.forgot = floor
	}
	if err := x.install(c); err != nil {
		return false, err
	}
	x.merged.Add(1)
	return true, nil
}

// choose picks fanIn neighbours of one level, of the lowest level that has them, and the oldest of those. What would span
// more than half a window stays as it is: it would keep on disk for long what has expired.
func (x *Index) choose(runs []*run) []*run {
	half := x.span.buckets * (x.span.bucketMs / minuteMs) / 2
	var best []*run
	for from := 0; from+x.fan <= len(runs); from++ {
		some := runs[from : from+x.fan]
		level := some[0].level
		if best != nil && level >= best[0].level {
			continue
		}
		joined := header{offsets: some[0].offsets, minutes: some[0].minutes}
		same := true
		for _, r := range some[1:] {
			same = same && r.level == level
			joined.offsets, joined.minutes = joined.offsets.join(r.offsets), joined.minutes.join(r.minutes)
		}
		if same && joined.minutes.high-joined.minutes.low <= half && joined.base().fits(joined.offsets.high, joined.minutes.high) {
			best = some
		}
	}
	return best
}

// merge writes one run out of several, without what is older than the minute since. It returns none when nothing is left.
func (x *Index) merge(all, some []*run, since int64) (added *run, dropped bool, err error) {
	h := header{seq: x.nextSeq(), level: some[0].level + 1, offsets: some[0].offsets, minutes: some[0].minutes}
	var total int64
	for _, r := range all {
		total += r.count
	}
	sources := make([]*source, 0, len(some))
	for _, r := range some {
		h.count += r.count
		h.offsets, h.minutes = h.offsets.join(r.offsets), h.minutes.join(r.minutes)
		buf := make([]byte, x.cfg.bufferBytes())
		sources = append(sources, &source{run: r, pages: newPageReader(&r.pageFile, r.entryPage(), r.pages(), buf)})
	}
	h.minutes.low = max(h.minutes.low, since)
	b, err := newBuilder(x.fs, x.cfg.Dir, h, entryBits(x.cfg.filterBytesMax(), total), x.cfg.bufferBytes())
	if err != nil {
		return nil, false, err
	}
	dropped, err = x.pour(sources, b, since)
	if err != nil || b.count == 0 {
		b.abandon()
		return nil, dropped, err
	}
	added, err = b.finish()
	return added, dropped, err
}

// pour adds the entries of all sources in order. Entries of one ID all stay: which of them counts depends on who asks.
func (x *Index) pour(sources []*source, b *builder, since int64) (dropped bool, err error) {
	live := sources[:0]
	for _, s := range sources {
		ok, err := s.next()
		if err != nil {
			return false, err
		}
		if ok {
			live = append(live, s)
		}
	}
	to := b.base()
	for n := 0; len(live) > 0; n++ {
		if n&0xffff == 0 && x.quitting() {
			return false, errQuit
		}
		least := 0
		for i := 1; i < len(live); i++ {
			if live[i].less(live[least]) {
				least = i
			}
		}
		s := live[least]
		from := s.run.base()
		if minute := from.minuteOf(s.head.meta); minute < since {
			dropped = true
		} else if err := b.add(slot{s.head.id, to.pack(from.offsetOf(s.head.meta), minute, kindOf(s.head.meta))}); err != nil {
			return false, err
		}
		ok, err := s.next()
		if err != nil {
			return false, err
		}
		if !ok {
			live = append(live[:least], live[least+1:]...)
		}
	}
	return dropped, nil
}

func (x *Index) quitting() bool {
	select {
	case <-x.quit:
		return true
	default:
		return false
	}
}

// source is a run that is read front to back.
type source struct {
	run   *run
	pages *pageReader
	page  []byte
	at, n int   // in the page
	read  int64 // pages
	head  slot
}

// next moves to the next entry; false behind the last.
func (s *source) next() (bool, error) {
	if s.at == s.n {
		if s.read == s.run.entryPages {
			return false, nil
		}
		page, err := s.pages.next()
		if errors.Is(err, io.EOF) {
			err = &RotError{s.run.path, s.run.entryPage() + s.read, "it ends too soon"}
		}
		if err != nil {
			return false, err
		}
		s.page, s.at, s.n = page, 0, s.run.entriesOf(s.read)
		s.read++
	}
	s.head = slotAt(s.page, s.at)
	s.at++
	return true, nil
}

// less orders by ID, and entries of one ID by offset.
func (s *source) less(o *source) bool {
	if c := compareIDs(s.head.id, o.head.id); c != 0 {
		return c < 0
	}
	return s.run.base().offsetOf(s.head.meta) < o.run.base().offsetOf(o.head.meta)
}
