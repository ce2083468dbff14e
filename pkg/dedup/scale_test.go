package dedup

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/internal/vfs"
)

// TestTheScaleOfTheIndex inserts DEDUP_SCALE identifiers (a million by default) within one window, in batches of 100, and says at each power of
// ten what a new one costs, and one that is known. Several numbers are tried in turn. It wants 60 bytes of disk for each
// in DEDUP_DIR, which it removes.
//
//	make dedup-scale DEDUP_SCALE=1000000000 DEDUP_DIR=/path/on/a/disk
func TestTheScaleOfTheIndex(t *testing.T) {
	text := os.Getenv("DEDUP_SCALE")
	if text == "" {
		text = "1000000"
	}
	for _, text := range strings.Fields(text) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(text, func(t *testing.T) { measureAtScale(t, n) })
	}
}

func measureAtScale(t *testing.T, n int64) {
	dir := os.Getenv("DEDUP_DIR")
	if dir == "" || !filepath.IsAbs(dir) && !strings.HasPrefix(dir, "bin/") {
		dir = t.TempDir()
	} else if strings.HasPrefix(dir, "bin/") {
		dir = filepath.Join("..", "..", dir)
	}
	dir = filepath.Join(dir, fmt.Sprint("index-", os.Getpid()))
	t.Cleanup(func() { os.RemoveAll(dir) })
	runtime.LockOSThread() // so that cpu is the writer's alone
	cfg := Config{FS: vfs.OS, Dir: dir, MemoryBytes: max(1<<30, 7*n)}
	x, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	// What measure inserts has to fit into the window as well.
	s := &scale{t: t, x: x, total: max(n, 10_000_000), items: make([]Item, 100)}
	t.Logf("%d identifiers in %d h, %d MiB of memory allowed", n, 24, cfg.MemoryBytes>>20)
	for mark := int64(1_000_000); s.n < n; mark = min(mark*10, n) {
		from, had, began, beganCPU := s.n, x.Stats(), time.Now(), cpu(t)
		sealing := time.Duration(0)
		for s.n < mark {
			s.insert()
			if x.Due() {
				at := time.Now()
				if err := x.Seal(s.n); err != nil {
					t.Fatal(err)
				}
				sealing += time.Since(at)
			}
		}
		took, did := time.Since(began), x.Stats()
		each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(s.n-from) }
		t.Logf("%d to %d: %.0f ns each with everything (CPU of the writer %.0f), %.0f of them in Seal; merges run beside it",
			from, s.n, each(took), each(cpu(t)-beganCPU), each(sealing))
		t.Logf("%d to %d: %.1f filters asked of each, when it ended %d runs of %d were covered", from, s.n,
			float64(did.Probes-had.Probes)/float64(s.n-from), did.CoveredRuns, did.Runs)
		settle(t, x)
		s.measure()
	}
	if err := x.Seal(s.n); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if s.x, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	t.Logf("opened again in %v", time.Since(began).Round(time.Millisecond))
	s.known("after opening again", 20_000, 0, s.n)
	settle(t, s.x)
	t.Logf("covered again %v after opening", time.Since(began).Round(time.Millisecond))
	if err := s.x.Close(); err != nil {
		t.Fatal(err)
	}
}

type scale struct {
	t     *testing.T
	x     *Index
	n     int64
	total int64
	items []Item
}

func (s *scale) clock() int64 {
	return start + int64(float64(s.n)*float64(23*hourMs)/float64(s.total+s.total/10))
}

// insert adds a hundred new ones.
func (s *scale) insert() {
	now := s.clock()
	for i := range s.items {
		s.items[i] = Item{ID: mix(uint64(s.n)), Offset: s.n, NowMs: now}
		s.n++
	}
	if _, err := s.x.InsertMany(s.items); err != nil {
		s.t.Fatal(err)
	}
	for i := range s.items {
		if s.items[i].Found {
			s.t.Fatalf("%d is not new: %+v", s.items[i].Offset, s.items[i].Prev)
		}
	}
}

func (s *scale) measure() {
	before, beganCPU := s.x.Stats(), cpu(s.t)
	took := make([]time.Duration, 0, 20_000)
	for range min(20_000, (s.x.table.entriesMax()-s.x.table.count)/200) {
		at := time.Now()
		s.insert()
		took = append(took, time.Since(at))
	}
	after, tookCPU := s.x.Stats(), cpu(s.t)-beganCPU
	slices.Sort(took)
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	at := func(share float64) float64 { return float64(took[int(float64(len(took)-1)*share)].Nanoseconds()) / 100 }
	ids, passedOn := after.Asked-before.Asked, after.CoverPassed-before.CoverPassed
	s.t.Logf("at %d, new: %.0f ns each in the mean (CPU %.0f), by batches of 100 p50 %.0f, p99 %.0f, max %.0f; one by one %.0f; %.1f filters asked of each, %d of %d pass wrongly",
		s.n, float64(sum.Nanoseconds())/float64(ids), float64(tookCPU.Nanoseconds())/float64(ids), at(0.5), at(0.99), at(1), s.oneByOne(), float64(after.Probes-before.Probes)/float64(ids), after.FalsePassed-before.FalsePassed, ids)
	s.known("known, in the table", 20_000, s.n-min(after.TableEntries, 1_000_000), s.n)
	s.known("known, in the runs", 20_000, 0, s.n-after.TableEntries)
	s.t.Logf("at %d: %d runs, %.1f B of disk each, %d MiB of memory of %d, %d runs with filters on disk, %d merges so far", s.n, after.Runs,
		float64(after.DiskBytes)/float64(max(after.RunEntries, 1)), after.MemoryBytes>>20, s.x.cfg.MemoryBytes>>20, after.RunsOnDisk, after.Merges)
	if after.CoveredRuns > 0 {
		s.t.Logf("at %d: %d runs of %d are covered, %.1f bits for each of their entries; %d of %d new ones passed on, begun %d times",
			s.n, after.CoveredRuns, after.Runs, float64(s.x.coverBlocks)*blockBytes*8/float64(after.CoveredEntries), passedOn, ids, after.Covers)
	}
}

func (s *scale) oneByOne() float64 {
	const ids = 200_000
	began := time.Now()
	for range ids {
		if _, found, err := s.x.Insert(mix(uint64(s.n)), s.n, s.clock(), 0); err != nil || found {
			s.t.Fatal(found, err)
		}
		s.n++
	}
	return float64(time.Since(began).Nanoseconds()) / ids
}

// cpu is what this thread has used so far.
func cpu(t *testing.T) time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// known asks for some that were inserted between two offsets, anywhere.
func (s *scale) known(what string, ids int, from, to int64) {
	if from >= to {
		return
	}
	began := time.Now()
	for i := range ids {
		at := from + int64(mix(uint64(i))[1]%uint64(to-from))
		if e, found, err := s.x.Insert(mix(uint64(at)), s.n, s.clock(), 0); err != nil || !found || e.Offset != at {
			s.t.Fatalf("%d of %d: %+v %v %v", at, s.n, e, found, err)
		}
	}
	s.t.Logf("at %d, %s: %.0f ns each, one by one", s.n, what, float64(time.Since(began).Nanoseconds())/float64(ids))
}
