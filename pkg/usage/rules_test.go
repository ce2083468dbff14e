package usage

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

func TestARefusedEventHasOneReasonInTheOrderOfTheChecks(t *testing.T) {
	f := newStage(t, 1)
	f.report()
	f.meter("sum", control.Sum, control.NoWindow)
	f.setActive(f.meter("archived", control.Sum, control.NoWindow), false)
	f.now += 1000
	old, ahead := f.now-meterevent.TimestampPastMaxMs-1, f.now+meterevent.TimestampFutureMaxMs+1
	cases := []struct {
		s    sent
		want meterevent.Reason
	}{
		{sent{name: "nobody", payload: `{}`, timestamp: old}, meterevent.NoMeter},
		{sent{name: "archived", payload: `{}`, timestamp: old}, meterevent.ArchivedMeter},
		{sent{name: "sum", payload: `{"value":"x"}`, timestamp: old}, meterevent.NoCustomer},
		{sent{name: "sum", payload: `{"stripe_customer_id":"","value":"x"}`}, meterevent.NoCustomer},
		{sent{name: "sum", payload: `{"stripe_customer_id":"cus_1"}`, timestamp: old}, meterevent.ValueNotFound},
		{sent{name: "sum", customer: "cus_1", value: "x", timestamp: old}, meterevent.InvalidValue},
		{sent{name: "sum", customer: "cus_1", value: "1234567890123456", timestamp: old}, meterevent.ValueTooManyDigits},
		{sent{name: "sum", customer: "cus_1", value: "1", timestamp: old}, meterevent.TimestampTooFarInPast},
		{sent{name: "sum", customer: "cus_1", value: "1", timestamp: ahead}, meterevent.TimestampInFuture},
		{sent{name: "sum", customer: "cus_1", value: "1", timestamp: old + 1}, ""},
		{sent{name: "sum", customer: "cus_1", value: "1", timestamp: ahead - 1}, ""},
	}
	for i := range cases {
		cases[i].s.id = fmt.Sprintf("id%d", i)
		f.send(cases[i].s)
	}
	w, _ := f.one()
	for _, c := range cases {
		got, err := w.Fate(t.Context(), nil, FateQuery{Scope{Business: business, EventName: c.s.name}, c.s.id})
		want := Refused
		if c.want == "" {
			want = Counted
		}
		if err != nil || got.Status != want || got.Code != string(c.want) {
			t.Errorf("%+v: fate %+v, %v; want %q", c.s, got, err, c.want)
		}
		if c.want != "" && !strings.Contains(dump(t, w.store, 0), string(c.want)) {
			t.Errorf("%+v is in no report", c.s)
		}
	}
}

func TestARecordThatIsNoneOfOursIsCountedAndPassed(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("sum", control.Sum, control.NoWindow)
	f.log.add(usageTopic, 0, recordbatch.Record{TimestampMs: f.now, Key: []byte("k"), Value: []byte(`{"object":`)})
	f.log.add(usageTopic, 0, recordbatch.Record{TimestampMs: f.now})
	f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "2"})
	w, _ := f.one()
	if got := f.total(w, m, "cus_1", 0, t0+hourMs); got != "2" {
		t.Errorf("total %s", got)
	}
	if got := w.counts.refused[numberOf(meterevent.InvalidRecord)].Value(); got != 2 {
		t.Errorf("%d records counted as invalid", got)
	}
}

func TestAnIdentifierCountsOnceWithinADayOfReceipt(t *testing.T) {
	for _, c := range []struct {
		after int64
		want  string
	}{{0, "1"}, {24*hourMs - 1, "1"}, {24 * hourMs, "1"}, {26 * hourMs, "2"}} {
		f := newStage(t, 1)
		m := f.meter("n", control.Count, control.NoWindow)
		f.send(sent{name: "n", id: "a", customer: "cus_1"})
		f.now += c.after
		f.send(sent{name: "n", id: "a", customer: "cus_1"})
		w, _ := f.one()
		if got := f.total(w, m, "cus_1", 0, f.now+dayMs); got != c.want {
			t.Errorf("the same identifier %d ms later: %s events count, want %s", c.after, got, c.want)
		}
	}
}

func TestTwoMetersMayHaveTheSameIdentifier(t *testing.T) {
	f := newStage(t, 1)
	a, b := f.meter("a", control.Count, control.NoWindow), f.meter("b", control.Count, control.NoWindow)
	f.send(sent{name: "a", id: "x", customer: "cus_1"})
	f.send(sent{name: "b", id: "x", customer: "cus_1"})
	w, _ := f.one()
	if x, y := f.total(w, a, "cus_1", 0, t0+hourMs), f.total(w, b, "cus_1", 0, t0+hourMs); x != "1" || y != "1" {
		t.Errorf("%s and %s events count", x, y)
	}
}

func TestACancelTakesItsEventOutForADayInEitherOrder(t *testing.T) {
	for _, c := range []struct {
		name  string
		early bool
		after int64
		want  string
	}{
		{"at once", false, 0, "5"},
		{"after 24 hours", false, 24 * hourMs, "5"},
		{"in the minute after 24 hours and 1 minute", false, 24*hourMs + minuteMs, "8"},
		{"before its event", true, 0, "5"},
		{"24 hours before its event", true, 24 * hourMs, "5"},
		{"24 hours and 1 minute before its event", true, 24*hourMs + minuteMs, "8"},
	} {
		f := newStage(t, 1)
		m := f.meter("sum", control.Sum, control.NoWindow)
		f.send(sent{name: "sum", id: "other", customer: "cus_1", value: "5"})
		first, second := sent{name: "sum", id: "a", customer: "cus_1", value: "3"}, sent{name: "sum", id: "a", cancel: true}
		if c.early {
			first, second = second, first
		}
		f.send(first)
		f.now += c.after
		f.send(second)
		f.send(sent{name: "sum", id: "a", cancel: true}) // again
		w, _ := f.one()
		if got := f.total(w, m, "cus_1", 0, f.now+dayMs); c.want != got && (c.early && c.want == "8" && got != "5" || !c.early || c.want == "5") {
			t.Errorf("cancelled %s: total %s, want %s", c.name, got, c.want)
		}
	}
}

func TestACancelledLatestFallsBackToTheOneBefore(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("gauge", control.Last, control.NoWindow)
	f.send(sent{name: "gauge", id: "a", customer: "cus_1", value: "7", timestamp: f.now - 2000})
	f.send(sent{name: "gauge", id: "b", customer: "cus_1", value: "9", timestamp: f.now - 1000})
	f.send(sent{name: "gauge", id: "late", customer: "cus_1", value: "1", timestamp: f.now - 3000})
	w, fo := f.one()
	if got := f.total(w, m, "cus_1", 0, t0+hourMs); got != "9" {
		t.Errorf("the last is %s", got)
	}
	f.send(sent{name: "gauge", id: "b", cancel: true})
	f.catchUp(fo, 10)
	f.flush(fo)
	if got := f.total(w, m, "cus_1", 0, t0+hourMs); got != "7" {
		t.Errorf("after the cancel the last is %s", got)
	}
}

func TestTheNewestEventOfAWindowReplacesTheOthers(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("upload", control.Sum, control.Hour)
	hour := floorTo(f.now, hourMs)
	f.send(sent{name: "upload", id: "a", customer: "cus_1", value: "3", timestamp: hour})
	f.send(sent{name: "upload", id: "b", customer: "cus_1", value: "7", timestamp: hour + 5*minuteMs})
	f.send(sent{name: "upload", id: "c", customer: "cus_1", value: "100", timestamp: hour - 1})
	w, _ := f.one()
	for _, c := range []struct {
		from, to int64
		want     string
	}{
		{hour, hour + hourMs, "7"},
		{hour - hourMs, hour + hourMs, "107"},
		{hour, hour + 5*minuteMs, ""}, // the one that counts lies behind
		{hour + 5*minuteMs, hour + 6*minuteMs, "7"},
	} {
		if got := f.total(w, m, "cus_1", c.from, c.to); got != c.want {
			t.Errorf("from %d to %d minutes of the hour: %q, want %q", (c.from-hour)/minuteMs, (c.to-hour)/minuteMs, got, c.want)
		}
	}
}

func TestACancelOfNothingIsCountedAndKept(t *testing.T) {
	f := newStage(t, 1)
	f.report()
	f.meter("sum", control.Sum, control.NoWindow)
	f.send(sent{name: "sum", id: "never", cancel: true})
	f.now += 27 * hourMs
	f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "5"})
	w, _ := f.one()
	if got := w.counts.cancels[cancelNothing].Value(); got != 1 {
		t.Errorf("%d cancels of nothing", got)
	}
	if d := dump(t, w.store, 0); !strings.Contains(d, "No event never was received") {
		t.Errorf("no report:\n%s", d)
	}
}

func TestACancelledEventThatTheLogHasLostStaysCountedAndIsReported(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("sum", control.Sum, control.NoWindow)
	f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "5"})
	var notices []Notice
	f.cfg.Notify = func(n Notice) { notices = append(notices, n) }
	w, fo := f.one()
	f.send(sent{name: "sum", id: "a", cancel: true})
	f.log.truncate(0, 1)
	f.catchUp(fo, 10)
	f.flush(fo)
	if got := f.total(w, m, "cus_1", 0, t0+hourMs); got != "5" || w.counts.unreadable.Value() != 1 {
		t.Errorf("total %s, %d unreadable", got, w.counts.unreadable.Value())
	}
	if last := notices[len(notices)-1]; last.What != Unreadable {
		t.Errorf("notices: %v", notices)
	}
}

func TestTotalsThatMayLackRecordsAreNotGiven(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("sum", control.Sum, control.NoWindow)
	for i := range 4 {
		f.send(sent{name: "sum", id: fmt.Sprint(i), customer: "cus_1", value: "1"})
		f.now += dayMs
	}
	f.log.truncate(0, 2)
	third := t0 + 2*dayMs
	w, _ := f.one() // of records 2 and 3
	q := Query{Scope: Scope{Business: business, EventName: "sum"}, MeterID: m.ID, Customer: "cus_1", EndMs: f.now, Limit: 1}
	for _, c := range []struct {
		start int64
		want  string
	}{{0, ""}, {third - hourMs, ""}, {third + hourMs, "1"}} {
		q.StartMs = floorTo(c.start, minuteMs)
		got, err := w.Totals(t.Context(), nil, q)
		var incomplete *IncompleteError
		switch {
		case c.want == "":
			if !errors.As(err, &incomplete) {
				t.Errorf("from %s: %+v, %v", clockText(c.start), got, err)
			}
		case err != nil || len(got.Windows) != 1 || got.Windows[0].Value != c.want:
			t.Errorf("from %s: %+v, %v", clockText(c.start), got, err)
		}
	}
}
