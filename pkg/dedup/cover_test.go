package dedup

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tollgate/internal/vfs"
)

// covered makes an index of some runs of so many entries each, all covered; their offsets are their numbers.
func covered(t *testing.T, runs, each int64) *Index {
	t.Helper()
	x := mustOpen(t, Config{FS: vfs.NewMem(1), MemoryBytes: memoryBytesMin})
	x.coverFrom = 1
	for i := range runs * each {
		mustInsert(t, x, uint64(i), i, start)
		if i%each == each-1 {
			mustSeal(t, x, i+1)
		}
	}
	x.coverAll()
	if s := x.Stats(); s.CoveredRuns != int(runs) || s.CoveredEntries != runs*each || s.MergeError != nil {
		t.Fatalf("%+v", s)
	}
	return x
}

// mustKnow asks for the first n identifiers, and for as many new ones, by Find and by the writer's way.
func mustKnow(t *testing.T, x *Index, n int64) {
	t.Helper()
	next := x.Next()
	qs := make([]query, 0, chunkMax)
	for i := range 2 * n {
		e, found, err := x.Find(mix(uint64(i)), start)
		if err != nil || found != (i < n) || found && e.Offset != i {
			t.Fatalf("%d of %d: Find gives %+v %v %v", i, n, e, found, err)
		}
		qs = append(qs, query{id: mix(uint64(i)), offset: next + 1, since: x.span.since(start)})
		if len(qs) < chunkMax && i < 2*n-1 {
			continue
		}
		if err := x.askRuns(x.view, qs); err != nil {
			t.Fatal(err)
		}
		for j := range qs {
			if at := i + 1 - int64(len(qs)-j); qs[j].found != (at < n) || qs[j].found && qs[j].entry.Offset != at {
				t.Fatalf("%d of %d: the runs say %+v", at, n, qs[j])
			}
		}
		qs = qs[:0]
	}
}

func TestCoveredRunsAreAskedOnlyForWhatTheCoverDoesNotCallNew(t *testing.T) {
	const n = 5 * 1000
	x := covered(t, 5, 1000)
	x.probed.Store(0)
	mustKnow(t, x, n)
	s := x.Stats()
	// One question for each, and up to five more for those that are known and the few others that pass.
	if s.Probes < 2*n || s.Probes > 2*n+5*n+n/10 || s.CoverPassed < n || s.CoverPassed > n+n/100 {
		t.Errorf("%+v", s)
	}
	for i := range int64(1000) {
		mustInsert(t, x, uint64(n+i), n+i, start)
	}
	mustSeal(t, x, n+1000)
	if s := x.Stats(); s.CoveredRuns != 5 || s.Runs != 6 {
		t.Errorf("%+v", s)
	}
	mustKnow(t, x, n+1000)
}

// TestACoverThatIsFullOfOthersChangesNoVerdict sets every bit.
func TestACoverThatIsFullOfOthersChangesNoVerdict(t *testing.T) {
	x := covered(t, 3, 500)
	for i := range x.cover.filter.words {
		x.cover.filter.words[i] = math.MaxUint64
	}
	mustKnow(t, x, 1500)
}

// TestARunIsNotTakenForCoveredByItsOffsets inserts, as a replay may, before what is covered.
func TestARunIsNotTakenForCoveredByItsOffsets(t *testing.T) {
	x := mustOpen(t, Config{FS: vfs.NewMem(1)})
	x.coverFrom = 1
	mustInsert(t, x, 1, 1000, start)
	mustSeal(t, x, 1001)
	x.coverAll()
	mustInsert(t, x, 2, 500, start)
	mustSeal(t, x, 1001)
	if s := x.Stats(); s.Runs != 2 || s.CoveredRuns != 1 {
		t.Fatalf("%+v", s)
	}
	if _, found, err := x.Find(mix(2), start); err != nil || !found {
		t.Errorf("Find gives %v %v", found, err)
	}
	if prev, found := mustInsert(t, x, 2, 1001, start); !found || prev.Offset != 500 {
		t.Errorf("Insert gives %+v %v", prev, found)
	}
}

func TestWhatIsCoveredFollowsTheRunsThroughSealsAndMerges(t *testing.T) {
	for _, c := range []struct {
		what                                string
		covered, at, removed, added, expect int
	}{
		{"a seal", 3, 5, 0, 1, 3},
		{"a seal when all are covered", 5, 5, 0, 1, 5},
		{"the first seal", 0, 0, 0, 1, 0},
		{"a merge of covered ones", 5, 1, 3, 1, 3},
		{"a merge of the last covered ones", 5, 1, 4, 1, 2},
		{"a merge of covered ones of which nothing is left", 5, 1, 4, 0, 1},
		{"a merge of others", 2, 2, 4, 1, 2},
		{"a merge of both", 3, 1, 4, 1, 1},
		{"a merge of both of which nothing is left", 3, 1, 4, 0, 1},
		{"the oldest expires", 3, 0, 1, 0, 2},
		{"one that is not covered expires", 3, 4, 1, 0, 3},
	} {
		if got := stillCovered(c.covered, c.at, c.removed, c.added); got != c.expect {
			t.Errorf("%s: %d covered, want %d", c.what, got, c.expect)
		}
	}
}

// TestARunThatIsMergedWhileItIsFilledInIsCoveredWithWhatItBecame has three runs merged, of which one is covered and the
// next one is on its way.
func TestARunThatIsMergedWhileItIsFilledInIsCoveredWithWhatItBecame(t *testing.T) {
	x := covered(t, 1, 300)
	for i := int64(300); i < 900; i++ {
		mustInsert(t, x, uint64(i), i, start)
		if i%300 == 299 {
			mustSeal(t, x, i+1)
		}
	}
	v, r := x.beginCover()
	if err := x.fill(r); err != nil {
		t.Fatal(err)
	}
	x.fan = 3
	x.mergeAll()
	mustKnow(t, x, 900)
	x.endCover(v, r, true)
	if s := x.Stats(); s.Runs != 1 || s.CoveredRuns != 0 {
		t.Fatalf("%+v", s)
	}
	mustKnow(t, x, 900)
	x.coverAll()
	if s := x.Stats(); s.CoveredRuns != 1 || s.CoveredEntries != 900 {
		t.Fatalf("%+v", s)
	}
	mustKnow(t, x, 900)
}

// TestACoverThatIsFullIsBegunAnew lets runs expire whose bits stay, while somebody looks at an older view.
func TestACoverThatIsFullIsBegunAnew(t *testing.T) {
	x := mustOpen(t, Config{FS: vfs.NewMem(1)})
	x.coverFrom, x.coverBlocks, x.fan = 1, 64, 1000
	full := int64(x.coverBlocks * blockBytes * 8 / 4) // entries, with which it is fuller than it may be
	held := false
	n, now := int64(0), int64(start)
	for x.Stats().Covers < 3 {
		if n > 4*full {
			t.Fatalf("%d entries: %+v", n, x.Stats())
		}
		for range 400 {
			mustInsert(t, x, uint64(n), n, now)
			n++
		}
		mustSeal(t, x, n)
		x.Release(now)
		x.mergeAll() // drops what has expired
		look, begun := x.acquire(), x.Stats().Covers
		x.coverAll()
		if look.cover != nil && x.Stats().Covers != begun {
			t.Fatal("begun anew while somebody looks")
		}
		if look.cover != nil && x.view.cover == nil {
			held = true
			q := query{id: mix(uint64(n - 401)), offset: anyOffset, since: x.span.since(now)} // the newest that is covered
			if err := find(look, &q); err != nil || !q.found {
				t.Fatalf("an older view has lost what it knew: %+v %v", q, err)
			}
		}
		x.release(look)
		x.coverAll()
		if s := x.Stats(); s.CoveredRuns != s.Runs || s.CoveredEntries != s.RunEntries {
			t.Fatalf("%+v", s)
		}
		now += 12 * hourMs
	}
	if !held {
		t.Error("nobody looked while it was full")
	}
	if got := n - 400; got < full {
		t.Errorf("begun anew twice by %d entries, of which %d fill it", got, full)
	}
}

func TestWhatHasTooFewBitsIsNotCovered(t *testing.T) {
	x := mustOpen(t, Config{FS: vfs.NewMem(1)})
	x.coverFrom, x.coverBlocks = 1, 10
	for i := range int64(10*blockBytes*8/coverBits + 1) {
		mustInsert(t, x, uint64(i), i, start)
	}
	mustSeal(t, x, 10_000)
	x.coverAll()
	if s := x.Stats(); s.CoveredRuns != 0 || s.Covers != 0 {
		t.Errorf("%+v", s)
	}
	x.coverBlocks++
	x.coverAll()
	if s := x.Stats(); s.CoveredRuns != 1 || s.Covers != 1 {
		t.Errorf("%+v", s)
	}
}

func TestTheCoverIsFilledAgainAfterOpen(t *testing.T) {
	cfg := Config{FS: vfs.OS, Dir: filepath.Join(t.TempDir(), "index"), MemoryBytes: memoryBytesMin}
	const n = 9000
	for life := range 2 {
		x, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if life == 0 {
			for i := range int64(n) {
				mustInsert(t, x, uint64(i), i, start)
				if i%3000 == 2999 {
					mustSeal(t, x, i+1)
				}
			}
		}
		for began := time.Now(); ; time.Sleep(time.Millisecond) {
			if s := x.Stats(); s.CoveredRuns == 3 && s.CoveredEntries == n {
				break
			} else if time.Since(began) > 30*time.Second {
				t.Fatalf("life %d: %+v", life, s)
			}
		}
		for i := range int64(n) {
			if prev, found := mustInsert(t, x, uint64(i), n, start); !found || prev.Offset != i {
				t.Fatalf("%d: %+v %v", i, prev, found)
			}
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRotThatTheCoverMeetsIsTheErrorOfTheNextSeal(t *testing.T) {
	x := covered(t, 2, 1000)
	for i := range int64(1000) {
		mustInsert(t, x, uint64(2000+i), 2000+i, start)
	}
	mustSeal(t, x, 3000)
	r := x.view.runs[2]
	f, err := x.fs.OpenFile(r.path, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	page := make([]byte, 1)
	if _, err := f.WriteAt((r.entryPage()+3)*pageBytes+100, page); err != nil {
		t.Fatal(err)
	}
	x.coverAll()
	var rot *RotError
	if err := x.Seal(3001); !errors.As(err, &rot) || rot.Path != r.path || rot.Page != r.entryPage()+3 {
		t.Errorf("Seal: %v", err)
	}
	if s := x.Stats(); s.CoveredRuns != 2 || !errors.As(s.MergeError, &rot) {
		t.Errorf("%+v", s)
	}
}

func TestCloseDoesNotWaitForTheCover(t *testing.T) {
	x := covered(t, 2, 500)
	mustInsert(t, x, 1000, 1000, start)
	mustSeal(t, x, 1001)
	v, r := x.beginCover()
	close(x.quit)
	if err := x.fill(r); !errors.Is(err, errQuit) {
		t.Errorf("filling while the index is closed: %v", err)
	}
	x.endCover(v, r, false)
	if s := x.Stats(); s.CoveredRuns != 2 || s.MergeError != nil {
		t.Errorf("%+v", s)
	}
}
