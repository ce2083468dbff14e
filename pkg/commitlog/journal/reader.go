package journal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"tollgate/internal/invariants"
	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// reader is a commitlog.Reader of one partition. It has its own file handle, so that retention need not know of it; the
// committer only knows how far it has read.
type reader struct {
	p        *partition
	offset   int64 // of the next record
	base     int64 // of the segment that w walks through
	rewrites int   // of this segment, when its file was opened
	file     vfs.File
	w        *walker
	scanner  recordbatch.Scanner
	records  []recordbatch.Record
}

// view is the part of a segment that may be read now.
type view struct {
	path     string
	base     int64
	end      int64 // bytes
	limit    int64 // offset behind the last readable record
	start    indexEntry
	rewrites int
}

// NewReader implements commitlog.Log. Next returns what is in one batch, a *RotError when it is damaged.
func (j *Journal) NewReader(topic string, n int32, offset int64) (commitlog.Reader, error) {
	p := j.partition(topic, n)
	if p == nil {
		return nil, fmt.Errorf("%w: there is no topic %q with a partition %d", commitlog.ErrRefused, topic, n)
	}
	if err := p.holds(offset); err != nil {
		return nil, err
	}
	return &reader{p: p, offset: offset}, nil
}

// holds returns an ErrOffsetOutOfRange unless a reader may begin at the offset.
func (p *partition) holds(offset int64) error {
	if oldest, next := p.bounds(); offset < oldest || offset > next {
		return fmt.Errorf("%w: %s keeps %d to %d, not %d", commitlog.ErrOffsetOutOfRange, p.dir, oldest, next, offset)
	}
	return nil
}

// Next implements commitlog.Reader.
func (r *reader) Next(ctx context.Context) ([]recordbatch.Record, error) {
	return r.NextBefore(ctx, math.MaxInt64)
}

// NextBefore is Next for the records before an offset: where Repair or compaction has left none of them, it returns none
// and does not wait for later ones.
func (r *reader) NextBefore(ctx context.Context, end int64) ([]recordbatch.Record, error) {
	if r.w != nil {
		invariants.Mangle(r.w.batch) // what the last call returned is no longer valid
	}
	for r.offset < end {
		v, err := r.p.wait(ctx, r)
		if err != nil {
			return nil, err
		}
		records, err := r.batch(v)
		if errors.Is(err, errRewritten) {
			continue
		}
		if err != nil || len(records) > 0 {
			return records, err
		}
		// The batch is a gap that Repair or compaction has left.
	}
	return nil, nil
}

// batch returns the records of the batch that holds the reader's offset, and goes past it.
func (r *reader) batch(v view) ([]recordbatch.Record, error) {
	if r.file == nil || r.base != v.base || r.rewrites != v.rewrites {
		if err := r.open(v); err != nil {
			return nil, err
		}
	}
	r.w.size, r.w.limit = v.end, v.limit
	_, ok := r.w.next(true)
	switch {
	case ok:
		return r.decode(v)
	case r.w.err != nil:
		return nil, r.fail(r.w.err)
	case r.w.fault != "":
		return nil, r.fail(r.w.rot(v.path))
	}
	panic(fmt.Sprintf("BUG: journal: %s ends at offset %d before %d", v.path, r.w.offset, r.offset))
}

// wait returns the segment that holds the reader's offset, as soon as it is durable.
func (p *partition) wait(ctx context.Context, r *reader) (view, error) {
	offset := r.offset
	for {
		p.mu.Lock()
		if r.file != nil {
			p.readers[r] = offset
		}
		if offset < p.segments[0].base || offset > p.next {
			p.mu.Unlock()
			return view{}, p.holds(offset)
		}
		if offset < p.next {
			v := p.viewLocked(offset)
			p.mu.Unlock()
			return v, nil
		}
		closed := p.closed
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		if closed {
			return view{}, fmt.Errorf("%s: %w", p.dir, commitlog.ErrClosed)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return view{}, ctx.Err()
		}
	}
}

func (p *partition) viewLocked(offset int64) view {
	i, limit := len(p.segments)-1, p.next
	for p.segments[i].base > offset {
		limit = p.segments[i].base
		i--
	}
	s := p.segments[i]
	return view{path: s.path, base: s.base, end: s.end, limit: limit, start: s.seek(offset), rewrites: s.rewrites}
}

// errRewritten: the segment was compacted since it was looked up, and the file that was opened may be either.
var errRewritten = errors.New("the segment was compacted meanwhile")

// current tells whether a view is still true.
func (p *partition) current(v view, offset int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if offset < p.segments[0].base {
		return true // retention took it
	}
	now := p.viewLocked(offset)
	return now.base == v.base && now.rewrites == v.rewrites
}

// open opens the segment and goes to the batch that holds the offset.
func (r *reader) open(v view) error {
	if r.file != nil && r.base < v.base {
		r.p.leave(r, v.base)
	}
	if err := r.Close(); err != nil {
		return err
	}
	f, err := r.p.cfg.FS.OpenFile(v.path, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		if gone := r.p.holds(r.offset); gone != nil {
			return gone
		}
		return rotf(v.path, 0, "the file is missing")
	}
	if err != nil {
		return err
	}
	if !r.p.current(v, r.offset) {
		return errors.Join(errRewritten, f.Close())
	}
	r.file, r.base, r.rewrites = f, v.base, v.rewrites
	r.p.arrive(r)
	r.w = newWalker(f, v.end, v.start.position, v.start.offset, v.limit)
	// Headers tell where to begin; only what is handed out is checked in full.
	for r.w.look(false) && r.w.header.NextOffset() <= r.offset {
		r.w.next(false)
	}
	r.w.fault = "" // the full look will say it again
	return nil
}

// decode returns the records of the walker's batch from the reader's offset on.
func (r *reader) decode(v view) ([]recordbatch.Record, error) {
	r.records = r.records[:0]
	_ = r.scanner.Reset(r.w.batch, decompressedBytesMax) // Err says the same
	for r.scanner.Next() {
		if record := r.scanner.Record(); record.Offset >= r.offset {
			r.records = append(r.records, record)
		}
	}
	if err := r.scanner.Err(); err != nil {
		return nil, r.fail(rotf(v.path, r.w.position-int64(r.w.header.Length), "%v", err))
	}
	r.offset = r.w.offset
	return r.records, nil
}

// Header is the header of the batch that the last Next returned records of. Its Producer is one when the topic keeps them.
func (r *reader) Header() recordbatch.Header { return r.scanner.Header() }

// fail drops the handle, so that the next call begins anew.
func (r *reader) fail(err error) error {
	if gone := r.p.holds(r.offset); gone != nil {
		err = gone
	}
	return errors.Join(fmt.Errorf("offset %d: %w", r.offset, err), r.Close())
}

// Close implements commitlog.Reader.
func (r *reader) Close() error {
	if r.file == nil {
		return nil
	}
	r.p.mu.Lock()
	delete(r.p.readers, r)
	r.p.mu.Unlock()
	err := r.file.Close()
	r.file, r.w = nil, nil
	return err
}
