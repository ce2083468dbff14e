package dedup

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tollgate/internal/invariants"
	"tollgate/internal/vfs"
)

const damaged = 3000 // entries of the index that is damaged

// filled makes an index with a merged run and a fresh one, closed.
func filled(t *testing.T) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem(1)
	x := mustOpen(t, Config{FS: disk})
	x.fan = 2
	for i := range int64(damaged) {
		mustInsert(t, x, uint64(i), i, start)
		if i%1000 == 999 {
			mustSeal(t, x, i+1)
			x.mergeAll()
		}
	}
	if s := x.Stats(); s.Runs != 2 || s.Merges != 1 {
		t.Fatalf("%+v", s)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return disk
}

// askAll opens an index and asks for everything that is in it, with filters in memory or on disk, and merges it. Every
// answer is right or an error.
func askAll(t *testing.T, disk vfs.FS, resident bool) (err error) {
	t.Helper()
	x, err := open(Config{FS: disk, Dir: "index"})
	if err != nil {
		return err
	}
	for _, r := range x.view.runs {
		if !resident {
			r.resident.Store(nil)
		}
		r.header.level = 0
	}
	var first error
	for i := range int64(damaged) {
		e, found, err := x.Find(mix(uint64(i)), start)
		if err == nil && (!found || e.Offset != i) {
			t.Fatalf("%d: %+v %v without an error", i, e, found)
		}
		if first == nil {
			first = err
		}
		if _, found, err := x.Insert(mix(uint64(i)), damaged+i, start, 0); err == nil && !found {
			t.Fatalf("%d is new, without an error", i)
		}
	}
	verified := x.Verify()
	if first != nil && verified == nil {
		t.Errorf("verified, and a look-up says %v", first)
	}
	x.fan = 2
	x.mergeAll()
	if err := x.Stats().MergeError; (err == nil) != (first == nil) && first == nil {
		t.Errorf("merged with %v, and all look-ups went well", err)
	}
	if err := x.Seal(2 * damaged); err != nil && first == nil {
		first = err
	}
	return errors.Join(first, verified, x.Close())
}

func names(t *testing.T, disk vfs.FS) (names []string) {
	t.Helper()
	list, err := disk.ReadDir("index")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name)
	}
	return names
}

func TestRotIsAnErrorThatNamesItsFile(t *testing.T) {
	sound := filled(t)
	if err := askAll(t, sound.Clone(), true); err != nil {
		t.Fatal(err)
	}
	files := names(t, sound)
	dice := rand.New(rand.NewPCG(5, 6))
	rounds := 240
	if invariants.Enabled {
		rounds = 60
	}
	for round := range rounds {
		disk := sound.Clone()
		name := files[round%len(files)]
		path := filepath.Join("index", name)
		f, err := disk.OpenFile(path, os.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		if err != nil {
			t.Fatal(err)
		}
		what := "a flipped bit"
		switch dice.IntN(4) {
		case 0:
			what = "a shorter file"
			err = f.Truncate(dice.Int64N(size))
		case 1:
			what = "a longer file"
			err = f.Truncate(size + 1 + dice.Int64N(pageBytes))
		default:
			err = disk.FlipBit(path, dice.Int64N(size*8))
		}
		if err != nil {
			t.Fatal(err)
		}
		var rot *RotError
		err = askAll(t, disk, round%2 == 0)
		if !errors.As(err, &rot) || !strings.Contains(err.Error(), name) {
			t.Fatalf("round %d: %s: %s: %v", round, name, what, err)
		}
		if got := names(t, disk); len(got) < len(files) {
			t.Fatalf("round %d: %s: %s: of %v only %v are left", round, name, what, files, got)
		}
	}
	for _, name := range files {
		disk := sound.Clone()
		if err := disk.Remove(filepath.Join("index", name)); err != nil {
			t.Fatal(err)
		}
		var rot *RotError
		if err := askAll(t, disk, true); !errors.As(err, &rot) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestAPageOfAnotherPlaceIsRot(t *testing.T) {
	disk := filled(t)
	for _, name := range names(t, disk)[1:] {
		f, err := disk.OpenFile(filepath.Join("index", name), os.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		if err != nil {
			t.Fatal(err)
		}
		page := make([]byte, pageBytes)
		if _, err := f.ReadAt(page, size-3*pageBytes); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(size-2*pageBytes, page); err != nil {
			t.Fatal(err)
		}
	}
	var rot *RotError
	if err := askAll(t, disk, true); !errors.As(err, &rot) {
		t.Errorf("a page that was written to another place is taken for good: %v", err)
	}
}

// TestASealAndAMergeThatFailAnywhereLoseNothing fails each call to the disk in turn, once, and tries again; and stops the
// machine at each call in turn.
func TestASealAndAMergeThatFailAnywhereLoseNothing(t *testing.T) {
	const n, sealed, step = 150, 100, 50
	sound := vfs.NewMem(1)
	build := func(disk *vfs.Mem) *Index {
		x := mustOpen(t, Config{FS: disk})
		x.fan = 2
		at := x.Next()
		for i := at; i < n; i++ {
			if i >= at+step && i%step == 0 && i <= sealed {
				mustSeal(t, x, i)
			}
			if _, found := mustInsert(t, x, uint64(i), i, start); found {
				t.Fatalf("%d is not new", i)
			}
		}
		return x
	}
	complete := func(x *Index, what string, call int) {
		for i := range int64(n) {
			if e, found := mustInsert(t, x, uint64(i), n+i, start); !found || e.Offset != i {
				t.Fatalf("%s %d: %d: %+v %v", what, call, i, e, found)
			}
		}
	}
	work := func(x *Index) error {
		err := x.Seal(n)
		x.mergeAll()
		return errors.Join(err, x.Stats().MergeError)
	}
	x := build(sound.Clone())
	x.fs.(*vfs.Mem).SetFaults(vfs.Faults{})
	if err := work(x); err != nil || x.Stats().Runs > 2 {
		t.Fatal(err, x.Stats())
	}
	tries := 16
	if invariants.Enabled {
		tries = 2
	}
	calls := x.fs.(*vfs.Mem).Calls()
	if calls < 40 {
		t.Fatalf("only %d calls", calls)
	}
	for call := 1; call <= calls; call++ {
		disk := sound.Clone()
		x := build(disk)
		disk.SetFaults(vfs.Faults{FailCalls: []int{call}})
		if err := work(x); err != nil && !errors.Is(err, os.ErrNotExist) && !isFault(err) {
			t.Fatalf("call %d: %v", call, err)
		}
		complete(x, "call", call)
		if err := work(x); err != nil || x.Next() != n || x.Stats().TableEntries != 0 {
			t.Fatalf("call %d, again: %v, next %d", call, err, x.Next())
		}
		complete(x, "call, again", call)
		complete(build(disk.Crash()), "call and crash", call)

		for range tries {
			disk = sound.Clone()
			x = build(disk)
			disk.SetFaults(vfs.Faults{CrashAt: call})
			if err := work(x); err == nil && call < calls-1 { // the last ones only remove files
				t.Fatalf("crash at call %d: no error", call)
			}
			complete(build(disk.Clone().Crash()), "crash at call", call)
			// The process ends there, the next one opens and closes, and then the machine stops.
			disk = disk.Kill()
			if err := mustOpen(t, Config{FS: disk}).Close(); err != nil {
				t.Fatal(err)
			}
			complete(build(disk.Crash()), "kill at call", call)
		}
	}
}

func TestAFullDiskFailsASealAndNothingElse(t *testing.T) {
	disk := vfs.NewMem(1)
	x := mustOpen(t, Config{FS: disk})
	for i := range int64(500) {
		mustInsert(t, x, uint64(i), i, start)
	}
	disk.SetFaults(vfs.Faults{CapacityBytes: 3 * pageBytes})
	for range 3 {
		if err := x.Seal(500); err == nil || x.Next() != 0 {
			t.Fatalf("%v, next %d", err, x.Next())
		}
		if _, found := mustInsert(t, x, 1, 501, start); !found {
			t.Fatal("the table has lost an entry")
		}
	}
	if got := names(t, disk); len(got) != 1 {
		t.Errorf("left on the full disk: %v", got)
	}
	disk.SetFaults(vfs.Faults{})
	mustSeal(t, x, 502)
	if _, found := mustInsert(t, x, 499, 502, start); !found {
		t.Error("the run has lost an entry")
	}
}
