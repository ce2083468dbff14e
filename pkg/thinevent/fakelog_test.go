package thinevent

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

const topic = "t.events"

// fakeLog keeps one topic of one partition in memory, with what a Store asks of a log.
type fakeLog struct {
	commitlog.Log // what is not asked

	mu       sync.Mutex
	oldest   int64
	records  []recordbatch.Record // from offset 0 on, those below oldest included
	more     chan struct{}
	chunk    int   // records that a reader returns at most
	bytesMax int   // of a batch
	visible  int64 // where readers see the end; -1: at the end
	fault    error // of every call, while set
	lose     error // what is appended is durable, and this is the answer
	nowhere  bool  // what is appended is durable, and the log does not say where
	batches  int   // that were appended
}

func newFakeLog() *fakeLog {
	return &fakeLog{more: make(chan struct{}), chunk: 1000, bytesMax: 1 << 20, visible: -1}
}

// set changes the log and wakes its readers.
func (l *fakeLog) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	close(l.more)
	l.more = make(chan struct{})
}

// put appends a record by hand.
func (l *fakeLog) put(rec recordbatch.Record) (offset int64) {
	l.set(func() {
		offset = int64(len(l.records))
		rec.Offset, rec.Key, rec.Value = offset, bytes.Clone(rec.Key), bytes.Clone(rec.Value)
		l.records = append(l.records, rec)
	})
	return offset
}

func (l *fakeLog) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.records)
}

func (l *fakeLog) Partitions(string) int    { return 1 }
func (l *fakeLog) BatchBytesMax(string) int { return l.bytesMax }

func (l *fakeLog) Append(set []*commitlog.Batch) {
	set = slices.Clone(set)
	go func() {
		for _, b := range set {
			b.Base, b.Err = l.append(b)
			b.Done(b)
		}
	}()
}

func (l *fakeLog) append(b *commitlog.Batch) (base int64, err error) {
	l.mu.Lock()
	fault, lose, nowhere := l.fault, l.lose, l.nowhere
	l.batches++
	l.mu.Unlock()
	if fault != nil {
		return 0, fault
	}
	if len(b.Bytes) > l.bytesMax || b.Topic != topic || b.Partition != 0 {
		return 0, fmt.Errorf("%w: %d bytes for %s", commitlog.ErrRefused, len(b.Bytes), b.Topic)
	}
	var s recordbatch.Scanner
	base = -1
	for _ = s.Reset(b.Bytes, 0); s.Next(); {
		offset := l.put(s.Record())
		if base < 0 && !nowhere {
			base = offset
		}
	}
	if s.Err() != nil {
		return 0, s.Err()
	}
	return base, lose
}

func (l *fakeLog) Bounds(context.Context, string, int32) (oldest, next int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.oldest, int64(len(l.records)), l.fault
}

func (l *fakeLog) NewReader(_ string, _ int32, offset int64) (commitlog.Reader, error) {
	return &fakeReader{l, offset}, nil
}

type fakeReader struct {
	l    *fakeLog
	next int64
}

func (r *fakeReader) Next(ctx context.Context) ([]recordbatch.Record, error) {
	for {
		r.l.mu.Lock()
		end, oldest, more, fault := int64(len(r.l.records)), r.l.oldest, r.l.more, r.l.fault
		if v := r.l.visible; v >= 0 {
			end = min(end, v)
		}
		switch {
		case fault != nil:
			r.l.mu.Unlock()
			return nil, fault
		case r.next < oldest:
			r.l.mu.Unlock()
			return nil, fmt.Errorf("%w: %d", commitlog.ErrOffsetOutOfRange, r.next)
		case r.next < end:
			got := slices.Clone(r.l.records[r.next:min(end, r.next+int64(r.l.chunk))])
			r.next += int64(len(got))
			r.l.mu.Unlock()
			return got, nil
		}
		r.l.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *fakeReader) Close() error { return nil }
