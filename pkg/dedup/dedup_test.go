package dedup

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tollgate/internal/invariants"
	"tollgate/internal/vfs"
)

const hourMs = int64(time.Hour / time.Millisecond)

// start is a full hour.
const start = 1_790_000_000_000 / hourMs * hourMs

func mustOpen(t *testing.T, cfg Config) *Index {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = "index"
	}
	x, err := open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func mustInsert(t *testing.T, x *Index, id uint64, offset, nowMs int64) (Entry, bool) {
	t.Helper()
	prev, found, err := x.Insert(mix(id), offset, nowMs, uint8(id%16))
	if err != nil {
		t.Fatal(err)
	}
	return prev, found
}

func mustSeal(t *testing.T, x *Index, next int64) {
	t.Helper()
	if err := x.Seal(next); err != nil {
		t.Fatal(err)
	}
}

func TestAnEntryCountsForTheWindowAndTheRestOfItsBucket(t *testing.T) {
	for _, c := range []struct {
		at, asked int64 // ms after a full hour
		counts    bool
	}{
		{0, 0, true},
		{0, 24 * hourMs, true},
		{0, 25*hourMs - 1, true},
		{0, 25 * hourMs, false},
		{hourMs - 1, 25*hourMs - 1, true}, // 24 h, to the millisecond
		{hourMs - 1, 25 * hourMs, false},
		{hourMs, 25 * hourMs, true},
		{hourMs, 26*hourMs - 1, true},
		{hourMs, 26 * hourMs, false},
	} {
		for _, sealed := range []bool{false, true} {
			x := mustOpen(t, Config{FS: vfs.NewMem(1)})
			mustInsert(t, x, 7, 10, start+c.at)
			if sealed {
				mustSeal(t, x, 11)
			}
			e, found, err := x.Find(mix(7), start+c.asked)
			if err != nil || found != c.counts || found && (e.Offset != 10 || e.TimeMs != minuteOf(start+c.at)*minuteMs || e.Kind != 7) {
				t.Errorf("%+v, sealed %v: Find gives %+v %v %v", c, sealed, e, found, err)
			}
			if prev, found := mustInsert(t, x, 7, 11, start+c.asked); found != c.counts || prev != e {
				t.Errorf("%+v, sealed %v: Insert gives %+v %v", c, sealed, prev, found)
			}
			if e, found, err := x.Find(mix(7), start+c.asked); err != nil || !found || (e.Offset == 11) == c.counts {
				t.Errorf("%+v, sealed %v: after Insert Find gives %+v %v %v", c, sealed, e, found, err)
			}
		}
	}
}

func TestALaterOffsetDoesNotCountAndTheSameOneIsOneself(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		x := mustOpen(t, Config{FS: vfs.NewMem(1)})
		mustInsert(t, x, 1, 100, start)
		if sealed {
			mustSeal(t, x, 101)
		}
		if e, found := mustInsert(t, x, 1, 100, start); found {
			t.Errorf("sealed %v: the record finds itself: %+v", sealed, e)
		}
		if n := x.Stats(); n.TableEntries+n.RunEntries != 1 {
			t.Errorf("sealed %v: it was inserted twice: %+v", sealed, n)
		}
		if e, found := mustInsert(t, x, 1, 50, start); found {
			t.Errorf("sealed %v: an earlier record finds a later one: %+v", sealed, e)
		}
		if e, found := mustInsert(t, x, 1, 101, start); !found || e.Offset != 100 {
			t.Errorf("sealed %v: the next one gets %+v %v", sealed, e, found)
		}
	}
}

func TestAFullTableSealsItself(t *testing.T) {
	x := mustOpen(t, Config{FS: vfs.NewMem(1), MemoryBytes: memoryBytesMin})
	room := int64(x.table.entriesMax())
	due := false
	for i := range 3 * room {
		mustInsert(t, x, uint64(i), i, start+i)
		if due = due || x.Due(); due != (i+1 >= room/4*3) {
			t.Fatalf("after %d of %d Due is %v", i+1, room, due)
		}
		if s := x.Stats(); s.MemoryBytes > memoryBytesMin {
			t.Fatalf("after %d: %d bytes of memory", i+1, s.MemoryBytes)
		}
	}
	if x.Next() != 2*room || x.Clock() != start+2*room {
		t.Errorf("next %d, clock %d, want %d and %d", x.Next(), x.Clock(), 2*room, start+2*room)
	}
	for i := range 3 * room {
		if e, found, err := x.Find(mix(uint64(i)), start+3*room); err != nil || !found || e.Offset != i {
			t.Fatalf("%d: %+v %v %v", i, e, found, err)
		}
	}
}

func TestOffsetsAndTimesMayLeap(t *testing.T) {
	x := mustOpen(t, Config{FS: vfs.NewMem(1), Window: math.MaxInt64})
	offsets := []int64{0, 1, 1 << 38, 1 << 40, 1<<40 + 1, 1 << 60, math.MaxInt64 - 1}
	year := 365 * 24 * hourMs
	times := []int64{start, start, start + year, start + 4*year, start + 4*year, start + 5*year, start + 90*year}
	var items []Item
	for i, offset := range offsets {
		items = append(items, Item{ID: mix(uint64(i)), Offset: offset, NowMs: times[i], Kind: 15})
	}
	if n, err := x.InsertMany(items); n != len(items) || err != nil {
		t.Fatal(n, err)
	}
	mustSeal(t, x, math.MaxInt64)
	x.fan = 2
	x.mergeAll()
	for i, offset := range offsets {
		e, found, err := x.Find(mix(uint64(i)), times[6])
		if want := (Entry{offset, times[i] / minuteMs * minuteMs, 15}); err != nil || !found || e != want {
			t.Errorf("%d: %+v %v %v, want %+v", i, e, found, err, want)
		}
	}
}

func TestABatchSeesItsOwnItems(t *testing.T) {
	x := mustOpen(t, Config{FS: vfs.NewMem(1)})
	items := make([]Item, 3*chunkMax)
	for i := range items {
		items[i] = Item{ID: mix(uint64(i % 50)), Offset: int64(i), NowMs: start}
	}
	if n, err := x.InsertMany(items); n != len(items) || err != nil {
		t.Fatal(n, err)
	}
	for i := range items {
		if items[i].Found != (i >= 50) || items[i].Found && items[i].Prev.Offset != int64(i%50) {
			t.Fatalf("item %d: %+v", i, items[i])
		}
	}
}

func TestNothingIsForgottenBeforeItsRelease(t *testing.T) {
	x := mustOpen(t, Config{FS: vfs.NewMem(1)})
	mustInsert(t, x, 1, 0, start)
	mustSeal(t, x, 1)
	late := start + 100*hourMs
	mustInsert(t, x, 2, 1, late)
	x.mergeAll()
	if x.Stats().Runs != 1 {
		t.Fatal("a run was dropped that nobody had released")
	}
	x.Release(late)
	x.mergeAll()
	if x.Stats().Runs != 1 {
		t.Fatal("a run was dropped that reading the log again from Next on needs")
	}
	mustSeal(t, x, 2)
	x.mergeAll()
	if s := x.Stats(); s.Runs != 1 || s.RunEntries != 1 {
		t.Fatalf("the expired run is still there: %+v", s)
	}
	var behind *BehindError
	if _, _, err := x.Insert(mix(3), 1, late-hourMs, 0); !errors.As(err, &behind) || behind.ForgotMs != late {
		t.Errorf("an Insert of the past: %v", err)
	}
	if _, _, err := x.Find(mix(1), start); !errors.As(err, &behind) {
		t.Errorf("a Find of the past: %v", err)
	}
	if _, found := mustInsert(t, x, 2, 2, late); !found {
		t.Error("what counts is gone")
	}
}

func TestSealMovesNextOverRecordsThatWerePassed(t *testing.T) {
	disk := vfs.NewMem(1)
	x := mustOpen(t, Config{FS: disk})
	x.Advance(start + 5)
	mustSeal(t, x, 1000)
	mustSeal(t, x, 10)
	mustInsert(t, x, 1, 500, start) // as when the caller's own state is behind
	mustSeal(t, x, 501)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = mustOpen(t, Config{FS: disk.Crash()})
	if x.Next() != 1000 || x.Clock() != start+5 || x.Stats().Runs != 1 {
		t.Errorf("next %d, clock %d, %+v", x.Next(), x.Clock(), x.Stats())
	}
}

func TestAnIndexWhoseMemoryIsSmallStaysWithinItAndExact(t *testing.T) {
	x := mustOpen(t, Config{FS: vfs.NewMem(1), MemoryBytes: memoryBytesMin})
	n := int64(680_000) // at one byte each the filters are larger than the memory
	if invariants.Enabled {
		n = 100_000 // takes too long with every check
	}
	items, covered := make([]Item, 0, 1000), 0
	for i := range n {
		if items = append(items, Item{ID: mix(uint64(i)), Offset: i, NowMs: start + i}); len(items) < cap(items) {
			continue
		}
		if _, err := x.InsertMany(items); err != nil {
			t.Fatal(err)
		}
		items = items[:0]
		if x.Due() {
			mustSeal(t, x, i+1)
			x.mergeAll()
			x.coverAll()
			covered = max(covered, x.Stats().CoveredRuns)
		}
		if s := x.Stats(); s.MemoryBytes > memoryBytesMin || s.MergeError != nil {
			t.Fatalf("after %d: %+v", i, s)
		}
	}
	s := x.Stats()
	if s.Merges == 0 || covered < 3 || (s.RunsOnDisk == 0 || s.CoveredRuns > 0) && !invariants.Enabled {
		t.Errorf("%+v, at most %d covered: nothing was too much", s, covered)
	}
	for i := int64(0); i < n; i += 9973 {
		if e, found, err := x.Find(mix(uint64(i)), start+n); err != nil || !found || e.Offset != i {
			t.Fatalf("%d: %+v %v %v", i, e, found, err)
		}
		if _, found, err := x.Find(mix(uint64(n+i)), start+n); err != nil || found {
			t.Fatalf("%d, which is new: %v %v", n+i, found, err)
		}
	}
}

func TestAnInsertAllocatesNothing(t *testing.T) {
	if invariants.Enabled {
		t.Skip("SKIPPED: the race detector allocates")
	}
	x := mustOpen(t, Config{FS: vfs.OS, Dir: filepath.Join(t.TempDir(), "index"), MemoryBytes: 64 << 20})
	n := int64(0)
	insert := func() {
		mustInsert(t, x, uint64(n), n, start)
		n++
	}
	for range 100_000 {
		insert()
	}
	mustSeal(t, x, n)
	if got := testing.AllocsPerRun(10_000, insert); got != 0 {
		t.Errorf("%v allocations an Insert", got)
	}
}

func TestWhatIsNotTheIndexsIsRefusedByNameAndLeftOversAreRemoved(t *testing.T) {
	disk := vfs.NewMem(1)
	cfg := Config{FS: disk, Dir: "index"}
	x := mustOpen(t, cfg)
	mustInsert(t, x, 1, 0, start)
	mustSeal(t, x, 1)
	own := x.view.runs[0].name()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	create := func(name string) {
		f, err := disk.OpenFile(filepath.Join("index", name), os.O_CREATE|os.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	for _, name := range []string{"run-0000000000000009-0-5", "run-0000000000000008-0-5.tmp", manifestTmp} {
		create(name)
	}
	x = mustOpen(t, cfg)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := disk.ReadDir("index")
	if err != nil || len(left) != 2 || left[0].Name != manifestName || left[1].Name != own {
		t.Fatalf("%v %v", left, err)
	}
	for _, name := range []string{"notes.txt", "run-1-0-5", "run-000000000000000A-0-5", "something.tmp"} {
		create(name)
		if _, err := open(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if err := disk.Remove(filepath.Join("index", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := disk.Remove(filepath.Join("index", manifestName)); err != nil {
		t.Fatal(err)
	}
	var rot *RotError
	if _, err := open(cfg); !errors.As(err, &rot) || !strings.Contains(err.Error(), manifestName) {
		t.Errorf("without a manifest: %v", err)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, cfg := range []Config{
		{}, {Dir: "x", Window: -1}, {Dir: "x", BucketWidth: time.Second}, {Dir: "x", BucketWidth: 90 * time.Second}, {Dir: "x", MemoryBytes: 1},
	} {
		cfg.FS = vfs.NewMem(1)
		if _, err := Open(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
	x := mustOpen(t, Config{FS: vfs.NewMem(1)})
	if _, _, err := x.Insert(mix(1), 1, start, 16); err == nil {
		t.Error("kind 16 was accepted")
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.Insert(mix(1), 1, start, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("Insert after Close: %v", err)
	}
	if _, _, err := x.Find(mix(1), start); !errors.Is(err, ErrClosed) {
		t.Errorf("Find after Close: %v", err)
	}
	if err := x.Seal(5); !errors.Is(err, ErrClosed) {
		t.Errorf("Seal after Close: %v", err)
	}
	if err := x.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("Close after Close: %v", err)
	}
}
