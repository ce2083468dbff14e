package fakestripe_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tollgate/test/fakestripe"
)

func TestATestInAnotherProcessSeesAndDoesTheSame(t *testing.T) {
	r := newRig(t, fakestripe.Config{})
	server := httptest.NewServer(r.Admin())
	defer server.Close()
	ask := func(method, path, body string, status int, into any) {
		t.Helper()
		got := do(t.Context(), server.Client().Transport, server.URL, method, path, "", body)
		if got.Status != status || into != nil && json.Unmarshal([]byte(got.Body), into) != nil {
			t.Errorf("%s %s: %+v", method, path, got)
		}
	}
	ask(http.MethodPost, "/fake/meters?business=acct_1", `{"event_name":"more","formula":"count"}`, 200, nil)
	ask(http.MethodPost, "/fake/meters?business=acct_1", `{"event_name":"more"}`, 400, nil)
	ask(http.MethodPost, "/fake/faults", `[{"kind":"unavailable","endpoint":"stream","times":1}]`, 200, nil)
	ask(http.MethodPost, "/fake/faults", `[{"kind":"nonsense"}]`, 400, nil)
	r.want(r.stream(usage("more", "a", "", start)), 503, "service_unavailable")
	r.want(r.stream(usage("more", "a", "", start), usage("sum", "b", "2.50", start)), 200, "")

	var states []fakestripe.State
	ask(http.MethodGet, "/fake/state", "", 200, &states)
	if len(states) != 3 || states[0].Account != acct || states[0].Counts[fakestripe.Counted] != 2 {
		t.Errorf("the state is %+v", states)
	}
	var totals []fakestripe.Total
	ask(http.MethodGet, "/fake/totals?business=acct_1", "", 200, &totals)
	if len(totals) != 2 || totals[1] != (fakestripe.Total{EventName: "sum", Customer: "cus_1", Minute: start.Unix(), Value: "2.5", Count: 1}) {
		t.Errorf("the totals are %+v", totals)
	}
	var event fakestripe.Event
	ask(http.MethodGet, "/fake/event?business=acct_1&identifier=b", "", 200, &event)
	if event != mustEvent(t, r, "b") {
		t.Errorf("the event is %+v", event)
	}
	ask(http.MethodGet, "/fake/event?business=acct_1&identifier=c", "", 404, nil)
	if got := do(t.Context(), server.Client().Transport, server.URL, http.MethodGet, "/fake/events?business=acct_1", "", ""); strings.Count(got.Body, "\n") != 2 {
		t.Errorf("the events are %s", got.Body)
	}
	var sum struct{ Value string }
	ask(http.MethodGet, "/fake/sum?business=acct_1&event_name=sum&customer=cus_1&start=0&end=4000000000", "", 200, &sum)
	if sum.Value != "2.5" {
		t.Errorf("the sum is %q", sum.Value)
	}
	var log []fakestripe.Request
	ask(http.MethodGet, "/fake/requests", "", 200, &log)
	if len(log) != 3 || log[2].Applied != 2 {
		t.Errorf("the requests are %+v", log)
	}
	ask(http.MethodPost, "/fake/limits", `{"session_events":1}`, 200, nil)
	r.want(r.stream(many("x", 2)...), 429, "rate_limit")
	ask(http.MethodPost, "/fake/limits", `{}`, 200, nil)
	ask(http.MethodPost, "/fake/jump?by=16m", "", 200, nil)
	r.want(r.stream(many("x", 1)...), 401, "billing_meter_event_session_expired")
	r.open()
	ask(http.MethodPost, "/fake/revoke?business=acct_1", "", 200, nil)
	r.want(r.stream(many("x", 1)...), 401, "billing_meter_event_session_expired")
	ask(http.MethodPost, "/fake/restart", "", 200, nil)
	r.want(r.stream(many("x", 1)...), 401, "invalid_api_key")
	ask(http.MethodPost, "/fake/release", "", 200, nil)
	ask(http.MethodDelete, "/fake/faults", "", 200, nil)
	ask(http.MethodPost, "/fake/jump?by=soon", "", 400, nil)
}

func mustEvent(t *testing.T, r *rig, identifier string) fakestripe.Event {
	t.Helper()
	e, ok := r.Event(acct, "", identifier)
	if !ok {
		t.Fatalf("%s is not known", identifier)
	}
	e.Timestamp, e.First, e.Last = e.Timestamp.In(time.UTC), e.First.In(time.UTC), e.Last.In(time.UTC)
	return e
}
