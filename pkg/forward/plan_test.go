package forward

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"testing"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
)

func decimalOf(t *testing.T, text string) meterevent.Decimal {
	t.Helper()
	d, err := meterevent.ParseDecimal([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func someItem(t *testing.T, offset int64, m *control.Meter, customer, value string, atMs int64) *item {
	return &item{
		offset: offset, receivedMs: atMs, timestampMs: atMs, other: -1, name: m.EventName, identifier: fmt.Sprint("id-", offset),
		payload: []byte(`{"stripe_customer_id":"` + customer + `","value":"` + value + `"}`), meter: m, customer: customer, value: decimalOf(t, value),
	}
}

var behind = &cursor{Business: "acct_1", Partition: 3, Next: 0, End: 0}

func TestACancelledEventAndItsCancelAreLeftOutInThisRangeAndTheNext(t *testing.T) {
	b := newBatch(behind, 0, 0)
	e := someItem(t, 1, simMeters["calls"], "cus_1", "5", 1000)
	e.other = 9
	b.add(e)
	b.add(someItem(t, 2, simMeters["calls"], "cus_1", "6", 1000))
	events, cancels := b.parcels()
	if len(events) != 1 || events[0].offset != 2 || len(cancels) != 0 {
		t.Errorf("sent are %v and %v", events, cancels)
	}
	b.cursor.End = 3
	next := newBatch(&b.cursor, 3, 0)
	next.add(&item{offset: 9, cancel: true, other: 1})
	next.add(&item{offset: 10, cancel: true, other: 2})
	if _, cancels := next.parcels(); len(cancels) != 1 || cancels[0].offset != 10 {
		t.Errorf("of the cancels, sent are %v", cancels)
	}
	if behind := newBatch(&next.cursor, 11, 0); len(behind.cursor.SkipCancels) != 0 {
		t.Errorf("cancels that were passed are still carried: %v", behind.cursor.SkipCancels)
	}
}

func TestWithTooManyToLeaveOutBothAreSent(t *testing.T) {
	b := newBatch(behind, 0, 0)
	for n := range int64(skipMax + 5) {
		e := someItem(t, n, simMeters["calls"], "cus_1", "1", 1000)
		e.other = 10_000 + n
		b.add(e)
	}
	for n := range int64(skipMax + 5) {
		b.add(&item{offset: 10_000 + n, cancel: true, other: n})
	}
	if events, cancels := b.parcels(); len(events) != 5 || len(cancels) != 5 {
		t.Errorf("%d events and %d cancels", len(events), len(cancels))
	}
}

func TestARangeThatIsTakenUpAgainIsTheSameThoughMoreIsKnown(t *testing.T) {
	for _, rollupMs := range []int64{0, 60_000} {
		dice := rand.New(rand.NewPCG(5, uint64(rollupMs)))
		b := newBatch(behind, 0, rollupMs)
		var items []*item
		for n := range int64(500) {
			m := simMeters[[]string{"calls", "hits", "seats"}[dice.IntN(3)]]
			e := someItem(t, n, m, fmt.Sprint("cus_", dice.IntN(3)), fmt.Sprint(dice.IntN(100)), dice.Int64N(300_000))
			if dice.IntN(5) == 0 {
				e.other = 600 + n
			}
			items = append(items, e)
		}
		for _, e := range items {
			b.add(e)
		}
		b.cursor.End = 500
		c, _, err := parseCursorOf(&b.cursor)
		if err != nil {
			t.Fatal(err)
		}
		again := batchAgain(c)
		for _, e := range items {
			e.other = 700 // every one was cancelled since
			again.add(e)
		}
		one, _ := b.parcels()
		two, _ := again.parcels()
		if !reflect.DeepEqual(one, two) {
			t.Errorf("rollup %d: the same range is sent in another way", rollupMs)
		}
	}
}

func parseCursorOf(c *cursor) (*cursor, bool, error) {
	c.Object, c.Writer, c.At = cursorObject, "w", "2026-01-02T03:04:05.678Z"
	return parseCursor([]byte(c.key()), c.encode())
}

func TestWhatIsRolledUpIsExactWithinFifteenDigits(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		b := newBatch(behind, 0, 60_000)
		want := map[string]*big.Rat{}
		for n := range int64(1 + dice.IntN(60)) {
			value := fmt.Sprint(dice.Int64N(999_999_999_999_999))
			if dice.IntN(2) == 0 {
				value = fmt.Sprintf("%d.%06d", dice.IntN(100_000_000), 1+dice.IntN(999_999))
			}
			if dice.IntN(3) == 0 {
				value = "-" + value
			}
			customer := fmt.Sprint("cus_", dice.IntN(2))
			at := dice.Int64N(180_000)
			b.add(someItem(t, n, simMeters["calls"], customer, value, at))
			r, _ := new(big.Rat).SetString(value)
			key := fmt.Sprint(customer, "/", at/60_000)
			if want[key] == nil {
				want[key] = new(big.Rat)
			}
			want[key].Add(want[key], r)
		}
		got, seen := map[string]*big.Rat{}, map[string]bool{}
		events, _ := b.parcels()
		for i := range events {
			var payload map[string]string
			if err := json.Unmarshal(events[i].payload, &payload); err != nil || meterevent.CheckValue([]byte(payload["value"])) != "" || events[i].reason != "" {
				t.Fatalf("%s: %v", events[i].payload, err)
			}
			if seen[events[i].identifier] {
				t.Fatalf("%s stands twice", events[i].identifier)
			}
			seen[events[i].identifier] = true
			key := fmt.Sprint(payload["stripe_customer_id"], "/", events[i].timestampMs/60_000)
			r, _ := new(big.Rat).SetString(payload["value"])
			if got[key] == nil {
				got[key] = new(big.Rat)
			}
			got[key].Add(got[key], r)
		}
		for key := range want {
			if got[key] == nil || want[key].Cmp(got[key]) != 0 {
				t.Fatalf("%s: %v instead of %v", key, got[key], want[key])
			}
		}
	}
}

func TestACancelOfWhatWasRolledUpTakesItsValueOut(t *testing.T) {
	b := newBatch(behind, 100, 60_000)
	gone := someItem(t, 7, simMeters["calls"], "cus_1", "5.5", 1000)
	b.add(&item{offset: 100, cancel: true, other: 7, undone: gone})
	b.add(&item{offset: 101, cancel: true, other: 8, undone: someItem(t, 8, simMeters["hits"], "cus_1", "9", 1000)})
	b.add(&item{offset: 102, cancel: true, other: 9, undone: someItem(t, 9, simMeters["seats"], "cus_1", "9", 1000)})
	b.add(&item{offset: 103, cancel: true, other: 10})
	events, cancels := b.parcels()
	if len(events) != 2 || string(events[0].payload) != `{"stripe_customer_id":"cus_1","value":"-5.5"}` || string(events[1].payload) != `{"stripe_customer_id":"cus_1","value":"-1"}` {
		t.Errorf("%v", events)
	}
	if len(cancels) != 2 || cancels[0].reason != reasonLast || cancels[1].reason != reasonUndoneGone {
		t.Errorf("%v", cancels)
	}
}

func TestWhatReplacesIsSentByItselfWhileOthersAreRolledUp(t *testing.T) {
	hourly := &control.Meter{ID: "mtr_2", EventName: "hourly", Formula: control.Sum, CustomerKey: "stripe_customer_id", ValueKey: "value", Window: control.Hour}
	b := newBatch(&cursor{}, 1, 60_000)
	first, second := someItem(t, 1, hourly, "cus_1", "3", 1000), someItem(t, 2, hourly, "cus_1", "5", 2000)
	b.add(first)
	b.add(second)
	b.add(&item{offset: 3, cancel: true, other: 2, name: "hourly", identifier: second.identifier, undone: second})
	events, cancels := b.parcels()
	if len(events) != 2 || events[0].rolled+events[1].rolled != 0 || events[1].identifier != second.identifier || string(events[1].payload) != string(second.payload) {
		t.Errorf("%+v is sent of two events", events)
	}
	if len(cancels) != 1 || cancels[0].identifier != second.identifier || cancels[0].reason != "" {
		t.Errorf("%+v is sent of the cancel", cancels)
	}
}

func TestCancelsOfEventsBeforeTheLaneBeganAreNotSent(t *testing.T) {
	b := newBatch(&cursor{Origin: 50}, 50, 0)
	b.add(&item{offset: 60, cancel: true, other: 49})
	b.add(&item{offset: 61, cancel: true, other: 50})
	if _, cancels := b.parcels(); len(cancels) != 1 || cancels[0].offset != 61 {
		t.Errorf("%v", cancels)
	}
}

func TestTheFoldOfCursorsIsTheSameForWhatCompactionLeaves(t *testing.T) {
	for seed := range uint64(3000) {
		dice := rand.New(rand.NewPCG(seed, 3))
		type record struct {
			c    *cursor
			gone bool
		}
		var log []record
		held := map[string]*cursor{} // what each writer has seen
		var live *cursor
		for range 30 {
			w := fmt.Sprint("w", dice.IntN(3))
			if dice.IntN(3) == 0 {
				held[w] = live
			}
			c := &cursor{Writer: w, Seq: 1}
			if h := held[w]; h != nil {
				c.Seq = h.Seq + 1
			}
			for i := range log { // compaction, at once
				if log[i].c.key() == c.key() && dice.IntN(2) == 0 {
					log[i].gone = true
				}
			}
			log = append(log, record{c: c})
			if c.follows(live) {
				live = c
			}
			held[w] = live
			var folded *cursor
			last := map[string]int{}
			for i := range log {
				last[log[i].c.key()] = i
			}
			for i := range log {
				if (!log[i].gone || last[log[i].c.key()] == i) && log[i].c.follows(folded) {
					folded = log[i].c
				}
			}
			if folded != live {
				t.Fatalf("seed %d: %+v instead of %+v", seed, folded, live)
			}
		}
	}
}
