package ring

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// pattern is a frame whose every byte says which frame it is of.
func pattern(n int, seed uint64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(seed + uint64(i)*7)
	}
	if n >= 8 {
		binary.LittleEndian.PutUint64(b, seed)
	}
	return b
}

// starts are positions to begin a test at: zero, and shortly before each number at which something wraps round.
func starts(ringBytes int) []uint64 {
	laps := uint64(4 * ringBytes)
	return []uint64{0, 1<<32 - laps, 1<<62 - laps, -laps}
}

func TestRingAgreesWithItsMutexTwin(t *testing.T) {
	for seed := range uint64(300) {
		for _, start := range starts(RingBytesMin) {
			agree(t, seed, start, RingBytesMin)
		}
	}
}

// agree does the same random things to a ring and to its twin, and compares every answer and every byte.
func agree(t *testing.T, seed, start uint64, ringBytes int) {
	t.Helper()
	dice := rand.New(rand.NewPCG(seed, start))
	r, w := newAt(ringBytes, start), newTwin(ringBytes)
	var got, want [][]byte
	drain := func(step uint64, bytesMax int) {
		a := r.Drain(bytesMax, func(f []byte) { got = append(got, bytes.Clone(f)) })
		b := w.Drain(bytesMax, func(f []byte) { want = append(want, bytes.Clone(f)) })
		if a != b || r.Used() != w.used {
			t.Fatalf("seed %d from %d, step %d: Drain up to %d: %d frames and %d bytes left, the twin: %d and %d", seed, start, step, bytesMax, a, r.Used(), b, w.used)
		}
	}
	const steps = 400
	for step := range uint64(steps) {
		if dice.IntN(3) == 0 {
			drain(step, dice.IntN(ringBytes))
			continue
		}
		frame := pattern(dice.IntN(r.FrameBytesMax()+1)>>dice.IntN(6), step)
		if a, b := r.TryAppend(frame), w.TryAppend(frame); a != b {
			t.Fatalf("seed %d from %d, step %d: TryAppend of %d bytes: %t, the twin: %t; in use %d and %d", seed, start, step, len(frame), a, b, r.Used(), w.used)
		}
		if r.Pending() != (len(w.frames) > w.read) {
			t.Fatalf("seed %d from %d, step %d: Pending is %t", seed, start, step, r.Pending())
		}
	}
	drain(steps, ringBytes)
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("seed %d from %d: frame %d: %x, the twin's: %x", seed, start, i, got[i], want[i])
		}
	}
}

func TestTheLargestFrameFitsIntoAnEmptyRingAtEveryPosition(t *testing.T) {
	const ringBytes = 1 << 12
	for start := uint64(0); start < ringBytes; start += unitBytes {
		r := newAt(ringBytes, start)
		frame := pattern(r.FrameBytesMax(), start)
		if !r.TryAppend(frame) {
			t.Fatalf("from %d: no room for %d bytes", start, len(frame))
		}
		r.Drain(ringBytes, func(f []byte) {
			if !bytes.Equal(f, frame) {
				t.Fatalf("from %d: another frame came out", start)
			}
		})
		if r.Used() != 0 {
			t.Fatalf("from %d: %d bytes in use after all was drained", start, r.Used())
		}
	}
}

func TestAFrameThatCanNeverFitIsABug(t *testing.T) {
	r := New(RingBytesMin)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	r.TryAppend(make([]byte, r.FrameBytesMax()+1))
}

// A producer that loses its core between claim and commit must only delay, and what an earlier lap wrote at its place
// must not be taken for its commit. Each position is tried, over several laps and over the end of the numbers.
func TestAClaimThatIsNotCommittedDelaysTheConsumerAndNothingElse(t *testing.T) {
	const ringBytes = RingBytesMin
	for _, start := range starts(ringBytes) {
		r := newAt(ringBytes, start)
		dice := rand.New(rand.NewPCG(start, 1))
		for step := range uint64(2000) {
			n := dice.IntN(300)
			pos, _, ok := r.claim(n)
			if !ok {
				t.Fatalf("step %d: an empty ring is full", step)
			}
			var behind [][]byte
			for frame := pattern(dice.IntN(200), step); r.TryAppend(frame); frame = pattern(dice.IntN(200), step) {
				behind = append(behind, frame)
			}
			if got := r.Drain(ringBytes, func([]byte) {}); got != 0 {
				t.Fatalf("from %d, step %d: %d frames overtook the one that is not committed", start, step, got)
			}
			if r.Pending() {
				t.Fatalf("from %d, step %d: Pending before the commit", start, step)
			}
			late := pattern(n, step+1)
			copy(r.data[pos&r.mask:], late)
			r.commit(pos, n, kindFrame)

			want := append([][]byte{late}, behind...)
			r.Drain(ringBytes, func(f []byte) {
				if len(want) == 0 || !bytes.Equal(f, want[0]) {
					t.Fatalf("from %d, step %d: a frame of %d bytes came out of its turn", start, step, len(f))
				}
				want = want[1:]
			})
			if len(want) != 0 {
				t.Fatalf("from %d, step %d: %d frames did not come", start, step, len(want))
			}
		}
	}
}

// stressFrame is producer, number, length, and bytes that follow from them.
func stressFrame(buf []byte, producer, number uint32, n int) []byte {
	buf = binary.LittleEndian.AppendUint32(buf[:0], producer)
	buf = binary.LittleEndian.AppendUint32(buf, number)
	for len(buf) < n {
		buf = append(buf, byte(producer*31+number*7+uint32(len(buf))))
	}
	return buf
}

// stress has producers append frames of all sizes while one consumer checks every byte, and the order of each
// producer's frames.
func stress(t *testing.T, r *Ring, producers, framesEach int) {
	t.Helper()
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(p), 3))
			var frame []byte
			for i := range framesEach {
				frame = stressFrame(frame, uint32(p), uint32(i), 8+dice.IntN(400)>>dice.IntN(5))
				for !r.TryAppend(frame) {
					runtime.Gosched()
				}
			}
		})
	}
	next := make([]uint32, producers)
	var scratch []byte
	check := func(f []byte) {
		p, i := binary.LittleEndian.Uint32(f), binary.LittleEndian.Uint32(f[4:])
		scratch = stressFrame(scratch, p, i, len(f))
		if !bytes.Equal(f, scratch) {
			t.Fatalf("frame %d of producer %d is not what was appended", i, p)
		}
		if i != next[p] {
			t.Fatalf("frame %d of producer %d came when %d was next", i, p, next[p])
		}
		next[p]++
	}
	for got := 0; got < producers*framesEach; {
		n := r.Drain(r.Cap()/4, check)
		if got += n; n == 0 {
			runtime.Gosched()
		}
	}
	wg.Wait()
	if n := r.Drain(r.Cap(), check); n != 0 {
		t.Errorf("%d frames too many", n)
	}
}

func TestEveryFrameComesOutWholeAndInItsProducersOrder(t *testing.T) {
	for _, start := range starts(RingBytesMin) {
		for _, producers := range []int{1, 3, 16} {
			t.Run(fmt.Sprintf("from %d, %d producers", start, producers), func(t *testing.T) {
				stress(t, newAt(RingBytesMin, start), producers, 20_000/producers)
			})
		}
	}
}

func TestAppendAndDrainDoNotAllocate(t *testing.T) {
	s := NewSet(2, 1<<16, 1<<16, 1<<14)
	frame := pattern(200, 1)
	sum := 0
	fn := func(f []byte) { sum += len(f) }
	if n := testing.AllocsPerRun(1000, func() {
		s.TryAppend(frame)
		s.Drain(1<<16, fn)
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}
