package usage

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tollgate/pkg/control"
)

// checkAmounts holds all pages of a meter's customers against the model: each customer once, in order, with its total.
func (h *history) checkAmounts(name string) {
	m := h.metric[name]
	q := AmountsQuery{Scope: Scope{Business: business, EventName: name}, MeterID: m.ID, Limit: 1 + h.dice.IntN(3)}
	q.EndMs = floorTo(h.now-h.dice.Int64N(40*dayMs)+dayMs, minuteMs)
	q.StartMs = floorTo(q.EndMs-1-h.dice.Int64N(40*dayMs), minuteMs)
	if q.StartMs < h.now-37*dayMs { // minutes may be rolled up
		q.StartMs, q.EndMs = floorTo(q.StartMs, dayMs), floorTo(q.EndMs, dayMs)
	}
	got := h.amounts(q)
	if !slices.IsSortedFunc(got, func(a, b Amount) int { return CompareCustomers(a.Customer, b.Customer) }) {
		h.t.Fatalf("%s: customers are not in order: %+v", name, got)
	}
	for _, customer := range []string{"cus_0", "cus_1", "cus_2", "cus_payload"} {
		want := Amount{Customer: customer, Value: "0"}
		for _, o := range h.models {
			for _, w := range o.answer(m, Query{Scope: q.Scope, MeterID: m.ID, Customer: customer, StartMs: q.StartMs, EndMs: q.EndMs}) {
				want.Value, want.LastMs, want.LastReceivedMs = w.Value, w.LastMs, w.LastReceivedMs
			}
		}
		found := Amount{Customer: customer, Value: "0"}
		for i, n := 0, 0; i < len(got); i++ {
			if got[i].Customer == customer {
				if found, n = got[i], n+1; n > 1 {
					h.t.Fatalf("%s: %s comes twice: %+v", name, customer, got)
				}
			}
		}
		if found != want {
			h.t.Fatalf("%s (%s, window %q) from %s to %s:\n got %+v\nwant %+v", name, m.Formula, m.Window, clockText(q.StartMs), clockText(q.EndMs), found, want)
		}
	}
}

// amounts asks whoever runs the partitions, page by page.
func (h *history) amounts(q AmountsQuery) (list []Amount) {
	for {
		var answers []Amounts
		for n := range int32(historyPartitions) {
			a, err := h.runs[n].worker.Amounts(context.Background(), []int32{n}, q)
			if err != nil {
				h.t.Fatal(err)
			}
			if len(a.Customers) > q.Limit {
				h.t.Fatalf("%d customers were asked for, and %d came", q.Limit, len(a.Customers))
			}
			answers = append(answers, a)
		}
		page := MergeAmounts(q, answers...)
		if list = append(list, page.Customers...); !page.More {
			return list
		}
		q.After = list[len(list)-1].Customer
	}
}

// Whatever part of whom is in which partition, pages bring each customer once with the whole of its total.
func TestPagesOfAmountsOverPartitionsBringEachCustomerOnceAndWhole(t *testing.T) {
	for seed := range uint64(300) {
		dice := rand.New(rand.NewPCG(seed, 1))
		partitions := make([]map[string]int64, 1+dice.IntN(4))
		want := map[string]int64{}
		for n := range partitions {
			partitions[n] = map[string]int64{}
			for range dice.IntN(30) {
				customer := fmt.Sprint("cus_", strings.Repeat("x", dice.IntN(2)*200), dice.IntN(120))
				value := dice.Int64N(100) - 50
				partitions[n][customer] += value
				want[customer] += value
			}
		}
		got, last := map[string]int64{}, ""
		q := AmountsQuery{Limit: 1 + dice.IntN(8)}
		for pages := 0; ; pages++ {
			if pages > len(want)+1 {
				t.Fatalf("seed %d: %d pages do not end", seed, pages)
			}
			var answers []Amounts
			for _, p := range partitions {
				answers = append(answers, pageOf(p, &q))
			}
			page := MergeAmounts(q, answers...)
			oneByOne := MergeAmounts(q)
			for i := range answers {
				oneByOne = MergeAmounts(q, append(answers[i:i+1:i+1], oneByOne)...)
			}
			if fmt.Sprint(oneByOne) != fmt.Sprint(page) {
				t.Fatalf("seed %d: put together one by one it is %v, and %v at once", seed, oneByOne, page)
			}
			if len(page.Customers) > q.Limit || page.More && len(page.Customers) == 0 {
				t.Fatalf("seed %d: a page of %d says more: %v", seed, len(page.Customers), page.More)
			}
			for _, a := range page.Customers {
				if last != "" && CompareCustomers(last, a.Customer) >= 0 {
					t.Fatalf("seed %d: %s comes behind %s", seed, a.Customer, last)
				}
				last = a.Customer
				n, ok := new(big.Int).SetString(a.Value, 10)
				if !ok {
					t.Fatalf("seed %d: %s has %q", seed, a.Customer, a.Value)
				}
				got[a.Customer] = n.Int64()
			}
			if q.After = last; !page.More {
				break
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d: got %v\nwant %v", seed, got, want)
		}
	}
}

// pageOf is what a partition answers that holds these totals.
func pageOf(totals map[string]int64, q *AmountsQuery) (a Amounts) {
	for customer, value := range totals {
		if q.After == "" || CompareCustomers(customer, q.After) > 0 {
			a.Customers = append(a.Customers, Amount{Customer: customer, Value: fmt.Sprint(value)})
		}
	}
	slices.SortFunc(a.Customers, func(a, b Amount) int { return CompareCustomers(a.Customer, b.Customer) })
	if len(a.Customers) > q.Limit {
		a.Customers, a.More = a.Customers[:q.Limit], true
	}
	return a
}

func TestOfTwoPartitionsTheLastValueIsTheNewerOnes(t *testing.T) {
	q := AmountsQuery{Limit: 10}
	old := Amounts{Customers: []Amount{{Customer: "cus_1", Value: "7", LastMs: 100, LastReceivedMs: 900}}, AsOfMs: 50}
	none := Amounts{Customers: []Amount{{Customer: "cus_1", Value: "0"}}, AsOfMs: 40}
	newer := Amounts{Customers: []Amount{{Customer: "cus_1", Value: "-3", LastMs: 200, LastReceivedMs: 300}}, AsOfMs: 60}
	for _, parts := range [][]Amounts{{old, none, newer}, {newer, old, none}, {none, newer, old}} {
		got := MergeAmounts(q, parts...)
		if len(got.Customers) != 1 || got.Customers[0] != newer.Customers[0] || got.AsOfMs != 40 {
			t.Errorf("%+v", got)
		}
	}
}

func TestACustomerWhoseEventsWereAllCancelledIsThereWithNothing(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("sum", control.Sum, control.NoWindow)
	f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "5"})
	f.send(sent{name: "sum", id: "a", cancel: true})
	f.send(sent{name: "sum", id: "b", customer: "cus_2", value: "6", timestamp: t0 - dayMs}) // of another day, and the same rows
	w, _ := f.one()
	for day, want := range map[int64]Amount{0: {Customer: "cus_1", Value: "0"}, -dayMs: {Customer: "cus_2", Value: "6"}} {
		start := floorTo(t0, minuteMs) + day
		got, err := w.Amounts(t.Context(), nil, AmountsQuery{Scope: Scope{Business: business, EventName: "sum"}, MeterID: m.ID, StartMs: start, EndMs: start + hourMs, Limit: 5})
		if err != nil || got.More || len(got.Customers) != 1 || got.Customers[0] != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
}

func TestAmountsThatCanNotBeGivenExactlyAreRefused(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("sum", control.Sum, control.NoWindow)
	f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "5"})
	f.now += 60 * dayMs
	f.send(sent{name: "sum", id: "b", customer: "cus_1", value: "5"})
	w, _ := f.one()
	from := floorTo(t0, hourMs)
	ask := func(start, end int64, limit int) error {
		_, err := w.Amounts(t.Context(), nil, AmountsQuery{Scope: Scope{Business: business, EventName: "sum"}, MeterID: m.ID, StartMs: start, EndMs: end, Limit: limit})
		return err
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{ask(from+minuteMs, from+hourMs, 1), "ask for whole hours"},
		{ask(from, from+minuteMs, 1), "ask for whole hours"},
		{ask(from+1, from+hourMs, 1), "not whole minutes"},
		{ask(from, from+hourMs, 0), "1 to 1000"},
		{ask(from, from+hourMs, AmountsMax+1), "1 to 1000"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("got %v, want one that says %q", c.err, c.want)
		}
	}
	if err := ask(from, from+hourMs, 1); err != nil {
		t.Error(err)
	}
}
