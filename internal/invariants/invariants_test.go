package invariants

import (
	"bytes"
	"testing"
)

func TestABrokenInvariantPanicsWithItsValuesInADebugBuildOnly(t *testing.T) {
	defer func() {
		got := recover()
		if !Enabled && got != nil {
			t.Fatalf("a release build panicked: %v", got)
		}
		if want := "BUG: 3 is not 4"; Enabled && got != want {
			t.Fatalf("panic %v, want %q", got, want)
		}
	}()
	Check(true, "never said")
	Check(false, "%d is not %d", 3, 4)
}

func TestMangledBytesAreUnrecognisableInADebugBuildOnly(t *testing.T) {
	b := []byte("view")
	Mangle(b)
	want := []byte("view")
	if Enabled {
		want = bytes.Repeat([]byte{mangled}, 4)
	}
	if !bytes.Equal(b, want) {
		t.Fatalf("after Mangle: %q, want %q", b, want)
	}
}

func TestChecksDoNotAllocate(t *testing.T) {
	read, write := uint64(1), uint64(2)
	frame := make([]byte, 64)
	got := testing.AllocsPerRun(1000, func() {
		Check(read <= write, "read %d is ahead of write %d", read, write)
		Mangle(frame)
	})
	if got != 0 && !Enabled {
		t.Fatalf("%v allocations a check in a release build, want 0", got)
	}
}

// BenchmarkRelease shows what is left of both calls in a release build: the empty loop, whatever the frame's length.
//
//	go test -bench Release ./internal/invariants
func BenchmarkRelease(b *testing.B) {
	read, write := uint64(1), uint64(2)
	frame := make([]byte, 4096)
	for b.Loop() {
		Check(read <= write, "read %d is ahead of write %d", read, write)
		Mangle(frame)
	}
}
