package load

import (
	"math"
	"testing"
	"time"
)

func TestSessionsShareRateAndConnections(t *testing.T) {
	for _, c := range []struct {
		sessions, connections int
		skew                  bool
		first, last           int // connections of the first and the last session
	}{
		{1, 16, false, 16, 16},
		{4, 4, true, 1, 1},
		{10, 40, false, 4, 4},
		{4, 29, true, 13, 4}, // 25 others by 12, 6, 4 and 3 of 25
		{1000, 1500, true, 68, 1},
	} {
		shares := (&Config{Sessions: c.sessions, SkewSessions: c.skew}).shares()
		sum, n := 0.0, make([]int, c.sessions)
		for _, s := range shares {
			sum += s
		}
		for _, s := range deal(c.connections, shares) {
			n[s]++
		}
		if math.Abs(sum-1) > 1e-9 || n[0] != c.first || n[c.sessions-1] != c.last {
			t.Errorf("%+v: shares %v in sum, and connections %v", c, sum, n)
		}
	}
}

func TestSkewedSessionsSendAsMuchTogetherAsOthers(t *testing.T) {
	for _, skew := range []bool{false, true} {
		c := Config{Rate: 10_000, Batch: 10, Sessions: 50, SkewSessions: skew, Duration: 20 * time.Second}
		n := 0
		for i, share := range c.shares() {
			s := newSchedule(c, time.Now(), i, share)
			for _, ok := s.next(); ok; _, ok = s.next() {
				n++
			}
		}
		if n < 19_950 || n > 20_050 {
			t.Errorf("skewed %v: %d requests are due in 20 s and 20,000 are 10,000 events/s", skew, n)
		}
	}
}
