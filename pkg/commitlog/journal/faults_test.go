package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// call finds the number of the first call of this kind in one append: the tests name calls, not numbers.
func (b *bench) failNext(calls ...int) { b.fs.SetFaults(vfs.Faults{FailCalls: calls}) }

// In one append: 1 statfs (when the last look is old), then write, fdatasync, and the write of the checkpoint.
func (b *bench) settle() {
	b.Helper()
	b.want(b.append("settled"), nil)
	b.fs.SetFaults(vfs.Faults{})
}

func TestAFailedFsyncMovesToANewSegmentAndTheBatchIsAcknowledged(t *testing.T) {
	b := newBench(t, nil)
	b.settle()
	b.failNext(2) // write, fdatasync
	b.want(b.append("a", "b"), nil)
	b.wantTold(Poisoned, Replaced)
	b.wantValues("settled", "a", "b")
	if _, err := b.fs.OpenFile(segmentPath(smallDir, 1), os.O_RDONLY); err != nil {
		t.Fatal(err)
	}
	b.fs = b.fs.Crash()
	b.cfg.FS = b.fs
	b.reopen()
	b.wantValues("settled", "a", "b")
}

func TestAfterAFailedFsyncTheOldFileIsNeverSyncedAgain(t *testing.T) {
	b := newBench(t, nil)
	b.settle()
	watch := &syncWatch{FS: b.fs, poisoned: map[string]bool{}}
	b.j.abandon()
	b.cfg.FS = watch
	b.reopen()
	for range 50 {
		b.fs.SetFaults(vfs.Faults{SyncFails: 0.3})
		_ = b.append("x")
		b.clock.advance(retryAfterMax)
	}
	if watch.again != "" || len(watch.poisoned) == 0 {
		t.Fatalf("synced after a failure: %q; files with a failure: %d", watch.again, len(watch.poisoned))
	}
}

// syncWatch notes when a file is synced after a failure. Each opening of a file is one file here, since a path that
// was removed and made again is another file.
type syncWatch struct {
	vfs.FS
	poisoned map[string]bool
	opened   int
	again    string
}

func (w *syncWatch) OpenFile(path string, flag int) (vfs.File, error) {
	f, err := w.FS.OpenFile(path, flag)
	w.opened++
	return &watchedFile{File: f, w: w, name: fmt.Sprintf("%s #%d", path, w.opened)}, err
}

type watchedFile struct {
	vfs.File
	w    *syncWatch
	name string
}

func (f *watchedFile) Sync() error {
	if f.w.poisoned[f.name] {
		f.w.again = f.name
	}
	err := f.File.Sync()
	if err != nil {
		f.w.poisoned[f.name] = true
	}
	return err
}

func TestWhenTheNewSegmentFailsTooTheOutcomeIsUnknownAndReadySaysWhy(t *testing.T) {
	b := newBench(t, nil)
	b.settle()
	b.failNext(2, 4, 5, 6, 7, 8) // write, fdatasync, truncate; then the new segment
	b.want(b.append("a"), commitlog.ErrUnknown)
	err := b.j.Ready()
	b.want(err, commitlog.ErrUnavailable)
	if !strings.Contains(err.Error(), smallDir) {
		t.Fatalf("Ready names no file: %v", err)
	}
	b.fs.SetFaults(vfs.Faults{})
	b.want(b.append("b"), commitlog.ErrUnavailable) // too early to try again
	b.clock.advance(retryAfterMin)
	b.j.step() // the timer, without any append
	b.want(b.j.Ready(), nil)
	b.want(b.append("c"), nil)
	b.wantValues("settled", "c")
	b.wantTold(Poisoned, Unavailable, Recovered)
}

func TestAFailedWriteThatIsTakenBackIsUnavailableNotUnknown(t *testing.T) {
	b := newBench(t, func(c *Config) { c.SegmentBytes = 4096 })
	b.settle()
	// Write; truncate and fdatasync of what was written; then nothing works: the new segment can not be made.
	b.failNext(1, 4, 5, 6, 7, 8, 9)
	b.want(b.append("a"), commitlog.ErrUnavailable)
}

func TestADiskThatRunsFullRefusesAndRecoversInTheSameFile(t *testing.T) {
	b := newBench(t, nil)
	b.settle()
	used, err := b.fs.Space(".")
	if err != nil {
		t.Fatal(err)
	}
	capacity := used.Total - used.Free + 100
	b.fs.SetFaults(vfs.Faults{CapacityBytes: capacity})
	b.want(b.append(strings.Repeat("x", 300)), commitlog.ErrUnavailable)
	b.want(b.j.Ready(), commitlog.ErrUnavailable)
	b.fs.SetFaults(vfs.Faults{})
	b.clock.advance(retryAfterMax)
	b.want(b.append("a"), nil)
	b.wantValues("settled", "a")
	if n := len(b.j.partitions[0].segments); n != 1 {
		t.Fatalf("%d segments", n)
	}
}

func TestBelowTheReserveAppendsAreRefusedBeforeAnythingIsWritten(t *testing.T) {
	b := newBench(t, func(c *Config) { c.ReserveBytes = 10_000 })
	b.settle()
	used, err := b.fs.Space(".")
	if err != nil {
		t.Fatal(err)
	}
	written := used.Total - used.Free
	b.fs.SetFaults(vfs.Faults{CapacityBytes: written + 10_500})
	b.clock.advance(spaceEvery)
	b.want(b.append("small enough"), nil)
	b.want(b.append(strings.Repeat("x", 1000)), commitlog.ErrUnavailable)
	b.want(b.append("small enough, but too late"), commitlog.ErrUnavailable)
	b.fs.SetFaults(vfs.Faults{CapacityBytes: written + 5_000})
	b.clock.advance(spaceEvery)
	err = b.j.Ready()
	b.want(err, commitlog.ErrUnavailable)
	if !strings.Contains(err.Error(), "journal.reserve_bytes") || !strings.Contains(err.Error(), "journal") {
		t.Fatalf("Ready names no remedy: %v", err)
	}
	b.fs.SetFaults(vfs.Faults{CapacityBytes: written + 50_000})
	b.want(b.append("too early"), commitlog.ErrUnavailable)
	b.clock.advance(spaceEvery)
	b.want(b.append("again"), nil)
	b.want(b.j.Ready(), nil)
	b.wantValues("settled", "small enough", "again")
	b.wantTold(Unavailable, Recovered)
}

func TestTheDefaultReserveFitsASmallFileSystem(t *testing.T) {
	for _, total := range []int64{1 << 20, 64 << 20, 1 << 30, 1 << 40} {
		b := newBench(t, func(c *Config) { c.ReserveBytes = 0 })
		b.fs.SetFaults(vfs.Faults{CapacityBytes: total})
		b.clock.advance(spaceEvery)
		b.want(b.append("a"), nil)
		if want := min(total/16, 64<<20); b.j.space.reserve != want {
			t.Fatalf("reserve of %d bytes on %d, want %d", b.j.space.reserve, total, want)
		}
	}
}

func TestACheckpointThatCanNotBeWrittenStopsNothing(t *testing.T) {
	b := newBench(t, nil)
	b.settle()
	b.failNext(3) // write, fdatasync, the checkpoint's write
	b.want(b.append("a"), nil)
	b.want(b.append("b"), nil)
	b.wantTold(CheckpointFailed)
	b.fs = b.fs.Kill()
	b.cfg.FS = b.fs
	b.reopen()
	b.wantValues("settled", "a", "b")
}

func TestRetentionByAgeRemovesWholeClosedSegmentsOldestFirst(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.SegmentBytes = 200
		c.BatchBytesMax = 200
		c.Topics[0].RetentionAge = time.Hour
	})
	start := b.clock.Now()
	for i := range 6 { // each its own segment
		one := aged(start.Add(time.Duration(i)*30*time.Minute), strings.Repeat(fmt.Sprint(i), 80))
		one.Done = func(*commitlog.Batch) {}
		b.j.Append([]*commitlog.Batch{one})
		b.j.step()
		b.want(one.Err, nil)
	}
	old := &reader{p: b.j.partitions[0]}
	b.clock.advance(2*time.Hour + time.Minute) // 0, 30 and 60 minutes are older than an hour
	b.j.partitions[0].retain()
	oldest, next, err := b.j.Bounds(t.Context(), topic, 0)
	if oldest != 3 || next != 6 || err != nil {
		t.Fatalf("bounds %d to %d, %v, want 3 to 6", oldest, next, err)
	}
	if _, err := old.Next(t.Context()); !errors.Is(err, commitlog.ErrOffsetOutOfRange) {
		t.Fatalf("a reader behind gets %v", err)
	}
	b.clock.advance(24 * time.Hour)
	b.j.partitions[0].retain()
	if oldest, _ := b.j.partitions[0].bounds(); oldest != 5 {
		t.Fatalf("oldest %d, want the active segment's 5", oldest)
	}
	b.fs = b.fs.Crash()
	b.cfg.FS = b.fs
	b.reopen()
	if oldest, next := b.j.partitions[0].bounds(); oldest != 5 || next != 6 {
		t.Fatalf("after a crash the bounds are %d to %d", oldest, next)
	}
	b.j.partitions[0].retain()
}

// aged is a batch of one record received at a time.
func aged(at time.Time, value string) *commitlog.Batch {
	b := batch(0, value)
	rebuilt := batchAt(at.UnixMilli(), value)
	b.Bytes = rebuilt
	return b
}

func TestRetentionByAgeReadsTheTimesOfSegmentsFromBeforeTheStart(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.SegmentBytes = 200
		c.BatchBytesMax = 200
		c.Topics[0].RetentionAge = time.Hour
	})
	for range 4 {
		one := aged(b.clock.Now(), strings.Repeat("x", 80))
		one.Done = func(*commitlog.Batch) {}
		b.j.Append([]*commitlog.Batch{one})
		b.j.step()
	}
	b.j.abandon()
	b.reopen()
	b.j.partitions[0].retain()
	if oldest, _ := b.j.partitions[0].bounds(); oldest != 0 {
		t.Fatalf("oldest %d: removed too early", oldest)
	}
	b.clock.advance(time.Hour + time.Second)
	b.j.partitions[0].retain()
	if oldest, _ := b.j.partitions[0].bounds(); oldest != 3 {
		t.Fatalf("oldest %d, want 3", oldest)
	}
}

func TestRetentionByBytesKeepsAtLeastSoMuch(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.SegmentBytes = 200
		c.BatchBytesMax = 200
		c.Topics[0].RetentionBytes = 450
	})
	for range 10 {
		b.want(b.append(strings.Repeat("x", 80)), nil) // 154 bytes, a segment each
	}
	b.j.partitions[0].retain()
	p := b.j.partitions[0]
	var kept int64
	for _, s := range p.segments {
		kept += s.end
	}
	if kept < 450 || kept-p.segments[0].end >= 450 {
		t.Fatalf("%d bytes are kept in %d segments", kept, len(p.segments))
	}
}

func TestASegmentIsClosedByAgeSoThatItCanBeRemoved(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Topics[0].RetentionAge = 8 * time.Hour })
	for range 3 {
		one := aged(b.clock.Now(), "x")
		one.Done = func(*commitlog.Batch) {}
		b.j.Append([]*commitlog.Batch{one})
		b.j.step()
		b.clock.advance(40 * time.Minute)
	}
	if n := len(b.j.partitions[0].segments); n != 2 {
		t.Fatalf("%d segments, want 2: the third batch comes 80 minutes after the first", n)
	}
}

func TestFewerPartitionsThanOnDiskAreRefusedWithWords(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Topics[0].Partitions = 3 })
	b.j.abandon()
	b.cfg.Topics[0].Partitions = 2
	_, err := open(b.cfg)
	if err == nil || !strings.Contains(err.Error(), "at least 3") {
		t.Fatalf("open: %v", err)
	}
}

func TestATopicThatIsNotConfiguredIsLeftAloneAndReported(t *testing.T) {
	b := newBench(t, nil)
	b.want(b.append("a"), nil)
	b.j.abandon()
	b.cfg.Topics = []TopicConfig{{Name: "other", Partitions: 1}}
	b.reopen()
	b.wantTold(UnknownTopic)
	b.j.abandon()
	b.cfg.Topics = []TopicConfig{{Name: topic, Partitions: 1}}
	b.reopen()
	b.wantValues("a")
}

func TestBadConfigurationsAreRefusedWithWords(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"no directory":       func(c *Config) { c.Dir = "" },
		"a segment of 10":    func(c *Config) { c.SegmentBytes = 10 },
		"batches of 2097152": func(c *Config) { c.BatchBytesMax = 2 << 20 },
		"configured twice":   func(c *Config) { c.Topics = append(c.Topics, c.Topics[0]) },
		`topic name "../x"`:  func(c *Config) { c.Topics[0].Name = "../x" },
		"has 0 partitions":   func(c *Config) { c.Topics[0].Partitions = 0 },
		"a reserve of -1":    func(c *Config) { c.ReserveBytes = -1 },
		"keeps -1s":          func(c *Config) { c.Topics[0].RetentionAge = -time.Second },
	} {
		cfg := Config{Dir: "journal", FS: vfs.NewMem(1), Topics: []TopicConfig{{Name: topic, Partitions: 1}}, SegmentBytes: 1 << 20}
		change(&cfg)
		if _, err := open(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open: %v, want %q", err, want)
		}
	}
}

func TestABatchThatIsNotOneIsRefused(t *testing.T) {
	b := newBench(t, func(c *Config) { c.BatchBytesMax = 200 })
	for name, change := range map[string]func(*commitlog.Batch){
		"too large":       func(c *commitlog.Batch) { *c = *batch(0, strings.Repeat("x", 200)) },
		"cut":             func(c *commitlog.Batch) { c.Bytes = c.Bytes[:len(c.Bytes)-1] },
		"two of them":     func(c *commitlog.Batch) { c.Bytes = append(c.Bytes, c.Bytes...) },
		"wrong count":     func(c *commitlog.Batch) { c.Records++ },
		"no such topic":   func(c *commitlog.Batch) { c.Topic = "other" },
		"partition -1":    func(c *commitlog.Batch) { c.Partition = -1 },
		"nothing":         func(c *commitlog.Batch) { c.Bytes = nil },
		"partition three": func(c *commitlog.Batch) { c.Partition = 3 },
	} {
		one := batch(0, "x")
		change(one)
		one.Done = func(*commitlog.Batch) {}
		b.j.Append([]*commitlog.Batch{one})
		b.j.step()
		if !errors.Is(one.Err, commitlog.ErrRefused) {
			t.Errorf("%s: %v", name, one.Err)
		}
	}
	b.wantValues()
}

func TestCloseDoesNotWaitForADiskThatHangs(t *testing.T) {
	slow := &hangingFS{FS: vfs.NewMem(1), release: make(chan struct{})}
	j := mustOpen(t, config(slow, "journal"))
	slow.hang.Store(true)
	outcomes := make(chan error, 2)
	for range 2 {
		one := batch(0, "x")
		one.Done = func(c *commitlog.Batch) { outcomes <- c.Err }
		j.Append([]*commitlog.Batch{one})
		for slow.hanging.Load() == 0 { // the first one is in the disk before the second comes
			time.Sleep(time.Millisecond)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := j.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Close: %v", err)
	}
	if err := <-outcomes; !errors.Is(err, commitlog.ErrClosed) {
		t.Fatalf("what was not written: %v", err)
	}
	close(slow.release)
	if err := <-outcomes; err != nil {
		t.Fatalf("what the disk held: %v", err)
	}
	mustClose(t, j)
}

func TestTheJournalWorksOnARealDisk(t *testing.T) {
	dir := t.TempDir()
	cfg := config(nil, filepath.Join(dir, "journal"))
	cfg.SegmentBytes = 64 << 10
	cfg.BatchBytesMax = 32 << 10
	var want []string
	for range 2 {
		j := mustOpen(t, cfg)
		for i := range 40 {
			value := fmt.Sprintf("%d-%s", i, strings.Repeat("v", 10_000))
			if err := commitlog.AppendWait(t.Context(), j, batch(0, value), batch(1, "other")); err != nil {
				t.Fatal(err)
			}
			want = append(want, value)
		}
		if got := readAll(t, j, 0, 5); !slices.Equal(got, want[5:]) {
			t.Fatalf("read %d values, want %d", len(got), len(want)-5)
		}
		mustClose(t, j)
	}
	var text strings.Builder
	if n, err := Verify(vfs.OS, cfg.Dir, &text); n != 0 || err != nil {
		t.Fatalf("%d faults, %v:\n%s", n, err, &text)
	}
}

// TestManyWritersAndReadersAtOnce is for the race detector: writers, readers that follow, and retention.
func TestManyWritersAndReadersAtOnce(t *testing.T) {
	cfg := config(vfs.NewMem(5), "journal")
	cfg.SegmentBytes, cfg.BatchBytesMax = 16<<10, 4<<10
	j := mustOpen(t, cfg)
	const writers, each = 8, 100
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				set := []*commitlog.Batch{batch(0, fmt.Sprintf("%d/%d", w, i)), batch(1, "x", "y")}
				if err := commitlog.AppendWait(context.Background(), j, set...); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 3 {
		all.Go(func() {
			r, err := j.NewReader(topic, 0, 0)
			if err != nil {
				t.Error(err)
				return
			}
			seen := map[string]bool{}
			for len(seen) < writers*each {
				records, err := r.Next(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				for _, record := range records {
					seen[string(record.Value)] = true
				}
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Go(func() {
		for range 100 {
			j.partitions[1].retain()
			_, _, _ = j.Bounds(context.Background(), topic, 1)
			if err := j.Ready(); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	mustClose(t, j)
}
