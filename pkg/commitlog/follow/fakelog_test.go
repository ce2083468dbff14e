package follow

import (
	"context"
	"fmt"
	"sync"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// fakeLog is one partition in memory, for readers alone.
type fakeLog struct {
	commitlog.Log

	mu sync.Mutex
	// Guarded by mu.
	records      []recordbatch.Record
	oldest, next int64
	fault        error // of Bounds and of readers
	readers      int   // opened and not closed
	questions    int
	changed      chan struct{}

	// question is called by Bounds before it answers; nil: nothing.
	question func(ctx context.Context)
}

func newLog(records int) *fakeLog {
	l := &fakeLog{changed: make(chan struct{})}
	for range records {
		l.add()
	}
	return l
}

func (l *fakeLog) add() {
	l.edit(func() {
		l.records = append(l.records, recordbatch.Record{Offset: l.next})
		l.next++
	})
}

func (l *fakeLog) edit(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *fakeLog) fail(err error) { l.edit(func() { l.fault = err }) }

func (l *fakeLog) Bounds(ctx context.Context, _ string, _ int32) (oldest, next int64, err error) {
	l.mu.Lock()
	l.questions++
	question := l.question
	l.mu.Unlock()
	if question != nil {
		question(ctx)
	}
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.oldest, l.next, l.fault
}

func (l *fakeLog) NewReader(_ string, _ int32, offset int64) (commitlog.Reader, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers++
	return &fakeReader{l, offset}, nil
}

type fakeReader struct {
	l    *fakeLog
	next int64
}

func (r *fakeReader) Close() error {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	r.l.readers--
	return nil
}

// chunkMax is small, so that a load has many chunks.
const chunkMax = 3

func (r *fakeReader) Next(ctx context.Context) ([]recordbatch.Record, error) {
	for {
		records, changed, err := r.look()
		if len(records) > 0 || err != nil {
			return records, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *fakeReader) look() (records []recordbatch.Record, changed <-chan struct{}, err error) {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	switch {
	case r.l.fault != nil:
		return nil, nil, r.l.fault
	case r.next < r.l.oldest || r.next > r.l.next:
		return nil, nil, fmt.Errorf("offset %d: %w", r.next, commitlog.ErrOffsetOutOfRange)
	}
	for _, x := range r.l.records {
		if x.Offset >= r.next && len(records) < chunkMax {
			records = append(records, x)
		}
	}
	if len(records) > 0 {
		r.next = records[len(records)-1].Offset + 1
	}
	return records, r.l.changed, nil
}
