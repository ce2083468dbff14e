package journal

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
)

// appendBehind appends a batch, and another one while the first is synced. It returns the outcomes.
func (b *bench) appendBehind(first, second string, meanwhile func()) (errs [2]error) {
	b.Helper()
	batches := [2]*commitlog.Batch{batch(0, first), batch(0, second)}
	done := 0
	for _, one := range batches {
		one.Done = func(*commitlog.Batch) { done++ }
	}
	b.j.flush = func() {
		b.j.flush = b.j.sync
		meanwhile()
		b.j.Append(batches[1:])
		b.j.meanwhile()
		b.j.sync()
	}
	b.j.Append(batches[:1])
	b.j.step()
	if done != 2 {
		b.Fatalf("Done was called %d times", done)
	}
	return [2]error{batches[0].Err, batches[1].Err}
}

func TestAWriteBehindAnFsyncThatFindsTheDiskFullIsCut(t *testing.T) {
	b := newBench(t, nil)
	b.settle()
	errs := b.appendBehind("a", strings.Repeat("b", 1000), func() {
		b.fs.SetFaults(vfs.Faults{CapacityBytes: b.used() + 100})
	})
	b.want(errs[0], nil)
	b.want(errs[1], commitlog.ErrUnavailable)
	if !errors.Is(errs[1], syscall.ENOSPC) {
		t.Error(errs[1])
	}
	b.wantTold(Unavailable)
	b.fs.SetFaults(vfs.Faults{})
	b.clock.advance(retryAfterMax)
	b.want(b.append("c"), nil)
	b.wantValues("settled", "a", "c")
	if n := len(b.j.partitions[0].segments); n != 1 {
		t.Errorf("%d segments, want the same one", n)
	}
}

func TestAFailedFsyncTakesBackWhatWasWrittenBehindIt(t *testing.T) {
	for _, fail := range [][]int{{3}, {2}} { // the fsync; the write behind it
		b := newBench(t, nil)
		b.settle()
		b.failNext(fail...) // write, write, fdatasync
		errs := b.appendBehind("a", "b", func() {})
		b.want(errs[0], nil)
		b.want(errs[1], nil)
		b.wantTold(Poisoned, Replaced)
		b.wantValues("settled", "a", "b")
		b.cfg.FS = b.fs.Crash()
		b.reopen()
		b.wantValues("settled", "a", "b")
	}
}

// The reserve is looked at with what is under way; what is under way is not counted twice.
func TestWhatIsUnderWayCountsOnceAgainstTheReserve(t *testing.T) {
	const reserve, size = 64 << 10, 10_000
	for _, look := range []bool{false, true} { // at the free space, while the first one is under way
		for _, room := range []int64{5_000, -5_000} {
			b := newBench(t, func(c *Config) { c.ReserveBytes = reserve })
			b.settle()
			p := b.j.partitions[0]
			b.clock.advance(spaceEvery)
			b.fs.SetFaults(vfs.Faults{CapacityBytes: b.used() - p.held() + 2*size + room + reserve})
			value := strings.Repeat("x", size)
			errs := b.appendBehind(value, value, func() {
				if look {
					b.clock.advance(spaceEvery)
				}
			})
			b.want(errs[0], nil)
			if room > 0 {
				b.want(errs[1], nil)
			} else {
				b.want(errs[1], commitlog.ErrUnavailable)
			}
			if held := p.held(); held != b.used()-b.sizes() {
				t.Errorf("%d bytes held, %d reserved", held, b.used()-b.sizes())
			}
		}
	}
}

func TestAGroupIsBounded(t *testing.T) {
	b := newBench(t, func(c *Config) { c.SegmentBytes = segmentBytesLimit })
	groups := 0
	b.j.flush = func() { groups++; b.j.sync() }
	value := strings.Repeat("x", batchBytesDefault-1000)
	var set []*commitlog.Batch
	for range groupBytesMax/batchBytesDefault + 1 {
		one := batch(0, value)
		one.Done = func(c *commitlog.Batch) { b.want(c.Err, nil) }
		set = append(set, one)
	}
	b.j.Append(set)
	b.j.step()
	if groups != 2 {
		t.Errorf("%d groups, want 2", groups)
	}
}

// What was taken back and then refused for another reason leaves nothing behind: the next failure has its own new segment.
func TestARefusalForgetsThatASegmentWasReplaced(t *testing.T) {
	b := newBench(t, func(c *Config) { c.ReserveBytes = 64 << 10 })
	b.settle()
	b.failNext(2) // write, fdatasync
	b.j.flush = func() {
		b.j.flush = b.j.sync
		b.j.meanwhile()
		b.j.sync()
		b.clock.advance(spaceEvery)
		b.fs.SetFaults(vfs.Faults{CapacityBytes: b.used()})
		late := batch(0, "late")
		late.Done = func(*commitlog.Batch) {}
		b.j.Append([]*commitlog.Batch{late})
	}
	b.want(b.append("a"), commitlog.ErrUnavailable)
	b.wantTold(Poisoned, Replaced, Unavailable)
	b.fs.SetFaults(vfs.Faults{})
	b.clock.advance(spaceEvery)
	b.failNext(3) // statfs, write, fdatasync
	b.want(b.append("b"), nil)
	b.wantTold(Poisoned, Replaced, Unavailable, Recovered, Poisoned, Replaced)
	b.wantValues("settled", "b")
}
