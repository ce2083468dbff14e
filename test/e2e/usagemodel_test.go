package e2e

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"tollgate/test/e2e/harness"
)

// meterSpec is a meter of the usage tests.
type meterSpec struct {
	name, formula, window string
	id                    string // once it is made
}

// usageMeters are enough names for the partitions of a topic to all have some.
func usageMeters() []*meterSpec {
	var meters []*meterSpec
	for i := range 20 {
		meters = append(meters, &meterSpec{name: fmt.Sprintf("sum_%d", i), formula: "sum"})
	}
	return append(meters,
		&meterSpec{name: "count_0", formula: "count"}, &meterSpec{name: "count_1", formula: "count"},
		&meterSpec{name: "last_0", formula: "last"}, &meterSpec{name: "last_1", formula: "last"},
		&meterSpec{name: "hourly_0", formula: "sum", window: "hour"})
}

// ordered tells whether a meter's total depends on which event is the newest.
func (m *meterSpec) ordered() bool { return m.formula == "last" || m.window != "" }

// sentEvent is one event as the model knows it.
type sentEvent struct {
	meter      *meterSpec
	customer   int
	identifier string
	atMs       int64
	cents      int64
}

// series is one customer of one meter.
type series struct {
	meter    *meterSpec
	customer int
}

type seriesHour struct {
	series
	hourMs int64
}

// usageModel is what the totals must be: counted by hand, in whole hundredths. It is one goroutine's; merge puts several
// together.
type usageModel struct {
	cents  map[seriesHour]int64 // sums and counts
	events map[seriesHour]int   // how many of them count
	// latest holds the events of meters whose newest counts, and cancelled what was taken back.
	latest    map[seriesHour][]sentEvent
	cancelled map[string]bool
}

func newUsageModel() *usageModel {
	return &usageModel{
		cents: map[seriesHour]int64{}, events: map[seriesHour]int{},
		latest: map[seriesHour][]sentEvent{}, cancelled: map[string]bool{},
	}
}

const hourMs = int64(time.Hour / time.Millisecond)

func (e *sentEvent) hour() seriesHour {
	return seriesHour{series{e.meter, e.customer}, e.atMs / hourMs * hourMs}
}

func (e *sentEvent) worth() int64 {
	if e.meter.formula == "count" {
		return 100
	}
	return e.cents
}

func (m *usageModel) add(e sentEvent) {
	h := e.hour()
	m.events[h]++
	if e.meter.ordered() {
		m.latest[h] = append(m.latest[h], e)
		return
	}
	m.cents[h] += e.worth()
}

func (m *usageModel) cancel(e sentEvent) {
	h := e.hour()
	m.events[h]--
	m.cancelled[e.identifier] = true
	if !e.meter.ordered() {
		m.cents[h] -= e.worth()
	}
}

// merge takes other's events, which are of other customers or other identifiers.
func (m *usageModel) merge(other *usageModel) {
	for h, n := range other.cents {
		m.cents[h] += n
	}
	for h, n := range other.events {
		m.events[h] += n
	}
	for h, list := range other.latest {
		m.latest[h] = append(m.latest[h], list...)
	}
	for id := range other.cancelled {
		m.cancelled[id] = true
	}
}

// newest is the newest event of an hour that was not cancelled.
func (m *usageModel) newest(h seriesHour) (e sentEvent, ok bool) {
	for _, x := range m.latest[h] {
		if !m.cancelled[x.identifier] && (!ok || x.atMs > e.atMs) {
			e, ok = x, true
		}
	}
	return e, ok
}

// hours is the expected value of each hour that has events, in hundredths; total is that of the whole range.
func (m *usageModel) hours(s series, fromMs, toMs int64) (hours map[int64]int64, total int64) {
	hours = map[int64]int64{}
	var last sentEvent
	for from := fromMs; from < toMs; from += hourMs {
		h := seriesHour{s, from}
		if m.events[h] == 0 {
			continue
		}
		if !s.meter.ordered() {
			hours[from] = m.cents[h]
			total += m.cents[h]
			continue
		}
		e, _ := m.newest(h)
		hours[from] = e.cents
		if s.meter.formula == "last" {
			if e.atMs > last.atMs {
				last, total = e, e.cents
			}
		} else {
			total += e.cents
		}
	}
	return hours, total
}

// check asks a gateway for every customer of every meter and compares, grouped by hour and in one. It returns how many
// answers it compared.
func (m *usageModel) check(t *testing.T, g *harness.Gateway, meters []*meterSpec, customers int, fromMs, toMs int64) int {
	t.Helper()
	compared := 0
	for _, meter := range meters {
		for c := range customers {
			hours, total := m.hours(series{meter, c}, fromMs, toMs)
			whole := summaries(t, g, meter.id, customerName(c), fromMs, toMs, "")
			if len(hours) > 0 && (len(whole) != 1 || !sameHundredths(whole[0].Value, total)) || len(hours) == 0 && len(whole) > 0 && !sameHundredths(whole[0].Value, 0) {
				t.Errorf("%s: %s of customer %d is %v, want %d hundredths", g.URL, meter.name, c, whole, total)
			}
			grouped := map[int64]string{}
			for _, s := range summaries(t, g, meter.id, customerName(c), fromMs, toMs, "hour") {
				grouped[s.Start*1000] = s.Value
			}
			for from, want := range hours {
				if !sameHundredths(grouped[from], want) {
					t.Errorf("%s: %s of customer %d in the hour from %s is %q, want %d hundredths", g.URL, meter.name, c, time.UnixMilli(from).UTC(), grouped[from], want)
				}
			}
			compared += 1 + len(hours)
			if t.Failed() && compared > 50 {
				return compared // the first few say enough
			}
		}
	}
	return compared
}

// sameHundredths compares a JSON number with hundredths, without any float.
func sameHundredths(text string, cents int64) bool {
	r, ok := new(big.Rat).SetString(text)
	return ok && r.Cmp(big.NewRat(cents, 100)) == 0
}

func customerName(c int) string { return fmt.Sprintf("cus_%d", c) }
