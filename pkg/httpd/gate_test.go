package httpd

import (
	"testing"
	"time"

	"tollgate/internal/invariants"
)

// The gate against a slow change: what a request of 100 events costs beside the bare HTTP library, in one process and in
// turns. Neither kernel nor scheduler nor log is in it, and of many short turns the cheapest of each counts, so that
// neighbours on the machine move neither: with a load average of 30 on two cores the ratio stayed within 5.4 and 5.9.
// The bound leaves room for another processor, and hardly any for a quarter of the work done twice.
const (
	gateRatioMax = 7.0
	gateTurns    = 40
	gateRequests = 200 // a turn, about 2 ms
)

func TestARequestOf100EventsCostsAtMostSevenTimesTheBareLibrary(t *testing.T) {
	if invariants.Enabled {
		t.Skip("SKIPPED: the race detector and debug checks cost more than what is measured")
	}
	h := newHandling(t, batchOf(100))
	h.bare(gateRequests)
	h.ours(gateRequests) // pools fill
	bare, ours := time.Duration(1<<62), time.Duration(1<<62)
	for range gateTurns {
		bare = min(bare, took(h.bare))
		ours = min(ours, took(h.ours))
	}
	ratio := float64(ours) / float64(bare)
	t.Logf("%.2f times the bare library's %v a request", ratio, bare/gateRequests)
	if ratio > gateRatioMax {
		t.Errorf("a request of 100 events costs %.2f times the bare library, at most %.1f: profile BenchmarkHandle", ratio, gateRatioMax)
	}
}

func took(serve func(requests int)) time.Duration {
	begin := time.Now()
	serve(gateRequests)
	return time.Since(begin)
}
