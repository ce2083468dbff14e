package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"tollgate/internal/vfs"
)

// found is a partition as it lies on disk.
type found struct {
	dir       string
	topic     string
	partition int32
	segments  []*segment
	saved     mark
	hasSaved  bool
	savedIn   *checkpoint
}

// findPartitions lists the partitions under a journal's directory, configured or not.
func findPartitions(fs vfs.FS, dir string) ([]*found, error) {
	entries, err := fs.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []*found
	for _, e := range entries {
		topic, n, ok := partitionName(e.Name)
		if !ok {
			continue
		}
		if !e.Dir { // such as a link to a disk that is not mounted: to pass over it would call it sound
			return nil, fmt.Errorf("%s is no folder, nor a link to one; mount the disk, or take it away", filepath.Join(dir, e.Name))
		}
		p := &found{dir: filepath.Join(dir, e.Name), topic: topic, partition: int32(n)}
		saved := newCheckpoint(fs, p.dir)
		p.savedIn = saved
		if p.saved, p.hasSaved, err = saved.read(); err != nil {
			return nil, err
		}
		if p.segments, err = listSegments(fs, p.dir); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// limit is the offset at which a segment ends; -1 for the last one.
func (p *found) limit(i int) int64 {
	if i+1 < len(p.segments) {
		return p.segments[i+1].base
	}
	return -1
}

// lost tells how many offsets the checkpoint knows of behind those that were found, when the last segment ends with
// next.
func (p *found) lost(next int64) int64 {
	if !p.hasSaved {
		return 0
	}
	return max(0, p.saved.next-next)
}

// Verify reads every byte of the journal in dir, which no gateway may have open, and writes what it found to w: a
// line for each partition and one for each fault. It returns the number of faults, and changes nothing. A torn tail is
// no fault: the next start cuts it.
func Verify(fs vfs.FS, dir string, w io.Writer) (faults int, err error) {
	partitions, err := findPartitions(fs, dir)
	if err != nil {
		return 0, fmt.Errorf("journal: verify: %w", err)
	}
	for _, p := range partitions {
		n, err := p.verify(fs, w)
		if err != nil {
			return faults, fmt.Errorf("journal: verify: %w", err)
		}
		faults += n
	}
	if _, err := fmt.Fprintf(w, "%d partitions, %d faults\n", len(partitions), faults); err != nil {
		return faults, err
	}
	return faults, nil
}

// counts is what a walk has seen.
type counts struct {
	batches, records, bytes int64
	next                    int64
}

func (p *found) verify(fs vfs.FS, w io.Writer) (faults int, err error) {
	var sum counts
	var lines []string
	for i, s := range p.segments {
		c, flaws, err := verifySegment(fs, s, p.limit(i), p.saved)
		if err != nil {
			return 0, err
		}
		sum = counts{sum.batches + c.batches, sum.records + c.records, sum.bytes + c.bytes, c.next}
		for _, f := range flaws {
			word := "fault"
			if p.torn(s, f, i) {
				word = "torn tail, cut at the next start"
			} else {
				faults++
			}
			lines = append(lines, fmt.Sprintf("%s: %s: %v", s.path, word, f))
		}
	}
	if text := p.compareSaved(sum.next, faults); text != "" {
		faults++
		lines = append(lines, text)
	} else if lost := p.lost(sum.next); lost > 0 {
		lines = append(lines, fmt.Sprintf("%s: offsets %d to %d are lost with it", p.dir, sum.next, sum.next+lost-1))
	}
	first := int64(0)
	if len(p.segments) > 0 {
		first = p.segments[0].base
	}
	_, err = fmt.Fprintf(w, "%s: %d segments, %d batches, %d records, offsets %d to %d, %d bytes, %d faults\n",
		p.dir, len(p.segments), sum.batches, sum.records, first, sum.next, sum.bytes, faults)
	for _, line := range lines {
		_, more := fmt.Fprintln(w, line)
		err = errors.Join(err, more)
	}
	return faults, err
}

// torn tells whether a flaw is what a crash leaves behind: at the end of the last segment, behind the checkpoint.
func (p *found) torn(s *segment, f flaw, i int) bool {
	last := i == len(p.segments)-1
	behind := !p.hasSaved || s.base != p.saved.base || f.position >= p.saved.position
	return last && behind && f.position+f.bytes >= s.end
}

// compareSaved finds what only the checkpoint can tell. Faults that were found already explain offsets that lack at the
// end; which ones is said all the same.
func (p *found) compareSaved(next int64, faults int) string {
	path := filepath.Join(p.dir, checkpointName)
	switch {
	case !p.hasSaved && len(p.segments) > 0:
		return path + ": fault: the checkpoint is missing or damaged"
	case p.hasSaved && faults == 0 && p.lost(next) > 0:
		return fmt.Sprintf("%s: fault: the segments end with offset %d, the checkpoint says: %v", path, next, p.saved)
	}
	return ""
}

// verifySegment walks through a segment, and looks closer at one that is not sound.
func verifySegment(fs vfs.FS, s *segment, limit int64, saved mark) (c counts, flaws []flaw, err error) {
	f, err := fs.OpenFile(s.path, os.O_RDONLY)
	if err != nil {
		return c, nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := newWalker(f, s.end, 0, s.base, limit)
	for {
		if _, ok := w.next(true); !ok {
			break
		}
		c.batches++
		c.records += int64(w.header.Records)
	}
	c.bytes, c.next = w.position, w.offset
	if w.err != nil || w.fault == "" {
		return c, nil, w.err
	}
	b, err := readSegment(fs, s.path)
	if err != nil {
		return c, nil, err
	}
	look := salvageSegment(b, s.base, limit, saved)
	if len(look.flaws) == 0 { // the file is being written, or the disk gives different bytes each time
		look.flaws = []flaw{{position: w.position, reason: w.fault + ", but not at a second look"}}
	}
	c.next = look.next
	return c, look.flaws, nil
}
