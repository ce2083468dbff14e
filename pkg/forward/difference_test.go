package forward

import (
	"fmt"
	"testing"
	"time"

	"tollgate/pkg/control"
)

func TestTotalsAreComparedAsFarAsFloatingPointTellsThemApart(t *testing.T) {
	tenth := 0.1
	for _, c := range []struct {
		ours   string
		theirs float64
		same   bool
	}{
		{"0", 0, true},
		{"1.5", 1.5, true},
		{"0.3", tenth + 0.2, true}, // 0.30000000000000004
		{"-0.3", -tenth - 0.2, true},
		{"0.30000000000001", 0.3, false},
		{"123456789012345", 123456789012345, true},
		{"123456789012345", 123456789012346, false},
		{"0.000000000000001", 1e-15, true},
		{"0.000000000000001", 0, false},
		{"1000000000000000000000", 1e21, true},
		{"12345678901234567", 12345678901234568, true}, // a float64 holds every second number here
		{"12345678901234567", 12345678901234572, false},
		{"1234567890.123456789", 1234567890.1234567, true},
		{"1234567890.123456789", 1234567890.1234575, false},
	} {
		if got := near(decimalOf(t, c.ours), c.theirs); got != c.same {
			t.Errorf("%s and %v: the same is %v", c.ours, c.theirs, got)
		}
	}
}

func TestADifferenceIsExplainedByWhatIsKnownAndNothingElse(t *testing.T) {
	last := &control.Meter{EventName: "seats", Formula: control.Last}
	sum := simMeters["calls"]
	dead := func(value string) deadPart { return deadPart{reason: "refused", value: decimalOf(t, value)} }
	maybe := func(value string) deadPart {
		return deadPart{reason: "outcome_unknown", value: decimalOf(t, value), maybe: true}
	}
	for _, c := range []struct {
		name    string
		a       account
		ours    string
		before  string
		theirs  float64
		sending bool
		want    string
	}{
		{name: "the same", ours: "7", theirs: 7, want: "none"},
		{name: "the same as before", ours: "9", before: "7", theirs: 7, a: account{moved: true}, want: "none"},
		{name: "lost", ours: "7", theirs: 5, want: "missing 2 [] drift 2"},
		{name: "too much", ours: "5", theirs: 7, want: "missing -2 [] drift -2"},
		{name: "refused", ours: "7", theirs: 4.5, a: account{parts: []deadPart{dead("2"), dead("0.5")}}, want: "missing 2.5 [{refused 2.5}] drift "},
		{name: "refused and lost", ours: "7", theirs: 4, a: account{parts: []deadPart{dead("2")}}, want: "missing 3 [{refused 2}] drift 1"},
		{name: "refused, and there all the same", ours: "7", theirs: 8, a: account{parts: []deadPart{dead("2")}}, want: "missing -1 [{refused 2}] drift -3"},
		{name: "a cancel refused", ours: "5", theirs: 7, a: account{parts: []deadPart{dead("-2")}}, want: "missing -2 [{refused -2}] drift "},
		{name: "perhaps there, and it is not", ours: "7", theirs: 5, a: account{parts: []deadPart{maybe("2")}}, want: "missing 2 [{outcome_unknown 2}] drift "},
		{name: "perhaps there, one of two", ours: "7", theirs: 4, a: account{parts: []deadPart{maybe("3"), maybe("1"), dead("1")}}, want: "missing 3 [{refused 1} {outcome_unknown 2}] drift "},
		{name: "perhaps there, and more is lost", ours: "7", theirs: 4, a: account{parts: []deadPart{maybe("2")}}, want: "missing 3 [] drift 3"},
		{name: "nobody there knows the customer", ours: "7", theirs: 0, a: account{unknown: true}, want: "missing 7 [{customer_not_at_stripe 7}] drift "},
		{name: "changing", ours: "7", before: "6", theirs: 5, a: account{moved: true}, want: "missing 2 [{late 2}] drift "},
		{name: "on its way", ours: "7", theirs: 5, sending: true, want: "missing 2 [{in_flight 2}] drift "},
		{name: "too much, and something on its way", ours: "5", theirs: 7, sending: true, want: "missing -2 [] drift -2"},
		{name: "the last on its way", ours: "5", theirs: 7, sending: true, a: account{meter: last}, want: "missing -2 [{in_flight -2}] drift "},
		{name: "the last refused", ours: "5", theirs: 7, a: account{meter: last, parts: []deadPart{dead("6")}}, want: "missing -2 [{refused -2}] drift "},
	} {
		if c.a.meter == nil {
			c.a.meter = sum
		}
		if c.before == "" {
			c.before = c.ours
		}
		c.a.ours, c.a.before, c.a.theirs = decimalOf(t, c.ours), decimalOf(t, c.before), c.theirs
		got := "none"
		if d := c.a.difference(c.sending); d != nil {
			got = fmt.Sprintf("missing %s %v drift %s", d.Missing, d.Explained, d.Drift)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestADeadLetterSaysWhatItKeepsFromWhom(t *testing.T) {
	from := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	letter := func(kind, reason string, after time.Duration, payload string) *Dead {
		return &Dead{Kind: kind, EventName: "calls", Reason: reason, Timestamp: from.Add(after).Format(timeForm), Payload: []byte(payload)}
	}
	answered := letter(kindEvent, reasonRefused, 0, `{"stripe_customer_id":"c","value":"2.5"}`)
	answered.Answer = &DeadAnswer{400, "archived_meter", ""}
	for _, c := range []struct {
		meter string
		d     *Dead
		want  string
	}{
		{"calls", answered, "{calls c} refused: archived_meter 2.5 false"},
		{"calls", letter(kindEvent, reasonTooOld, time.Hour-1, `{"stripe_customer_id":"c","value":"2"}`), "{calls c} timestamp_too_old 2 false"},
		{"calls", letter(kindEvent, reasonTooOld, time.Hour, `{"stripe_customer_id":"c","value":"2"}`), "none"},
		{"calls", letter(kindEvent, reasonTooOld, -time.Millisecond, `{"stripe_customer_id":"c","value":"2"}`), "none"},
		{"calls", letter(kindEvent, reasonUnknown, 0, `{"stripe_customer_id":"c","value":"2"}`), "{calls c} outcome_unknown 2 true"},
		{"calls", letter(kindEvent, reasonForgotten, 0, `{"stripe_customer_id":"c","value":"2"}`), "{calls c} verdict_forgotten 2 true"},
		{"calls", letter(kindCancel, reasonRefused, 0, `{"stripe_customer_id":"c","value":"2"}`), "{calls c} adjustment refused -2 false"},
		{"calls", &Dead{Kind: kindCancel, EventName: "calls", Reason: reasonRefused}, "none"},
		{"calls", letter(kindEvent, reasonRefused, 0, `{"stripe_customer_id":"c"}`), "none"},
		{"hits", letter(kindEvent, reasonRefused, 0, `{"stripe_customer_id":"c","value":"9"}`), "{calls c} refused 1 false"},
		{"hits", letter(kindRollup, reasonRefused, 0, `{"stripe_customer_id":"c","value":"9"}`), "{calls c} refused 9 false"},
	} {
		got := "none"
		if p, ok := partOf(c.d, simMeters[c.meter], from, from.Add(time.Hour)); ok {
			got = fmt.Sprintf("%v %s %s %v", p.of, p.reason, text(p.value), p.maybe)
		}
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.d, got, c.want)
		}
	}
}
