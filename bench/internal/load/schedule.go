package load

import (
	"sync/atomic"
	"time"
)

// A schedule is a session's intended send times, evenly spaced and handed out once each. Sessions are offset against
// one another, so that together they are as even as one, when all have the same share. It may be used by all the
// session's connections at once.
//
// The k-th time is computed from k and not by adding intervals, so that a rate is met exactly however long the run.
type schedule struct {
	start    time.Time
	interval float64 // ns between requests of the session; 0: no schedule, send at once
	offset   float64 // ns
	length   time.Duration
	taken    atomic.Uint64
}

func newSchedule(c Config, start time.Time, session int, share float64) *schedule {
	s := &schedule{start: start, length: c.Warmup + c.Duration}
	if c.Rate > 0 {
		requests := c.Rate / float64(c.Batch) * share // a second and session
		s.interval = 1e9 / requests
		s.offset = s.interval * float64(session) / float64(c.Sessions)
	}
	return s
}

// open says whether there are intended times at all.
func (s *schedule) open() bool { return s.interval > 0 }

// next takes the next intended time; false when the run is over by then, or when there is no schedule.
func (s *schedule) next() (due time.Time, ok bool) {
	if !s.open() {
		return time.Time{}, false
	}
	after := time.Duration(s.offset + float64(s.taken.Add(1)-1)*s.interval)
	return s.start.Add(after), after < s.length
}
