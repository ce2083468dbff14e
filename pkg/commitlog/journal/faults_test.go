package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
)

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

// A segment is replaced once for a batch: a disk that fails again at once is a bad one. What was stored since, or a disk
// that was taken up again, gives the next failure its own new segment.
func TestASegmentIsReplacedAtEachFailureButNotTwiceForABatch(t *testing.T) {
	b := newBench(t, nil)
	b.settle()
	for _, value := range []string{"a", "b"} {
		b.failNext(2) // write, fdatasync
		b.want(b.append(value), nil)
		b.fs.SetFaults(vfs.Faults{})
		b.want(b.append("well"), nil)
	}
	b.wantTold(Poisoned, Replaced, Poisoned, Replaced)
	b.fs.SetFaults(vfs.Faults{SyncFails: 1})
	b.want(b.append("c"), commitlog.ErrUnknown)
	b.clock.advance(retryAfterMax)
	b.fs.SetFaults(vfs.Faults{})
	b.j.step() // takes the disk up again
	b.told = nil
	b.failNext(3) // statfs, write, fdatasync
	b.want(b.append("d"), nil)
	b.wantTold(Poisoned, Replaced)
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

// What is deleted is lost; what comes after must not go the same way.
func TestNothingIsAcknowledgedIntoAFileThatWasRemoved(t *testing.T) {
	removed := func(t *testing.T, disk vfs.FS, parent string) {
		b := &bench{T: t, clock: &clock{now: time.UnixMilli(1_000_000_000_000)}}
		b.cfg = config(disk, filepath.Join(parent, "journal"))
		b.cfg.Topics[0].Partitions = 1
		b.cfg.Now, b.cfg.Notify = b.clock.Now, func(n Notice) { b.told = append(b.told, n) }
		b.reopen()
		dir := partitionDir(b.cfg.Dir, topic, 0)
		b.want(b.append("lost"), nil)
		for _, name := range []string{segmentPath(dir, 0), filepath.Join(dir, checkpointName)} {
			if err := disk.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		b.want(b.append("a", "b"), nil)
		b.wantTold(Poisoned, Replaced)
		if n := b.told[0]; n.File != segmentPath(dir, 0) || !errors.Is(n.Err, errRemoved) {
			t.Errorf("told: %v", n)
		}
		b.want(b.append("c"), nil)
		b.want(b.j.Ready(), nil)
		b.j.abandon()
		b.reopen()
		b.wantValues("a", "b", "c")
		if oldest, next := b.j.partitions[0].bounds(); oldest != 1 || next != 4 {
			t.Errorf("offsets %d to %d, want 1 to 4", oldest, next)
		}
		b.j.abandon()
	}
	t.Run("Mem", func(t *testing.T) { removed(t, vfs.NewMem(1), ".") })
	t.Run("OS", func(t *testing.T) { removed(t, vfs.OS, t.TempDir()) })
}

func TestWithoutItsFolderThePartitionIsNotReady(t *testing.T) {
	b := &bench{T: t, clock: &clock{now: time.UnixMilli(1_000_000_000_000)}}
	b.cfg = config(vfs.OS, filepath.Join(t.TempDir(), "journal"))
	b.cfg.Topics[0].Partitions = 1
	b.cfg.Now = b.clock.Now
	b.reopen()
	b.want(b.append("lost"), nil)
	if err := os.RemoveAll(b.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	b.want(b.append("a"), commitlog.ErrUnknown)
	b.want(b.append("b"), commitlog.ErrUnavailable)
	if err := b.j.Ready(); err == nil || !strings.Contains(err.Error(), partitionDir(b.cfg.Dir, topic, 0)) {
		t.Errorf("ready: %v", err)
	}
	b.j.abandon()
}

// syncWatch notes when a file is synced after a failure. Each opening of a file is one file here, since a path that
// was removed and made again is another file.
type syncWatch struct {
	vfs.FS
	mu       sync.Mutex // a checkpoint may be synced beside its segment
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
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
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
	if !strings.Contains(err.Error(), "when 11250 are free") { // the reserve and an eighth
		t.Fatalf("Ready does not say when appends are taken again: %v", err)
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

// The batch was written to the first segment, whose fsync failed, and to a second, from which it was cut: it is not in
// the log as long as the second segment is there, also while a third takes its name. The checkpoint can not help.
func TestARefusedBatchStaysOutWhenThePowerGoesWhileItsSegmentIsReplaced(t *testing.T) {
	for seed := range uint64(100) {
		for crashAt := 1; crashAt <= 8; crashAt++ {
			disk := vfs.NewMem(seed)
			b := newBench(t, func(c *Config) { c.FS = disk })
			b.fs = disk
			b.settle()
			// Write; fdatasync, truncate; open and SyncDir of the second segment; its checkpoint; write.
			b.failNext(2, 6, 7)
			b.want(b.append("a"), commitlog.ErrUnavailable)
			b.wantTold(Poisoned, CheckpointFailed, Replaced, Poisoned, Unavailable)
			b.fs.SetFaults(vfs.Faults{CrashAt: crashAt})
			b.clock.advance(retryAfterMin)
			b.j.step()
			b.cfg.FS = b.fs.Crash()
			b.reopen()
			b.wantValues("settled")
		}
	}
}
