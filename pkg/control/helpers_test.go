package control

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	acct    = "acct_demo"
	waitMax = 20 * time.Second
)

// clock is a clock that tests set.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).UnixMilli())
	return c
}

func (c *clock) now() time.Time           { return time.UnixMilli(c.ms.Load()) }
func (c *clock) advance(by time.Duration) { c.ms.Add(by.Milliseconds()) }

// dice are random bytes from a seed.
func dice(seed uint64) func([]byte) {
	var mu sync.Mutex
	source := rand.New(rand.NewPCG(seed, 1))
	return func(b []byte) {
		mu.Lock()
		defer mu.Unlock()
		for i := range b {
			b[i] = byte(source.Uint32())
		}
	}
}

var opened atomic.Uint64

func testConfig(log *memLog, c *clock) Config {
	return Config{
		Log: log, Topic: "control", Now: c.now, Random: dice(opened.Add(1)),
		BackoffMin: time.Millisecond, BackoffMax: 4 * time.Millisecond, StallMax: 20 * time.Millisecond,
	}
}

func open(t testing.TB, cfg Config) *Control {
	t.Helper()
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(within(t)); err != nil {
			t.Error(err)
		}
	})
	return c
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	t.Cleanup(cancel)
	return ctx
}

// pair is two gateways on one log.
func pair(t *testing.T) (a, b *Control, l *memLog, now *clock) {
	t.Helper()
	l, now = newMemLog(t), newClock()
	return open(t, testConfig(l, now)), open(t, testConfig(l, now)), l, now
}

func newMeter(eventName string) *NewMeter {
	return &NewMeter{"Requests", eventName, Sum, "stripe_customer_id", "value", NoWindow}
}

func create(eventName string, i *Idempotency) Change {
	return Change{Business: acct, Create: newMeter(eventName), Idempotency: i}
}

func rename(id, name string, i *Idempotency) Change {
	return Change{Business: acct, Rename: &Rename{id, name}, Idempotency: i}
}

func status(id string, active bool, i *Idempotency) Change {
	return Change{Business: acct, Status: &StatusChange{id, active}, Idempotency: i}
}

func key(text string, parameters byte) *Idempotency {
	return &Idempotency{API: "v1", Key: text, Fingerprint: [16]byte{parameters}}
}

func verdictOn(t testing.TB, c *Control, change Change) Verdict {
	t.Helper()
	v, err := c.Propose(within(t), change)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// made proposes a change that must take effect.
func made(t testing.TB, c *Control, change Change) *Meter {
	t.Helper()
	v := verdictOn(t, c, change)
	if v.Meter == nil || v.Refusal != NotRefused || v.Replayed {
		t.Fatalf("the change got %+v", v)
	}
	return v.Meter
}

func refused(t testing.TB, c *Control, change Change, want Refusal) {
	t.Helper()
	if v := verdictOn(t, c, change); v.Refusal != want || v.Meter != nil {
		t.Fatalf("the change got %+v, want refusal %d", v, want)
	}
}

func caughtUp(t testing.TB, c *Control) *Snapshot {
	t.Helper()
	if err := c.CaughtUp(within(t)); err != nil {
		t.Fatal(err)
	}
	return c.Snapshot()
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(waitMax); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", waitMax, what)
		}
	}
}

// dump is everything that a fold may not lose when the log is compacted.
func dump(s *Snapshot) (text string) {
	destinations := 0
	for _, business := range []string{acct, "acct_other"} {
		for _, live := range []bool{false, true} {
			for _, m := range s.Meters(business, live) {
				x := *m
				x.history, x.ruled = nil, false
				text += fmt.Sprintf("%+v\n", x)
				if s.Meter(business, live, m.ID) != m || s.Named(business, live, m.EventName) != m {
					text += "and is not found\n"
				}
			}
			for _, d := range s.Destinations(business, live) {
				text += fmt.Sprintf("%+v\n", *d)
				if s.Destination(business, live, d.ID) != d || !slices.Contains(s.AllDestinations(), d) {
					text += "and is not found\n"
				}
				destinations++
			}
		}
	}
	if n := len(s.AllDestinations()); n != destinations {
		text += fmt.Sprintf("%d destinations of %d\n", n, destinations)
	}
	return text
}
