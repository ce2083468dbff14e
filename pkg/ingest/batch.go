package ingest

import (
	"errors"
	"fmt"
	"sync/atomic"

	"tollgate/internal/invariants"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

const (
	// batchBytesStart is the first capacity of a batch's buffer.
	batchBytesStart = 64 << 10
	// spareFraction of BacklogBytesMax is the most that batches kept for reuse hold.
	spareFraction = 4
)

// batch is a record batch from its first record until the log is done with it. The drainer owns it, but for its time
// with the log: from Append to Done.
type batch struct {
	commitlog.Batch
	builder recordbatch.Builder
	buf     []byte   // the builder's buffer between two uses
	tickets []uint32 // slots of the frames that have records in it
	bytes   int      // its size at the last record: its share of the backlog
	next    *batch   // in a partition's queue, or among those done

	flying atomic.Bool // with the log
}

// partition is one partition's batches in the drainer's hands.
type partition struct {
	number      int32
	flying      int    // batches with the log: one, or a large one behind it as well (D5)
	flyingSince uint32 // the watchdog's tick at which the log got the first of them, or gave the one before back
	stuck       error  // why frames are refused: the log has answered nothing for too long; nil: it has
	first, last *batch // waiting, oldest first; last is the one that fills
	bytes       int    // of all these, the flying ones included
	listed      bool   // in the drainer's list of those that can be handed over
}

// doneList takes batches from the log's goroutines to the drainer. Any number push; the drainer takes all at once,
// which is why a compare-and-swap on a plain pointer is enough.
type doneList struct{ newest atomic.Pointer[batch] }

func (l *doneList) push(b *batch) {
	if !b.flying.CompareAndSwap(true, false) {
		panic(fmt.Sprintf("BUG: ingest: a log called Done twice for a batch of partition %d", b.Partition))
	}
	for {
		b.next = l.newest.Load()
		if l.newest.CompareAndSwap(b.next, b) {
			return
		}
	}
}

// takeAll returns what was pushed, oldest first.
func (l *doneList) takeAll() *batch {
	if l.newest.Load() == nil {
		return nil
	}
	var oldest *batch
	for b := l.newest.Swap(nil); b != nil; {
		b.next, oldest, b = oldest, b, b.next
	}
	return oldest
}

// newBatch returns an empty batch, used before if there is one.
func (d *drainer) newBatch(p *partition) *batch {
	var b *batch
	if n := len(d.spares); n > 0 {
		b = d.spares[n-1]
		d.spares = d.spares[:n-1]
		d.spareBytes -= cap(b.buf)
	} else {
		b = &batch{buf: make([]byte, 0, min(batchBytesStart, d.topic.batchBytesMax))}
		b.Topic = d.g.cfg.Topic
		b.Done = func(*commitlog.Batch) {
			d.done.push(b)
			d.g.rings.Gate.Wake()
		}
	}
	b.Partition = p.number
	b.builder.Reset(b.buf)
	b.bytes = b.builder.Len()
	return b
}

// recycle keeps a batch for reuse.
func (d *drainer) recycle(b *batch) {
	invariants.Mangle(b.Bytes)
	b.buf, b.Bytes = b.Bytes[:0], nil
	b.Err, b.Base, b.Records = nil, 0, 0
	b.tickets = b.tickets[:0]
	b.next = nil
	if d.spareBytes+cap(b.buf) <= d.g.cfg.BacklogBytesMax/spareFraction {
		d.spareBytes += cap(b.buf)
		d.spares = append(d.spares, b)
	}
}

// seal makes the batch ready for the log.
func (b *batch) seal() *commitlog.Batch {
	b.Records = b.builder.Records()
	b.Bytes = b.builder.Seal()
	b.flying.Store(true)
	return &b.Batch
}

// The outcomes of a batch by gravity: a frame gets the gravest of its batches.
const (
	gravityDurable = iota
	gravityRefused
	gravityUnavailable
	gravityUnknown
)

// gravity classes an error that classify has seen.
func gravity(err error) int {
	switch {
	case err == nil:
		return gravityDurable
	case errors.Is(err, commitlog.ErrUnknown):
		return gravityUnknown
	case errors.Is(err, commitlog.ErrUnavailable):
		return gravityUnavailable
	case errors.Is(err, commitlog.ErrRefused):
		return gravityRefused
	}
	return gravityUnknown
}

// add notes the outcome of one of the batches that hold records of the slot's frame.
func (s *slot) add(err error) {
	if err == nil {
		s.stored = true
	} else if gravity(err) > gravity(s.worst) {
		s.worst = err
	}
}

// verdict is the frame's outcome when all its batches have come back. Of a frame that was cut, a part may be durable
// while another is not in the log: "stored" would be a lie, and "not stored" too (G1).
func (s *slot) verdict() error {
	worst := s.worst
	s.worst = nil
	if worst == nil || !s.stored || gravity(worst) == gravityUnknown {
		return worst
	}
	return fmt.Errorf("%w: a part of the request is stored, another is not: %v", commitlog.ErrUnknown, worst)
}

// classify gives an error of a log one of the three names that Submit promises. An error without a name, or with
// several, is the gravest: what a log did not say clearly is not known (G1).
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, commitlog.ErrUnknown):
		return err
	case errors.Is(err, commitlog.ErrUnavailable), errors.Is(err, commitlog.ErrRefused):
		return err
	case errors.Is(err, commitlog.ErrClosed):
		return unavailable(err)
	}
	return fmt.Errorf("%w: %w", commitlog.ErrUnknown, err)
}

// unavailable gives an error that says why nothing can be written now its name.
func unavailable(err error) error {
	if errors.Is(err, commitlog.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", commitlog.ErrUnavailable, err)
}
