package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"tollgate/internal/vfs"
	"tollgate/pkg/recordbatch"
)

// piece is a part of a repaired segment: bytes from..to of the damaged one, or bytes that take the place of others.
type piece struct {
	from, to int64
	made     []byte // instead of from..to when not nil
}

// flaw is a place in a segment that is not right.
type flaw struct {
	position int64
	bytes    int64 // that can not be kept
	offsets  int64 // lost with them
	first    int64 // of these offsets
	reason   string
	restored bool // the batch is whole but for its header, which was put right
}

func (f flaw) String() string {
	which := ""
	if f.offsets > 0 {
		which = fmt.Sprintf(" (%d to %d)", f.first, f.first+f.offsets-1)
	}
	if f.restored {
		return fmt.Sprintf("position %d: %s; the batch's CRC tells that only its header is damaged, %d offsets%s are lost before it",
			f.position, f.reason, f.offsets, which)
	}
	return fmt.Sprintf("position %d: %s; %d bytes and %d offsets%s can not be read", f.position, f.reason, f.bytes, f.offsets, which)
}

// salvage decides what of a segment can be kept: it is the one decision that Verify tells of and Repair carries out.
// The kept batches have their old offsets, and gaps stand for what is lost, so that no reader's position moves.
type salvage struct {
	b      []byte
	limit  int64 // offset at which the segment ends; -1: unknown, it is the last one
	saved  mark  // what the checkpoint says of this segment; zero if nothing
	pieces []piece
	flaws  []flaw
	next   int64 // offset behind what is kept
	lost   bool  // the bytes before could not be kept
	tooFar error // why no gap was made: more offsets than can have been lost

	strayAt   int64 // position up to which the file holds what belongs to another one
	strayNext int64 // offset behind it, there
}

func salvageSegment(b []byte, base, limit int64, saved mark) *salvage {
	s := &salvage{b: b, limit: limit, next: base}
	if saved.base == base {
		s.saved = saved
	}
	var at int64
	for at < int64(len(b)) && s.next != limit {
		at = s.step(at)
	}
	if s.next < limit {
		reason := fmt.Sprintf("the file ends with offset %d, the next segment begins with %d", s.next, limit)
		s.flaws = append(s.flaws, flaw{position: at, offsets: limit - s.next, first: s.next, reason: reason})
		s.skipTo(limit)
	}
	return s
}

// step takes the batch at a position, or what can be had instead, and returns the position behind it.
func (s *salvage) step(at int64) int64 {
	h, err := recordbatch.Verify(s.b[at:])
	end := at + int64(h.Length)
	switch {
	case err == nil && s.fits(h, end):
		s.keep(at, end)
		s.next, s.lost = h.NextOffset(), false
		return end
	case err == nil:
		reason := fmt.Sprintf("a batch begins with offset %d instead of %d", h.BaseOffset, s.next)
		if s.gapBefore(h, end) {
			s.flaws = append(s.flaws, flaw{position: at, offsets: h.BaseOffset - s.next, first: s.next, reason: reason})
			s.skipTo(h.BaseOffset)
			return at
		}
		if s.stray(h, at, end) {
			f := flaw{position: at, bytes: end - at, reason: reason + ", as if the file had another's name"}
			s.flaws, s.lost = append(s.flaws, f), true
			return end
		}
		return s.restore(at, end, reason)
	case errors.Is(err, recordbatch.ErrShort):
		err = errors.New("the file ends in the middle of a batch")
	}
	found, head := s.search(at + 1)
	if s.headerOnly(at, found) {
		return s.restore(at, found, err.Error())
	}
	f := flaw{position: at, bytes: found - at, reason: err.Error()}
	if found < int64(len(s.b)) && head.BaseOffset > s.next && s.plausible(head, found-at) {
		f.offsets, f.first = head.BaseOffset-s.next, s.next
		s.skipTo(head.BaseOffset)
	}
	s.flaws, s.lost = append(s.flaws, f), true
	return found
}

// fits tells whether a sound batch is the one that belongs here. Behind lost bytes its offset, which the CRC does not
// cover, is not believed against the batch behind it.
func (s *salvage) fits(h recordbatch.Header, end int64) bool {
	if h.BaseOffset != s.next || s.limit >= 0 && h.NextOffset() > s.limit {
		return false
	}
	return !s.lost || s.endsAt(end) <= h.NextOffset()
}

// gapBefore tells whether a sound batch with a later offset stands behind a gap, or has a rotten offset itself, which
// the CRC does not cover: the batch behind it decides.
func (s *salvage) gapBefore(h recordbatch.Header, end int64) bool {
	if h.BaseOffset <= s.next || s.limit >= 0 && h.NextOffset() > s.limit {
		return false
	}
	return s.endsAt(end) == h.NextOffset()
}

// stray tells whether a sound batch at the start of the file belongs to another one, whose copy got the wrong name: rot
// does not make the offsets of two batches agree. To give them offsets of this file would double their records.
func (s *salvage) stray(h recordbatch.Header, at, end int64) bool {
	if at != s.strayAt {
		return false
	}
	follower, err := recordbatch.Verify(s.b[end:])
	agrees := err == nil && follower.BaseOffset == h.NextOffset() || at > 0 && h.BaseOffset == s.strayNext
	if agrees {
		s.strayAt, s.strayNext = end, h.NextOffset()
	}
	return agrees
}

// plausible tells whether so many offsets may have been lost with so many bytes.
func (s *salvage) plausible(h recordbatch.Header, lost int64) bool {
	if s.limit >= 0 {
		return h.NextOffset() <= s.limit
	}
	return h.BaseOffset-s.next <= lost
}

// search finds the next sound batch; the end when there is none.
func (s *salvage) search(from int64) (int64, recordbatch.Header) {
	const magicAt = 16
	for {
		if from+magicAt >= int64(len(s.b)) {
			return int64(len(s.b)), recordbatch.Header{}
		}
		i := bytes.IndexByte(s.b[from+magicAt:], 2)
		if i < 0 {
			return int64(len(s.b)), recordbatch.Header{}
		}
		from += int64(i)
		if h, err := recordbatch.Verify(s.b[from:]); err == nil {
			return from, h
		}
		from++
	}
}

// headerOnly tells whether the bytes are a batch but for the fields that the CRC does not cover.
func (s *salvage) headerOnly(from, to int64) bool {
	if to-from < recordbatch.HeaderBytes {
		return false
	}
	_, err := recordbatch.Verify(s.mended(from, to))
	return err == nil
}

// mended returns a copy of a batch with the fields put right that its CRC does not cover, the offset for now.
func (s *salvage) mended(from, to int64) []byte {
	b := bytes.Clone(s.b[from:to])
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2
	recordbatch.SetBase(b, s.next, 0)
	return b
}

// restore keeps a batch with its header put right. Its offset is what the batch behind it leaves room for, or the
// next one when that tells nothing.
func (s *salvage) restore(from, to int64, reason string) int64 {
	b := s.mended(from, to)
	h, err := recordbatch.Verify(b)
	count := h.NextOffset() - h.BaseOffset
	if err != nil || s.limit >= 0 && s.next+count > s.limit {
		s.flaws = append(s.flaws, flaw{position: from, bytes: to - from, reason: reason})
		return to
	}
	base := s.endsAt(to) - count
	if base < s.next || s.limit < 0 && base-s.next > int64(len(s.b)) {
		base = s.next
	}
	s.flaws = append(s.flaws, flaw{position: from, offsets: base - s.next, first: s.next, reason: reason, restored: true})
	s.skipTo(base)
	recordbatch.SetBase(b, base, 0)
	s.pieces = append(s.pieces, piece{from: from, to: to, made: b})
	s.next, s.lost = base+count, false
	return to
}

// endsAt is the offset behind a batch that ends at a position, as far as others know; negative when they do not.
func (s *salvage) endsAt(position int64) int64 {
	if follower, err := recordbatch.Verify(s.b[position:]); err == nil && (s.limit < 0 || follower.NextOffset() <= s.limit) {
		return follower.BaseOffset
	}
	if position == s.saved.position {
		return s.saved.next
	}
	if position == int64(len(s.b)) {
		return s.limit
	}
	return -1
}

func (s *salvage) keep(from, to int64) {
	if n := len(s.pieces); n > 0 && s.pieces[n-1].made == nil && s.pieces[n-1].to == from {
		s.pieces[n-1].to = to
		return
	}
	s.pieces = append(s.pieces, piece{from: from, to: to})
}

// gapOffsetsMax is the longest gap that is made, in offsets: a month of events at a million and a half a second, in 2,048
// batches. What claims more is a file with a name that is not its own, say a stray one, not a loss.
const gapOffsetsMax = 1 << 42

// skipTo leaves a gap up to an offset.
func (s *salvage) skipTo(offset int64) {
	if offset-s.next > gapOffsetsMax {
		s.tooFar = fmt.Errorf("the offsets from %d to %d would be missing, more than can have been lost (%d at most)",
			s.next, offset-1, int64(gapOffsetsMax))
		s.next = offset
		return
	}
	for s.next < offset {
		n := min(offset-s.next, math.MaxInt32)
		s.pieces = append(s.pieces, piece{made: recordbatch.Gap(s.next, int32(n))})
		s.next += n
	}
}

// readSegment reads a whole segment file: at most a segment's and a group's bytes.
func readSegment(fs vfs.FS, path string) (b []byte, err error) {
	f, err := fs.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b = make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil // it was being written: what was read is what there is
	}
	return b[:n], err
}
