package ingest

import (
	"testing"

	"tollgate/internal/invariants"
)

// The whole process is counted, so this is handler and drainer together.
func TestARequestDoesNotAllocateInTheSteadyState(t *testing.T) {
	if invariants.Enabled {
		t.Skip("SKIPPED: the race detector makes sync.Pool forget things at random")
	}
	g := open(t, discard{partitions: 12}, Config{})
	keys := []*Key{keyOf("acct_demo/testmode/api_requests"), keyOf("acct_demo/testmode/tokens")}
	for _, records := range []int{1, 100} {
		request := func() {
			f := g.NewFrame(g.NowMs())
			for i := range records {
				f.End(append(f.Begin(keys[i/7%2]), event...))
			}
			if err := g.Submit(f); err != nil {
				t.Fatal(err)
			}
		}
		for range 2000 { // buffers grow to their size
			request()
		}
		// A garbage collection empties the pools: less than one allocation in ten requests is one now and then.
		if n := testing.AllocsPerRun(5000, request); n >= 0.1 {
			t.Errorf("%d records: %v allocations a request", records, n)
		}
	}
}
