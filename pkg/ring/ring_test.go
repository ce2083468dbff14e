package ring

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
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

// starts are positions to begin a test at: zero, and shortly before each number that can wrap round does.
func starts(ringBytes int) []uint64 {
	return []uint64{0, 1<<32 - 4*uint64(ringBytes), 1<<62 - 4*uint64(ringBytes), -uint64(4 * ringBytes)}
}

func TestRingAgreesWithItsMutexTwin(t *testing.T) {
	const ringBytes = RingBytesMin
	for seed := range uint64(200) {
		for _, start := range starts(ringBytes) {
			t.Run(fmt.Sprintf("seed %d from %d", seed, start), func(t *testing.T) { agree(t, seed, start, ringBytes) })
		}
	}
}

func agree(t *testing.T, seed, start uint64, ringBytes int) {
	dice := rand.New(rand.NewPCG(seed, start))
	r, w := newAt(ringBytes, start), newTwin(ringBytes)
	var got, want [][]byte
	for step := range uint64(400) {
		if dice.IntN(3) > 0 {
			frame := pattern(dice.IntN(r.FrameBytesMax()+1)>>dice.IntN(6), step)
			if a, b := r.TryAppend(frame), w.TryAppend(frame); a != b {
				t.Fatalf("step %d: TryAppend of %d bytes: %t, the twin: %t; in use %d and %d", step, len(frame), a, b, r.Used(), w.used)
			}
		} else {
			bytesMax := dice.IntN(ringBytes)
			a := r.Drain(bytesMax, func(f []byte) { got = append(got, bytes.Clone(f)) })
			b := w.Drain(bytesMax, func(f []byte) { want = append(want, bytes.Clone(f)) })
			if a != b {
				t.Fatalf("step %d: Drain up to %d: %d frames, the twin: %d", step, bytesMax, a, b)
			}
		}
	}
	r.Drain(ringBytes, func(f []byte) { got = append(got, bytes.Clone(f)) })
	w.Drain(ringBytes, func(f []byte) { want = append(want, bytes.Clone(f)) })
	if len(got) != len(want) {
		t.Fatalf("%d frames, the twin has %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("frame %d differs: %d bytes, the twin's has %d", i, len(got[i]), len(want[i]))
		}
	}
}
