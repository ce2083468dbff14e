package fleet

import (
	"errors"
	"strings"
	"testing"

	"tollgate/pkg/usage"
)

func TestWhatNoGatewaySendsIsNotAdded(t *testing.T) {
	log := newLog(2)
	a, b := join(t, log, newWorker(0)), join(t, log, newWorker(1))
	a.ready(t)
	for _, w := range []usage.WindowTotal{{StartMs: 1, EndMs: 2, Value: "x"}, {StartMs: 1, EndMs: 2}, {StartMs: 2, EndMs: 1, Value: "1"}} {
		b.worker.set(func() { b.worker.totals[1] = usage.Totals{Windows: []usage.WindowTotal{w}} })
		if got, err := a.Totals(t.Context(), anyQuery); !errors.Is(err, ErrOwnerAway) || !strings.Contains(err.Error(), "a total of") {
			t.Errorf("%+v was added: %v, %v", w, got, err)
		}
	}
	b.worker.set(func() { b.worker.fates[1] = usage.Fate{Status: "lost"} })
	if got, err := a.Fate(t.Context(), usage.FateQuery{}); !errors.Is(err, ErrOwnerAway) {
		t.Errorf("a fate nobody knows is passed on: %+v, %v", got, err)
	}
}
