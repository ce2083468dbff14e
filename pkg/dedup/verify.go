package dedup

import (
	"errors"
	"fmt"
)

// Verify reads every page of every run and checks what look-ups rely on: the checksums, the order, the ranges in the
// headers, and that no filter calls new what is in its run. It reads beside everything else, in any goroutine, and takes
// as long as the disk does.
func (x *Index) Verify() (err error) {
	x.mu.Lock()
	if x.view == nil {
		x.mu.Unlock()
		return ErrClosed
	}
	v := x.hold()
	x.mu.Unlock()
	defer func() { err = errors.Join(err, x.leave(v)) }()
	buf := make([]byte, x.cfg.bufferBytes())
	for _, r := range v.runs {
		if err := r.verify(buf); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) verify(buf []byte) error {
	filter := newPageReader(&r.pageFile, r.filterPage(), r.fencePage(), make([]byte, pageBytes))
	var blocks []byte
	page := int64(-1) // of the filter
	s := source{run: r, pages: newPageReader(&r.pageFile, r.entryPage(), r.pages(), buf)}
	for last := (slot{}); ; last = s.head {
		ok, err := s.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		wrong := func(what string) error {
			return &RotError{r.path, r.entryPage() + s.read - 1, fmt.Sprintf("entry %d %s", s.at-1, what)}
		}
		if last.meta != 0 && compareSlots(last, s.head) >= 0 {
			return wrong("is not behind the one before")
		}
		offset, minute := r.base().offsetOf(s.head.meta), r.base().minuteOf(s.head.meta)
		if s.head.meta == 0 || offset > r.offsets.high || minute > r.minutes.high {
			return wrong("is outside of the run's ranges")
		}
		block := int64(r.probe.block(s.head.id))
		for ; page < block/pageBlocks; page++ {
			if blocks, err = filter.next(); err != nil {
				return err
			}
		}
		b := blockAt(blocks, block%pageBlocks)
		if !r.probe.all(&b, s.head.id[1]) {
			return wrong("is called new by the filter")
		}
	}
	for ; page < (int64(r.probe.blocks)-1)/pageBlocks; page++ {
		if _, err := filter.next(); err != nil {
			return err
		}
	}
	return r.readFences(buf, nil)
}
