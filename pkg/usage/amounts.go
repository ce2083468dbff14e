package usage

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/pkg/control"
)

// AmountsMax is how many customers an answer to AmountsQuery has at most.
const AmountsMax = 1000

// AmountsQuery asks for the totals of all customers of one meter, so many at a time, in the order of CompareCustomers.
type AmountsQuery struct {
	Scope
	MeterID string `json:"meter_id"`
	StartMs int64  `json:"start_ms"` // inclusive
	// EndMs is exclusive. Both are whole minutes, and whole hours where minutes are not kept any more.
	EndMs int64  `json:"end_ms"`
	After string `json:"after,omitempty"` // customers up to and with this one are left out; "": none
	Limit int    `json:"limit"`           // customers at most, 1 to AmountsMax
}

// Amounts answers an AmountsQuery. More says that there are customers behind the last.
type Amounts struct {
	Customers []Amount `json:"customers"`
	More      bool     `json:"more,omitempty"`
	AsOfMs    int64    `json:"as_of_ms"` // everything received before is in
}

// Amount is one customer's total. One whose events were all cancelled may be there, with 0. LastMs and LastReceivedMs
// are as in WindowTotal.
type Amount struct {
	Customer       string `json:"customer"`
	Value          string `json:"value"` // an exact decimal
	LastMs         int64  `json:"last_ms,omitempty"`
	LastReceivedMs int64  `json:"last_received_ms,omitempty"`
}

func (q *AmountsQuery) check() error {
	switch {
	case q.Limit < 1 || q.Limit > AmountsMax:
		return fmt.Errorf("usage: totals of %d customers are asked for at once, and 1 to %d can be", q.Limit, AmountsMax)
	case q.StartMs%minuteMs != 0 || q.EndMs%minuteMs != 0:
		return fmt.Errorf("usage: totals are asked for from %s to %s, which are not whole minutes", clockText(q.StartMs), clockText(q.EndMs))
	}
	return nil
}

// CompareCustomers is the order of customers in Amounts: that of the store's keys, in which most shorter ones come first.
func CompareCustomers(a, b string) int {
	if len(a) == len(b) {
		return bytes.Compare([]byte(a), []byte(b))
	}
	return bytes.Compare(binary.AppendUvarint(nil, uint64(len(a))), binary.AppendUvarint(nil, uint64(len(b))))
}

// Amounts answers a query over partitions that this worker runs, or over all of them when partitions is nil. Like Totals
// it reads what the last flushes wrote. Asking on behind the last customer is answered as of then.
func (w *Worker) Amounts(ctx context.Context, partitions []int32, q AmountsQuery) (Amounts, error) {
	if err := q.check(); err != nil {
		return Amounts{}, err
	}
	parts, err := w.owned(partitions)
	if err != nil {
		return Amounts{}, err
	}
	m, err := w.meter(ctx, &Query{Scope: q.Scope, MeterID: q.MeterID})
	if err != nil {
		return Amounts{}, err
	}
	answers := make([]Amounts, 0, len(parts))
	for _, p := range parts {
		a, err := p.amounts(ctx, &q, m)
		if err != nil {
			return Amounts{}, err
		}
		answers = append(answers, a)
	}
	return MergeAmounts(q, answers...), nil
}

// MergeAmounts puts the answers of several partitions to one query together. Where one of them has more behind its last
// customer, what others have behind that one may lack a part, and is left for the next page.
func MergeAmounts(q AmountsQuery, parts ...Amounts) Amounts {
	var merged Amounts
	var end *string // the first of the last customers of those that have more
	byCustomer := make(map[string]*Amount)
	for i, p := range parts {
		if i == 0 || p.AsOfMs < merged.AsOfMs {
			merged.AsOfMs = p.AsOfMs
		}
		if n := len(p.Customers); p.More && n > 0 {
			merged.More = true
			if last := &p.Customers[n-1].Customer; end == nil || CompareCustomers(*last, *end) < 0 {
				end = last
			}
		}
		for _, a := range p.Customers {
			if known := byCustomer[a.Customer]; known != nil {
				known.combine(&a)
			} else {
				byCustomer[a.Customer] = &a
			}
		}
	}
	for _, a := range byCustomer {
		if end == nil || CompareCustomers(a.Customer, *end) <= 0 {
			merged.Customers = append(merged.Customers, *a)
		}
	}
	slices.SortFunc(merged.Customers, func(a, b Amount) int { return CompareCustomers(a.Customer, b.Customer) })
	if len(merged.Customers) > q.Limit {
		merged.Customers, merged.More = merged.Customers[:q.Limit], true
	}
	return merged
}

// combine adds another partition's share of the same customer.
func (a *Amount) combine(o *Amount) {
	sum := WindowTotal{Value: a.Value, LastMs: a.LastMs, LastReceivedMs: a.LastReceivedMs}
	sum.combine(&WindowTotal{Value: o.Value, LastMs: o.LastMs, LastReceivedMs: o.LastReceivedMs})
	a.Value, a.LastMs, a.LastReceivedMs = sum.Value, sum.LastMs, sum.LastReceivedMs
}

// amounts answers from one consistent view of the store.
func (p *partition) amounts(ctx context.Context, q *AmountsQuery, m *control.Meter) (Amounts, error) {
	snapshot, st, asOf, err := p.view()
	if err != nil {
		return Amounts{}, err
	}
	defer snapshot.Close()
	if st.RebuildTo > 0 {
		return Amounts{}, ErrRebuilding
	}
	whole := Query{Scope: q.Scope, MeterID: q.MeterID, StartMs: q.StartMs, EndMs: q.EndMs, Limit: 1}
	if err := incomplete(p.number, st.Gaps, &whole); err != nil {
		return Amounts{}, err
	}
	if err := rolledUp(q, st.minuteFloor()*dayMs); err != nil {
		return Amounts{}, err
	}
	a := Amounts{AsOfMs: asOf}
	if m == nil || st.Hour == noHour || q.StartMs >= q.EndMs {
		return a, nil
	}
	r, from, to := p.query(&whole, m, snapshot, &st)
	err = r.customers(from, to, q.After, func(customer []byte) (bool, error) {
		if len(a.Customers) == q.Limit {
			a.More = true
			return false, nil
		}
		r.series, r.out = appendSeries(r.series[:0], m.ID, customer), nil
		if err := r.addUp(from, to); err != nil {
			return false, err
		}
		of := Amount{Customer: string(customer), Value: "0"}
		for _, w := range r.out {
			of.Value, of.LastMs, of.LastReceivedMs = w.Value, w.LastMs, w.LastReceivedMs
		}
		a.Customers = append(a.Customers, of)
		return true, ctx.Err()
	})
	return a, err
}

// rolledUp refuses a range that begins or ends within an hour of which the minutes are not kept. floorMs is the first
// time of which they are.
func rolledUp(q *AmountsQuery, floorMs int64) error {
	for _, at := range []int64{q.StartMs, q.EndMs} {
		if at < floorMs && at%hourMs != 0 {
			return fmt.Errorf("usage: before %s totals are kept by the hour, and %s is within one: ask for whole hours", clockText(floorMs), clockText(at))
		}
	}
	return nil
}

// place is where a walk over customers is in the rows of one day or period.
type place struct {
	prefix    []byte // of the rows: partition, table, day or period, meter
	low, high []byte // what follows the customer in the key is from low on and before high; nil: anything
	customer  []byte // of the row that it is at, in its form in keys; nil: there are no more
}

// customers walks over the meter's customers that have rows in a range, behind one of them, in the order of their series.
// All places are at their next customer, and the first of those is the walk's.
func (r *query) customers(from, to int64, after string, do func(customer []byte) (more bool, err error)) error {
	lower, upper := appendTable(nil, r.p.number, tableEvents), appendTable(nil, r.p.number, tableSurvivors+1)
	return r.p.store.Iterate(r.from, lower, upper, func(it *pebble.Iterator) error {
		places := r.places(from, to)
		var passed []byte
		if after != "" {
			passed = appendString(nil, after)
		}
		for i := range places {
			if err := places[i].pass(it, passed); err != nil {
				return err
			}
		}
		for {
			var next []byte
			for i := range places {
				if c := places[i].customer; c != nil && (next == nil || bytes.Compare(c, next) < 0) {
					next = c
				}
			}
			if next == nil {
				return nil
			}
			customer, _, ok := cutBytes(next)
			if !ok {
				return errRow
			}
			if more, err := do(customer); err != nil || !more {
				return err
			}
			for i := range places {
				if p := &places[i]; bytes.Equal(p.customer, next) {
					if err := p.pass(it, next); err != nil {
						return err
					}
				}
			}
		}
	})
}

// places are the days and periods in which rows of a range are. Rows of hours say of every customer who has a sum, also
// where minutes are kept.
func (r *query) places(from, to int64) (places []place) {
	first, last := from, to
	if unit := bucketMs(r.m.Window); r.m.Window != control.NoWindow {
		first, last = floorTo(from, unit), floorTo(to+unit-1, unit)
	}
	table := byte(tableHours)
	if keepsEvents(r.m) {
		table = tableSurvivors
		for day := max(floorDiv(first, dayMs), r.floor-(eventDays-minuteDays)); day <= floorDiv(last-1, dayMs); day++ {
			prefix := appendI32(appendTable(nil, r.p.number, tableEvents), day)
			places = append(places, place{prefix: appendString(prefix, r.m.ID)})
		}
	}
	low, high := appendI32(nil, floorDiv(first, hourMs)), appendI32(nil, floorDiv(last+hourMs-1, hourMs))
	for period := floorDiv(first, periodDays*dayMs); period <= floorDiv(last-1, periodDays*dayMs); period++ {
		prefix := appendI32(appendTable(nil, r.p.number, table), period)
		places = append(places, place{prefix: appendString(prefix, r.m.ID), low: low, high: high})
	}
	return places
}

// pass goes to the first customer behind one, or to the first of all when that is nil.
func (p *place) pass(it *pebble.Iterator, customer []byte) error {
	to := slices.Clone(p.prefix)
	if customer != nil {
		to = prefixEnd(append(to, customer...))
	}
	for it.SeekGE(to) && bytes.HasPrefix(it.Key(), p.prefix) {
		of := it.Key()[len(p.prefix):]
		_, at, ok := cutBytes(of)
		if !ok {
			return errRow
		}
		of = of[:len(of)-len(at)]
		switch {
		case p.low != nil && bytes.Compare(at, p.low) < 0:
			to = append(append(append(to[:0], p.prefix...), of...), p.low...)
		case p.high != nil && bytes.Compare(at, p.high) >= 0:
			to = prefixEnd(append(append(to[:0], p.prefix...), of...))
		default:
			p.customer = slices.Clone(of)
			return nil
		}
	}
	p.customer = nil
	return it.Error()
}
