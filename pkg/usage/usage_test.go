package usage

import (
	"testing"

	"tollgate/pkg/control"
)

func TestEventsAreSummedExactly(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("requests", control.Sum, control.NoWindow)
	for i, v := range []string{"3", "-1", "0.5", "0.1", "0.2"} {
		f.send(sent{name: "requests", id: string(rune('a' + i)), customer: "cus_1", value: v})
	}
	w, _ := f.one()
	if got := f.total(w, m, "cus_1", t0-hourMs, t0+hourMs); got != "2.8" {
		t.Errorf("3 − 1 + 0.5 + 0.1 + 0.2 = %s", got)
	}
	if got := f.total(w, m, "cus_2", 0, t0+hourMs); got != "" {
		t.Errorf("a customer without events has %s", got)
	}
}

func TestARestartGoesOnWhereTheStateIs(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("requests", control.Count, control.NoWindow)
	f.send(sent{name: "requests", id: "a", customer: "cus_1"})
	w := f.open()
	fo := f.take(w, 0)
	f.catchUp(fo, 100)
	fo.end()
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.send(sent{name: "requests", id: "a", customer: "cus_1"})
	f.send(sent{name: "requests", id: "b", customer: "cus_1"})
	w, fo = f.one()
	if fo.p.state.Offset != 3 {
		t.Errorf("the state is at offset %d", fo.p.state.Offset)
	}
	if got := f.total(w, m, "cus_1", 0, t0+hourMs); got != "2" {
		t.Errorf("two events and a duplicate count %s", got)
	}
}
