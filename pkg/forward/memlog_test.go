package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// memLog is a log in memory with what a forwarder asks of one. fault, if there is one, decides about each batch of the
// topics that the forwarder writes: whether it lands, and what is said of it.
type memLog struct {
	mu            sync.Mutex
	topics        map[string][]*memPartition
	chunk         func() int
	batchBytesMax int
	fault         func() (land bool, err error)
}

type memPartition struct {
	oldest  int64
	records []recordbatch.Record
	more    chan struct{}
}

const (
	usageTopic   = "usage"
	cursorsTopic = "cursors"
	deadTopic    = "forward_dead"
	controlTopic = "control"
)

func newMemLog(partitions int) *memLog {
	l := &memLog{topics: map[string][]*memPartition{}, chunk: func() int { return 100 }, batchBytesMax: 1 << 20}
	for range partitions {
		l.topics[usageTopic] = append(l.topics[usageTopic], &memPartition{more: make(chan struct{})})
	}
	for _, topic := range []string{cursorsTopic, deadTopic, controlTopic} {
		l.topics[topic] = []*memPartition{{more: make(chan struct{})}}
	}
	return l
}

func (l *memLog) add(topic string, partition int32, rec recordbatch.Record) int64 {
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

// compact keeps the newest record of each key of the cursors topic.
func (l *memLog) compact() {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.topics[cursorsTopic][0]
	last := map[string]int64{}
	for _, r := range p.records {
		last[string(r.Key)] = r.Offset
	}
	kept := p.records[:0:0]
	for _, r := range p.records {
		if last[string(r.Key)] == r.Offset {
			kept = append(kept, r)
		} else {
			kept = append(kept, recordbatch.Record{Offset: -1})
		}
	}
	p.records = kept
}

func (l *memLog) Append(set []*commitlog.Batch) {
	for _, b := range set {
		land, err := true, error(nil)
		if l.fault != nil {
			land, err = l.fault()
		}
		var s recordbatch.Scanner
		if bad := s.Reset(b.Bytes, l.batchBytesMax); bad != nil || len(b.Bytes) > l.batchBytesMax {
			land, err = false, errors.Join(commitlog.ErrRefused, bad)
		}
		b.Base = -1
		for land && s.Next() {
			offset := l.add(b.Topic, b.Partition, s.Record())
			if b.Base < 0 {
				b.Base = offset
			}
		}
		b.Err = err
		go b.Done(b)
	}
}

func (l *memLog) Partitions(topic string) int           { return len(l.topics[topic]) }
func (l *memLog) BatchBytesMax(string) int              { return l.batchBytesMax }
func (l *memLog) Ready() error                          { return nil }
func (l *memLog) Close(context.Context) error           { return nil }
func (l *memLog) Group(topic, _ string) commitlog.Group { return memGroup{l, topic} }

func (l *memLog) Bounds(_ context.Context, topic string, partition int32) (oldest, next int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.topics[topic][partition]
	return p.oldest, int64(len(p.records)), nil
}

func (l *memLog) NewReader(topic string, partition int32, offset int64) (commitlog.Reader, error) {
	return &memReader{l, l.topics[topic][partition], offset}, nil
}

type memReader struct {
	l    *memLog
	p    *memPartition
	next int64
}

func (r *memReader) Next(ctx context.Context) ([]recordbatch.Record, error) {
	for {
		r.l.mu.Lock()
		end, oldest, more := int64(len(r.p.records)), r.p.oldest, r.p.more
		if r.next < oldest || r.next > end {
			r.l.mu.Unlock()
			return nil, fmt.Errorf("%w: %d", commitlog.ErrOffsetOutOfRange, r.next)
		}
		var got []recordbatch.Record
		for limit := r.l.chunk(); r.next < end && len(got) < limit; r.next++ {
			if rec := r.p.records[r.next]; rec.Offset >= 0 {
				got = append(got, rec)
			}
		}
		r.l.mu.Unlock()
		if len(got) > 0 {
			return got, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *memReader) Close() error { return nil }

// memGroup runs every partition in one member.
type memGroup struct {
	l     *memLog
	topic string
}

func (g memGroup) Run(ctx context.Context, m commitlog.Member) error {
	m.Held()
	var wait sync.WaitGroup
	for n := range g.l.Partitions(g.topic) {
		wait.Go(func() { m.Own(ctx, memClaim(n)) })
	}
	wait.Wait()
	return nil
}

type memClaim int32

func (c memClaim) Partition() int32 { return int32(c) }
func (c memClaim) Commit(int64)     {}
