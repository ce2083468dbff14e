package fakestripe_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"tollgate/test/fakestripe"
)

func TestTheStreamTakesWhatSDKsSendAndRefusesWhatIsNoEvent(t *testing.T) {
	var fixture struct {
		Variants []struct {
			Name      string
			Body      string `json:"body_text"`
			Generate  struct{ Repeat int }
			Accept    bool
			Status    int
			Code      string
			AsyncCode string `json:"async_code"`
			UnixMs    int64  `json:"timestamp_unix_ms"`
		} `json:"request_variants"`
	}
	text, err := os.ReadFile("testdata/stream.json")
	if err == nil {
		err = json.Unmarshal(text, &fixture)
	}
	if err != nil || len(fixture.Variants) < 16 {
		t.Fatalf("%d variants: %v", len(fixture.Variants), err)
	}
	for _, v := range fixture.Variants {
		t.Run(v.Name, func(t *testing.T) {
			r := newRig(t, fakestripe.Config{})
			if _, err := r.CreateMeter(acct, fakestripe.Meter{EventName: "api_calls"}); err != nil {
				t.Fatal(err)
			}
			if v.Generate.Repeat > 0 {
				v.Body = body(many("e", v.Generate.Repeat)...)
			}
			r.open()
			got := r.do(t.Context(), http.MethodPost, streamPath, r.token, v.Body)
			if !v.Accept {
				r.want(got, v.Status, v.Code)
				r.wantCounts(nil)
				return
			}
			if r.want(got, 200, ""); got.Body != "{}" || got.Header.Get("Content-Type") != "application/json" {
				t.Errorf("answered %q", got.Body)
			}
			events := r.Events(acct)
			if len(events) != strings.Count(v.Body, "event_name") || events[0].Reason != v.AsyncCode {
				t.Errorf("knows %+v", events)
			}
			if v.UnixMs != 0 && events[0].Timestamp.UnixMilli() != v.UnixMs {
				t.Errorf("its time is %v", events[0].Timestamp)
			}
		})
	}
}

func TestAFaultOfStructureRefusesTheWholeRequest(t *testing.T) {
	good := usage("sum", "good", "1", time.Time{})
	for _, bad := range []string{
		`{"events":[` + good + `],"more":1}`, `{"events":[` + good + `,1]}`, `{"events":{}}`, `[]`, `{"events":[` + good + `]} x`,
		body(good, `{"event_name":"sum"}`), body(good, `{"payload":{}}`), body(good, `{"event_name":"","payload":{}}`),
		body(good, `{"event_name":"sum","payload":{},"x":1}`), body(good, `{"event_name":"sum","payload":{"a":"1","a":"2"}}`),
		body(good, `{"event_name":"sum","payload":{"a":null}}`), body(good, `{"event_name":"sum","payload":{},"timestamp":"soon"}`),
		body(good, `{"event_name":"sum","payload":{},"timestamp":1.5}`), body(good, `{"event_name":"sum","payload":{},"identifier":7}`),
		body(good, `{"event_name":"sum","payload":{},"identifier":"`+strings.Repeat("i", 101)+`"}`),
		body(good, `{"event_name":"sum","payload":{"a":"`+strings.Repeat("v", 501)+`"}}`),
		body(good, "{\"event_name\":\"sum\",\"payload\":{\"a\":\"\xff\"}}"),
	} {
		r := newRig(t, fakestripe.Config{})
		r.open()
		r.want(r.do(t.Context(), http.MethodPost, streamPath, r.token, bad), 400, "invalid_fields")
		r.wantCounts(nil)
	}
}

// Each line is one event: what the stream counts it as, and what v2 and v1 answer to it.
func TestOneReasonAnEventBehindTheStreamAndInFrontOfTheOthers(t *testing.T) {
	payload := func(customer, value string) string {
		return fmt.Sprintf(`{"stripe_customer_id":%q,"value":%q}`, customer, value)
	}
	for _, c := range []struct {
		name, meter, payload string
		late                 time.Duration // after its timestamp
		reason, code         string
	}{
		{"good", "sum", payload("cus_1", "-0.5"), 0, fakestripe.Counted, ""},
		{"no meter", "nothing", payload("cus_1", "1"), 0, fakestripe.NoMeter, "no_meter"},
		{"archived before all else", "old", payload("", "x"), 0, fakestripe.Archived, "archived_meter"},
		{"no customer", "sum", `{"value":"1"}`, 0, fakestripe.NoCustomer, "payload_no_customer_defined"},
		{"no value", "sum", `{"stripe_customer_id":"cus_1"}`, 0, fakestripe.NoValue, "payload_no_value_defined"},
		{"no value, and none needed", "count", `{"stripe_customer_id":"cus_1"}`, 0, fakestripe.Counted, ""},
		{"no number", "sum", payload("cus_1", "1e3"), 0, fakestripe.InvalidValue, "payload_invalid_value"},
		{"half a number", "sum", payload("cus_1", "1."), 0, fakestripe.InvalidValue, "payload_invalid_value"},
		{"a plus", "sum", payload("cus_1", "+1"), 0, fakestripe.InvalidValue, "payload_invalid_value"},
		{"nothing as a number", "sum", payload("cus_1", ""), 0, fakestripe.InvalidValue, "payload_invalid_value"},
		{"15 digits", "sum", payload("cus_1", "-0.00123456789012345"), 0, fakestripe.Counted, ""},
		{"16 digits", "sum", payload("cus_1", "1.000000000000000"), 0, fakestripe.TooManyDigits, fakestripe.TooManyDigits},
		{"35 days", "sum", payload("cus_1", "1"), 35 * 24 * time.Hour, fakestripe.Counted, ""},
		{"past 35 days", "sum", payload("cus_1", "1"), 35*24*time.Hour + time.Second, fakestripe.TooOld, fakestripe.TooOld},
		{"5 minutes ahead", "sum", payload("cus_1", "1"), -5 * time.Minute, fakestripe.Counted, ""},
		{"past 5 minutes ahead", "sum", payload("cus_1", "1"), -5*time.Minute - time.Second, fakestripe.InFuture, fakestripe.InFuture},
	} {
		t.Run(c.name, func(t *testing.T) {
			status := 400
			if c.code == "" {
				status = 200
			}
			at := start.Add(-c.late)
			event := fmt.Sprintf(`{"event_name":%q,"payload":%s,"timestamp":%d}`, c.meter, c.payload, at.Unix())
			fresh := func() *rig {
				r := newRig(t, fakestripe.Config{})
				id, _ := r.CreateMeter(acct, fakestripe.Meter{EventName: "old"})
				r.want(r.post(v1Meters+"/"+id+"/deactivate", ""), 200, "")
				return r
			}
			r := fresh()
			r.want(r.stream(event), 200, "")
			r.wantCounts(map[string]int64{c.reason: 1})
			r = fresh()
			r.want(r.post(eventsPath, event), status, c.code)
			r.wantCounts(map[string]int64{c.reason: 1})

			form := fmt.Sprintf("event_name=%s&timestamp=%d&identifier=x", c.meter, at.Unix())
			var fields map[string]string
			_ = json.Unmarshal([]byte(c.payload), &fields)
			for k, v := range fields {
				form += "&payload[" + k + "]=" + strings.ReplaceAll(v, "+", "%2B")
			}
			r = fresh()
			r.want(r.post(v1Events, form), status, c.code)
			r.wantCounts(map[string]int64{c.reason: 1})
		})
	}
}

func TestTheSentencesThatProgramsLookFor(t *testing.T) {
	r := newRig(t, fakestripe.Config{})
	form := "event_name=sum&payload[stripe_customer_id]=cus_1&payload%5Bvalue%5D=25&identifier=idem-v1-1"
	r.want(r.post(v1Events, form), 200, "")
	if got := r.post(v1Events, form); got.Status != 400 || got.Message != "An event already exists with identifier idem-v1-1." {
		t.Errorf("a duplicate is answered %+v", got)
	}
	old := fmt.Sprintf("%s&timestamp=%d", strings.Replace(form, "v1-1", "v1-2", 1), start.AddDate(0, 0, -36).Unix())
	want := fmt.Sprintf("The event timestamp cannot be more than 35 days in past. Expected a timestamp greater than or equal to %d.", start.AddDate(0, 0, -35).Unix())
	if got := r.post(v1Events, old); got.Message != want {
		t.Errorf("what is too old is answered %+v", got)
	}
	for _, c := range []struct{ form, code string }{
		{"payload[a]=b", "parameter_missing"},
		{"event_name=sum", "parameter_missing"},
		{form + "&more=1", "parameter_unknown"},
		{form + "&timestamp=2026-03-02T10:15:00Z", "parameter_invalid_integer"},
	} {
		r.want(r.post(v1Events, c.form), 400, c.code)
	}
	if got := r.get("/v1/nope"); got.Status != 404 || got.Message != "Unrecognized request URL (GET: /v1/nope)." {
		t.Errorf("an unknown path is answered %+v", got)
	}
	r.want(r.get("/v2/nope"), 404, "not_found")
}

func TestAnIdentifierIsRememberedForADayFromItsReceipt(t *testing.T) {
	for _, perMeter := range []bool{false, true} {
		r := newRig(t, fakestripe.Config{PerMeter: perMeter})
		r.stream(usage("sum", "a", "2", start), usage("sum", "a", "2", start), usage("sum", "", "1", start), usage("sum", "", "1", start))
		r.want(r.post(eventsPath, usage("sum", "a", "2", start)), 400, "duplicate_meter_event")
		r.stream(usage("last", "a", "7", start))
		other := map[string]int64{fakestripe.Counted: 3, fakestripe.Duplicate: 3}
		conflicts := int64(1)
		if perMeter {
			other = map[string]int64{fakestripe.Counted: 4, fakestripe.Duplicate: 2}
			conflicts = 0
		}
		r.wantCounts(other)
		if s := r.State(acct); s.Conflicts != conflicts || s.Twice != 0 {
			t.Errorf("saw %+v", s)
		}
		r.at = start.Add(24*time.Hour - time.Millisecond)
		r.open()
		r.stream(usage("sum", "a", "2", start))
		if r.sum("sum") != "4" || r.State(acct).Twice != 0 {
			t.Errorf("within the day it counted again: %s", r.sum("sum"))
		}
		r.at = start.Add(24 * time.Hour)
		r.stream(usage("sum", "a", "2", start))
		if s := r.State(acct); r.sum("sum") != "6" || s.Twice != 1 || s.TwiceOf[0] != "a" {
			t.Errorf("after the day: %s, %+v", r.sum("sum"), s)
		}
		if e, _ := r.Event(acct, "sum", "a"); e.Counted != 2 || e.Conflict != !perMeter || e.First != start || e.Last != r.at {
			t.Errorf("knows %+v", e)
		}
	}
}

func TestWhatWasRefusedLeavesItsIdentifierFree(t *testing.T) {
	r := newRig(t, fakestripe.Config{})
	r.stream(usage("nothing", "a", "2", start))
	if e, _ := r.Event(acct, "", "a"); e.Reason != fakestripe.NoMeter || e.Counted != 0 {
		t.Errorf("knows %+v", e)
	}
	if _, err := r.CreateMeter(acct, fakestripe.Meter{EventName: "nothing"}); err != nil {
		t.Fatal(err)
	}
	r.stream(usage("nothing", "a", "2", start))
	if e, _ := r.Event(acct, "", "a"); e.Reason != "" || e.Counted != 1 || e.Seen != 2 {
		t.Errorf("knows %+v", e)
	}
}

func TestASessionEndsAndIsTypedAndATokenIsNoKey(t *testing.T) {
	r := newRig(t, fakestripe.Config{})
	event := usage("sum", "", "1", time.Time{})
	r.want(r.stream(event), 200, "")
	r.Jump(15 * time.Minute)
	r.want(r.stream(event), 200, "")
	r.Jump(time.Millisecond)
	got := r.stream(event)
	if r.want(got, 401, "billing_meter_event_session_expired"); got.Type != "temporary_session_expired" || !strings.Contains(got.Body, "doc_url") {
		t.Errorf("answered %s", got.Body)
	}
	for _, c := range []struct{ path, secret, code string }{
		{streamPath, key, "invalid_api_key"}, {streamPath, "", "invalid_api_key"}, {eventsPath, r.token, "invalid_api_key"}, {v1Events, "sk_test_9", ""},
	} {
		r.want(r.do(t.Context(), http.MethodPost, c.path, c.secret, body(event)), 401, c.code)
	}
	r.open()
	r.RevokeSessions(acct)
	r.want(r.stream(event), 401, "billing_meter_event_session_expired")
	r.open()
	r.Restart()
	r.want(r.stream(event), 401, "invalid_api_key")
	r.open()
	r.want(r.stream(event), 200, "")
	r.wantCounts(map[string]int64{fakestripe.Counted: 3})
}

func TestACancellationTakesAnEventOutWithinADay(t *testing.T) {
	cancel := func(name, identifier string) string {
		return fmt.Sprintf(`{"event_name":%q,"type":"cancel","cancel":{"identifier":%q}}`, name, identifier)
	}
	r := newRig(t, fakestripe.Config{})
	r.stream(usage("sum", "a", "2.5", start), usage("sum", "b", "1", start), usage("last", "c", "8", start.Add(-time.Second)), usage("last", "d", "9", start))
	r.want(r.post(adjustPath, cancel("sum", "a")), 200, "")
	r.want(r.post(adjustPath, cancel("sum", "a")), 200, "")
	r.want(r.post(v1Adjust, "event_name=last&type=cancel&cancel[identifier]=d"), 200, "")
	if r.sum("sum") != "1" || r.sum("last") != "8" {
		t.Errorf("left are %s and %s", r.sum("sum"), r.sum("last"))
	}
	r.stream(usage("sum", "a", "2.5", start))
	r.wantCounts(map[string]int64{fakestripe.Counted: 4, fakestripe.Cancelled: 2, fakestripe.Duplicate: 1})
	for _, bad := range []string{cancel("sum", "zz"), cancel("last", "b")} {
		r.want(r.post(adjustPath, bad), 400, "invalid_cancel_configuration")
	}
	r.want(r.post(adjustPath, `{"event_name":"sum","type":"other","cancel":{"identifier":"b"}}`), 400, "invalid_fields")
	r.want(r.post(v1Adjust, "event_name=sum&type=cancel"), 400, "parameter_missing")
	r.at = start.Add(24*time.Hour + time.Millisecond)
	r.want(r.post(adjustPath, cancel("sum", "b")), 400, "invalid_cancel_configuration")
}

func TestAnIdempotencyKeyReplaysByTheRulesOfEachVersion(t *testing.T) {
	r := newRig(t, fakestripe.Config{})
	form := "event_name=sum&payload[stripe_customer_id]=cus_1&payload[value]=1"
	first := r.post(v1Events+" k1", form)
	if again := r.post(v1Events+" k1", form); again.Body != first.Body || again.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("again: %+v", again)
	}
	if other := r.post(v1Events+" k1", form+"&identifier=x"); other.Type != "idempotency_error" || other.Status != 400 {
		t.Errorf("with other parameters: %+v", other)
	}
	r.want(r.post(eventsPath+" k1", usage("sum", "v2", "1", start)), 200, "")

	// v1 gives its 500 again although the event counted; v2 gives what the execution came to.
	_ = r.Script(fakestripe.EventsV1, fakestripe.ErrorAfter)
	_ = r.Script(fakestripe.Events, fakestripe.ErrorAfter)
	for range 2 {
		r.want(r.post(v1Events+" k2", form), 500, "internal_error")
	}
	r.want(r.post(eventsPath+" k2", usage("sum", "v2b", "1", start)), 500, "internal_error")
	r.want(r.post(eventsPath+" k2", usage("sum", "v2b", "1", start)), 200, "")
	r.wantCounts(map[string]int64{fakestripe.Counted: 4})
	r.at = start.Add(24 * time.Hour)
	r.want(r.post(v1Events+" k1", form), 200, "")
	r.wantCounts(map[string]int64{fakestripe.Counted: 5})
}
