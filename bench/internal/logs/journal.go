package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tollgate/bench/internal/records"
)

// A segment is one file. What it holds at or behind the base of the next one does not count: a file that was given up
// after a failed write may hold batches there that were written again.
type segment struct {
	file string
	base int64
	end  int64 // base of the next segment; -1: the last one
}

const chunkBytes = 4 << 20

// Journal reads a journal's segments below a directory, which may be the journal's or the gateway's data dir.
func Journal(ctx context.Context, dir, topic string, visit func(value []byte)) (Stats, error) {
	partitions, err := findPartitions(dir, topic)
	if err != nil {
		return Stats{}, err
	}
	var all []segment
	for _, p := range partitions {
		segments, err := segmentsOf(p)
		if err != nil {
			return Stats{}, err
		}
		all = append(all, segments...)
	}
	var c counters
	err = each(ctx, all, func(ctx context.Context, s segment) error { return c.readSegment(ctx, s, visit) })
	return c.stats(len(partitions)), err
}

// findPartitions returns the directories TOPIC-N in dir, or in its directory journal.
func findPartitions(dir, topic string) (found []string, err error) {
	name := regexp.MustCompile(`^` + regexp.QuoteMeta(topic) + `-[0-9]+$`)
	for _, in := range []string{dir, filepath.Join(dir, "journal")} {
		entries, err := os.ReadDir(in)
		if err != nil && (in == dir || !errors.Is(err, os.ErrNotExist)) {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() && name.MatchString(e.Name()) {
				found = append(found, filepath.Join(in, e.Name()))
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s holds no partition %s-N", dir, topic)
	}
	return found, nil
}

func segmentsOf(partition string) (segments []segment, err error) {
	files, err := filepath.Glob(filepath.Join(partition, "*.log"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files) // names are offsets of fixed width
	for _, f := range files {
		base, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(f), ".log"), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is not named after an offset", f)
		}
		if n := len(segments); n > 0 {
			segments[n-1].end = base
		}
		segments = append(segments, segment{file: f, base: base, end: -1})
	}
	return segments, nil
}

// readSegment reads the file as it is now, in chunks that hold at least one whole batch.
func (c *counters) readSegment(ctx context.Context, s segment, visit func([]byte)) error {
	f, err := os.Open(s.file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	in := io.NewSectionReader(f, 0, info.Size())
	buf := make([]byte, 0, chunkBytes)
	next, at := s.base, int64(0)
	var reader records.Reader
	for ctx.Err() == nil {
		n, err := io.ReadFull(in, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return fmt.Errorf("%s: %w", s.file, err)
		}
		used, err := c.readBatches(&reader, s, buf, &next, visit)
		at += int64(used)
		switch {
		case s.end >= 0 && next >= s.end:
			return nil
		case err != nil && !errors.Is(err, records.ErrShort):
			return c.broken(s, at, info.Size(), next, err)
		case last && used < len(buf):
			return c.broken(s, at, info.Size(), next, records.ErrShort)
		case last && s.end >= 0:
			return fmt.Errorf("%s: ends before offset %d, and the next segment begins at %d", s.file, next, s.end)
		case last:
			return nil
		}
		rest := copy(buf[:cap(buf)], buf[used:])
		if buf = buf[:rest]; rest == cap(buf) { // a batch larger than the buffer
			buf = append(buf, make([]byte, rest)...)[:rest]
		}
	}
	return ctx.Err()
}

// readBatches reads the whole batches at the beginning of b and returns how many bytes they are.
func (c *counters) readBatches(reader *records.Reader, s segment, b []byte, next *int64, visit func([]byte)) (used int, err error) {
	for used < len(b) && (s.end < 0 || *next < s.end) {
		batch, err := reader.Next(b[used:])
		if err != nil {
			return used, err
		}
		if batch.BaseOffset != *next {
			return used, fmt.Errorf("%w: base offset %d where %d is due", records.ErrCorrupt, batch.BaseOffset, *next)
		}
		if err := reader.Values(batch, visit); err != nil {
			return used, err
		}
		c.records.Add(int64(batch.Records))
		c.bytes.Add(int64(len(batch.Bytes)))
		used += len(batch.Bytes)
		*next = batch.NextOffset
	}
	return used, nil
}

// broken judges bytes that are no batch: at the end of the last segment they are a torn tail, elsewhere the log is
// damaged.
func (c *counters) broken(s segment, at, size, next int64, err error) error {
	if s.end >= 0 {
		return fmt.Errorf("%s: at byte %d, offset %d: %w", s.file, at, next, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.torn = append(c.torn, fmt.Sprintf("%s: %d bytes from byte %d on: %v", s.file, size-at, at, err))
	return nil
}
