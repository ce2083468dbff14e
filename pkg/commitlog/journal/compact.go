package journal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/recordbatch"
)

// Compaction takes records out of the closed segments of a topic whose records have been superseded by later ones with
// the same key, as Kafka does it (cleanup.policy=compact):
//
//	oldest                          limit                                    next
//	├──────┬──────┬────────┬────────┼────────────────┬──────────────────────┤
//	  closed, older than CompactAge  younger, or the checkpoint     active
//	                                 does not vouch for it
//
// A pass first notes the newest offset of each key before the limit, then rewrites the segments one by one, oldest first.
// A record goes if the same key has a newer one before the limit; a tombstone (no value) goes when it is old enough, and
// by then nothing is left before it that it hides; one without a key goes, and Append takes no new ones.
//
// A rewritten segment has the name and the span of the old one. Each batch keeps its first and last offset, whatever is
// left of it; gaps stand for what went whole, so batches follow one another as before and every walk over a segment is
// the same. It takes the old file's place by rename, when it is durable: at any moment there is one or the other, and both
// fold to the same state. Each rename is durable before the next segment is begun, since otherwise a power loss could
// bring back a record and not the tombstone that hid it.
//
// The checkpoint has a position in one segment, which recovery goes to. That one is never rewritten: the limit is at
// most the base of the segment that the last durable mark is in.
//
// Readers with the old file open read on in it until they notice; see reader.open.
type compaction struct {
	pass *pass
	// until is how far passes that came to their end have gone.
	until int64
	// synced: no rename of ours can be undone by a power loss. It is not known of an earlier life.
	synced bool
	fault  string // what was told last
}

// pass is one pass over a partition. It lasts for as many rounds of the janitor as its bytes need.
type pass struct {
	target   int64 // offset up to which it was begun
	limit    int64 // up to which it rewrites: less than target when there are too many keys
	next     int64 // the segment that holds this offset is next
	building bool
	newest   map[keyHash]int64
}

// keyHash stands for a key. 128 bits of SHA-256: two keys that were taken for one would lose a record.
type keyHash [16]byte

func hashKey(key []byte) keyHash {
	sum := sha256.Sum256(key)
	return keyHash(sum[:16])
}

// compact does a round of compaction: so much that the janitor comes back to the other partitions soon.
func (j *Journal) compact(p *partition) {
	if !p.topic.Compact {
		return
	}
	for budget := int64(compactBytesMax); budget > 0; {
		select {
		case <-j.closing:
			return
		default:
		}
		bytes, more, err := p.compactStep(j.space)
		if err != nil {
			p.compaction.pass = nil
			if text := err.Error(); text != p.compaction.fault {
				p.compaction.fault = text
				p.cfg.Notify(Notice{What: CompactionFailed, File: p.dir, Err: err})
			}
			return
		}
		if !more {
			return
		}
		budget -= max(bytes, 1)
	}
}

// compactStep reads or rewrites one segment. False when there is nothing more to do.
func (p *partition) compactStep(room *space) (bytes int64, more bool, err error) {
	c := &p.compaction
	if c.pass == nil {
		limit, oldest, err := p.compactLimit()
		if err != nil || limit <= max(c.until, oldest) {
			return 0, false, err
		}
		c.pass = &pass{target: limit, limit: limit, next: oldest, building: true, newest: map[keyHash]int64{}}
	}
	if !c.synced {
		if err := p.cfg.FS.SyncDir(p.dir); err != nil {
			return 0, false, err
		}
		c.synced = true
	}
	s, end := p.closedAt(c.pass.next)
	switch {
	case s != nil && s.base < c.pass.limit:
		c.pass.next = end
		if c.pass.building {
			return s.end, true, p.noteKeys(s, end)
		}
		return s.end, true, p.rewrite(s, end, room)
	case c.pass.building:
		c.pass.building, c.pass.next = false, 0
		return 0, true, nil
	}
	c.until, c.pass, c.fault = c.pass.target, nil, ""
	return 0, false, nil
}

// compactLimit is the offset up to which the partition may be compacted now.
func (p *partition) compactLimit() (limit, oldest int64, err error) {
	vouched := p.checkpoint.durable.Load()
	oldest, _ = p.bounds()
	limit = oldest
	for {
		s, end := p.closedAt(limit)
		if s == nil || s.base >= vouched {
			return limit, oldest, nil
		}
		if p.topic.CompactAge > 0 {
			p.mu.Lock()
			known := s.times
			p.mu.Unlock()
			if !known.known {
				if known, err = p.readTimes(s, end); err != nil {
					return limit, oldest, err
				}
			}
			if known.known && p.cfg.Now().Sub(time.UnixMilli(known.max)) <= p.topic.CompactAge {
				return limit, oldest, nil
			}
		}
		limit = end
	}
}

// closedAt returns the first closed segment that ends behind the offset, and the offset at which it ends.
func (p *partition) closedAt(offset int64) (s *segment, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range len(p.segments) - 1 {
		if end := p.segments[i+1].base; end > offset {
			return p.segments[i], end
		}
	}
	return nil, 0
}

// noteKeys enters a segment's keys. With more keys than there is room for, the pass goes up to here.
func (p *partition) noteKeys(s *segment, end int64) error {
	pass := p.compaction.pass
	full := false
	err := p.walkBatches(s, end, func(w *walker) error {
		var scanner recordbatch.Scanner
		_ = scanner.Reset(w.batch, decompressedBytesMax) // Err says the same
		for scanner.Next() {
			r := scanner.Record()
			if r.Key == nil {
				continue
			}
			h := hashKey(r.Key)
			if _, known := pass.newest[h]; known || len(pass.newest) < compactKeysMax {
				pass.newest[h] = r.Offset
			} else {
				full = true
			}
		}
		return scanner.Err()
	})
	if full {
		// What was noted is true, only not all: it serves for the segments before this one.
		pass.limit, pass.building, pass.next = s.base, false, 0
	}
	return err
}

// walkBatches calls f with each batch of a closed segment that counts.
func (p *partition) walkBatches(s *segment, end int64, f func(w *walker) error) (err error) {
	file, err := p.cfg.FS.OpenFile(s.path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w := newWalker(file, s.end, 0, s.base, end)
	for {
		if _, ok := w.next(true); !ok {
			break
		}
		if err := f(w); err != nil {
			return fmt.Errorf("%s at offset %d: %w", s.path, w.header.BaseOffset, err)
		}
	}
	if w.err != nil || w.fault == "" {
		return w.err
	}
	return w.rot(s.path)
}

// keeps decides about one record of the part that is rewritten.
func (p *partition) keeps(r recordbatch.Record) bool {
	switch {
	case r.Key == nil || p.compaction.pass.newest[hashKey(r.Key)] > r.Offset:
		return false
	case r.Value == nil:
		return p.cfg.Now().Sub(time.UnixMilli(r.TimestampMs)) <= max(p.topic.CompactAge, tombstoneAgeMin)
	}
	return true
}

// rewrite puts a segment without the records that have to go in the place of one, if there are any.
func (p *partition) rewrite(s *segment, end int64, room *space) error {
	gone := 0
	var scanner recordbatch.Scanner
	err := p.walkBatches(s, end, func(w *walker) error {
		if w.header.Control() {
			return nil
		}
		_ = scanner.Reset(w.batch, decompressedBytesMax) // Err says the same
		for scanner.Next() {
			if !p.keeps(scanner.Record()) {
				gone++
			}
		}
		return scanner.Err()
	})
	if err != nil || gone == 0 {
		return err
	}
	if err := room.spare(s.end); err != nil {
		return err
	}
	temporary := s.path + ".tmp"
	if err := p.cfg.FS.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := p.cfg.FS.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	made, err := p.writeCompacted(f, s, end)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, p.cfg.FS.Remove(temporary))
	}
	return p.replace(s, made, temporary, gone)
}

// writeCompacted writes what is left of a segment to a new file and makes it durable; its name is not yet. It returns
// what is to be known of it.
func (p *partition) writeCompacted(f vfs.File, s *segment, end int64) (made segment, err error) {
	made = segment{path: s.path, base: s.base}
	var buf []byte
	gapFrom := s.base // offsets from here up to the next batch are gone
	flush := func() error {
		n, err := f.WriteAt(made.end, buf)
		made.end += n
		buf = buf[:0]
		return err
	}
	closeGap := func(upTo int64) {
		for gapFrom < upTo {
			n := min(upTo-gapFrom, 1<<31-1)
			made.note(gapFrom, made.end+int64(len(buf)))
			buf = append(buf, recordbatch.Gap(gapFrom, int32(n))...)
			gapFrom += n
		}
	}
	var scanner recordbatch.Scanner
	var filtered []byte
	err = p.walkBatches(s, end, func(w *walker) error {
		left, err := int(w.header.Records), error(nil)
		if !w.header.Control() {
			filtered, left, err = scanner.Filter(filtered[:0], w.batch, decompressedBytesMax, p.keeps)
		}
		if err != nil || left == 0 {
			return err
		}
		batch := w.batch // as it was, compressed too
		if left < int(w.header.Records) {
			batch = filtered
		}
		closeGap(w.header.BaseOffset)
		h, err := recordbatch.ParseHeader(batch)
		if err != nil {
			return err
		}
		made.note(h.BaseOffset, made.end+int64(len(buf)))
		made.times.add(&h)
		buf = append(buf, batch...)
		gapFrom = h.NextOffset()
		if len(buf) >= readBytes {
			return flush()
		}
		return nil
	})
	if err != nil {
		return made, err
	}
	closeGap(end)
	if err := flush(); err != nil {
		return made, err
	}
	return made, f.Sync()
}

// replace puts the new file in the old one's place, for readers and on disk.
func (p *partition) replace(s *segment, made segment, temporary string, gone int) error {
	p.mu.Lock()
	p.compaction.synced = false
	err := p.cfg.FS.Rename(temporary, s.path)
	before := s.end
	if err == nil {
		s.end, s.times, s.index = made.end, made.times, made.index
		s.rewrites++
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	p.metrics.compacted.Add(uint64(gone))
	p.cfg.Notify(Notice{What: Compacted, File: s.path, Bytes: before - made.end})
	if err := p.cfg.FS.SyncDir(p.dir); err != nil {
		return err
	}
	p.compaction.synced = true
	return nil
}
