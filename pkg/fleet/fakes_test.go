package fleet

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"tollgate/internal/metrics"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
	"tollgate/pkg/usage"
)

const (
	usageTopic   = "t.usage"
	cursorsTopic = "t.cursors"
	secret       = "0123456789abcdef"
)

// fakeLog keeps one topic of one partition, cursors, and says how many the other has.
type fakeLog struct {
	commitlog.Log
	partitions int

	mu      sync.Mutex
	records []recordbatch.Record
	grown   chan struct{}
	fault   error // of every call, while set
}

func newLog(partitions int) *fakeLog {
	return &fakeLog{partitions: partitions, grown: make(chan struct{})}
}

func (l *fakeLog) Partitions(topic string) int {
	if topic == cursorsTopic {
		return 1
	}
	return l.partitions
}

func (l *fakeLog) BatchBytesMax(string) int { return 2000 } // a few announcements

func (l *fakeLog) Append(set []*commitlog.Batch) {
	for _, b := range set {
		go func() {
			b.Base, b.Err = l.append(b.Bytes)
			b.Done(b)
		}()
	}
}

func (l *fakeLog) append(batch []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault != nil {
		return 0, l.fault
	}
	var s recordbatch.Scanner
	base := int64(len(l.records))
	for _ = s.Reset(batch, 0); s.Next(); {
		r := s.Record()
		r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
		r.Offset = int64(len(l.records))
		l.records = append(l.records, r)
	}
	close(l.grown)
	l.grown = make(chan struct{})
	return base, s.Err()
}

// put appends one record by hand.
func (l *fakeLog) put(t *testing.T, key, value []byte) {
	t.Helper()
	var b recordbatch.Builder
	b.Reset(nil)
	b.Append(time.Now().UnixMilli(), recordbatch.AppendBody(nil, key, value))
	if _, err := l.append(b.Seal()); err != nil {
		t.Fatal(err)
	}
}

func (l *fakeLog) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = err
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *fakeLog) Bounds(context.Context, string, int32) (oldest, next int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return 0, int64(len(l.records)), l.fault
}

func (l *fakeLog) NewReader(_ string, _ int32, offset int64) (commitlog.Reader, error) {
	return &fakeReader{l, offset}, nil
}

type fakeReader struct {
	l    *fakeLog
	next int64
}

func (r *fakeReader) Close() error { return nil }

func (r *fakeReader) Next(ctx context.Context) ([]recordbatch.Record, error) {
	for {
		r.l.mu.Lock()
		fault, grown := r.l.fault, r.l.grown
		records := r.l.records[r.next:]
		r.l.mu.Unlock()
		switch {
		case fault != nil:
			return nil, fault
		case len(records) > 0:
			r.next += int64(len(records))
			return records, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// fakeWorker runs some partitions. What it answers for each is set by the test.
type fakeWorker struct {
	mu     sync.Mutex
	runs   map[int32]bool
	totals map[int32]usage.Totals
	fates  map[int32]usage.Fate
	pages  map[int32]usage.Amounts
	fault  error
	damage error
	slow   chan struct{} // answers wait until it is closed, if there is one
	asked  map[int32]int // how often, by partition
}

func newWorker(partitions ...int32) *fakeWorker {
	w := &fakeWorker{runs: map[int32]bool{}, totals: map[int32]usage.Totals{}, fates: map[int32]usage.Fate{}, asked: map[int32]int{}}
	w.run(partitions...)
	return w
}

func (w *fakeWorker) run(partitions ...int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs = map[int32]bool{}
	for _, p := range partitions {
		w.runs[p] = true
	}
}

func (w *fakeWorker) Owned() []int32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.runs))
}

func (w *fakeWorker) Damage() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.damage
}

func (w *fakeWorker) ask(ctx context.Context, partition int32) error {
	w.mu.Lock()
	slow, fault, runs := w.slow, w.fault, w.runs[partition]
	w.asked[partition]++
	w.mu.Unlock()
	if slow != nil {
		select {
		case <-slow:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if !runs {
		return fmt.Errorf("%w: %d", usage.ErrNotOwned, partition)
	}
	return fault
}

func (w *fakeWorker) Totals(ctx context.Context, partitions []int32, _ usage.Query) (usage.Totals, error) {
	partition := partitions[0] // a fleet asks for one at a time
	if err := w.ask(ctx, partition); err != nil {
		return usage.Totals{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if t, ok := w.totals[partition]; ok {
		return t, nil
	}
	// A window of its own and one that all have.
	return usage.Totals{AsOfMs: 1000 - int64(partition), Windows: []usage.WindowTotal{
		{StartMs: 100_000, EndMs: 160_000, Value: "0.1"},
		{StartMs: int64(partition) * 1000, EndMs: int64(partition)*1000 + 1000, Value: "1"},
	}}, nil
}

func (w *fakeWorker) Fate(ctx context.Context, partitions []int32, _ usage.FateQuery) (usage.Fate, error) {
	partition := partitions[0] // a fleet asks for one at a time
	if err := w.ask(ctx, partition); err != nil {
		return usage.Fate{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if f, ok := w.fates[partition]; ok {
		return f, nil
	}
	return usage.Fate{Status: usage.NotFound, Partition: partition, AsOfMs: 500}, nil
}

func (w *fakeWorker) Verdict(ctx context.Context, q usage.VerdictQuery) (usage.Verdict, error) {
	if err := w.ask(ctx, q.Partition); err != nil {
		return usage.Verdict{}, err
	}
	return usage.Verdict{Outcome: usage.OutcomeNew, ReceivedMs: q.Offset}, nil
}

func (w *fakeWorker) Amounts(ctx context.Context, partitions []int32, _ usage.AmountsQuery) (usage.Amounts, error) {
	partition := partitions[0] // a fleet asks for one at a time
	if err := w.ask(ctx, partition); err != nil {
		return usage.Amounts{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pages[partition], nil
}

func (w *fakeWorker) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// member is one gateway of a fleet on loopback.
type member struct {
	*Fleet
	worker  *fakeWorker
	metrics *metrics.Registry
	address string
}

// join opens a fleet of one gateway. Times are short, and may be changed.
func join(t *testing.T, log *fakeLog, w *fakeWorker, change ...func(*Config)) *member {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &member{worker: w, metrics: metrics.New(), address: ln.Addr().String()}
	cfg := Config{
		Log: log, UsageTopic: usageTopic, CursorsTopic: cursorsTopic, Worker: w,
		Listener: ln, Address: m.address, Gateway: "gw-" + m.address, Secret: secret,
		AnnounceEvery: 200 * time.Millisecond, FreshMax: 10 * time.Second, LookEvery: 5 * time.Millisecond,
		Metrics: m.metrics,
	}
	for _, c := range change {
		c(&cfg)
	}
	if m.Fleet, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.leave(t) })
	return m
}

func (m *member) leave(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
}

// until waits for something to become true.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// ready waits until all partitions can be asked.
func (m *member) ready(t *testing.T) {
	t.Helper()
	until(t, "every partition has an owner", func() bool {
		for p := range int32(m.partitions()) {
			if m.Available(p) != nil {
				return false
			}
		}
		return true
	})
}
