package ring

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// RingsMax bounds the rings of a Set. One consumer can not keep up with more cores than that.
const RingsMax = 256

// Set is several rings with one consumer, and the gate on which it sleeps.
//
// A producer uses the ring that a sync.Pool remembers for its P. That is a hint and not a promise, since a goroutine
// may be moved at any time and the garbage collector empties pools; so every ring takes many producers, and all that a
// wrong hint costs is a compare-and-swap that another core contends for.
//
// Rings are small, so that what goes through them stays in the processor's cache, and the last one, the spare, is large:
// it takes what the others have no room for, bursts while the consumer has no core and frames that are giants. Its
// memory is not touched until then.
type Set struct {
	Gate *Gate

	rings       []*Ring // the last one is the spare, which is nobody's hint
	filledBytes int     // a ring in use up to here wakes a sleeping consumer

	hints    sync.Pool // of *int, an index into rings
	nextHint atomic.Uint32
	indexes  []int // what the hints point to, so that a pool which was emptied makes no garbage when it fills again

	first int // the consumer's: the ring that the next Drain starts with
}

// NewSet returns n empty rings of ringBytes each and a spare of spareBytes, at least as much; see New. The consumer is
// woken at the latest when a ring holds filledBytes: let that be less than the processor's cache, and less than half of
// a ring.
func NewSet(n, ringBytes, spareBytes, filledBytes int) *Set {
	if n < 1 || n > RingsMax || filledBytes < 1 || spareBytes < ringBytes {
		panic(fmt.Sprintf("BUG: ring: a set of %d rings of %d bytes, a spare of %d, woken at %d bytes", n, ringBytes, spareBytes, filledBytes))
	}
	s := &Set{Gate: NewGate(), filledBytes: filledBytes}
	for i := range n {
		s.rings = append(s.rings, New(ringBytes))
		s.indexes = append(s.indexes, i)
	}
	s.rings = append(s.rings, New(spareBytes))
	s.hints.New = func() any { return &s.indexes[s.nextHint.Add(1)%uint32(n)] }
	return s
}

// Cap is the size of all rings in bytes.
func (s *Set) Cap() int { return (len(s.rings)-1)*s.rings[0].Cap() + s.spare().Cap() }

func (s *Set) spare() *Ring { return s.rings[len(s.rings)-1] }

// FrameBytesMax is the largest frame that TryAppend takes.
func (s *Set) FrameBytesMax() int { return s.spare().FrameBytesMax() }

// Used is the number of bytes in use in all rings. Any goroutine may ask.
func (s *Set) Used() int {
	used := 0
	for _, r := range s.rings {
		used += r.Used()
	}
	return used
}

// TryAppend copies a frame into one of the rings and wakes the consumer if that is what it sleeps for; false when
// every ring is full, or the spare is and the frame fits nowhere else. Any goroutine may call it. It tries each ring
// once and never waits.
func (s *Set) TryAppend(frame []byte) bool {
	small := s.rings[:len(s.rings)-1]
	if len(frame) > small[0].FrameBytesMax() {
		return s.append(s.spare(), frame)
	}
	hint := s.hints.Get().(*int)
	i := *hint
	s.hints.Put(hint)
	for range small {
		if s.append(small[i], frame) {
			return true
		}
		if i++; i == len(small) {
			i = 0
		}
	}
	return s.append(s.spare(), frame)
}

func (s *Set) append(r *Ring, frame []byte) bool {
	used, ok := r.tryAppend(frame)
	switch {
	case !ok:
		return false
	case used >= s.filledBytes:
		s.Gate.Filled()
	default:
		s.Gate.Arrived()
	}
	return true
}

// Pending tells whether Drain would find something. Only the consumer may ask.
func (s *Set) Pending() bool {
	for _, r := range s.rings {
		if r.Pending() {
			return true
		}
	}
	return false
}

// Drain calls fn for committed frames of every ring, up to about bytesMax of each, and returns their number. A frame
// is valid during its call of fn. Each call starts with another ring, so that none is served first for ever. Only
// the consumer may call it.
func (s *Set) Drain(bytesMax int, fn func(frame []byte)) (frames int) {
	i := s.first
	for range s.rings {
		frames += s.rings[i].Drain(bytesMax, fn)
		if i++; i == len(s.rings) {
			i = 0
		}
	}
	if s.first++; s.first == len(s.rings) {
		s.first = 0
	}
	return frames
}
