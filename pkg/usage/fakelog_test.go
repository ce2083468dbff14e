package usage

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// fakeLog is a log in memory with what the worker and the control plane ask of one.
type fakeLog struct {
	mu     sync.Mutex
	topics map[string][]*fakePartition
	chunk  int // records that a reader returns at most
	fail   error
}

type fakePartition struct {
	oldest  int64
	records []recordbatch.Record // from offset 0 on, those below oldest included
	more    chan struct{}
}

const (
	usageTopic   = "usage"
	controlTopic = "control"
	eventsTopic  = "events"
)

func newFakeLog(partitions int) *fakeLog {
	l := &fakeLog{topics: map[string][]*fakePartition{}, chunk: 1000}
	for range partitions {
		l.topics[usageTopic] = append(l.topics[usageTopic], &fakePartition{more: make(chan struct{})})
	}
	for _, topic := range []string{controlTopic, eventsTopic} {
		l.topics[topic] = []*fakePartition{{more: make(chan struct{})}}
	}
	return l
}

func (l *fakeLog) add(topic string, partition int32, rec recordbatch.Record) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.topics[topic][partition]
	rec.Offset = int64(len(p.records))
	rec.Key, rec.Value = bytes.Clone(rec.Key), bytes.Clone(rec.Value)
	p.records = append(p.records, rec)
	close(p.more)
	p.more = make(chan struct{})
	return rec.Offset
}

// truncate removes the records before an offset, as retention does.
func (l *fakeLog) truncate(partition int32, oldest int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.topics[usageTopic][partition].oldest = oldest
}

func (l *fakeLog) Append(set []*commitlog.Batch) {
	for _, b := range set {
		var s recordbatch.Scanner
		b.Err, b.Base = s.Reset(b.Bytes, 1<<20), -1
		for s.Next() {
			offset := l.add(b.Topic, b.Partition, s.Record())
			if b.Base < 0 {
				b.Base = offset
			}
		}
		go b.Done(b)
	}
}

func (l *fakeLog) Partitions(topic string) int { return len(l.topics[topic]) }
func (l *fakeLog) BatchBytesMax(string) int    { return 1 << 20 }
func (l *fakeLog) Ready() error                { return nil }

func (l *fakeLog) Close(context.Context) error { return nil }

func (l *fakeLog) Bounds(_ context.Context, topic string, partition int32) (oldest, next int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.topics[topic][partition]
	return p.oldest, int64(len(p.records)), l.fail
}

func (l *fakeLog) NewReader(topic string, partition int32, offset int64) (commitlog.Reader, error) {
	return &fakeReader{l, l.topics[topic][partition], offset}, nil
}

// Group runs every partition in one member.
func (l *fakeLog) Group(topic, _ string) commitlog.Group { return &fakeGroup{l, topic} }

type fakeReader struct {
	l    *fakeLog
	p    *fakePartition
	next int64
}

func (r *fakeReader) Next(ctx context.Context) ([]recordbatch.Record, error) {
	for {
		r.l.mu.Lock()
		end, oldest, more := int64(len(r.p.records)), r.p.oldest, r.p.more
		if r.next < oldest || r.next > end {
			r.l.mu.Unlock()
			return nil, fmt.Errorf("%w: %d", commitlog.ErrOffsetOutOfRange, r.next)
		}
		if r.next < end {
			got := r.p.records[r.next:min(end, r.next+int64(r.l.chunk))]
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

type fakeGroup struct {
	l     *fakeLog
	topic string
}

func (g *fakeGroup) Run(ctx context.Context, m commitlog.Member) error {
	m.Held()
	var wait sync.WaitGroup
	for n := range g.l.Partitions(g.topic) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			m.Own(ctx, fakeClaim(n))
		}()
	}
	wait.Wait()
	return nil
}

type fakeClaim int32

func (c fakeClaim) Partition() int32 { return int32(c) }
func (c fakeClaim) Commit(int64)     {}
