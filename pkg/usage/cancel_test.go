package usage

import (
	"context"
	"strings"
	"testing"

	"tollgate/pkg/control"
)

// A cancel subtracts what its event added. The meter was switched off by a gateway whose clock is behind, so that its
// change carries a time before the receipt of an event that was counted without knowing of it.
func TestACancelTakesItsEventOutThoughItsMeterWasInactiveThenAsOfNow(t *testing.T) {
	for _, c := range []struct {
		formula control.Formula
		window  control.Window
		after   string
	}{{control.Sum, control.NoWindow, "5"}, {control.Count, control.NoWindow, "1"}, {control.Last, control.NoWindow, "5"}, {control.Sum, control.Hour, "5"}} {
		f := newStage(t, 1)
		m := f.meter("m", c.formula, c.window)
		f.now += 10_000
		f.send(sent{name: "m", id: "stays", customer: "cus_1", value: "5"})
		f.send(sent{name: "m", id: "goes", customer: "cus_1", value: "3"})
		w, fo := f.one()
		f.now -= 5_000
		f.setActive(m, false)
		f.now += 5_000
		f.send(sent{name: "m", id: "goes", cancel: true})
		f.catchUp(fo, 10)
		f.flush(fo)
		if got := f.total(w, m, "cus_1", 0, t0+hourMs); got != c.after {
			t.Errorf("%s, window %q: total %s, want %s", c.formula, c.window, got, c.after)
		}
		if n := w.counts.unreadable.Value(); n != 0 {
			t.Errorf("%d cancels could not be read back", n)
		}
	}
}

func TestACancelWhoseMeterIsNotKnownLeavesItsEventCountedAndThePartitionGoesOn(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("sum", control.Sum, control.NoWindow)
	f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "5"})
	var notices []Notice
	f.cfg.Notify = func(n Notice) { notices = append(notices, n) }
	w, fo := f.one()
	f.send(sent{name: "sum", id: "a", cancel: true})
	records := f.log.topics[usageTopic][0].records[1:]
	if err := fo.p.apply(context.Background(), records, snapshotMeters{new(control.Snapshot)}); err != nil {
		t.Fatal(err)
	}
	f.flush(fo)
	last := notices[len(notices)-1]
	if w.counts.unreadable.Value() != 1 || last.What != Unreadable || !strings.Contains(last.String(), `offset 0: there is no meter "sum"`) {
		t.Errorf("%d unreadable, notices %v", w.counts.unreadable.Value(), notices)
	}
	f.send(sent{name: "sum", id: "b", customer: "cus_1", value: "2"})
	f.catchUp(fo, 10)
	f.flush(fo)
	if got := f.total(w, m, "cus_1", 0, t0+hourMs); got != "7" {
		t.Errorf("total %s, want 5 + 2", got)
	}
}
