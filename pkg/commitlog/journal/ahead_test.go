package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
)

// used is how much of a memory disk is taken, with what is preallocated.
func (b *bench) used() int64 {
	b.Helper()
	s, err := b.fs.Space(".")
	if err != nil {
		b.Fatal(err)
	}
	return s.Total - s.Free
}

// sizes is the sum of the sizes of all files.
func (b *bench) sizes() (sum int64) {
	b.Helper()
	for _, dir := range []string{"journal", smallDir} {
		entries, err := b.fs.ReadDir(dir)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range entries {
			sum += e.Bytes
		}
	}
	return sum
}

// aheadBench reserves 16 KiB ahead.
func aheadBench(t *testing.T) *bench {
	return newBench(t, func(c *Config) { c.SegmentBytes, c.ReserveBytes = 100_000, 64<<10 })
}

func TestSpaceIsReservedAheadInChunksAndNeverBeyondTheSegment(t *testing.T) {
	b := aheadBench(t)
	if b.used() != b.sizes() {
		t.Fatal("space is reserved for a partition that nobody has written to")
	}
	reserved := 0
	for before := int64(0); len(b.j.partitions[0].segments) == 1; {
		b.want(b.append(strings.Repeat("x", 1000)), nil)
		p := b.j.partitions[0]
		if p.held() != b.used()-b.sizes() || p.held() > 16<<10 || p.ahead.end > b.cfg.SegmentBytes {
			t.Fatalf("at %d: %d bytes held, %d of the disk reserved, up to %d", p.position, p.held(), b.used()-b.sizes(), p.ahead.end)
		}
		if p.ahead.end != before {
			reserved++
		}
		before = p.ahead.end
	}
	if reserved < 6 || reserved > 14 {
		t.Errorf("a segment of 100 kB was reserved in %d pieces, want about one each 8 KiB", reserved)
	}
	b.j.abandon()
	if b.used() != b.sizes() {
		t.Errorf("%d bytes stay reserved after closing", b.used()-b.sizes())
	}
	b.wantTold()
}

func TestRecoveryGivesBackWhatWasReserved(t *testing.T) {
	for _, end := range []func(*vfs.Mem) *vfs.Mem{(*vfs.Mem).Kill, (*vfs.Mem).Crash} {
		b := aheadBench(t)
		b.settle()
		b.want(b.append("a"), nil) // its fsync makes the reservation durable
		b.fs = end(b.fs)
		b.cfg.FS = b.fs
		if b.used() == b.sizes() {
			t.Fatal("nothing was reserved")
		}
		b.reopen()
		if b.used() != b.sizes() {
			t.Errorf("%d bytes stay reserved", b.used()-b.sizes())
		}
		b.wantValues("settled", "a")
	}
}

// What the journal has reserved is its own to fill: a disk takes as many appends as it does without reservations, and
// the reserve is left alone all the same.
func TestReservingAheadChangesNothingAboutWhatFitsOnASmallDisk(t *testing.T) {
	for _, total := range []int64{1 << 20, 4 << 20, 16 << 20, 64 << 20} {
		var fits [2]int
		for i, unsupported := range []bool{false, true} {
			b := newBench(t, func(c *Config) { c.ReserveBytes, c.SegmentBytes = 0, total/8 })
			b.fs.SetFaults(vfs.Faults{CapacityBytes: total, PreallocateUnsupported: unsupported})
			held, value := int64(0), strings.Repeat("x", int(total/256))
			for {
				b.clock.advance(spaceEvery)
				if err := b.append(value); err != nil {
					b.want(err, commitlog.ErrUnavailable)
					break
				}
				held = max(held, b.j.partitions[0].held())
				fits[i]++
			}
			if free := total - b.used(); free < total/reserveShare {
				t.Errorf("disk of %d: %d bytes are free at the end, the reserve is %d", total, free, total/reserveShare)
			}
			if held > total/64 || held == 0 != unsupported {
				t.Errorf("disk of %d: up to %d bytes held", total, held)
			}
			b.wantTold(Unavailable)
		}
		if fits[0] != fits[1] {
			t.Errorf("disk of %d: %d appends fit, %d without reserving", total, fits[0], fits[1])
		}
	}
}

func TestADiskThatFillsUpIsMetBeforeTheWrite(t *testing.T) {
	b := aheadBench(t)
	b.settle()
	// Somebody else fills the disk within 100 ms of the last look.
	b.fs.SetFaults(vfs.Faults{CapacityBytes: b.used() + 1000})
	b.want(b.append(strings.Repeat("x", 10_000)), nil) // into what is reserved
	b.wantTold(NotReserved)
	if !errors.Is(b.told[0].Err, syscall.ENOSPC) {
		t.Fatal(b.told)
	}
	if b.used() > b.sizes()+100 {
		t.Errorf("%d bytes stay reserved on a full disk", b.used()-b.sizes())
	}
	calls := b.fs.Calls()
	b.want(b.append("a"), commitlog.ErrUnavailable)
	if made := b.fs.Calls() - calls; made != 1 {
		t.Errorf("%d calls to the disk, want a look at the free space and no write", made)
	}
	b.fs.SetFaults(vfs.Faults{})
	b.clock.advance(retryAfterMax)
	b.want(b.append("b"), nil)
	if b.j.partitions[0].held() == 0 {
		t.Error("nothing is reserved on the disk that is well again")
	}
	b.wantTold(NotReserved, Unavailable, Recovered)
}

func TestARefusedReservationStopsNothing(t *testing.T) {
	b := aheadBench(t)
	b.failNext(5) // statfs, write, fdatasync, checkpoint, fallocate
	b.want(b.append("a"), nil)
	b.wantTold(NotReserved)
	calls := b.fs.Calls()
	b.want(b.append("b"), nil)
	if made := b.fs.Calls() - calls; made > 4 {
		t.Errorf("%d calls: it is tried again at once", made)
	}
	b.clock.advance(retryAfterMax)
	b.want(b.append("c"), nil)
	if b.j.partitions[0].held() == 0 {
		t.Error("it is not tried again")
	}
	b.wantTold(NotReserved)
	b.wantValues("a", "b", "c")
}

func TestAFileSystemWithoutPreallocationIsAskedOnce(t *testing.T) {
	b := aheadBench(t)
	b.fs.SetFaults(vfs.Faults{PreallocateUnsupported: true})
	b.want(b.append("a"), nil)
	b.clock.advance(retryAfterMax)
	b.fs.SetFaults(vfs.Faults{})
	b.want(b.append("b"), nil)
	if b.used() != b.sizes() {
		t.Error("it is asked again")
	}
	b.wantTold()
}

func TestAFailedWriteGivesBackWhatWasReserved(t *testing.T) {
	for _, fail := range []int{1, 2} { // write, fdatasync
		b := aheadBench(t)
		b.settle()
		b.failNext(fail)
		b.want(b.append("a"), nil) // in a new segment
		b.wantTold(Poisoned, Replaced)
		if held := b.j.partitions[0].held(); held == 0 || b.used() != b.sizes()+held {
			t.Errorf("%d bytes held, %d reserved", held, b.used()-b.sizes())
		}
	}
}

// The same on real file systems: blocks behind the file's end while it is open, and none after Close and Open.
func TestOnARealDiskTheBlocksAreThereAndGoBack(t *testing.T) {
	for name, parent := range map[string]string{"temporary": os.TempDir(), "tmpfs": "/dev/shm"} {
		t.Run(name, func(t *testing.T) { realBlocks(t, parent) })
	}
}

func realBlocks(t *testing.T, parent string) {
	dir, err := os.MkdirTemp(parent, "journal")
	if err != nil {
		t.Skip("SKIPPED: no such file system here: ", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := config(vfs.OS, filepath.Join(dir, "journal"))
	cfg.ReserveBytes = 1 << 20
	b := &bench{T: t, cfg: cfg}
	first := segmentPath(partitionDir(cfg.Dir, topic, 0), 0)
	size := int64(len(batch(0, "a").Bytes))
	f := func(when string, size int64, reserved bool) {
		t.Helper()
		info, err := os.Stat(first)
		if err != nil {
			t.Fatal(err)
		}
		s := info.Sys().(*syscall.Stat_t)
		if s.Size != size || (s.Blocks*512 > size+blockBytes) != reserved {
			t.Errorf("%s: %d bytes long, want %d; %d bytes allocated; reserved: want %v", when, s.Size, size, s.Blocks*512, reserved)
		}
	}
	b.reopen()
	f("opened", 0, false)
	b.want(b.append("a"), nil)
	if b.j.partitions[0].ahead.never {
		t.Skip("SKIPPED: this file system knows no preallocation")
	}
	f("written", size, true)
	b.j.abandon()
	f("closed", size, false)
	b.reopen()
	b.want(b.append("a"), nil)
	f("written again", 2*size, true)
	if err := b.j.partitions[0].file.Close(); err != nil { // as the end of the process does
		t.Fatal(err)
	}
	f("killed", 2*size, true)
	b.reopen()
	f("recovered", 2*size, false)
	got, err := readValues(b.j, 0)
	if err != nil || !slices.Equal(got, []string{"a", "a"}) {
		t.Error(got, err)
	}
	b.j.abandon()
}
