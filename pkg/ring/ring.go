package ring

import (
	"fmt"
	"math/bits"
	"sync/atomic"

	"tollgate/internal/invariants"
)

const (
	// unitBytes is what frames are aligned to: a cache line, so that two producers that copy at the same time never
	// write to the same one.
	unitBytes = 64

	// RingBytesMin keeps the arithmetic of tiny rings out of the reasoning; RingBytesMax keeps it within an int.
	RingBytesMin = 1 << 10
	RingBytesMax = 1 << 30

	kindFrame   = 1
	kindPadding = 2
	kindMask    = 3
	kindBits    = 2

	// releaseFraction: Drain gives room back to producers each time it has read this part of the ring, and at its
	// end. Oftener would take the line of head away from the producers for nothing.
	releaseFraction = 8
)

// pad keeps what is written by different parties two cache lines apart; processors fetch lines in pairs.
type pad [128]byte

// Ring is a buffer of bytes with many producers and one consumer. Use New.
type Ring struct {
	data []byte
	lane []atomic.Uint64 // a commit word a unit
	mask uint64          // ring size - 1
	bits uint            // log2 of the ring size

	_ pad
	// tail is the position behind the last claim. Producers write it.
	tail atomic.Uint64
	_    pad
	// head is the position up to which the consumer has given room back. The consumer writes it, producers read it.
	head atomic.Uint64
	_    pad
}

// New returns an empty ring of ringBytes, a power of two from RingBytesMin to RingBytesMax. Its memory is that and an
// eighth more for the lane.
func New(ringBytes int) *Ring { return newAt(ringBytes, 0) }

// newAt returns an empty ring whose first position is start, a multiple of the unit: tests begin near the end of the
// numbers.
func newAt(ringBytes int, start uint64) *Ring {
	if ringBytes < RingBytesMin || ringBytes > RingBytesMax || ringBytes&(ringBytes-1) != 0 {
		panic(fmt.Sprintf("BUG: ring: %d bytes is not a power of two from %d to %d", ringBytes, RingBytesMin, RingBytesMax))
	}
	r := &Ring{
		data: make([]byte, ringBytes),
		lane: make([]atomic.Uint64, ringBytes/unitBytes),
		mask: uint64(ringBytes - 1),
		bits: uint(bits.TrailingZeros(uint(ringBytes))),
	}
	r.tail.Store(start)
	r.head.Store(start)
	return r
}

// Cap is the ring's size in bytes.
func (r *Ring) Cap() int { return len(r.data) }

// FrameBytesMax is the largest frame that the ring takes: half of it, so that a frame fits into an empty ring wherever
// the position stands, padding at the end included.
func (r *Ring) FrameBytesMax() int { return len(r.data) / 2 }

// Used is the number of bytes claimed and not yet given back by the consumer. Any goroutine may ask.
func (r *Ring) Used() int {
	// head first: tail can not be behind it then.
	head := r.head.Load()
	return int(min(r.tail.Load()-head, uint64(len(r.data))))
}

// TryAppend copies a frame into the ring and commits it; false when there is no room now, and nothing was done. Any
// goroutine may call it. A frame longer than FrameBytesMax never fits and is a bug of the caller.
func (r *Ring) TryAppend(frame []byte) bool {
	_, ok := r.tryAppend(frame)
	return ok
}

// tryAppend is TryAppend, and returns how many bytes were in use after the claim.
func (r *Ring) tryAppend(frame []byte) (used int, ok bool) {
	pos, used, ok := r.claim(len(frame))
	if !ok {
		return 0, false
	}
	copy(r.data[pos&r.mask:], frame)
	r.commit(pos, len(frame), kindFrame)
	return used, true
}

// claim takes room for a frame and returns its position. Where the frame would cross the end of the buffer, the rest
// of the buffer is claimed with it and committed as padding at once. It repeats only when another producer has claimed
// in between, and so somebody always gets on.
func (r *Ring) claim(frameBytes int) (pos uint64, used int, ok bool) {
	if frameBytes > r.FrameBytesMax() {
		panic(fmt.Sprintf("BUG: ring: a frame of %d bytes for a ring of %d", frameBytes, len(r.data)))
	}
	size := uint64(len(r.data))
	need := unitsUp(frameBytes)
	for {
		tail := r.tail.Load() // before head: see the package comment
		head := r.head.Load()
		padding := size - tail&r.mask
		if padding >= need {
			padding = 0
		}
		inUse := tail - head + padding + need
		if int64(tail-head) < 0 {
			continue // tail is old: the consumer has passed it since
		}
		if inUse > size {
			return 0, 0, false
		}
		if !r.tail.CompareAndSwap(tail, tail+padding+need) {
			continue
		}
		if padding > 0 {
			r.commit(tail, int(padding), kindPadding)
		}
		return tail + padding, int(inUse), true
	}
}

// commit hands what was claimed at pos over to the consumer.
func (r *Ring) commit(pos uint64, n int, kind uint64) {
	r.lane[(pos&r.mask)/unitBytes].Store(r.lap(pos) | uint64(n)<<kindBits | kind)
}

// lap is the part of a commit word that only this lap's words at this position have.
func (r *Ring) lap(pos uint64) uint64 { return pos >> r.bits << (r.bits + kindBits) }

// next reads the commit word at pos; kind is 0 when nothing is committed there yet.
func (r *Ring) next(pos uint64) (n int, kind uint64) {
	word := r.lane[(pos&r.mask)/unitBytes].Load()
	content := word ^ r.lap(pos)
	if content>>(r.bits+kindBits) != 0 {
		return 0, 0 // of an earlier lap
	}
	return int(content >> kindBits), content & kindMask
}

// Pending tells whether Drain would find something. Only the consumer may ask.
func (r *Ring) Pending() bool {
	_, kind := r.next(r.head.Load())
	return kind != 0
}

// Drain calls fn for each committed frame in the order of claims, until it meets one that is not committed, or has
// read bytesMax bytes of the ring or a little more; it returns the number of frames. A frame is valid during its call
// of fn. Only the consumer may call it.
func (r *Ring) Drain(bytesMax int, fn func(frame []byte)) (frames int) {
	pos := r.head.Load()
	end := pos + uint64(max(bytesMax, 0))
	released := pos
	for int64(end-pos) > 0 {
		n, kind := r.next(pos)
		if kind == 0 {
			break
		}
		if kind == kindFrame {
			at := pos & r.mask
			frame := r.data[at : at+uint64(n) : at+uint64(n)]
			fn(frame)
			invariants.Mangle(frame)
			frames++
		}
		pos += unitsUp(n)
		if pos-released >= uint64(len(r.data)/releaseFraction) {
			r.head.Store(pos)
			released = pos
		}
	}
	if pos != released {
		r.head.Store(pos)
	}
	return frames
}

// unitsUp is the room that n bytes take, at least one unit, since an empty frame needs a commit word too.
func unitsUp(n int) uint64 {
	return (uint64(max(n, 1)) + unitBytes - 1) &^ (unitBytes - 1)
}
