package ingest

import (
	"fmt"
	"sync/atomic"

	"tollgate/internal/invariants"
)

// A ticket is how a request waits for its outcome: a slot in a table and the slot's generation, which changes with
// each use. Three parties act on one, and meet in the slot's state, generation << 32 | leftOne | phase:
//
//	handler   takes the slot, puts the frame into a ring, waits for the token, reads the answer
//	drainer   meets the frame in the ring, has its records written, answers
//	watchdog  answers instead when that takes too long
//
//	             handler          drainer           drainer
//	      free ──────────▶ queued ───────▶ taken ───────────▶ answered        the handler frees the slot
//	                         │ watchdog      │ watchdog
//	                         ▼               ▼
//	                     abandoned        orphaned                            the second of handler and drainer does
//	                  "not written"       "unknown"
//
// Each arrow but the first is a compare-and-swap, so of two that race one wins, and who wins an arrow into the
// last column sends the one token of this generation. That a slot is freed only when both the handler and the drainer
// are done with it is what makes a slot number in a ring safe: the generation of a frame that the drainer meets is always
// the slot's own, and no request can ever receive another one's token.
const (
	phaseFree = iota
	phaseQueued
	phaseTaken
	phaseAnswered
	phaseAbandoned
	phaseOrphaned

	phaseMask = 0xf
	leftOne   = 0x10 // one of handler and drainer has left an abandoned or orphaned slot

	generationShift = 32
)

type slot struct {
	state atomic.Uint64
	// since is the watchdog's tick at which the handler began to wait.
	since atomic.Uint32
	// nextFree is the number of the next free slot, plus one, while this one is in the free list.
	nextFree atomic.Uint32
	token    chan struct{} // one slot
	// answer and at are written by the drainer before it moves the state to answered, read by the handler after.
	answer error
	at     Position

	// The drainer's, while the slot is taken:
	parts  int32  // batches that hold records of the frame and have not come back
	stored bool   // one of the batches is durable
	worst  error  // the gravest outcome so far
	last   *batch // the one that holds the frame's last record, at.Offset records from its first until it comes back
}

// table is all tickets there are. Free slots form a stack, so that the one used last, which is in the cache, is used
// next.
type table struct {
	slots []slot
	_     [128]byte
	// free is the top of the stack: changes << 32 | slot number + 1. The count of changes makes a compare-and-swap
	// fail that would take a slot which was taken and put back in between.
	free atomic.Uint64
	_    [128]byte
}

func newTable(n int) *table {
	t := &table{slots: make([]slot, n)}
	for i := n - 1; i >= 0; i-- {
		t.slots[i].token = make(chan struct{}, 1)
		t.push(uint32(i))
	}
	return t
}

// take returns a ticket in phase queued; false when there is none.
func (t *table) take(tick uint32) (ticket uint64, ok bool) {
	for {
		top := t.free.Load()
		n := uint32(top)
		if n == 0 {
			return 0, false
		}
		s := &t.slots[n-1]
		// When another has taken this slot since, nextFree may be anything, and the swap fails.
		if t.free.CompareAndSwap(top, (top>>32+1)<<32|uint64(s.nextFree.Load())) {
			generation := s.state.Load()>>generationShift + 1
			s.since.Store(tick)
			s.state.Store(generation<<generationShift | phaseQueued)
			return generation<<generationShift | uint64(n-1), true
		}
	}
}

// put frees a slot that nobody else knows of any more.
func (t *table) put(i uint32) {
	s := &t.slots[i]
	s.state.Store(s.state.Load() &^ (phaseMask | leftOne)) // the generation stays
	t.push(i)
}

func (t *table) push(i uint32) {
	for {
		top := t.free.Load()
		t.slots[i].nextFree.Store(uint32(top))
		if t.free.CompareAndSwap(top, (top>>32+1)<<32|uint64(i+1)) {
			return
		}
	}
}

// cancel is the handler's, for a ticket that was taken and of which no frame got into a ring.
func (t *table) cancel(ticket uint64) {
	s, i := t.slotOf(ticket)
	state := ticket>>generationShift<<generationShift | phaseQueued
	if !s.state.CompareAndSwap(state, state^phaseQueued|phaseAnswered) {
		<-s.token // the watchdog has answered already
	}
	t.put(i)
}

// slotOf returns the slot of a ticket, and its number.
func (t *table) slotOf(ticket uint64) (*slot, uint32) {
	i := uint32(ticket)
	return &t.slots[i], i
}

// wait is the handler's: it waits for the token, reads the answer and leaves. orphan is the answer to a ticket whose
// outcome is not known. The position is nowhere unless the answer is nil.
func (t *table) wait(ticket uint64, orphan error) (Position, error) {
	s, i := t.slotOf(ticket)
	<-s.token
	var answer error
	switch phase := s.state.Load() & phaseMask; phase {
	case phaseAnswered:
		at := s.at // before the slot is another's
		answer, s.answer = s.answer, nil
		t.put(i)
		if answer != nil {
			at = nowhere
		}
		return at, answer
	case phaseAbandoned:
		answer = ErrTimeout
	case phaseOrphaned:
		answer = orphan
	default:
		panic(fmt.Sprintf("BUG: ingest: a token in phase %d of slot %d", phase, i))
	}
	t.leave(i)
	return nowhere, answer
}

// leave is for handler and drainer of an abandoned or orphaned slot. The second one frees it.
func (t *table) leave(i uint32) {
	if t.slots[i].state.Or(leftOne)&leftOne != 0 {
		t.put(i)
	}
}

// meet is the drainer's, when it finds a frame in a ring; false when the frame was abandoned and must be skipped.
func (t *table) meet(ticket uint64) bool {
	s, i := t.slotOf(ticket)
	state := ticket>>generationShift<<generationShift | phaseQueued
	if s.state.CompareAndSwap(state, state^phaseQueued|phaseTaken) {
		s.parts, s.worst, s.stored, s.last = 0, nil, false, nil
		return true
	}
	if invariants.Enabled {
		now := s.state.Load()
		invariants.Check(now>>generationShift == ticket>>generationShift && now&phaseMask == phaseAbandoned,
			"ingest: a frame with ticket %x and a slot in state %x", ticket, now)
	}
	t.leave(i)
	return false
}

// reply is the drainer's last act on a taken slot; false when the watchdog had already answered.
func (t *table) reply(i uint32, answer error) bool {
	s := &t.slots[i]
	state := s.state.Load()&^phaseMask | phaseTaken
	s.answer = answer
	if s.state.CompareAndSwap(state, state^phaseTaken|phaseAnswered) {
		s.token <- struct{}{} // never blocks: one token a generation
		return true
	}
	s.answer = nil
	t.leave(i)
	return false
}

// expire is the watchdog's: it answers every ticket that has waited for more than ticks at tick now.
func (t *table) expire(now, ticks uint32) (abandoned, orphaned int) {
	for i := range t.slots {
		s := &t.slots[i]
		state := s.state.Load() // before since: if the slot is used anew in between, the swap fails
		phase := state & phaseMask
		if phase != phaseQueued && phase != phaseTaken || now-s.since.Load() <= ticks {
			continue
		}
		to, count := uint64(phaseAbandoned), &abandoned
		if phase == phaseTaken {
			to, count = phaseOrphaned, &orphaned
		}
		if s.state.CompareAndSwap(state, state&^phaseMask|to) {
			s.token <- struct{}{}
			*count++
		}
	}
	return abandoned, orphaned
}

// inUse counts the tickets that are not free.
func (t *table) inUse() int {
	n := 0
	for i := range t.slots {
		if t.slots[i].state.Load()&phaseMask != phaseFree {
			n++
		}
	}
	return n
}
