package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tollgate/internal/vfs"
	"tollgate/pkg/recordbatch"
)

// segment is one file of a partition. Its fields are guarded by the partition's mu once it is in the list.
type segment struct {
	path string // fixed
	base int64  // fixed
	// end is the number of bytes that may be read: the durable ones of the active segment, the file's size of a
	// closed one. Behind the last record of a closed segment there may be bytes that were never acknowledged: the
	// next segment's base decides, not end.
	end int64
	// times are known of the active segment, and of a closed one once somebody has walked through it.
	times times
	index []indexEntry
	// rewrites counts how often compaction has put another file in this one's place.
	rewrites int
}

// times are the bounds of a segment's record timestamps, in ms. known is false of an empty segment too.
type times struct {
	first, max int64
	known      bool
}

// indexEntry tells that the batch at a position begins with an offset.
type indexEntry struct{ offset, position int64 }

func (t *times) add(h *recordbatch.Header) {
	if h.Records == 0 {
		return
	}
	if !t.known {
		*t = times{first: h.BaseTimestamp, max: h.MaxTimestamp, known: true}
	}
	t.max = max(t.max, h.MaxTimestamp)
}

// note adds a batch to the index when the last entry is far enough behind.
func (s *segment) note(offset, position int64) {
	if n := len(s.index); n == 0 || position-s.index[n-1].position >= indexEvery {
		s.index = append(s.index, indexEntry{offset, position})
	}
}

// seek returns the last known batch at or before the offset; the start when none is known.
func (s *segment) seek(offset int64) indexEntry {
	at := indexEntry{offset: s.base}
	for _, e := range s.index {
		if e.offset > offset {
			break
		}
		at = e
	}
	return at
}

const segmentSuffix = ".log"

func segmentPath(dir string, base int64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, segmentSuffix))
}

// segmentBase reads a segment's base offset from its file name; false for any other file.
func segmentBase(name string) (int64, bool) {
	digits, isLog := strings.CutSuffix(name, segmentSuffix)
	if !isLog || len(digits) != 20 {
		return 0, false
	}
	base, err := strconv.ParseInt(digits, 10, 64)
	return base, err == nil && base >= 0
}

// listSegments returns a partition's segments, oldest first.
func listSegments(fs vfs.FS, dir string) ([]*segment, error) {
	entries, err := fs.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []*segment
	for _, e := range entries { // sorted by name, hence by base
		if base, ok := segmentBase(e.Name); ok && !e.Dir {
			list = append(list, &segment{path: filepath.Join(dir, e.Name), base: base, end: e.Bytes})
		}
	}
	return list, nil
}

// createSegment makes the file of an empty segment and its name durable. A file that has the name already can only
// hold batches which were never acknowledged, since its base is the next offset: it is replaced, not reused, because
// its pages may be the ones that an fsync has failed on.
func createSegment(fs vfs.FS, dir string, base int64) (vfs.File, error) {
	path := segmentPath(dir, base)
	f, err := fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if errors.Is(err, os.ErrExist) {
		f, err = replaceSegment(fs, path)
	}
	if err != nil {
		return nil, err
	}
	if err := fs.SyncDir(dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// replaceSegment puts an empty file in a segment's place, in one step: were the name away for a moment, and the power
// lost then, the segment before would be the last one, and what a failed fsync has left behind its end would count.
func replaceSegment(fs vfs.FS, path string) (vfs.File, error) {
	temporary := path + ".tmp"
	if err := fs.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	f, err := fs.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err := errors.Join(err, closeFile(f)); err != nil {
		return nil, err
	}
	if err := fs.Rename(temporary, path); err != nil {
		return nil, err
	}
	return fs.OpenFile(path, os.O_RDWR)
}
