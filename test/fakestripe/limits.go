package fakestripe

import "time"

// A window counts what came in the last second, in buckets of a millisecond, and the most it ever held. It refuses by
// any second and not by the one on the clock, so that who passes here passes whichever way the real limit is measured.
type window struct {
	buckets []int32 // by millisecond modulo 1000
	last    int64   // the newest millisecond that was counted
	sum     int
	max     int
}

const windowMs = 1000

// advance forgets what is older than a second. A clock that went back counts as one that stood still.
func (w *window) advance(now time.Time) int {
	if w.buckets == nil {
		w.buckets = make([]int32, windowMs)
	}
	ms := now.UnixMilli()
	if ms-w.last >= windowMs {
		clear(w.buckets)
		w.sum, w.last = 0, ms
	}
	for w.last < ms {
		w.last++
		b := &w.buckets[w.last%windowMs]
		w.sum -= int(*b)
		*b = 0
	}
	return int(w.last % windowMs)
}

// fits says whether n more stay within the limit; nothing is charged.
func (w *window) fits(now time.Time, n, limit int) bool {
	w.advance(now)
	return limit < 0 || w.sum+n <= limit
}

func (w *window) add(now time.Time, n int) {
	b := w.advance(now)
	w.buckets[b] += int32(n)
	w.sum += n
	w.max = max(w.max, w.sum)
}

// admit charges n events to an account and to the window of the way they came, or to neither and returns the refusal.
func (s *Stripe) admit(a *account, way *window, n, limit int, v version) *answer {
	now := s.now()
	if !way.fits(now, n, limit) || !a.rate.fits(now, n, s.limits.BusinessEvents) {
		a.tally.rateLimited++
		return rateLimited(v, "endpoint-rate")
	}
	way.add(now, n)
	a.rate.add(now, n)
	return nil
}

// admitCall charges a call of the endpoints that take no events.
func (s *Stripe) admitCall(a *account, v version) *answer {
	now := s.now()
	if !a.rateCalls.fits(now, 1, s.limits.Calls) {
		a.tally.rateLimited++
		return rateLimited(v, "global-rate")
	}
	a.rateCalls.add(now, 1)
	return nil
}

// enter counts a request among those in flight, or refuses it.
func (s *Stripe) enter(a *account, v version) *answer {
	if s.limits.Concurrent >= 0 && a.inFlight >= s.limits.Concurrent {
		a.tally.rateLimited++
		return rateLimited(v, "endpoint-concurrency")
	}
	a.inFlight++
	a.tally.inFlightMax = max(a.tally.inFlightMax, a.inFlight)
	return nil
}
