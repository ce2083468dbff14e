package httpd

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tollgate/pkg/control"
	"tollgate/pkg/ingest"
)

const (
	metersPath = "/v1/billing/meters"
	meterForm  = "display_name=API calls&event_name=api_calls&default_aggregation[formula]=sum"
)

// aMeter is what tests read of a meter.
type aMeter struct {
	ID, Object, Status string
	DisplayName        string `json:"display_name"`
	EventName          string `json:"event_name"`
	Window             *string
	Livemode           bool
	Updated            int64
	CustomerMapping    struct {
		Key string `json:"event_payload_key"`
	} `json:"customer_mapping"`
	ValueSettings struct {
		Key string `json:"event_payload_key"`
	} `json:"value_settings"`
	Transitions struct {
		DeactivatedAt *int64 `json:"deactivated_at"`
	} `json:"status_transitions"`
}

type aList struct {
	Object, URL string
	HasMore     bool `json:"has_more"`
	Data        []aMeter
}

func (a *answer) into(t testing.TB, v any) {
	t.Helper()
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
}

func (f *fixture) meter(c call) (m aMeter) {
	f.t.Helper()
	f.do(c).into(f.t, &m)
	return m
}

func TestAMeterIsCreatedReadChangedAndPutToSleep(t *testing.T) {
	f := newFixture(t, nil)
	m := f.meter(call{path: metersPath, key: testKey, body: meterForm})
	if !strings.HasPrefix(m.ID, "mtr_test_") || m.Object != "billing.meter" || m.Status != "active" || m.DisplayName != "API calls" ||
		m.CustomerMapping.Key != "stripe_customer_id" || m.ValueSettings.Key != "value" || m.Livemode || m.Transitions.DeactivatedAt != nil {
		t.Errorf("%+v", m)
	}
	path := metersPath + "/" + m.ID
	if got := f.meter(call{method: "GET", path: path, key: readerKey}); got != m {
		t.Errorf("read %+v, not %+v", got, m)
	}
	if got := f.meter(call{path: path, key: testKey, body: "display_name=Calls%20v2&expand[]=x"}); got.DisplayName != "Calls v2" || got.ID != m.ID {
		t.Errorf("renamed %+v", got)
	}
	if got := f.meter(call{path: path, key: testKey}); got.DisplayName != "Calls v2" {
		t.Errorf("without a change %+v", got)
	}
	for range 2 {
		if got := f.meter(call{path: path + "/deactivate", key: testKey}); got.Status != "inactive" || got.Transitions.DeactivatedAt == nil {
			t.Errorf("deactivated %+v", got)
		}
	}
	e := f.do(call{path: metersPath, key: testKey, body: meterForm}).failure(t)
	if e.Param != "event_name" || !strings.Contains(e.Message, m.ID) {
		t.Errorf("the name of a meter that sleeps: %+v", e)
	}
	for range 2 {
		if got := f.meter(call{path: path + "/reactivate", key: testKey}); got.Status != "active" || got.Transitions.DeactivatedAt != nil {
			t.Errorf("reactivated %+v", got)
		}
	}
	// The other mode and the other business have their own.
	if got := f.meter(call{path: metersPath, key: liveKey, body: meterForm}); !got.Livemode || strings.HasPrefix(got.ID, "mtr_test_") {
		t.Errorf("live %+v", got)
	}
	if a := f.do(call{method: "GET", path: path, key: otherKey}); a.status != 404 {
		t.Errorf("another's meter: %d %s", a.status, a.body)
	}
	if a := f.do(call{method: "GET", path: path, key: liveKey}); a.status != 404 {
		t.Errorf("the other mode's meter: %d %s", a.status, a.body)
	}
}

func TestAMeterHasWhatItsFormSays(t *testing.T) {
	f := newFixture(t, nil)
	m := f.do(call{path: metersPath, key: testKey, body: "display_name=A&event_name=a&default_aggregation%5Bformula%5D=last&event_time_window=day" +
		"&customer_mapping[event_payload_key]=who&customer_mapping[type]=by_id&value_settings[event_payload_key]=much&expand=x&expand=y&expand[0]=z"})
	for _, want := range []string{
		`"default_aggregation":{"formula":"last"}`, `"event_time_window":"day"`, `"customer_mapping":{"event_payload_key":"who","type":"by_id"}`,
		`"value_settings":{"event_payload_key":"much"}`,
	} {
		if m.status != 200 || !strings.Contains(m.body, want) {
			t.Errorf("%d %s lacks %s", m.status, m.body, want)
		}
	}
}

func TestMetersAreListedNewestFirstAPageAtATime(t *testing.T) {
	f := newFixture(t, nil)
	var ids []string // newest first
	for i := range 25 {
		m := f.control.meter(t, "acct_other", false, control.NewMeter{EventName: fmt.Sprintf("m%d", i)})
		ids = append([]string{m.ID}, ids...)
	}
	for _, i := range []int{0, 3, 6} {
		f.do(call{path: metersPath + "/" + ids[i] + "/deactivate", key: otherKey})
	}
	list := func(query string) (l aList) {
		t.Helper()
		f.do(call{method: "GET", path: metersPath + query, key: otherKey}).into(t, &l)
		if l.Object != "list" || l.URL != metersPath {
			t.Errorf("%+v", l)
		}
		return l
	}
	check := func(query string, more bool, want ...string) {
		t.Helper()
		l := list(query)
		var got []string
		for _, m := range l.Data {
			got = append(got, m.ID)
		}
		if l.HasMore != more || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v more %v, not %v %v", query, got, l.HasMore, want, more)
		}
	}
	check("", true, ids[:10]...)
	check("?limit=100", false, ids...)
	check("?limit=3&starting_after="+ids[9], true, ids[10:13]...)
	check("?limit=3&starting_after="+ids[21], false, ids[22:]...)
	check("?limit=3&starting_after="+ids[24], false)
	check("?limit=3&ending_before="+ids[9], true, ids[6:9]...)
	check("?limit=3&ending_before="+ids[3], false, ids[:3]...)
	check("?limit=3&ending_before="+ids[0], false)
	check("?status=inactive", false, ids[0], ids[3], ids[6])
	check("?status=inactive&limit=1&starting_after="+ids[1], true, ids[3])
	check("?status=active&limit=2&ending_before="+ids[6], true, ids[4], ids[5])
	check("?expand%5B%5D=data&expand[]=x&limit=1", true, ids[0])
	var l aList
	f.do(call{method: "GET", path: metersPath, key: thirdKey}).into(t, &l)
	if l.Data == nil || len(l.Data) > 0 {
		t.Errorf("a business without meters: %+v", l)
	}
}

func TestRequestsAboutMetersAreRefusedWithCodeAndParam(t *testing.T) {
	f := newFixture(t, nil)
	with := func(old, by string) string { return strings.Replace(meterForm, old, by, 1) }
	one := f.meter(call{path: metersPath, key: testKey, body: meterForm})
	path := metersPath + "/" + one.ID
	for _, row := range []struct {
		name   string
		call   call
		status int
		code   string
		param  string
		saying string
	}{
		{"no display name", call{path: metersPath, body: with("display_name=API calls&", "")}, 400, "parameter_missing", "display_name", "Missing required param: display_name."},
		{"no event name", call{path: metersPath, body: with("event_name=api_calls&", "")}, 400, "parameter_missing", "event_name", ""},
		{"no formula", call{path: metersPath, body: "display_name=a&event_name=b"}, 400, "parameter_missing", "default_aggregation[formula]", ""},
		{"an empty name", call{path: metersPath, body: with("API calls", "")}, 400, "parameter_invalid_empty", "display_name", ""},
		{"an unknown formula", call{path: metersPath, body: with("sum", "max")}, 400, "", "default_aggregation[formula]", "count, last or sum"},
		{"an unknown window", call{path: metersPath, body: meterForm + "&event_time_window=week"}, 400, "", "event_time_window", "day or hour"},
		{"an unknown mapping", call{path: metersPath, body: meterForm + "&customer_mapping[type]=by_name&customer_mapping[event_payload_key]=k"}, 400, "", "customer_mapping[type]", "by_id"},
		{"half a mapping", call{path: metersPath, body: meterForm + "&customer_mapping[type]=by_id"}, 400, "parameter_missing", "customer_mapping[event_payload_key]", ""},
		{"the other half", call{path: metersPath, body: meterForm + "&customer_mapping[event_payload_key]=k"}, 400, "parameter_missing", "customer_mapping[type]", ""},
		{"a field of a mapping that is none", call{path: metersPath, body: meterForm + "&value_settings[event_payload_key]=k&value_settings[x]=k"}, 400, "parameter_unknown", "value_settings[x]", ""},
		{"no field of value settings", call{path: metersPath, body: meterForm + "&value_settings[x]=k"}, 400, "parameter_missing", "value_settings[event_payload_key]", ""},
		{"an unknown parameter", call{path: metersPath, body: meterForm + "&color=red"}, 400, "parameter_unknown", "color", ""},
		{"a parameter twice", call{path: metersPath, body: meterForm + "&event_name=b"}, 400, "", "event_name", "more than once"},
		{"a long display name", call{path: metersPath, body: with("API calls", strings.Repeat("%C3%BC", 251))}, 400, "", "display_name", "250 characters"},
		{"a long event name", call{path: metersPath, body: with("api_calls", strings.Repeat("x", 101))}, 400, "", "event_name", "100 characters"},
		{"a line in an event name", call{path: metersPath, body: with("api_calls", "a%0Ab")}, 400, "", "event_name", "control characters"},
		{"a long key", call{path: metersPath, body: meterForm + "&value_settings[event_payload_key]=" + strings.Repeat("x", 101)}, 400, "", "value_settings[event_payload_key]", "100 characters"},
		{"a key of many bytes", call{path: metersPath, body: meterForm + "&value_settings[event_payload_key]=" + strings.Repeat("%C3%BC", 51)}, 400, "", "value_settings[event_payload_key]", "100 bytes"},
		{"a name that is taken", call{path: metersPath, body: meterForm}, 400, "", "event_name", one.ID},
		{"JSON", call{path: metersPath, body: "{}", contentType: "application/json"}, 415, "", "", "x-www-form-urlencoded"},
		{"no form", call{path: metersPath, body: "a=%zz"}, 400, "", "a", ""},

		{"an update of what can not change", call{path: path, body: "event_name=x"}, 400, "parameter_unknown", "event_name", ""},
		{"an update of both", call{path: path, body: "display_name=x&default_aggregation[formula]=sum"}, 400, "parameter_unknown", "default_aggregation[formula]", ""},
		{"an update to nothing", call{path: path, body: "display_name="}, 400, "parameter_invalid_empty", "display_name", ""},
		{"a parameter of a deactivation", call{path: path + "/deactivate", body: "why=x"}, 400, "parameter_unknown", "why", ""},
		{"a parameter of a retrieval", call{method: "GET", path: path + "?why=x"}, 400, "parameter_unknown", "why", ""},

		{"no such meter", call{method: "GET", path: metersPath + "/mtr_x"}, 404, "resource_missing", "id", "No such billing meter: 'mtr_x'"},
		{"no such meter to update", call{path: metersPath + "/mtr_x", body: "display_name=x"}, 404, "resource_missing", "id", "'mtr_x'"},
		{"no such meter to deactivate", call{path: metersPath + "/mtr_x/deactivate"}, 404, "resource_missing", "id", "'mtr_x'"},
		{"no such meter to reactivate", call{path: metersPath + "/mtr_x/reactivate"}, 404, "resource_missing", "id", "'mtr_x'"},
		{"a meter with an escape", call{method: "GET", path: metersPath + "/mtr%5Fx%2F"}, 404, "resource_missing", "id", "'mtr_x/'"},
		{"an escape that is none", call{method: "GET", path: metersPath + "/%FF"}, 404, "", "", "Unrecognized request URL (GET: /v1/billing/meters/%FF)."},

		{"an unknown status", call{method: "GET", path: metersPath + "?status=asleep"}, 400, "", "status", "active or inactive"},
		{"no limit", call{method: "GET", path: metersPath + "?limit=0"}, 400, "", "limit", "between 1 and 100"},
		{"a large limit", call{method: "GET", path: metersPath + "?limit=101"}, 400, "", "limit", "between 1 and 100"},
		{"a limit in words", call{method: "GET", path: metersPath + "?limit=ten"}, 400, "parameter_invalid_integer", "limit", ""},
		{"no such cursor", call{method: "GET", path: metersPath + "?starting_after=mtr_x"}, 400, "resource_missing", "starting_after", "'mtr_x'"},
		{"no such cursor before", call{method: "GET", path: metersPath + "?ending_before=mtr_x"}, 400, "resource_missing", "ending_before", "'mtr_x'"},
		{"two cursors", call{method: "GET", path: metersPath + "?ending_before=a&starting_after=b"}, 400, "", "ending_before", "together"},
		{"an unknown filter", call{method: "GET", path: metersPath + "?name=a"}, 400, "parameter_unknown", "name", ""},
		{"a query that is no form", call{method: "GET", path: metersPath + "?a[=1"}, 400, "", "", "brackets"},

		{"another method", call{method: "DELETE", path: metersPath}, 405, "", "", "Use GET, POST."},
		{"another method of a meter", call{method: "PUT", path: path}, 405, "", "", "Use GET, POST."},
		{"GET of a deactivation", call{method: "GET", path: path + "/deactivate"}, 405, "", "", "Use POST."},
		{"a key that only reads", call{path: metersPath, key: readerKey, body: meterForm}, 403, "", "", "billing_meter_write"},
		{"a key for events", call{method: "GET", path: metersPath, key: eventsOnlyKey}, 403, "", "", "billing_meter_read"},
		{"a token", call{method: "GET", path: metersPath, key: f.token(testKey)}, 401, "", "", "session token"},
		{"no key", call{method: "GET", path: metersPath, key: "sk_test_wrong"}, 401, "", "", "Invalid API key"},
		{"another account", call{method: "GET", path: metersPath, header: map[string]string{"Stripe-Account": "acct_other"}}, 403, "", "", "acct_other"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := &fixture{t: t, srv: f.srv, addr: f.addr}
			if row.call.key == "" {
				row.call.key = testKey
			}
			a := f.do(row.call)
			e := a.failure(t)
			if a.status != row.status || e.Code != row.code || e.Param != row.param || !strings.Contains(e.Message, row.saying) {
				t.Errorf("%d %s\nnot %d %s on %s with %q", a.status, a.body, row.status, row.code, row.param, row.saying)
			}
		})
	}
	if got := f.meter(call{method: "GET", path: path, key: testKey}); got != one {
		t.Errorf("what was refused has changed %+v to %+v", one, got)
	}
	if a := f.do(call{method: "PATCH", path: path, key: testKey}); a.header.Get("Allow") != "GET, POST" {
		t.Errorf("Allow: %q", a.header.Get("Allow"))
	}
}

func TestMetersThatCanNotBeReadAreUnavailable(t *testing.T) {
	f := newFixture(t, nil)
	m := f.meter(call{path: metersPath, key: testKey, body: meterForm})
	f.control.away.Store(true)
	for _, c := range []call{
		{method: "GET", path: metersPath},
		{method: "GET", path: metersPath + "/" + m.ID},
		{method: "GET", path: metersPath + "/mtr_x"},
		{path: metersPath, body: meterForm},
		{path: metersPath + "/" + m.ID + "/deactivate"},
		{path: metersPath + "/mtr_x", body: "display_name=x"},
	} {
		c.key = testKey
		a := f.do(c)
		if e := a.failure(t); a.status != 503 || e.Code != "service_unavailable" || a.header.Get("Retry-After") == "" || a.header.Get("Stripe-Should-Retry") != "true" {
			t.Errorf("%s %s: %d %v %s", c.method, c.path, a.status, a.header, a.body)
		}
	}
	f.control.away.Store(false)
	for _, row := range []struct {
		err  error
		code string
	}{
		{ingest.ErrUnavailable, "service_unavailable"},
		{fmt.Errorf("it may be: %w", ingest.ErrUnknown), "outcome_unknown"},
		{fmt.Errorf("never heard of"), "outcome_unknown"},
	} {
		f.control.err.Store(&row.err)
		a := f.do(call{path: metersPath + "/" + m.ID + "/deactivate", key: testKey})
		if e := a.failure(t); a.status != 503 || e.Code != row.code {
			t.Errorf("%v: %d %s", row.err, a.status, a.body)
		}
	}
}

func TestAnIdempotencyKeyBringsTheSameAnswerAgain(t *testing.T) {
	f := newFixture(t, nil)
	keyed := func(key, path, body string) *answer {
		t.Helper()
		return f.do(call{path: path, key: testKey, body: body, header: map[string]string{"Idempotency-Key": key}})
	}
	same := func(what string, a, b *answer) {
		t.Helper()
		if a.status != b.status || a.body != b.body || a.header.Get(headerReplayed) != "" || b.header.Get(headerReplayed) != "true" {
			t.Errorf("%s: %d %s, and again %d %s %v", what, a.status, a.body, b.status, b.body, b.header)
		}
	}
	first := keyed("k1", metersPath, meterForm)
	same("a creation, spelt otherwise", first, keyed("k1", metersPath, "event_name=api_calls&default_aggregation%5Bformula%5D=sum&display_name=API+calls"))
	var m aMeter
	first.into(t, &m)
	path := metersPath + "/" + m.ID
	// A refusal is not kept. The name is taken for ever, so that it is said again in the same words.
	taken := keyed("k2", metersPath, meterForm)
	if again := keyed("k2", metersPath, meterForm); taken.status != 400 || again.body != taken.body {
		t.Errorf("%d %s, and again %s", taken.status, taken.body, again.body)
	}
	renamed := keyed("k3", path, "display_name=x")
	keyed("k4", path, "display_name=y")
	same("a name of before", renamed, keyed("k3", path, "display_name=x"))
	asleep := keyed("k5", path+"/deactivate", "")
	keyed("k6", path+"/reactivate", "")
	same("a deactivation of before", asleep, keyed("k5", path+"/deactivate", ""))
	awake := keyed("k8", path+"/reactivate", "")
	same("what was so already", awake, keyed("k8", path+"/reactivate", ""))
	if got := f.meter(call{method: "GET", path: path, key: testKey}); got.Status != "active" || got.DisplayName != "y" {
		t.Errorf("a replay has changed something: %+v", got)
	}
	for what, a := range map[string]*answer{
		"other parameters":                  keyed("k1", metersPath, meterForm+"&event_time_window=day"),
		"parameters that would be refused":  keyed("k1", metersPath, "display_name="),
		"another path":                      keyed("k3", path+"/deactivate", ""),
		"another meter":                     keyed("k5", metersPath+"/mtr_x/deactivate", ""),
		"the same parameters, another path": keyed("k5", path+"/reactivate", ""),
		"the key of what was so already":    keyed("k8", path, "display_name=z"),
	} {
		if e := a.failure(t); a.status != 400 || e.Type != "idempotency_error" || e.Code != "" {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	// What is refused before anything is done is not kept.
	if a := keyed("k7", metersPath, "display_name="); a.status != 400 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := keyed("k7", metersPath, strings.Replace(meterForm, "api_calls", "seven", 1)); a.status != 200 {
		t.Errorf("a corrected request: %d %s", a.status, a.body)
	}
	// Another business, and another mode, have keys of their own.
	if a := f.do(call{path: metersPath, key: liveKey, body: meterForm, header: map[string]string{"Idempotency-Key": "k1"}}); a.status != 200 || a.header.Get(headerReplayed) != "" {
		t.Errorf("live: %d %s", a.status, a.body)
	}
	if a := f.do(call{path: metersPath, key: testKey, body: meterForm, header: map[string]string{"Idempotency-Key": "a\tb"}}); a.status != 400 || !strings.Contains(a.body, "printable") {
		t.Errorf("a key that is no text: %d %s", a.status, a.body)
	}
}

func TestAnIdempotencyKeyInFlightIsAConflictWhileItIs(t *testing.T) {
	f := newFixture(t, nil)
	hold := make(chan struct{})
	f.control.hold.Store(&hold)
	keyed := call{path: metersPath, key: testKey, body: meterForm, header: map[string]string{"Idempotency-Key": "k1"}}
	first := make(chan *answer)
	go func() {
		a, _ := f.try(keyed)
		first <- a
	}()
	waitFor(t, "the first is in flight", func() bool { return f.control.held.Load() == 1 })
	a := f.do(keyed)
	if e := a.failure(t); a.status != 409 || e.Code != "idempotency_key_in_use" || e.Type != "invalid_request_error" {
		t.Errorf("%d %s", a.status, a.body)
	}
	f.control.hold.Store(nil)
	live := keyed
	live.key = liveKey
	if a := f.do(live); a.status != 200 {
		t.Errorf("the other mode's: %d %s", a.status, a.body)
	}
	close(hold)
	if a := <-first; a == nil || a.status != 200 {
		t.Errorf("the first: %+v", a)
	}
	if a := f.do(keyed); a.status != 200 || a.header.Get(headerReplayed) != "true" {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
	if n := len(f.srv.inFlight.keys); n != 0 {
		t.Errorf("%d keys are still in flight", n)
	}
}

// TestAKeysFingerprintIsOfItsOwnRequestOnly: what an exchange served before is no part of it.
func TestAKeysFingerprintIsOfItsOwnRequestOnly(t *testing.T) {
	f := newFixture(t, nil)
	m := f.meter(call{path: metersPath, key: testKey, body: meterForm})
	create := call{path: metersPath, key: testKey, body: "display_name=a&event_name=a&default_aggregation[formula]=sum", header: map[string]string{"Idempotency-Key": "k1"}}
	for i := range 20 {
		if i%2 == 1 {
			f.do(call{method: "GET", path: metersPath + "/" + m.ID + fmt.Sprint(i), key: testKey})
		}
		if a := f.do(create); a.status != 200 {
			t.Fatalf("the %d. time: %d %s", i+1, a.status, a.body)
		}
	}
}
