package httpd

import (
	"sync"
	"sync/atomic"
	"time"
)

// A bucket is a token bucket in one word: the moment, in nanoseconds, at which it will be full again. Taking n tokens
// at a rate moves that moment n/rate into the future, and is refused when it would be further away than the burst. The
// clock refills it, so nothing has to run, and a bucket that is full is one whose moment has passed.
//
// Because the word is a time and the burst is always one second, a change of the rate keeps the bucket's fill as a
// share of a second: nobody gains a fresh burst by a reload, and nobody pays twice.
type bucket struct{ fullAt atomic.Int64 }

// burst is a second, and a microsecond against rounding: three tokens at 3/s cost two nanoseconds more than a second.
const burst = int64(time.Second + time.Microsecond)

// fullAtEvicted marks a bucket that is being given to another session; no clock gets there.
const fullAtEvicted = int64(1) << 62

// take takes n tokens at perSecond, all or none, and returns the word it left behind for giveBack. A bucket that is
// being given away refuses, and left is fullAtEvicted.
func (b *bucket) take(now int64, n, perSecond int) (left int64, ok bool) {
	cost := costOf(n, perSecond)
	for {
		old := b.fullAt.Load()
		if old == fullAtEvicted {
			return fullAtEvicted, false
		}
		left = max(old, now) + cost
		if left-now > burst {
			return 0, false
		}
		if b.fullAt.CompareAndSwap(old, left) {
			return left, true
		}
	}
}

// costOf rounds up, so that rounding never grants more than the rate.
func costOf(n, perSecond int) int64 {
	return (int64(n)*int64(time.Second) + int64(perSecond) - 1) / int64(perSecond)
}

// giveBack undoes a take of the same n and perSecond which returned left. now is read after the bucket was: what the
// clock has refilled meanwhile is not to be given back a second time.
func (b *bucket) giveBack(clock func() int64, left int64, n, perSecond int) {
	cost := costOf(n, perSecond)
	for {
		old := b.fullAt.Load()
		if clock() >= left || old == fullAtEvicted {
			return
		}
		if b.fullAt.CompareAndSwap(old, old-cost) {
			return
		}
	}
}

// sessionBuckets holds the buckets of the sessions that sent lately, in a table of fixed size: sets of sessionWays
// slots, a session's set chosen by its random id. A full bucket is as good as none, so its slot is free for another
// session; when all slots of a set are in debt, the newcomer is bounded by its business's bucket alone (and counted).
//
// The word of a slot's bucket also guards its owner: who wants to give a slot away first moves the word from a moment
// in the past to fullAtEvicted. Who charged a bucket looks at the owner again afterwards, and gives back what fell
// into another's slot. Charging takes no lock; giving away a slot takes its set's, so that a session has one slot only.
type sessionBuckets struct {
	sets []sessionSet
	mask uint64
}

const sessionWays = 8

type sessionSet struct {
	claim  sync.Mutex                 // guards changes of owner
	owner  [sessionWays]atomic.Uint64 // 0: nobody yet
	bucket [sessionWays]bucket
}

// newSessionBuckets makes room for at least n sessions that are in debt at the same moment.
func newSessionBuckets(n int) *sessionBuckets {
	sets := 1
	for sets*sessionWays < n {
		sets *= 2
	}
	return &sessionBuckets{sets: make([]sessionSet, sets), mask: uint64(sets - 1)}
}

// charge is what taking from a session's bucket came to.
type charge uint8

const (
	charged charge = iota
	chargeRefused
	chargeNoRoom // the table had no slot for the session: it was not charged
)

// take takes n tokens from the bucket of the session with this id hash. b and left are for giveBack.
func (t *sessionBuckets) take(clock func() int64, id uint64, now int64, n, perSecond int) (b *bucket, left int64, c charge) {
	if id == 0 {
		id = 1
	}
	// The low bits choose the set, so the table spreads by the id's own randomness.
	set := &t.sets[id&t.mask]
	for range 2 * sessionWays {
		i := set.find(id, now)
		if i < 0 {
			return nil, 0, chargeNoRoom
		}
		b := &set.bucket[i]
		left, ok := b.take(now, n, perSecond)
		if left == fullAtEvicted {
			continue // the slot is changing hands: look again
		}
		if set.owner[i].Load() == id {
			if !ok {
				return nil, 0, chargeRefused
			}
			return b, left, charged
		}
		if ok {
			b.giveBack(clock, left, n, perSecond)
		}
	}
	return nil, 0, chargeNoRoom
}

// find returns the slot of the session, giving it one when it has none, or -1.
func (s *sessionSet) find(id uint64, now int64) int {
	if i := s.slotOf(id); i >= 0 {
		return i
	}
	s.claim.Lock()
	defer s.claim.Unlock()
	if i := s.slotOf(id); i >= 0 {
		return i
	}
	for i := range s.owner {
		fullAt := s.bucket[i].fullAt.Load()
		if fullAt > now || !s.bucket[i].fullAt.CompareAndSwap(fullAt, fullAtEvicted) {
			continue
		}
		s.owner[i].Store(id)
		s.bucket[i].fullAt.Store(0)
		return i
	}
	return -1
}

func (s *sessionSet) slotOf(id uint64) int {
	for i := range s.owner {
		if s.owner[i].Load() == id {
			return i
		}
	}
	return -1
}
