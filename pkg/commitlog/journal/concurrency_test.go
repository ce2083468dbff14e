package journal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
)

// hangingFS is a disk whose syncs hang, once told to, until released.
type hangingFS struct {
	vfs.FS
	hang    atomic.Bool
	hanging atomic.Int32
	release chan struct{}
}

func (h *hangingFS) OpenFile(path string, flag int) (vfs.File, error) {
	f, err := h.FS.OpenFile(path, flag)
	return &hangingFile{f, h}, err
}

type hangingFile struct {
	vfs.File
	h *hangingFS
}

func (f *hangingFile) Sync() error {
	if f.h.hang.Load() {
		f.h.hanging.Add(1)
		<-f.h.release
	}
	return f.File.Sync()
}

// await waits until a sync hangs.
func (h *hangingFS) await() {
	for h.hanging.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
}

// awaitBehind waits, while a sync hangs, until the first partition is as it should be.
func awaitBehind(j *Journal, ok func(p *partition) bool) {
	for there := false; !there; time.Sleep(time.Millisecond) {
		<-j.lent
		there = ok(j.partitions[0])
		j.lent <- struct{}{}
	}
}

func TestCloseDoesNotWaitForADiskThatHangs(t *testing.T) {
	slow := &hangingFS{FS: vfs.NewMem(1), release: make(chan struct{})}
	value := strings.Repeat("x", BehindBytes)
	length := len(batch(0, value).Bytes)
	cfg := config(slow, "journal")
	cfg.SegmentBytes, cfg.BatchBytesMax = int64(2*length), length
	j := mustOpen(t, cfg)
	slow.hang.Store(true)
	outcomes := make(chan error, 4)
	appendOne := func(value string) {
		one := batch(0, value)
		one.Done = func(c *commitlog.Batch) { outcomes <- c.Err }
		j.Append([]*commitlog.Batch{one})
	}
	appendOne(value)
	slow.await()
	appendOne(value) // is written behind the first
	awaitBehind(j, func(p *partition) bool { return len(p.written.batches) == 1 })
	appendOne(value) // does not fit into the segment
	awaitBehind(j, func(p *partition) bool { return len(p.pending) == 1 })
	appendOne("x") // waits
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := j.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Close: %v", err)
	}
	for range 2 {
		if err := <-outcomes; !errors.Is(err, commitlog.ErrClosed) {
			t.Fatalf("what was not written: %v", err)
		}
	}
	close(slow.release)
	for range 2 {
		if err := <-outcomes; err != nil {
			t.Fatalf("what the disk held: %v", err)
		}
	}
	mustClose(t, j)
}

// Who waits for a group is told when it is durable, not when the disk is done with what was written behind it.
func TestAGroupIsToldWhileTheNextOneIsSynced(t *testing.T) {
	slow := &hangingFS{FS: vfs.NewMem(1), release: make(chan struct{})}
	j := mustOpen(t, config(slow, "journal"))
	j.behindBytes = 1
	slow.hang.Store(true)
	outcomes := make(chan string, 2)
	for _, value := range []string{"first", "second"} {
		one := batch(0, value)
		one.Done = func(c *commitlog.Batch) { outcomes <- fmt.Sprint(value, c.Err) }
		j.Append([]*commitlog.Batch{one})
		slow.await() // the first one is in the disk before the second comes
	}
	awaitBehind(j, func(p *partition) bool { return len(p.written.batches) == 1 })
	for i, want := range []string{"first<nil>", "second<nil>"} {
		if n := slow.hanging.Load(); n != int32(i+1) {
			t.Errorf("%d groups were given to the disk, want %d", n, i+1)
		}
		slow.release <- struct{}{}
		if got := <-outcomes; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	close(slow.release)
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
	cfg.SegmentBytes, cfg.BatchBytesMax, cfg.CachedBytes = 16<<10, 4<<10, 4<<10
	j := mustOpen(t, cfg)
	j.behindBytes = 1
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

// TestAcknowledgedSurvivesWithManyWriters is the crash simulation's poor relation: real goroutines and timers, a disk
// that fails now and then, and a power loss at the end. Its order can not be repeated, so it looks only at what must
// hold in any: each acknowledged value is there once, at the offset it was told.
func TestAcknowledgedSurvivesWithManyWriters(t *testing.T) {
	for seed := range uint64(5) {
		disk := vfs.NewMem(seed)
		cfg := config(disk, "journal")
		cfg.SegmentBytes, cfg.BatchBytesMax = 8<<10, 4<<10
		j := mustOpen(t, cfg)
		if seed%2 == 1 {
			j.behindBytes = 1
		}
		disk.SetFaults(vfs.Faults{SyncFails: 0.02, WriteFails: 0.02, OpenFails: 0.02})
		var mu sync.Mutex
		acked := map[int64]string{}
		var all sync.WaitGroup
		for w := range 8 {
			all.Go(func() {
				for i := range 60 {
					value := fmt.Sprintf("%d/%d", w, i)
					one := batch(0, value)
					if commitlog.AppendWait(context.Background(), j, one) != nil {
						continue
					}
					mu.Lock()
					acked[one.Base] = value
					mu.Unlock()
				}
			})
		}
		all.Wait()
		left := disk.Crash()
		mustClose(t, j) // on a disk that is off
		cfg.FS = left
		j = mustOpen(t, cfg)
		got := readAll(t, j, 0, 0)
		for offset, value := range acked {
			if offset >= int64(len(got)) || got[offset] != value {
				t.Fatalf("seed %d: offset %d of %d was acknowledged as %q", seed, offset, len(got), value)
			}
		}
		if len(acked) == 0 {
			t.Fatalf("seed %d: nothing was acknowledged", seed)
		}
		mustClose(t, j)
	}
}
