package httpd

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"tollgate/pkg/control"
	"tollgate/pkg/ingest"
)

const (
	streamPath      = "/v2/billing/meter_event_stream"
	sessionPath     = "/v2/billing/meter_event_session"
	eventsPath      = "/v2/billing/meter_events"
	adjustmentsPath = "/v2/billing/meter_event_adjustments"
	v1EventsPath    = "/v1/billing/meter_events"
	v1AdjustPath    = "/v1/billing/meter_event_adjustments"
)

const (
	oneMeterEvent = `{"event_name":"api_requests","identifier":"id_1","payload":{"stripe_customer_id":"cus_1","value":"25"}}`
	oneAdjustment = `{"event_name":"api_requests","type":"cancel","cancel":{"identifier":"id_1"}}`
	formEvent     = "event_name=api_requests&identifier=id_1&payload[stripe_customer_id]=cus_1&payload%5Bvalue%5D=25"
	formAdjust    = "event_name=api_requests&type=cancel&cancel[identifier]=id_1"
)

func TestASessionStreamsEventsIntoTheLog(t *testing.T) {
	f := newFixture(t, nil)
	a := f.do(call{path: sessionPath, key: testKey, body: "{}"})
	var session struct {
		Object, ID, Created string
		ExpiresAt           string `json:"expires_at"`
		Livemode            *bool
		Token               string `json:"authentication_token"`
	}
	if err := json.Unmarshal([]byte(a.body), &session); err != nil || a.status != 200 {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	if session.Object != "v2.billing.meter_event_session" || !strings.HasPrefix(session.ID, "mtes_test_") || session.Livemode == nil || *session.Livemode {
		t.Errorf("session %+v", session)
	}
	a = f.do(call{path: streamPath, key: session.Token, body: oneEvent, header: map[string]string{"Idempotency-Key": "key-1", "Stripe-Version": "2026-07-29.dahlia"}})
	if a.status != 200 || a.body != "{}" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "Idempotency-Key": "key-1", "Stripe-Version": "2026-07-29.dahlia"} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if id := a.header.Get("Request-Id"); !regexp.MustCompile(`^req_[0-9A-Za-z]{22}$`).MatchString(id) {
		t.Errorf("Request-Id %q", id)
	}
	if a.header.Get("Server") != "" {
		t.Errorf("Server %q", a.header.Get("Server"))
	}
	records := f.records()
	if len(records) != 1 || string(records[0].Key) != "acct_demo/testmode/api_requests" {
		t.Fatalf("records %v", records)
	}
	value := regexp.MustCompile(`"20[^"]*Z"`).ReplaceAllString(string(records[0].Value), `"…Z"`)
	want := `{"object":"meter_event","business":"acct_demo","livemode":false,"event_name":"api_requests","identifier":"id_1","timestamp":"…Z","received":"…Z","payload":{"stripe_customer_id":"cus_1","value":"25"}}`
	if value != want {
		t.Errorf("the record is\n%s, not\n%s", value, want)
	}
}

// TestRefusalsAreTheContractsEnvelopes is the table of what each endpoint refuses, and in which words an SDK sees it.
func TestRefusalsAreTheContractsEnvelopes(t *testing.T) {
	f := newFixture(t, nil)
	token := f.token(testKey)
	f.control.meter(t, "acct_demo", false, control.NewMeter{EventName: "named", CustomerKey: "who", ValueKey: "much"})
	f.control.meter(t, "acct_demo", false, control.NewMeter{EventName: "counted", Formula: control.Count})
	f.control.sleep(t, f.control.meter(t, "acct_demo", false, control.NewMeter{EventName: "asleep"}))
	header := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	rows := []struct {
		name   string
		call   call
		status int
		typ    string
		code   string
		saying string // part of the message
	}{
		{"no such v2 path", call{path: "/v2/billing/nothing", key: testKey}, 404, "invalid_request_error", "not_found", "Unrecognized request URL (POST: /v2/billing/nothing)."},
		{"no such v1 path", call{path: "/v1/billing/nothing", key: testKey}, 404, "invalid_request_error", "", "Unrecognized request URL (POST: /v1/billing/nothing)."},
		{"the root of v1 with a query", call{path: "/v1?a=b", key: testKey}, 404, "invalid_request_error", "", "Unrecognized request URL (POST: /v1)."},
		{"an escaped path", call{path: "/v2/billing/meter%5fevents", key: testKey}, 404, "invalid_request_error", "not_found", "Unrecognized"},
		{"a path with a slash behind it", call{path: eventsPath + "/", key: testKey}, 404, "invalid_request_error", "not_found", "Unrecognized"},
		{"a path with two slashes", call{path: "/" + eventsPath, key: testKey}, 404, "invalid_request_error", "not_found", "Unrecognized"},
		{"GET of a known path", call{method: "GET", path: eventsPath, key: testKey}, 405, "invalid_request_error", "method_not_allowed", "Use POST"},
		{"DELETE of a known v1 path", call{method: "DELETE", path: v1EventsPath, key: testKey}, 405, "invalid_request_error", "", "Use POST"},
		{"OPTIONS", call{method: "OPTIONS", path: streamPath}, 405, "invalid_request_error", "method_not_allowed", "Use POST"},

		{"no key", call{path: eventsPath, body: oneMeterEvent}, 401, "invalid_request_error", "invalid_api_key", "No API key"},
		{"no key, v1", call{path: v1EventsPath, body: formEvent}, 401, "invalid_request_error", "", "No API key"},
		{"an unknown key", call{path: eventsPath, key: "sk_test_wrong", body: oneMeterEvent}, 401, "invalid_request_error", "invalid_api_key", "Invalid API key"},
		{"a token where a key belongs", call{path: eventsPath, key: token, body: oneMeterEvent}, 401, "invalid_request_error", "invalid_api_key", "session token was sent"},
		{"a key where a token belongs", call{path: streamPath, key: testKey, body: oneEvent}, 401, "invalid_request_error", "invalid_api_key", "Open a session"},
		{"an unknown key where a token belongs", call{path: streamPath, key: "sk_test_wrong", body: oneEvent}, 401, "invalid_request_error", "invalid_api_key", "Open a session"},
		{"no token", call{path: streamPath, body: oneEvent}, 401, "invalid_request_error", "invalid_api_key", "No API key"},
		{"a garbled token", call{path: streamPath, key: token[:len(token)-2] + "xx", body: oneEvent}, 401, "invalid_request_error", "invalid_api_key", "Invalid session token"},
		{"another scheme", call{path: eventsPath, body: oneMeterEvent, header: header("Authorization", "Digest x")}, 401, "invalid_request_error", "invalid_api_key", "can not be read"},
		{"a key without the permission", call{path: eventsPath, key: idleKey, body: oneMeterEvent}, 403, "invalid_request_error", "insufficient_permissions", "billing_meter_event_write"},
		{"a session without the permission", call{path: sessionPath, key: idleKey, body: "{}"}, 403, "invalid_request_error", "insufficient_permissions", "billing_meter_event_write"},
		{"an adjustment without its permission", call{path: adjustmentsPath, key: eventsOnlyKey, body: oneAdjustment}, 403, "invalid_request_error", "insufficient_permissions", "billing_meter_event_adjustment_write"},
		{"a v1 adjustment without its permission", call{path: v1AdjustPath, key: eventsOnlyKey, body: formAdjust}, 403, "invalid_request_error", "", "billing_meter_event_adjustment_write"},
		{"another's account", call{path: eventsPath, key: testKey, body: oneMeterEvent, header: header("Stripe-Account", "acct_other")}, 403, "invalid_request_error", "insufficient_permissions", "acct_other"},
		{"another's context on the stream", call{path: streamPath, key: token, body: oneEvent, header: header("Stripe-Context", "acct_other")}, 403, "invalid_request_error", "insufficient_permissions", "acct_other"},
		{"two accounts", call{path: eventsPath, key: testKey, body: oneMeterEvent, header: header("Stripe-Account", "acct_demo", "Stripe-Context", "acct_other")}, 400, "invalid_request_error", "invalid_fields", "different accounts"},
		{"a long Idempotency-Key", call{path: eventsPath, key: testKey, body: oneMeterEvent, header: header("Idempotency-Key", strings.Repeat("k", 256))}, 400, "invalid_request_error", "invalid_fields", "255"},

		{"curl -d without a content type", call{path: streamPath, key: token, body: oneEvent, contentType: "application/x-www-form-urlencoded"}, 415, "invalid_request_error", "unsupported_media_type", "Content-Type: application/json"},
		{"JSON to v1", call{path: v1EventsPath, key: testKey, body: oneMeterEvent, contentType: "application/json"}, 415, "invalid_request_error", "", "x-www-form-urlencoded"},
		{"an unknown encoding", call{path: streamPath, key: token, body: oneEvent, header: header("Content-Encoding", "br")}, 415, "invalid_request_error", "unsupported_content_encoding", "gzip or zstd"},
		{"two encodings", call{path: streamPath, key: token, body: oneEvent, header: header("Content-Encoding", "gzip, gzip")}, 415, "invalid_request_error", "unsupported_content_encoding", "gzip or zstd"},
		{"no gzip", call{path: streamPath, key: token, body: oneEvent, header: header("Content-Encoding", "gzip")}, 400, "invalid_request_error", "invalid_fields", "not valid gzip"},
		{"half a gzip", call{path: streamPath, key: token, body: gzipped(oneEvent)[:40], header: header("Content-Encoding", "gzip")}, 400, "invalid_request_error", "invalid_fields", "not valid gzip"},
		{"no zstd", call{path: streamPath, key: token, body: oneEvent, header: header("Content-Encoding", "zstd")}, 400, "invalid_request_error", "invalid_fields", "not valid zstd"},
		{"half a zstd", call{path: streamPath, key: token, body: zstandard(oneEvent)[:40], header: header("Content-Encoding", "zstd")}, 400, "invalid_request_error", "invalid_fields", "not valid zstd"},
		{"a gzip bomb", call{path: streamPath, key: token, body: gzipped(strings.Repeat(" ", 10<<20)), header: header("Content-Encoding", "gzip")}, 413, "invalid_request_error", "request_too_large", "1048576"},
		{"a zstd bomb", call{path: streamPath, key: token, body: zstandard(strings.Repeat(" ", 10<<20)), header: header("Content-Encoding", "zstd")}, 413, "invalid_request_error", "request_too_large", "1048576"},
		{"a zstd of a window that is too large", call{path: streamPath, key: token, body: zstandard(oneEvent, zstd.WithWindowSize(16<<20)), header: header("Content-Encoding", "zstd")}, 400, "invalid_request_error", "invalid_fields", "window of 8 MiB"},
		{"a body over the cap", call{path: streamPath, key: token, body: strings.Repeat(" ", 1<<20+1)}, 413, "invalid_request_error", "request_too_large", "1048576"},

		{"a session with parameters", call{path: sessionPath, key: testKey, body: `{"ttl":1}`}, 400, "invalid_request_error", "invalid_fields", "no parameters"},
		{"no JSON", call{path: streamPath, key: token, body: "{"}, 400, "invalid_request_error", "invalid_fields", ""},
		{"an empty body", call{path: streamPath, key: token}, 400, "invalid_request_error", "invalid_fields", ""},
		{"no events", call{path: streamPath, key: token, body: `{"events":[]}`}, 400, "invalid_request_error", "invalid_fields", "events"},
		{"101 events", call{path: streamPath, key: token, body: batchOf(101)}, 400, "invalid_request_error", "invalid_fields", "events"},
		{"a value that is a number", call{path: streamPath, key: token, body: strings.Replace(oneEvent, `"25"`, `25`, 1)}, 400, "invalid_request_error", "invalid_fields", "events[0].payload.value"},
		{"a NUL in JSON", call{path: streamPath, key: token, body: strings.Replace(oneEvent, `cus_1`, "cus\x00", 1)}, 400, "invalid_request_error", "invalid_fields", ""},
		{"deep nesting", call{path: streamPath, key: token, body: strings.Repeat("[", 100_000)}, 400, "invalid_request_error", "invalid_fields", ""},
		{"an event too old", call{path: eventsPath, key: testKey, body: withTimestamp("2020-01-01T00:00:00Z")}, 400, "invalid_request_error", "timestamp_too_far_in_past", "35 days in past"},
		{"an event too new", call{path: eventsPath, key: testKey, body: withTimestamp("2099-01-01T00:00:00Z")}, 400, "invalid_request_error", "timestamp_in_future", "5 minutes"},
		{"a value that is none", call{path: eventsPath, key: testKey, body: strings.Replace(oneMeterEvent, `"25"`, `"1e3"`, 1)}, 400, "invalid_request_error", "payload_invalid_value", "1e3"},
		{"a value of 16 digits", call{path: eventsPath, key: testKey, body: strings.Replace(oneMeterEvent, `"25"`, `"1234567890123456"`, 1)}, 400, "invalid_request_error", "meter_event_value_too_many_digits", "15"},
		{"no such meter", call{path: eventsPath, key: testKey, body: strings.Replace(oneMeterEvent, "api_requests", "nope", 1)}, 400, "invalid_request_error", "no_meter", "'nope'"},
		{"v1, no such meter", call{path: v1EventsPath, key: testKey, body: strings.Replace(formEvent, "api_requests", "nope", 1)}, 400, "invalid_request_error", "", "'nope'"},
		{"a meter that sleeps", call{path: eventsPath, key: testKey, body: strings.Replace(oneMeterEvent, "api_requests", "asleep", 1)}, 400, "invalid_request_error", "archived_meter", "'asleep'"},
		{"v1, a meter that sleeps, and all else wrong", call{path: v1EventsPath, key: testKey, body: "event_name=asleep&payload[x]=y&timestamp=1"}, 400, "invalid_request_error", "", "'asleep'"},
		{"no customer", call{path: eventsPath, key: testKey, body: strings.Replace(oneMeterEvent, `"stripe_customer_id":"cus_1",`, "", 1)}, 400, "invalid_request_error", "payload_no_customer_defined", "stripe_customer_id"},
		{"no value", call{path: eventsPath, key: testKey, body: strings.Replace(oneMeterEvent, `,"value":"25"`, "", 1)}, 400, "invalid_request_error", "payload_no_value_defined", "'value'"},
		{"v1, no value and an old time", call{path: v1EventsPath, key: testKey, body: "event_name=api_requests&payload[stripe_customer_id]=c&timestamp=1"}, 400, "invalid_request_error", "", "'value'"},
		{"v1, a value that is none", call{path: v1EventsPath, key: testKey, body: strings.Replace(formEvent, "=25", "=1e3", 1)}, 400, "invalid_request_error", "", "1e3"},
		{"v1, a value of 16 digits", call{path: v1EventsPath, key: testKey, body: strings.Replace(formEvent, "=25", "=1234567890123456", 1)}, 400, "invalid_request_error", "", "15"},
		{"v1, too new", call{path: v1EventsPath, key: testKey, body: formEvent + "&timestamp=99999999999"}, 400, "invalid_request_error", "timestamp_in_future", "5 minutes"},
		{"the customer of a meter under its own key", call{path: eventsPath, key: testKey, body: strings.Replace(oneMeterEvent, "api_requests", "named", 1)}, 400, "invalid_request_error", "payload_no_customer_defined", "'who'"},
		{"the value of a meter under its own key", call{path: eventsPath, key: testKey, body: `{"event_name":"named","payload":{"who":"a","value":"1"}}`}, 400, "invalid_request_error", "payload_no_value_defined", "'much'"},
		{"an old event of a meter that counts", call{path: eventsPath, key: testKey, body: `{"event_name":"counted","payload":{"stripe_customer_id":"a","value":"x"},"timestamp":"2020-01-01T00:00:00Z"}`}, 400, "invalid_request_error", "timestamp_too_far_in_past", ""},
		{"an empty customer", call{path: eventsPath, key: testKey, body: strings.Replace(oneMeterEvent, `"cus_1"`, `""`, 1)}, 400, "invalid_request_error", "payload_no_customer_defined", "stripe_customer_id"},
		{"an empty customer, a bad value and an old time", call{path: v1EventsPath, key: testKey, body: "event_name=api_requests&payload[stripe_customer_id]=&payload[value]=x&timestamp=1"}, 400, "invalid_request_error", "", "no customer"},
		{"a bad value and an old time", call{path: eventsPath, key: testKey, body: strings.Replace(withTimestamp("2020-01-01T00:00:00Z"), `"25"`, `"x"`, 1)}, 400, "invalid_request_error", "payload_invalid_value", "'x'"},
		{"v1 without event name", call{path: v1EventsPath, key: testKey, body: "payload[value]=1"}, 400, "invalid_request_error", "parameter_missing", "event_name"},
		{"v1 with an unknown parameter", call{path: v1EventsPath, key: testKey, body: formEvent + "&nonsense=1"}, 400, "invalid_request_error", "parameter_unknown", "nonsense"},
		{"v1 without payload", call{path: v1EventsPath, key: testKey, body: "event_name=a"}, 400, "invalid_request_error", "parameter_missing", "Missing required param: payload."},
		{"v1 with an ISO time", call{path: v1EventsPath, key: testKey, body: formEvent + "&timestamp=2026-01-01T00:00:00Z"}, 400, "invalid_request_error", "parameter_invalid_integer", "timestamp"},
		{"v1 with a time that no calendar has", call{path: v1EventsPath, key: testKey, body: formEvent + "&timestamp=999999999999"}, 400, "invalid_request_error", "", "timestamp must be"},
		{"v1 too old", call{path: v1EventsPath, key: testKey, body: formEvent + "&timestamp=1000000000"}, 400, "invalid_request_error", "timestamp_too_far_in_past", "The event timestamp cannot be more than 35 days in past. Expected a timestamp greater than or equal to "},
		{"an adjustment of another type", call{path: adjustmentsPath, key: testKey, body: strings.Replace(oneAdjustment, `"cancel",`, `"undo",`, 1)}, 400, "invalid_request_error", "invalid_fields", "type"},
		{"v1 adjustment without identifier", call{path: v1AdjustPath, key: testKey, body: "event_name=a&type=cancel"}, 400, "invalid_request_error", "parameter_missing", "cancel[identifier]"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f := &fixture{t: t, srv: f.srv, addr: f.addr, usage: f.usage}
			a := f.do(row.call)
			e := a.failure(t)
			if a.status != row.status || e.Type != row.typ || e.Code != row.code || !strings.Contains(e.Message, row.saying) {
				t.Errorf("%d %s\nnot %d %s %s with %q", a.status, a.body, row.status, row.typ, row.code, row.saying)
			}
			if a.header.Get("Content-Type") != "application/json" || a.header.Get("Request-Id") == "" {
				t.Errorf("headers %v", a.header)
			}
			if n := len(f.usage.asked); n > 0 {
				t.Errorf("%d verdicts were asked for", n)
			}
			if a.status == 405 && a.header.Get("Allow") != "POST" {
				t.Errorf("Allow %q", a.header.Get("Allow"))
			}
		})
	}
	if n := len(f.records()); n > 0 {
		t.Errorf("%d records were stored", n)
	}
	if f.srv.bodyBytes.Load() != 0 {
		t.Errorf("%d bytes of bodies are still held", f.srv.bodyBytes.Load())
	}
}

func TestWhatIsAcceptedIsAnsweredWithItsObject(t *testing.T) {
	f := newFixture(t, nil)
	token := f.token(testKey)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(testKey+":"))
	rows := []struct {
		name    string
		call    call
		want    string // of the body, times and made ids masked
		records int
	}{
		{"v2 event", call{path: eventsPath, key: testKey, body: oneMeterEvent}, `{"object":"v2.billing.meter_event","created":"…Z","event_name":"api_requests","identifier":"id_1","livemode":false,"payload":{"stripe_customer_id":"cus_1","value":"25"},"timestamp":"…Z"}`, 1},
		{"live v2 event", call{path: eventsPath, key: liveKey, body: oneMeterEvent}, `{"object":"v2.billing.meter_event","created":"…Z","event_name":"api_requests","identifier":"id_1","livemode":true,"payload":{"stripe_customer_id":"cus_1","value":"25"},"timestamp":"…Z"}`, 1},
		{"v1 event", call{path: v1EventsPath, key: testKey, body: formEvent}, `{"object":"billing.meter_event","created":…,"event_name":"api_requests","identifier":"id_1","livemode":false,"payload":{"stripe_customer_id":"cus_1","value":"25"},"timestamp":…}`, 1},
		{"v1 event with expand", call{path: v1EventsPath, key: testKey, body: formEvent + "&expand[]=x"}, `{"object":"billing.meter_event","created":…,"event_name":"api_requests","identifier":"id_1","livemode":false,"payload":{"stripe_customer_id":"cus_1","value":"25"},"timestamp":…}`, 1},
		{"v2 adjustment", call{path: adjustmentsPath, key: testKey, body: oneAdjustment}, `{"object":"v2.billing.meter_event_adjustment","id":"mtr_event_adj_test_…","created":"…Z","event_name":"api_requests","type":"cancel","cancel":{"identifier":"id_1"},"status":"pending","livemode":false}`, 1},
		{"v1 adjustment", call{path: v1AdjustPath, key: testKey, body: formAdjust}, `{"object":"billing.meter_event_adjustment","cancel":{"identifier":"id_1"},"event_name":"api_requests","livemode":false,"status":"pending","type":"cancel"}`, 1},
		{"no content type", call{path: streamPath, key: token, body: oneEvent, contentType: "-"}, "{}", 1},
		{"a content type in capitals with parameters", call{path: streamPath, key: token, body: oneEvent, contentType: "Application/JSON ; charset=UTF-8"}, "{}", 1},
		{"a query string", call{path: streamPath + "?a=b", key: token, body: oneEvent}, "{}", 1},
		{"gzip", call{path: streamPath, key: token, body: gzipped(oneEvent), header: map[string]string{"Content-Encoding": "GZIP"}}, "{}", 1},
		{"zstd", call{path: streamPath, key: token, body: zstandard(oneEvent), header: map[string]string{"Content-Encoding": "zstd"}}, "{}", 1},
		{"a large zstd of unknown length", call{path: streamPath, key: token, body: zstandard(batchOf(100)), header: map[string]string{"Content-Encoding": "zstd"}}, "{}", 100},
		{"identity", call{path: streamPath, key: token, body: oneEvent, header: map[string]string{"Content-Encoding": "identity"}}, "{}", 1},
		{"the own account", call{path: streamPath, key: token, body: oneEvent, header: map[string]string{"Stripe-Account": "acct_demo", "Stripe-Context": "acct_demo"}}, "{}", 1},
		{"Basic", call{path: eventsPath, body: oneMeterEvent, header: map[string]string{"Authorization": basic}}, `{"object":"v2.billing.meter_event","created":"…Z","event_name":"api_requests","identifier":"id_1","livemode":false,"payload":{"stripe_customer_id":"cus_1","value":"25"},"timestamp":"…Z"}`, 1},
		{"100 events", call{path: streamPath, key: token, body: batchOf(100)}, "{}", 100},
		{"no such meter on the stream", call{path: streamPath, key: token, body: `{"events":[{"event_name":"a","payload":{"value":"nonsense"},"timestamp":"2020-01-01T00:00:00Z"}]}`}, "{}", 1},
	}
	masks := []struct {
		re *regexp.Regexp
		by string
	}{
		{regexp.MustCompile(`"20[^"]*Z"`), `"…Z"`},
		{regexp.MustCompile(`adj_test_[0-9A-Za-z]{22}`), `adj_test_…`},
		{regexp.MustCompile(`":[0-9]{10}`), `":…`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f := &fixture{t: t, srv: f.srv, addr: f.addr, log: f.log}
			a := f.do(row.call)
			body := a.body
			for _, m := range masks {
				body = m.re.ReplaceAllString(body, m.by)
			}
			if a.status != 200 || body != row.want {
				t.Errorf("%d\n%s, not\n%s", a.status, body, row.want)
			}
			if n := len(f.records()); n != row.records {
				t.Errorf("%d records, not %d", n, row.records)
			}
		})
	}
}

func TestASessionNeedsNoBodyAndNoContentType(t *testing.T) {
	f := newFixture(t, nil)
	for _, body := range []string{"", "{}", " { \n} "} {
		for _, contentType := range []string{"", "-", "application/x-www-form-urlencoded"} {
			if a := f.do(call{path: sessionPath, key: eventsOnlyKey, body: body, contentType: contentType}); a.status != 200 {
				t.Errorf("%q as %q: %d %s", body, contentType, a.status, a.body)
			}
		}
	}
}

func TestHeadIsAnsweredWithoutABody(t *testing.T) {
	f := newFixture(t, nil)
	a := f.do(call{method: "HEAD", path: streamPath})
	if a.status != 405 || a.body != "" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %q %v", a.status, a.body, a.header)
	}
}

func TestAnExpiredSessionHasItsTypedRefusal(t *testing.T) {
	for _, status := range []int{401, 400} {
		now := time.Now()
		f := newFixture(t, func(c *Config) {
			c.Now = func() time.Time { return now }
			c.SessionExpiredStatus = status
		})
		token := f.token(testKey)
		now = now.Add(15*time.Minute + 29*time.Second)
		if a := f.do(call{path: streamPath, key: token, body: oneEvent}); a.status != 200 {
			t.Errorf("within grace: %d %s", a.status, a.body)
		}
		now = now.Add(2 * time.Second)
		a := f.do(call{path: streamPath, key: token, body: oneEvent})
		e := a.failure(t)
		if a.status != status || e.Type != "temporary_session_expired" || e.Code != "billing_meter_event_session_expired" || !strings.Contains(a.body, `"doc_url"`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// TestEachOutcomeOfTheLogSaysWhatItPromises: nothing stored, or not known; never 200.
func TestEachOutcomeOfTheLogSaysWhatItPromises(t *testing.T) {
	f := newFixture(t, nil)
	token := f.token(testKey)
	for _, row := range []struct {
		err    error
		status int
		code   string
		retry  string
		saying string
	}{
		{ingest.ErrFull, 503, "service_unavailable", "true", "Nothing of this request was stored"},
		{ingest.ErrDraining, 503, "service_unavailable", "true", "Nothing of this request was stored"},
		{ingest.ErrTimeout, 503, "service_unavailable", "true", "Nothing of this request was stored"},
		{ingest.ErrUnavailable, 503, "service_unavailable", "true", "Nothing of this request was stored"},
		{fmt.Errorf("partition 3: %w", ingest.ErrUnknown), 503, "outcome_unknown", "true", "not known"},
		{fmt.Errorf("never heard of"), 503, "outcome_unknown", "true", "not known"},
		{ingest.ErrRefused, 500, "log_refused", "false", "Nothing was stored"},
		{ingest.ErrTooLarge, 413, "request_too_large", "", "Nothing was stored"},
	} {
		f.ingest.fail(row.err)
		for _, c := range []call{
			{path: streamPath, key: token, body: oneEvent},
			{path: eventsPath, key: testKey, body: oneMeterEvent},
			{path: adjustmentsPath, key: testKey, body: oneAdjustment},
		} {
			a := f.do(c)
			e := a.failure(t)
			if a.status != row.status || e.Code != row.code || a.header.Get("Stripe-Should-Retry") != row.retry || !strings.Contains(e.Message, row.saying) {
				t.Errorf("%v on %s: %d %v %s", row.err, c.path, a.status, a.header, a.body)
			}
		}
	}
}

func TestAHandlersPanicCostsOneRequest(t *testing.T) {
	f := newFixture(t, nil)
	token := f.token(testKey)
	f.ingest.panic.Store(true)
	a := f.do(call{path: streamPath, key: token, body: oneEvent, header: map[string]string{"Idempotency-Key": "k1"}})
	if e := a.failure(t); a.status != 500 || e.Code != "internal_error" || !a.close || a.header.Get("Idempotency-Key") != "k1" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	if n := <-f.notices; n.Stack == nil || n.Err == nil {
		t.Errorf("notice %+v", n)
	}
	f.ingest.panic.Store(false)
	if a := f.do(call{path: streamPath, key: token, body: oneEvent}); a.status != 200 {
		t.Errorf("the next request: %d %s", a.status, a.body)
	}
	if got := f.srv.metrics.panics.Value(); got != 1 {
		t.Errorf("%d panics counted", got)
	}
}

// TestAPanicGivesTheBudgetOfBodiesBack: in the handler while a body is decompressed, and in the library while one arrives.
func TestAPanicGivesTheBudgetOfBodiesBack(t *testing.T) {
	f := newFixture(t, nil)
	token := f.token(testKey)
	f.ingest.early.Store(true)
	for _, c := range []call{
		{path: streamPath, key: token, body: gzipped(oneEvent), header: map[string]string{"Content-Encoding": "gzip"}},
		{path: streamPath, key: token, body: padded(oneEvent, 60_000)},
		{path: streamPath, key: token, body: padded(oneEvent, 200_000)},
	} {
		if a := f.do(c); a.status != 500 || !a.close {
			t.Errorf("%d %s", a.status, a.body)
		}
		<-f.notices
		waitFor(t, "the budget is free after the handler's panic", func() bool { return f.srv.bodyBytes.Load() == 0 })
	}
	var fault atomic.Bool
	f.addr = f.listen(func(ln net.Listener) net.Listener { return panicListener{ln, &fault} })
	nc := f.dial()
	request := streamRequest(token, padded(oneEvent, 200_000))
	write(t, nc, request[:100_000])
	waitFor(t, "the budget is held", func() bool { return f.srv.bodyBytes.Load() == 1<<20 })
	fault.Store(true)
	write(t, nc, request[100_000:100_001])
	<-f.notices
	waitFor(t, "the budget is free after the library's panic", func() bool { return f.srv.bodyBytes.Load() == 0 })
}

// panicListener's connections panic when they are read and there is a fault.
type panicListener struct {
	net.Listener
	fault *atomic.Bool
}

func (l panicListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return panicConn{nc, l.fault}, err
}

type panicConn struct {
	net.Conn
	fault *atomic.Bool
}

func (c panicConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.fault.Load() {
		panic("a fault of the library's")
	}
	return n, err
}

func TestAReplayedRequestGetsTheSameIdentifiers(t *testing.T) {
	f := newFixture(t, nil)
	token := f.token(testKey)
	body := `{"events":[{"event_name":"a","payload":{"value":"1"}},{"event_name":"a","payload":{"value":"1"}},{"event_name":"a","identifier":"own","payload":{"value":"1"}}]}`
	identifiers := func(key string) (ids []string) {
		a := f.do(call{path: streamPath, key: token, body: body, header: map[string]string{"Idempotency-Key": key}})
		if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for _, r := range f.records() {
			var v struct{ Identifier string }
			if err := json.Unmarshal(r.Value, &v); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, v.Identifier)
		}
		return ids
	}
	first, again, other := identifiers("k1"), identifiers("k1"), identifiers("k2")
	if len(first) != 3 || !slices.Equal(first, again) || first[0] == first[1] || first[0] == other[0] || first[2] != "own" {
		t.Errorf("%v, again %v, with another key %v", first, again, other)
	}
	if r1, r2 := identifiers(""), identifiers(""); r1[0] == r2[0] {
		t.Errorf("without a key: twice %s", r1[0])
	}
}

func TestASpreadMeterGoesToItsBucketsByCustomer(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Policy = &Policy{Businesses: map[string]Business{"acct_demo": {Spread: map[string]int{"hot": 4}}}}
	})
	token := f.token(testKey)
	var events []string
	for i := range 20 {
		events = append(events, fmt.Sprintf(`{"event_name":"hot","identifier":"%d","payload":{"stripe_customer_id":"cus_%d","value":"1"}}`, i, i%10))
	}
	events = append(events, `{"event_name":"hot","payload":{"value":"1"}}`, `{"event_name":"cold","payload":{"stripe_customer_id":"cus_1"}}`)
	if a := f.do(call{path: streamPath, key: token, body: `{"events":[` + strings.Join(events, ",") + `]}`}); a.status != 200 {
		t.Fatal(a.body)
	}
	keyOf := map[string]string{}
	keys := map[string]int{}
	for _, r := range f.records() {
		keys[string(r.Key)]++
		var v struct{ Payload map[string]string }
		if err := json.Unmarshal(r.Value, &v); err != nil {
			t.Fatal(err)
		}
		customer := v.Payload["stripe_customer_id"]
		if before, seen := keyOf[customer]; seen && before != string(r.Key) && !strings.HasSuffix(string(r.Key), "cold") {
			t.Errorf("customer %s is in %s and %s", customer, before, r.Key)
		}
		if !strings.HasSuffix(string(r.Key), "cold") {
			keyOf[customer] = string(r.Key)
		}
	}
	if keyOf[""] != "acct_demo/testmode/hot/0" || keys["acct_demo/testmode/cold"] != 1 || len(keys) < 4 {
		t.Errorf("keys %v", keys)
	}
	if a := f.do(call{path: adjustmentsPath, key: testKey, body: strings.Replace(oneAdjustment, "api_requests", "hot", 1)}); a.status != 200 {
		t.Fatal(a.body)
	}
	var got []string
	for _, r := range f.records() {
		got = append(got, string(r.Key))
	}
	slices.Sort(got)
	if want := "acct_demo/testmode/hot/0 acct_demo/testmode/hot/1 acct_demo/testmode/hot/2 acct_demo/testmode/hot/3"; strings.Join(got, " ") != want {
		t.Errorf("the adjustment is in %v", got)
	}
}

func TestEchoedHeadersAreSanitised(t *testing.T) {
	f := newFixture(t, nil)
	answers := f.raw("POST " + eventsPath + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nStripe-Version: \xc3\xa4\r\nIdempotency-Key: a\tb\r\nContent-Length: 0\r\n\r\n")
	if len(answers) != 1 {
		t.Fatal(answers)
	}
	for _, name := range []string{"Stripe-Version", "Idempotency-Key"} {
		if v, there := answers[0].header[http.CanonicalHeaderKey(name)]; there {
			t.Errorf("%s: %q", name, v)
		}
	}
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

// zstandard encodes as a stream does, without the length of the content.
func zstandard(text string, options ...zstd.EOption) string {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, options...)
	if err != nil {
		panic(err)
	}
	for len(text) > 0 {
		n := min(len(text), 4096)
		_, _ = w.Write([]byte(text[:n]))
		_ = w.Flush()
		text = text[n:]
	}
	_ = w.Close()
	return b.String()
}

func withTimestamp(ts string) string {
	return strings.Replace(oneMeterEvent, `"payload"`, `"timestamp":"`+ts+`","payload"`, 1)
}

// batchOf is a stream body of n events, each of about 170 bytes.
func batchOf(n int) string {
	events := make([]string, n)
	for i := range events {
		events[i] = fmt.Sprintf(`{"event_name":"api_requests","identifier":"0190a3d2-1111-7000-8000-%012d","timestamp":"%s","payload":{"stripe_customer_id":"cus_%06d","value":"%d"}}`,
			i, time.Now().UTC().Format(time.RFC3339), i%1000, i)
	}
	return `{"events":[` + strings.Join(events, ",") + `]}`
}

// wideBatchOf is the same with events of 570 bytes.
func wideBatchOf(n int) string {
	return strings.ReplaceAll(batchOf(n), `"payload":{`, `"payload":{"note":"`+strings.Repeat("x", 400-10)+`",`)
}
