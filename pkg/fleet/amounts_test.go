package fleet

import (
	"errors"
	"fmt"
	"testing"

	"tollgate/pkg/usage"
)

func TestAPageOfAmountsIsWholeUpToWhereOneOfThePartitionsEnds(t *testing.T) {
	log := newLog(3)
	w, v := newWorker(0), newWorker(1, 2)
	w.pages = map[int32]usage.Amounts{0: {AsOfMs: 30, More: true, Customers: []usage.Amount{{Customer: "b", Value: "0.1"}, {Customer: "d", Value: "2"}}}}
	v.pages = map[int32]usage.Amounts{
		1: {AsOfMs: 20, Customers: []usage.Amount{{Customer: "a", Value: "1"}, {Customer: "d", Value: "3"}, {Customer: "e", Value: "4"}}},
		2: {AsOfMs: 40, Customers: []usage.Amount{{Customer: "b", Value: "0.2"}}},
	}
	a, b := join(t, log, w), join(t, log, v)
	want := usage.Amounts{AsOfMs: 20, More: true, Customers: []usage.Amount{{Customer: "a", Value: "1"}, {Customer: "b", Value: "0.3"}, {Customer: "d", Value: "5"}}}
	for _, m := range []*member{a, b} {
		m.ready(t)
		got, err := m.Amounts(t.Context(), usage.AmountsQuery{Limit: 10})
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	v.run(1)
	if got, err := a.Amounts(t.Context(), usage.AmountsQuery{Limit: 10}); !errors.Is(err, ErrOwnerAway) {
		t.Errorf("nobody runs partition 2, and the amounts are %v, %v", got, err)
	}
}

func TestAPageThatNoGatewaySendsIsNotAdded(t *testing.T) {
	log := newLog(2)
	a, b := join(t, log, newWorker(0)), join(t, log, newWorker(1))
	a.ready(t)
	for _, page := range []usage.Amounts{
		{Customers: []usage.Amount{{Customer: "d", Value: "x"}}},
		{Customers: []usage.Amount{{Customer: "c", Value: "1"}}}, // it was asked for what is behind
		{Customers: []usage.Amount{{Customer: "e", Value: "1"}, {Customer: "d", Value: "1"}}},
		{Customers: []usage.Amount{{Customer: "d", Value: "1"}, {Customer: "e", Value: "1"}, {Customer: "f", Value: "1"}}},
		{More: true},
	} {
		b.worker.set(func() { b.worker.pages = map[int32]usage.Amounts{1: page} })
		if got, err := a.Amounts(t.Context(), usage.AmountsQuery{After: "c", Limit: 2}); !errors.Is(err, ErrOwnerAway) {
			t.Errorf("%+v was added: %v, %v", page, got, err)
		}
	}
}
