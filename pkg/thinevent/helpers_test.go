package thinevent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"tollgate/internal/metrics"
	"tollgate/pkg/recordbatch"
)

const (
	t0    = int64(1772446842118)
	dayMs = 24 * 60 * 60 * 1000
)

// stage is a log and what a Store on it is configured with.
type stage struct {
	testing.TB
	log     *fakeLog
	cfg     Config
	clockMs atomic.Int64

	mu      sync.Mutex
	notices []Notice // guarded by mu
}

func newStage(t testing.TB) *stage {
	f := &stage{TB: t, log: newFakeLog()}
	f.clockMs.Store(t0)
	f.cfg = Config{
		Log: f.log, Topic: topic, Dir: "events", FS: pebblevfs.NewMem(), Metrics: metrics.New(),
		Now: func() time.Time { return time.UnixMilli(f.clockMs.Load()) },
		Notify: func(n Notice) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.notices = append(f.notices, n)
		},
	}
	return f
}

// other is another gateway on the same log.
func (f *stage) other() *stage {
	g := newStage(f.TB)
	g.log, g.cfg.Log = f.log, f.log
	g.clockMs.Store(f.clockMs.Load())
	return g
}

func (f *stage) told(what string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.notices, func(n Notice) bool { return n.What == what })
}

// open opens a Store that is closed with the test.
func (f *stage) open() *Store {
	f.Helper()
	s, err := Open(f.cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { f.close(s) })
	return s
}

func (f *stage) close(s *Store) {
	f.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		f.Errorf("Close: %v", err)
	}
}

// caughtUp opens a Store that has all of the topic.
func (f *stage) caughtUp() *Store {
	f.Helper()
	s := f.open()
	f.catchUp(s)
	return s
}

func (f *stage) catchUp(s *Store) {
	f.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.CaughtUp(ctx); err != nil {
		f.Fatal(err)
	}
}

// put appends an event to the topic by hand, whatever is there already.
func (f *stage) put(e *Event) int64 {
	f.Helper()
	var b recordbatch.Builder
	b.Reset(nil)
	b.Append(e.CreatedMs, appendRecord(nil, e))
	batch := b.Seal()
	var s recordbatch.Scanner
	if err := s.Reset(batch, 0); err != nil || !s.Next() {
		f.Fatal(err, s.Err())
	}
	return f.log.put(s.Record())
}

// report is an event of a meter, of which n makes the id.
func report(meter string, n, createdMs int64) *Event {
	return NewReport(&Report{
		Business: "acct_demo", MeterID: meter, StartMs: createdMs - 12_000, EndMs: createdMs - 2000, Source: Source{0, n, n + 5},
		Codes: []CodeErrors{{"no_customer", 3, []Sample{{"No customer.", fmt.Sprint("e", n)}}}},
	}, createdMs)
}

func ids(events []*Event) string {
	var list []string
	for _, e := range events {
		list = append(list, e.ID)
	}
	return strings.Join(list, " ")
}

// eventually waits for something that other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("did not happen in 10 s: " + what)
		}
	}
}
