package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"tollgate/internal/vfs"
)

// Repair makes the journal in dir, which no gateway may have open, readable again, and writes to w what it did. A
// damaged file is copied aside first, as <name>.corrupt-<time>; nothing is removed. Every batch that is whole is kept, at
// its offset; a gap takes the place of what is lost. Checkpoints are written anew. Repairing a sound journal changes
// nothing but those, one that misses more offsets than can have been lost is refused, and repairing again what was interrupted is safe. It reads one segment at a time into memory.
func Repair(fs vfs.FS, dir string, now time.Time, w io.Writer) error {
	partitions, err := findPartitions(fs, dir)
	if err != nil {
		return fmt.Errorf("journal: repair: %w", err)
	}
	for _, p := range partitions {
		if err := p.repair(fs, now, w); err != nil {
			return fmt.Errorf("journal: repair: %w", err)
		}
	}
	return nil
}

func (p *found) repair(fs vfs.FS, now time.Time, w io.Writer) error {
	if len(p.segments) == 0 && p.lost(0) == 0 {
		return nil // an empty partition: the next start makes it
	}
	if len(p.segments) == 0 {
		// All segments are gone: an empty one goes where the last one was, and a gap up to what was durable into it.
		s := &segment{path: segmentPath(p.dir, p.saved.base), base: p.saved.base}
		f, err := fs.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
		if err := errors.Join(err, closeFile(f), fs.SyncDir(p.dir)); err != nil {
			return err
		}
		p.segments = append(p.segments, s)
	}
	var end mark
	for i, s := range p.segments {
		var err error
		if end, err = p.repairSegment(fs, s, p.limit(i), now, w); err != nil {
			return err
		}
	}
	if err := p.savedIn.create(end); err != nil {
		return err
	}
	p.savedIn.discard()
	_, err := fmt.Fprintf(w, "%s: %d segments, next offset %d\n", p.dir, len(p.segments), end.next)
	return err
}

func closeFile(f vfs.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// repairSegment replaces one segment by what can be salvaged of it, if it is not sound.
func (p *found) repairSegment(fs vfs.FS, s *segment, limit int64, now time.Time, w io.Writer) (mark, error) {
	b, err := readSegment(fs, s.path)
	if err != nil {
		return mark{}, err
	}
	look := salvageSegment(b, s.base, limit, p.saved)
	if lost := p.lost(look.next); limit < 0 && lost > 0 {
		// Offsets that were acknowledged are not given out again.
		reason := fmt.Sprintf("the checkpoint says: %v", p.saved)
		look.flaws = append(look.flaws, flaw{position: int64(len(b)), offsets: lost, first: look.next, reason: reason})
		look.skipTo(p.saved.next)
	}
	end := mark{base: s.base, position: int64(len(b)), next: look.next}
	if len(look.flaws) == 0 {
		return end, nil
	}
	if look.tooFar != nil {
		err := fmt.Errorf("%s: %w; nothing was changed in it", s.path, look.tooFar)
		if limit >= 0 {
			err = fmt.Errorf("%w. If %s has a name that is not its own, move it out of the folder and repair again", err, segmentPath(p.dir, limit))
		}
		return mark{}, err
	}
	aside := fmt.Sprintf("%s.corrupt-%s", s.path, now.UTC().Format("20060102T150405.000000000Z"))
	if err := writeFile(fs, aside, []piece{{to: int64(len(b))}}, b); err != nil {
		return mark{}, err
	}
	temporary := s.path + ".tmp"
	if err := writeFile(fs, temporary, look.pieces, b); err != nil {
		return mark{}, err
	}
	if err := fs.SyncDir(p.dir); err != nil { // the copy is durable before the file is replaced
		return mark{}, err
	}
	if err := fs.Rename(temporary, s.path); err != nil {
		return mark{}, err
	}
	if err := fs.SyncDir(p.dir); err != nil {
		return mark{}, err
	}
	end.position = 0
	for _, piece := range look.pieces {
		end.position += piece.bytes()
	}
	return end, tell(w, s, aside, look)
}

func tell(w io.Writer, s *segment, aside string, look *salvage) error {
	var dropped, offsets int64
	var err error
	for _, f := range look.flaws {
		dropped += f.bytes
		offsets += f.offsets
		_, more := fmt.Fprintf(w, "%s: %v\n", s.path, f)
		err = errors.Join(err, more)
	}
	_, more := fmt.Fprintf(w, "%s: repaired up to offset %d; %d bytes and %d offsets are not in it; the file as it was is %s\n",
		s.path, look.next, dropped, offsets, aside)
	return errors.Join(err, more)
}

func (p piece) bytes() int64 {
	if p.made != nil {
		return int64(len(p.made))
	}
	return p.to - p.from
}

// writeFile writes pieces of b to a new file and makes its bytes durable; its name is not yet.
func writeFile(fs vfs.FS, path string, pieces []piece, b []byte) error {
	f, err := fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	var at int64
	for _, p := range pieces {
		part := p.made
		if part == nil {
			part = b[p.from:p.to]
		}
		n, err := f.WriteAt(at, part)
		if err != nil {
			return errors.Join(err, f.Close())
		}
		at += n
	}
	return errors.Join(f.Sync(), f.Close())
}
