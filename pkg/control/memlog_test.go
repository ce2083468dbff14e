package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// memLog is a commitlog.Log of one partition in memory. Several Controls may share it.
type memLog struct {
	t testing.TB

	mu sync.Mutex
	// Guarded by mu.
	records      []recordbatch.Record
	oldest, next int64
	away         error // what Bounds, reads and Ready fail with
	questions    int   // Bounds asked
	changed      chan struct{}

	// answer decides what becomes of a batch, in a goroutine of its own; nil: it is written, and its base told.
	answer func(b *commitlog.Batch) (write bool, base func(int64) int64, err error)
	// question is called by Bounds before it answers; nil: nothing. Guarded by mu once a fold is open.
	question func()
}

func newMemLog(t testing.TB) *memLog { return &memLog{t: t, changed: make(chan struct{})} }

func (l *memLog) Append(set []*commitlog.Batch) {
	for _, b := range set {
		if _, next, err := l.Bounds(context.Background(), b.Topic, 0); err != nil && next >= 0 {
			go func() {
				b.Err = fmt.Errorf("%w: %w", commitlog.ErrUnavailable, err)
				b.Done(b)
			}()
			continue
		}
		go l.finish(b)
	}
}

func (l *memLog) finish(b *commitlog.Batch) {
	write, base, err := true, func(base int64) int64 { return base }, error(nil)
	if l.answer != nil {
		write, base, err = l.answer(b)
	}
	if write {
		var s recordbatch.Scanner
		if err := s.Reset(b.Bytes, 0); err != nil {
			l.t.Error(err)
		}
		for s.Next() {
			b.Base = l.add(string(s.Record().Key), string(s.Record().Value))
		}
		if base != nil {
			b.Base = base(b.Base)
		}
	}
	b.Err = err
	b.Done(b)
}

// add appends a record and returns its offset.
func (l *memLog) add(key, value string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, recordbatch.Record{Offset: l.next, Key: []byte(key), Value: []byte(value)})
	l.next++
	l.wakeLocked()
	return l.next - 1
}

func (l *memLog) wakeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// edit changes the log, and wakes readers.
func (l *memLog) edit(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	l.wakeLocked()
}

func (l *memLog) all() []recordbatch.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.records)
}

func (l *memLog) Partitions(string) int    { return 1 }
func (l *memLog) BatchBytesMax(string) int { return 1 << 20 }

func (l *memLog) Bounds(ctx context.Context, _ string, _ int32) (oldest, next int64, err error) {
	l.mu.Lock()
	question := l.question
	l.mu.Unlock()
	if question != nil {
		question()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.questions++
	return l.oldest, l.next, errors.Join(ctx.Err(), l.away)
}

func (l *memLog) NewReader(_ string, _ int32, offset int64) (commitlog.Reader, error) {
	return &memReader{l: l, offset: offset}, nil
}

func (l *memLog) Group(string, string) commitlog.Group { panic("not in this fake") }
func (l *memLog) Close(context.Context) error          { return nil }

func (l *memLog) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.away
}

// memReader mangles what it returned before, as the contract lets it.
type memReader struct {
	l      *memLog
	offset int64
	last   []recordbatch.Record
}

// chunkMax is small, so that folds see many chunks.
const chunkMax = 7

func (r *memReader) Next(ctx context.Context) ([]recordbatch.Record, error) {
	for _, x := range r.last {
		for i := range x.Key {
			x.Key[i] = '#'
		}
		for i := range x.Value {
			x.Value[i] = '#'
		}
	}
	r.last = nil
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.l.mu.Lock()
		err, changed := r.l.away, r.l.changed
		if err == nil && (r.offset < r.l.oldest || r.offset > r.l.next) {
			err = fmt.Errorf("offset %d: %w", r.offset, commitlog.ErrOffsetOutOfRange)
		}
		if err != nil {
			r.l.mu.Unlock()
			return nil, err
		}
		from, _ := slices.BinarySearchFunc(r.l.records, r.offset, func(x recordbatch.Record, offset int64) int { return int(x.Offset - offset) })
		for _, x := range r.l.records[from:min(from+chunkMax, len(r.l.records))] {
			x.Key, x.Value = bytes.Clone(x.Key), bytes.Clone(x.Value)
			r.last = append(r.last, x)
		}
		r.l.mu.Unlock()
		if len(r.last) > 0 {
			r.offset = r.last[len(r.last)-1].Offset + 1
			return r.last, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (r *memReader) Close() error { return nil }
