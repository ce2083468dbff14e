package webhook

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// memLog is topics of one partition in memory, which several processes use through a life each.
type memLog struct {
	t     testing.TB
	baton chan struct{} // who has it delivers
	end   func() int64  // of the events topic, which is not in here

	mu      sync.Mutex
	topics  map[string][]recordbatch.Record // guarded by mu
	changed chan struct{}                   // guarded by mu
}

func newMemLog(t testing.TB, topics ...string) *memLog {
	l := &memLog{t: t, topics: map[string][]recordbatch.Record{}, changed: make(chan struct{}), baton: make(chan struct{}, 1)}
	for _, topic := range topics {
		l.topics[topic] = nil
	}
	return l
}

// records are what a topic holds.
func (l *memLog) records(topic string) []recordbatch.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.topics[topic])
}

// last are the values of a topic by key, as compaction would leave them.
func (l *memLog) last(topic string) map[string]string {
	last := map[string]string{}
	for _, r := range l.records(topic) {
		if r.Value == nil {
			delete(last, string(r.Key))
		} else {
			last[string(r.Key)] = string(r.Value)
		}
	}
	return last
}

func (l *memLog) write(b *commitlog.Batch) {
	var s recordbatch.Scanner
	if err := s.Reset(b.Bytes, 0); err != nil {
		l.t.Error(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b.Base = int64(len(l.topics[b.Topic]))
	for s.Next() {
		r := s.Record()
		l.topics[b.Topic] = append(l.topics[b.Topic], recordbatch.Record{
			Offset: int64(len(l.topics[b.Topic])), Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value),
		})
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// life is one process's use of a memLog.
type life struct {
	*memLog
	// answer decides what becomes of a batch; nil: it is written.
	answer func(b *commitlog.Batch) (write bool, err error)

	mu   sync.Mutex
	dead bool // guarded by mu; what is appended then is not written
}

func (l *life) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
}

func (l *life) Append(set []*commitlog.Batch) {
	set = slices.Clone(set)
	go func() {
		for _, b := range set {
			write, err := true, error(nil)
			if l.answer != nil {
				write, err = l.answer(b)
			}
			l.mu.Lock()
			if l.dead {
				write, err = false, commitlog.ErrClosed
			}
			if write {
				l.write(b)
			}
			l.mu.Unlock()
			b.Err = err
			b.Done(b)
		}
	}()
}

func (l *life) Partitions(topic string) int {
	l.memLog.mu.Lock()
	defer l.memLog.mu.Unlock()
	if _, ok := l.topics[topic]; ok {
		return 1
	}
	return 0
}

func (l *life) BatchBytesMax(string) int { return 4 << 10 } // small, so that a group is several batches

func (l *life) Bounds(_ context.Context, topic string, _ int32) (oldest, next int64, err error) {
	if topic == eventsTopic {
		return 0, l.end(), nil
	}
	return 0, int64(len(l.records(topic))), nil
}

func (l *life) NewReader(topic string, _ int32, offset int64) (commitlog.Reader, error) {
	return &memReader{l.memLog, topic, offset}, nil
}

func (l *life) Group(string, string) commitlog.Group { return group1{l} }
func (l *life) Ready() error                         { return nil }
func (l *life) Close(context.Context) error          { return nil }

type memReader struct {
	l      *memLog
	topic  string
	offset int64
}

func (r *memReader) Next(ctx context.Context) ([]recordbatch.Record, error) {
	for {
		r.l.mu.Lock()
		records, changed := r.l.topics[r.topic], r.l.changed
		r.l.mu.Unlock()
		if n := int64(len(records)); r.offset < n {
			records = records[r.offset:min(n, r.offset+7)]
			r.offset += int64(len(records))
			return records, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("reading: %w", ctx.Err())
		}
	}
}

func (r *memReader) Close() error { return nil }

// group1 gives the one partition to one life after the other.
type group1 struct{ l *life }

func (g group1) Run(ctx context.Context, m commitlog.Member) error {
	select {
	case g.l.baton <- struct{}{}:
		defer func() { <-g.l.baton }()
		m.Hold(ctx, claim{})
	case <-ctx.Done():
	}
	return nil
}

type claim struct{}

func (claim) Partition() int32 { return 0 }
func (claim) Commit(int64)     {}
