package opened

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/journal"
)

const (
	topic   = "sessions"
	waitMax = 20 * time.Second
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// clock is a clock that tests set.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(noon.UnixMilli())
	return c
}

func (c *clock) now() time.Time           { return time.UnixMilli(c.ms.Load()) }
func (c *clock) advance(by time.Duration) { c.ms.Add(by.Milliseconds()) }

func openJournal(t testing.TB, disk vfs.FS) commitlog.Log {
	t.Helper()
	j, err := journal.Open(journal.Config{Dir: "/journal", FS: disk, ReserveBytes: 1, SegmentBytes: 1 << 20, Topics: []journal.TopicConfig{
		{Name: topic, Partitions: 1, RetentionAge: 31 * 24 * time.Hour},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close(within(t)) })
	return j
}

// steered is a log whose faults a test chooses.
type steered struct {
	commitlog.Log

	mu sync.Mutex
	// Guarded by mu.
	away   error         // what Ready, Bounds and Append say
	answer error         // of a batch that is in the log
	hold   chan struct{} // a batch waits for it
	beyond int64         // so much further than it is Bounds tells the end
	held   int
}

func newLog(t testing.TB) *steered { return &steered{Log: openJournal(t, vfs.NewMem(1))} }

func (l *steered) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *steered) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.away
}

func (l *steered) Bounds(ctx context.Context, topic string, partition int32) (oldest, next int64, err error) {
	if err := l.Ready(); err != nil {
		return 0, 0, err
	}
	oldest, next, err = l.Log.Bounds(ctx, topic, partition)
	l.mu.Lock()
	defer l.mu.Unlock()
	return oldest, next + l.beyond, err
}

func (l *steered) Append(set []*commitlog.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range set {
		done, away, answer, hold := b.Done, l.away, l.answer, l.hold
		b.Done = func(b *commitlog.Batch) {
			b.Err = errors.Join(b.Err, answer)
			done(b)
		}
		switch {
		case away != nil:
			go func() {
				b.Err = fmt.Errorf("%w: %w", commitlog.ErrUnavailable, away)
				done(b)
			}()
		case hold != nil:
			l.held++
			go func() {
				<-hold
				l.Log.Append([]*commitlog.Batch{b})
			}()
		default:
			l.Log.Append([]*commitlog.Batch{b})
		}
	}
}

func (l *steered) holds() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

func testConfig(log commitlog.Log, c *clock) Config {
	return Config{Log: log, Topic: topic, Now: c.now, BackoffMin: time.Millisecond, BackoffMax: 4 * time.Millisecond}
}

// open starts a fold, which need not be loaded.
func open(t testing.TB, cfg Config) *Opened {
	t.Helper()
	o, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(within(t)); err != nil {
			t.Error(err)
		}
	})
	return o
}

// ready starts a fold and waits until it is loaded.
func ready(t testing.TB, cfg Config) *Opened {
	t.Helper()
	o := open(t, cfg)
	eventually(t, "the fold is loaded", func() bool { return o.Ready() == nil })
	return o
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(waitMax); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", waitMax, what)
		}
	}
}

var drawn atomic.Uint32

// session is a new one of a key.
func session(key byte, atMs int64) Session {
	n := drawn.Add(1)
	return Session{
		Business: "acct_demo", Key: [16]byte{key}, APIKey: [8]byte{1},
		ID: [16]byte{byte(n), byte(n >> 8), byte(n >> 16), 1}, SigningKey: [4]byte{7},
		CreatedMs: atMs, ExpiresMs: atMs + 900_000,
	}
}

func mustOpen(t testing.TB, o *Opened, s Session) Session {
	t.Helper()
	first, err := o.Open(within(t), s)
	if err != nil {
		t.Fatal(err)
	}
	return first
}

func find(o *Opened, s Session, atMs int64) (Session, bool) {
	return o.Find(Session{Business: s.Business, Livemode: s.Livemode, Key: s.Key, APIKey: s.APIKey}, atMs)
}
