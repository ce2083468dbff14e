package journal

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
)

// clock is a Config.Now that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is a journal without goroutines on a memory disk: a test steps it, and knows in which call it is.
type bench struct {
	*testing.T
	fs    *vfs.Mem
	clock *clock
	cfg   Config
	j     *Journal
	told  []Notice
}

func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	b := &bench{T: t, fs: vfs.NewMem(3), clock: &clock{now: time.UnixMilli(1_000_000_000_000)}}
	b.cfg = Config{
		Dir: "journal", FS: b.fs, Topics: []TopicConfig{{Name: topic, Partitions: 1}}, SegmentBytes: 1 << 20, ReserveBytes: 1,
		Now: b.clock.Now, Notify: func(n Notice) { b.told = append(b.told, n) },
	}
	if change != nil {
		change(&b.cfg)
	}
	b.reopen()
	return b
}

func (b *bench) reopen() {
	b.Helper()
	var err error
	if b.j, err = open(b.cfg); err != nil {
		b.Fatal(err)
	}
}

// append appends one batch and returns its outcome.
func (b *bench) append(values ...string) error {
	b.Helper()
	done := 0
	one := batch(0, values...)
	one.Done = func(*commitlog.Batch) { done++ }
	b.j.Append([]*commitlog.Batch{one})
	b.j.step()
	if done != 1 {
		b.Fatalf("Done was called %d times", done)
	}
	return one.Err
}

func (b *bench) want(got error, want error) {
	b.Helper()
	if !errors.Is(got, want) || want == nil && got != nil {
		b.Fatalf("outcome: %v, want: %v", got, want)
	}
}

func (b *bench) wantValues(want ...string) {
	b.Helper()
	got, err := readValues(b.j, 0)
	if err != nil {
		b.Fatal(err)
	}
	if !slices.Equal(got, want) {
		b.Fatalf("the log holds %q, want %q", got, want)
	}
}

func (b *bench) wantTold(events ...Event) {
	b.Helper()
	var got []Event
	for _, n := range b.told {
		got = append(got, n.What)
	}
	if !slices.Equal(got, events) {
		b.Fatalf("notices %q, want %q", got, events)
	}
}

// failNext makes calls fail, counted from the next one on. One append is: statfs, when the last look is old; write,
// fdatasync, and the write of the checkpoint.
func (b *bench) failNext(calls ...int) { b.fs.SetFaults(vfs.Faults{FailCalls: calls}) }

// settle appends once, so that the next append makes no other calls than those.
func (b *bench) settle() {
	b.Helper()
	b.want(b.append("settled"), nil)
	b.fs.SetFaults(vfs.Faults{})
}
