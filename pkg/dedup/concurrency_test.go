package dedup

import (
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"tollgate/internal/vfs"
)

// TestLooksFromManyGoroutinesAreRightWhileRunsAreSealedMergedAndDropped is for the race detector, and for files that are
// closed under a look-up.
func TestLooksFromManyGoroutinesAreRightWhileRunsAreSealedMergedCoveredAndDropped(t *testing.T) {
	x, err := open(Config{FS: vfs.OS, Dir: filepath.Join(t.TempDir(), "index"), MemoryBytes: memoryBytesMin})
	if err != nil {
		t.Fatal(err)
	}
	x.coverBlocks = 300 // so that it is full before the end
	x.start()
	const n = 120_000
	perRecord := 60 * hourMs / n // so that the first runs expire
	var written atomic.Int64
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for g := range 3 {
		readers.Go(func() {
			for i := uint64(g); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				end := written.Load()
				if end == 0 {
					continue
				}
				at := int64(mix(i)[0]%uint64(end)) | 1 // odd ones are new
				now := start + (end-1)*perRecord
				e, found, err := x.Find(mix(uint64(at)), now)
				want := x.span.bucket(now)-x.span.bucket(start+at*perRecord) <= x.span.buckets
				if at >= end {
					continue
				}
				if behind := (*BehindError)(nil); errors.As(err, &behind) {
					continue // the writer is hours ahead by now
				}
				if err != nil || found != want || found && e.Offset != at {
					t.Errorf("%d of %d: %+v %v %v, want %v", at, end, e, found, err, want)
					return
				}
				x.Stats()
				x.Next()
			}
		})
	}
	items := make([]Item, 0, 100)
	for i := int64(0); i < n; i++ {
		id := i
		if i%2 == 0 && i > 0 {
			id = max(0, i-1-2*int64(mix(uint64(i))[0]%10_000)) | 1 // hours ago
		}
		if items = append(items, Item{ID: mix(uint64(id)), Offset: i, NowMs: start + i*perRecord}); len(items) < cap(items) {
			continue
		}
		if _, err := x.InsertMany(items); err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			if it.Offset%2 == 1 && it.Found {
				t.Fatalf("%d is not new: %+v", it.Offset, it.Prev)
			}
		}
		items = items[:0]
		written.Store(i + 1)
		if i%10_000 == 9_999 {
			x.Release(start + i*perRecord)
		}
		if i%1000 == 999 {
			if err := x.Seal(i + 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	readers.Wait()
	settle(t, x)
	s := x.Stats()
	t.Logf("%+v", s)
	if s.Merges == 0 || s.MergeError != nil || s.RunEntries >= n/2 {
		t.Errorf("%+v: no merges, or nothing was dropped", s)
	}
	if s.Covers < 2 || s.CoverPassed == 0 {
		t.Errorf("%+v: nothing was covered, or it was not begun anew", s)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}
