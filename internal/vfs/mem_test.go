package vfs

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

const seeds = 400

// outcomes runs a scenario on many seeds and returns what the disk held afterwards, each with how often.
func outcomes(t *testing.T, scenario func(m *Mem) string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for seed := range uint64(seeds) {
		seen[scenario(NewMem(seed))]++
	}
	return seen
}

func TestWhatWasSyncedSurvivesEveryCrash(t *testing.T) {
	seen := outcomes(t, func(m *Mem) string {
		f := create(t, m, "f", []byte("synced"))
		must(t, f.Sync(), m.SyncDir("."))
		return content(t, m.Crash(), "f")
	})
	if len(seen) != 1 || seen["synced"] == 0 {
		t.Fatal(seen)
	}
}

func TestWhatWasNotSyncedSurvivesInParts(t *testing.T) {
	old, young := strings.Repeat("a", sectorBytes), strings.Repeat("b", sectorBytes)
	seen := outcomes(t, func(m *Mem) string {
		f := create(t, m, "f", []byte(old+old+old))
		must(t, f.Sync(), m.SyncDir("."))
		_, err := f.WriteAt(0, []byte(young+young+young+young))
		must(t, err)
		return content(t, m.Crash(), "f")
	})
	for _, want := range []string{old + old + old, young + young + young + young, old + young + old} {
		if seen[want] == 0 {
			t.Errorf("never seen: %q", strings.ReplaceAll(strings.ReplaceAll(want, old, "a"), young, "b"))
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d outcomes", len(seen))
	}
}

func TestNamesThatWereNotSyncedMayBeGoneOrThere(t *testing.T) {
	seen := outcomes(t, func(m *Mem) string {
		must(t, create(t, m, "old", []byte("1")).Sync(), m.SyncDir("."))
		must(t, create(t, m, "new", []byte("2")).Sync(), m.Rename("new", "old"))
		left := m.Crash()
		return content(t, left, "old") + content(t, left, "new")
	})
	// The rename is one change and the creation another: each alone, both, or none. A name is never lost.
	if len(seen) != 3 || seen["1(none)"] == 0 || seen["12"] == 0 || seen["2(none)"] == 0 {
		t.Fatal(seen)
	}
}

func TestAKillLosesNothingAndMakesNothingDurable(t *testing.T) {
	kept, lost := 0, 0
	for seed := range uint64(seeds) {
		m := NewMem(seed)
		create(t, m, "f", []byte("written"))
		m = m.Kill()
		if got := content(t, m, "f"); got != "written" {
			t.Fatal(got)
		}
		if content(t, m.Crash(), "f") == "written" {
			kept++
		} else {
			lost++
		}
	}
	if kept == 0 || lost == 0 {
		t.Fatalf("%d kept, %d lost in the power loss after it", kept, lost)
	}
}

func TestAfterAFailedSyncTheNextOneSucceedsAndTheBytesMayBeLost(t *testing.T) {
	lost := outcomes(t, func(m *Mem) string {
		f := create(t, m, "f", []byte("old"))
		must(t, f.Sync(), m.SyncDir("."))
		_, err := f.WriteAt(0, []byte("new"))
		must(t, err)
		m.SetFaults(Faults{FailCalls: []int{1}})
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		must(t, f.Sync())
		return content(t, m.Crash(), "f")
	})
	if len(lost) != 2 || lost["old"] == 0 || lost["new"] == 0 {
		t.Fatal(lost)
	}
}

func TestWritesStopShortWithEIOOrENOSPC(t *testing.T) {
	m := NewMem(1)
	f := create(t, m, "f")
	m.SetFaults(Faults{CapacityBytes: 10})
	if n, err := f.WriteAt(0, []byte("0123456"), []byte("789abc")); n != 10 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(n, err)
	}
	if s, err := m.Space("."); s != (Space{0, 10}) || err != nil {
		t.Fatal(s, err)
	}
	short := 0
	for range 100 {
		m.SetFaults(Faults{WriteFails: 1})
		n, err := f.WriteAt(0, []byte("0123456"))
		if !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		if n > 0 && n < 7 {
			short++
		}
	}
	if short < 50 {
		t.Fatalf("%d short writes of 100", short)
	}
}

func TestTheMachineStopsAtItsCall(t *testing.T) {
	m := NewMem(1)
	f := create(t, m, "f")
	m.SetFaults(Faults{CrashAt: 3})
	must(t, f.Sync(), m.SyncDir("."))
	_, err := m.OpenFile("g", os.O_RDWR|os.O_CREATE)
	for _, err := range []error{err, f.Sync(), f.Truncate(0), m.Remove("f"), m.MkdirAll("d")} {
		if !errors.Is(err, ErrOff) {
			t.Fatal(err)
		}
	}
	if m.Calls() < 3 {
		t.Fatal(m.Calls())
	}
	left := m.Crash()
	if content(t, left, "f") != "" || content(t, left, "g") != "(none)" {
		t.Fatal("the call at which the machine stopped has done something")
	}
}

func TestACloneIsApart(t *testing.T) {
	m := NewMem(1)
	must(t, m.MkdirAll("d"))
	f := create(t, m, "d/f", []byte("a"))
	must(t, f.Sync())
	c := m.Clone()
	must(t, c.FlipBit("d/f", 1), c.Remove("d/f"))
	if got := content(t, m, "d/f"); got != "a" {
		t.Fatal(got)
	}
	if err := c.FlipBit("d/f", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	must(t, m.FlipBit("d/f", 1))
	if got := content(t, m, "d/f"); got != "c" {
		t.Fatal(got)
	}
}

func TestPreallocationCountsTowardsTheCapacity(t *testing.T) {
	m := NewMem(1)
	f, other := create(t, m, "f", []byte("0123456789")), create(t, m, "other")
	m.SetFaults(Faults{CapacityBytes: 100})
	must(t, f.Preallocate(10, 50))
	if s, err := m.Space("."); s != (Space{40, 100}) || err != nil {
		t.Fatal(s, err)
	}
	if n, err := other.WriteAt(0, make([]byte, 70)); n != 40 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(n, err)
	}
	if n, err := f.WriteAt(10, make([]byte, 70)); n != 50 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal("what was reserved is not there:", n, err)
	}
	must(t, other.Truncate(0))
	if err := f.Preallocate(60, 50); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if s, err := m.Space("."); s != (Space{0, 100}) || err != nil {
		t.Fatal("a refused preallocation keeps what it got, as on ext4:", s, err)
	}
	must(t, f.Truncate(60))
	if s, err := m.Space("."); s != (Space{40, 100}) || err != nil {
		t.Fatal(s, err)
	}
	m.SetFaults(Faults{PreallocateUnsupported: true})
	if err := f.Preallocate(60, 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Fatal(err)
	}
	m.SetFaults(Faults{FailCalls: []int{1}})
	if err := f.Preallocate(60, 1); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
}

func TestAPreallocationThatWasNotSyncedMayBeGoneOrThereAfterACrash(t *testing.T) {
	kept := 0
	for seed := range uint64(seeds) {
		m := NewMem(seed)
		f := create(t, m, "f")
		must(t, f.Sync(), m.SyncDir("."), f.Preallocate(0, 1000))
		left := m.Kill()
		if s, err := left.Space("."); s.Total-s.Free != 1000 || err != nil {
			t.Fatal("a kill gives nothing back:", s, err)
		}
		left = left.Crash()
		s, err := left.Space(".")
		must(t, err)
		if s.Total-s.Free == 1000 {
			kept++
			must(t, left.Remove("f"))
		}
		if s, err := left.Space("."); s.Free != s.Total || err != nil {
			t.Fatal(s, err)
		}
	}
	if kept == 0 || kept == seeds {
		t.Fatalf("%d of %d kept", kept, seeds)
	}
}
