package propose

import "sync/atomic"

// Slot is a place among the proposals in flight. It is free when everyone who holds it has left: the proposer, and the
// log, which may keep a batch for longer than the proposer waits.
type Slot struct {
	others atomic.Int32 // who hold it beside the first
	free   func()
}

// Take takes a slot, which Leave gives back; nil when all are taken.
func (p *Proposals[V]) Take() *Slot {
	select {
	case p.slots <- struct{}{}:
		return &Slot{free: func() { <-p.slots }}
	default:
		return nil
	}
}

func (s *Slot) hold() { s.others.Add(1) }

// Leave is for who took the slot, once.
func (s *Slot) Leave() {
	if s.others.Add(-1) < 0 {
		s.free()
	}
}
