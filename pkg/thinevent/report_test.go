package thinevent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"tollgate/pkg/stripe"
)

func atMs(t testing.TB, text string) int64 {
	t.Helper()
	at, err := time.Parse(stripe.TimeLayout, text)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixMilli()
}

// The events of the reference, made from what they report. Their ids are of the reference.
func goldenEvents(t testing.TB) map[string]*Event {
	start, end := atMs(t, "2026-03-02T10:20:30.000Z"), atMs(t, "2026-03-02T10:20:40.000Z")
	report := NewReport(&Report{
		Business: "acct_demo", MeterID: "mtr_test_65gwFixture0001", StartMs: start, EndMs: end, Source: Source{0, 12, 40},
		Codes: []CodeErrors{
			{"timestamp_too_far_in_past", 1, []Sample{{"The event timestamp is more than 35 days old.", "idem-9"}}},
			{"meter_event_no_customer_defined", 2, []Sample{{"Customer mapping key stripe_customer_id not found in payload.", "idem-1"}}},
		},
	}, atMs(t, "2026-03-02T10:20:42.118Z"))
	report.ID = "evt_test_65gwFixture0001"
	noMeter := NewReport(&Report{
		Business: "acct_demo", StartMs: start, EndMs: end, Source: Source{3, 7, 8},
		Codes: []CodeErrors{{"no_meter", 1, []Sample{{"No meter was found matching event_name no_such_meter.", "idem-2"}}}},
	}, atMs(t, "2026-03-02T10:20:42.120Z"))
	noMeter.ID = "evt_test_65gwFixture0002"
	ping := NewPing("acct_demo", false, "ed_test_65gwFixture0001", [16]byte{1},
		&stripe.EventReason{RequestID: "req_v2fixture0009", IdempotencyKey: "b9a1c0de-0000-4000-8000-000000000009"}, atMs(t, "2026-03-02T10:25:00.000Z"))
	ping.ID = "evt_test_65gwFixture0003"
	return map[string]*Event{"error_report": report, "no_meter": noMeter, "ping": ping}
}

func TestEventsAreAsTheReferenceHasThem(t *testing.T) {
	text, err := os.ReadFile("testdata/retrieved.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]json.RawMessage
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for name, e := range goldenEvents(t) {
		var compact bytes.Buffer
		if err := json.Compact(&compact, want[name]); err != nil {
			t.Fatal(err)
		}
		if got := stripe.AppendEvent(nil, &e.Event); string(got) != compact.String() {
			t.Errorf("%s is\n%s, want\n%s", name, got, compact.Bytes())
		}
	}
}

func TestAReportsIDFollowsFromWhatItIsAboutAndNothingElse(t *testing.T) {
	base := Report{Business: "acct_demo", MeterID: "mtr_1", StartMs: 10_000, EndMs: 20_000, Source: Source{1, 12, 40}}
	seen := map[string]string{ReportID(&base): "base"}
	other := func(name string, change func(*Report)) {
		t.Helper()
		r := base
		change(&r)
		id := ReportID(&r)
		if was, ok := seen[id]; ok {
			t.Errorf("%s has the id of %s", name, was)
		}
		seen[id] = name
		if !strings.HasPrefix(id, "evt_") || strings.HasPrefix(id, "evt_test_") == r.Livemode {
			t.Errorf("%s has the id %s", name, id)
		}
	}
	other("business", func(r *Report) { r.Business = "acct_demo2" })
	other("mode", func(r *Report) { r.Livemode = true })
	other("meter", func(r *Report) { r.MeterID = "mtr_2" })
	other("no meter", func(r *Report) { r.MeterID = "" })
	other("window", func(r *Report) { r.StartMs = 0 })
	other("partition", func(r *Report) { r.Source.Partition = 2 })
	other("first", func(r *Report) { r.Source.First = 13 })
	other("a letter that moves", func(r *Report) { r.Business, r.MeterID = "acct_demom", "tr_1" })

	same := base
	same.EndMs, same.Source.Through, same.Codes = 0, 41, []CodeErrors{{"no_meter", 7, nil}}
	if ReportID(&same) != ReportID(&base) {
		t.Error("the id changes with what was counted")
	}
	// An id of an earlier version of this program has to be found again by the next one.
	if got := ReportID(&base); got != "evt_test_1DC5PATB9KS4GTag6Yn3hS" {
		t.Errorf("the id is %s", got)
	}
}

func TestAReportShowsTenSamplesACodeAndNeverGrowsOverItsBound(t *testing.T) {
	r := &Report{Business: "acct_demo", MeterID: "mtr_1"}
	for c := range 12 {
		code := CodeErrors{Code: fmt.Sprintf("code_%02d", c), Count: 1 << 40}
		for range 20 {
			code.Samples = append(code.Samples, Sample{strings.Repeat("\x01", 500), strings.Repeat("x", 100)})
		}
		r.Codes = append(r.Codes, code)
	}
	check := func(samples int) {
		t.Helper()
		e := NewReport(r, 0)
		var d reportData
		if err := json.Unmarshal(e.Data, &d); err != nil {
			t.Fatal(err)
		}
		if len(e.Data) > dataBytesMax || d.Reason.Count != 12<<40 || len(d.Reason.Types) != 12 {
			t.Fatalf("%d bytes, %d errors of %d types", len(e.Data), d.Reason.Count, len(d.Reason.Types))
		}
		for i, typ := range d.Reason.Types {
			if len(typ.Samples) != samples || typ.Code != r.Codes[i].Code {
				t.Fatalf("type %d is %s with %d samples, want %d", i, typ.Code, len(typ.Samples), samples)
			}
		}
	}
	check(2) // escaped, ten samples of each code are 380 KB
	for c := range r.Codes {
		for i := range r.Codes[c].Samples {
			r.Codes[c].Samples[i].Message = "short"
		}
	}
	check(10)
}
