package ingest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// fakeLog is a commitlog.Log for tests: what becomes of a batch, and when, is decided by answer.
type fakeLog struct {
	t             testing.TB
	partitions    int
	batchBytesMax int
	flyingMax     int32 // batches of a partition at once; more is an error

	// answer is called for each batch, in order of a partition, and returns how to answer: write says whether its
	// records are in the log, err is what is said about that. It may block: each partition has its own goroutine.
	// Nil: everything is written.
	answer func(b *commitlog.Batch) (write bool, err error)

	unknown  atomic.Bool // the topic is not known yet
	baseless atomic.Bool // a batch's answer does not say where it is

	mu     sync.Mutex
	ready  error
	kept   [][]recordbatch.Record // by partition; guarded by mu
	sizes  []int                  // bytes of every batch; guarded by mu
	counts []int                  // records of every batch; guarded by mu

	once   sync.Once
	queues []chan *commitlog.Batch
	flying []atomic.Int32 // by partition
	wg     sync.WaitGroup
}

func newFakeLog(t testing.TB, partitions int) *fakeLog {
	l := &fakeLog{t: t, partitions: partitions, batchBytesMax: 1 << 20, flyingMax: 1}
	l.flying = make([]atomic.Int32, partitions)
	l.kept = make([][]recordbatch.Record, partitions)
	for range partitions {
		l.queues = append(l.queues, make(chan *commitlog.Batch, 2))
	}
	for _, q := range l.queues {
		l.wg.Go(func() {
			for b := range q {
				l.finish(b)
			}
		})
	}
	t.Cleanup(l.close)
	return l
}

func (l *fakeLog) close() {
	l.once.Do(func() {
		for _, q := range l.queues {
			close(q)
		}
	})
	l.wg.Wait()
}

func (l *fakeLog) Append(set []*commitlog.Batch) {
	for _, b := range set {
		if n := l.flying[b.Partition].Add(1); n > l.flyingMax {
			l.t.Errorf("partition %d has %d batches in flight", b.Partition, n)
		}
		l.queues[b.Partition] <- b
	}
}

func (l *fakeLog) finish(b *commitlog.Batch) {
	write, err, base := true, error(nil), int64(-1)
	if l.answer != nil {
		write, err = l.answer(b)
	}
	l.mu.Lock()
	if len(b.Bytes) > l.batchBytesMax {
		l.t.Errorf("a batch of %d bytes, at most %d", len(b.Bytes), l.batchBytesMax)
	}
	l.sizes = append(l.sizes, len(b.Bytes))
	l.counts = append(l.counts, b.Records)
	if write {
		if !l.baseless.Load() {
			base = int64(len(l.kept[b.Partition]))
		}
		l.kept[b.Partition] = append(l.kept[b.Partition], scan(l.t, b)...)
	}
	l.mu.Unlock()
	b.Base, b.Err = base, err
	l.flying[b.Partition].Add(-1)
	b.Done(b)
}

func scan(t testing.TB, b *commitlog.Batch) (records []recordbatch.Record) {
	if h, err := recordbatch.Verify(b.Bytes); err != nil || int(h.Records) != b.Records {
		t.Errorf("batch of %d records: header %+v: %v", b.Records, h, err)
	}
	var s recordbatch.Scanner
	if err := s.Reset(b.Bytes, 0); err != nil {
		t.Error(err)
	}
	for s.Next() {
		r := s.Record()
		r.Key, r.Value = append([]byte(nil), r.Key...), append([]byte(nil), r.Value...)
		records = append(records, r)
	}
	if err := s.Err(); err != nil || len(records) != b.Records {
		t.Errorf("batch of %d records, %d read: %v", b.Records, len(records), err)
	}
	return records
}

// values are the values of a partition's records, in order.
func (l *fakeLog) values(partition int) (values []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.kept[partition] {
		values = append(values, string(r.Value))
	}
	return values
}

func (l *fakeLog) setReady(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = err
}

func (l *fakeLog) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready
}

func (l *fakeLog) Partitions(string) int {
	if l.unknown.Load() {
		return 0
	}
	return l.partitions
}

func (l *fakeLog) BatchBytesMax(string) int    { return l.batchBytesMax }
func (l *fakeLog) Close(context.Context) error { return nil }

func (l *fakeLog) Bounds(context.Context, string, int32) (oldest, next int64, err error) {
	return 0, 0, fmt.Errorf("not in this fake")
}

func (l *fakeLog) NewReader(string, int32, int64) (commitlog.Reader, error) {
	return nil, fmt.Errorf("not in this fake")
}

func (l *fakeLog) Group(string, string) commitlog.Group { return nil }
