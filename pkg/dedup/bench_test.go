package dedup

import (
	"os"
	"strconv"
	"testing"
	"time"

	"tollgate/internal/vfs"
)

// BenchmarkInsert measures new identifiers into an index that holds DEDUP_ENTRIES already (1 million by default), in
// batches of 100 as a worker has them, and one by one.
//
//	DEDUP_ENTRIES=10000000 go test -run '^$' -bench Insert -benchtime 2000000x ./pkg/dedup
func BenchmarkInsert(b *testing.B) {
	entries := uint64(1_000_000)
	if text := os.Getenv("DEDUP_ENTRIES"); text != "" {
		var err error
		if entries, err = strconv.ParseUint(text, 10, 64); err != nil {
			b.Fatal(err)
		}
	}
	x, err := Open(Config{FS: vfs.OS, Dir: b.TempDir(), MemoryBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	n := uint64(0)
	items := make([]Item, 100)
	fill := func(i int) {
		items[i] = Item{ID: mix(n), Offset: int64(n), NowMs: 1_790_000_000_000 + int64(n/20)}
		n++
	}
	many := func(b *testing.B) {
		for i := range items {
			fill(i)
		}
		if _, err := x.InsertMany(items); err != nil {
			b.Fatal(err)
		}
	}
	for n < entries {
		many(nil)
		if x.Due() {
			if err := x.Seal(int64(n)); err != nil {
				b.Fatal(err)
			}
		}
	}
	settle(b, x)
	b.Run("new/batch=100", func(b *testing.B) {
		for b.Loop() {
			many(b)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/id")
	})
	b.Run("new/batch=1", func(b *testing.B) {
		for b.Loop() {
			fill(0)
			if _, _, err := x.Insert(items[0].ID, items[0].Offset, items[0].NowMs, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("known/table", func(b *testing.B) {
		at := n
		for b.Loop() {
			at -= 7
			if _, found, err := x.Insert(mix(at), int64(n), items[0].NowMs, 0); err != nil || !found {
				b.Fatal(found, err)
			}
		}
	})
	b.Run("known/runs", func(b *testing.B) {
		at := uint64(0)
		for b.Loop() {
			if at += 100_003; at > entries/2 {
				at -= entries / 2
			}
			if _, found, err := x.Insert(mix(at), int64(n), items[0].NowMs, 0); err != nil || !found {
				b.Fatal(found, err)
			}
		}
	})
	b.Logf("%+v", x.Stats())
}

// settle waits for the merges, and until what they leave is covered.
func settle(tb testing.TB, x *Index) {
	for merges := int64(-1); ; {
		s := x.Stats()
		if s.MergeError != nil {
			tb.Fatal(s.MergeError)
		}
		x.mu.Lock()
		due := x.choose(x.view.runs) != nil || x.nextToCover() != nil
		x.mu.Unlock()
		if !due && s.Merges == merges {
			return
		}
		merges = s.Merges
		time.Sleep(100 * time.Millisecond)
	}
}
