package stripe

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew; read the difference before committing it")

// refusals calls every constructor once. The name of a row is the name of the constructor.
var refusals = []struct {
	name string
	err  *Error
}{
	{"NoCredentials", NoCredentials()},
	{"BadAuthorization", BadAuthorization()},
	{"InvalidAPIKey", InvalidAPIKey()},
	{"TokenAsAPIKey", TokenAsAPIKey()},
	{"InvalidSessionToken", InvalidSessionToken()},
	{"UnknownSigningKey", UnknownSigningKey()},
	{"APIKeyAsToken", APIKeyAsToken()},
	{"SessionRevoked", SessionRevoked()},
	{"SessionExpired", SessionExpired()},
	{"MissingPermission", MissingPermission("billing_meter_event_write")},
	{"AccountNotAllowed", AccountNotAllowed("acct_other")},
	{"AccountsDiffer", AccountsDiffer()},
	{"NotFound", NotFound("GET", "/v1/nope")},
	{"MethodNotAllowed", MethodNotAllowed("GET", "/v2/billing/meter_events", "POST")},
	{"Malformed", Malformed("The request needs exactly one Host header.")},
	{"ExpectationFailed", ExpectationFailed()},
	{"TooSlow", TooSlow()},
	{"HeadTooLarge", HeadTooLarge()},
	{"BodyTooLarge", BodyTooLarge(1 << 20)},
	{"TooLargeForLog", TooLargeForLog()},
	{"UnsupportedMediaType", UnsupportedMediaType("text/plain", "application/json")},
	{"UnsupportedEncoding", UnsupportedEncoding("br")},
	{"CorruptEncoding", CorruptEncoding("gzip")},
	{"InvalidFields", InvalidFields("events[3].payload.value", "must be a string")},
	{"ParamMissing", ParamMissing("payload")},
	{"IdempotencyKeyTooLong", IdempotencyKeyTooLong(255)},
	{"RateLimited", RateLimited("this meter event session", 10_000, ReasonEndpointRate)},
	{"Unavailable", Unavailable("The log has no leader.")},
	{"Overloaded", Overloaded()},
	{"TooManyBodies", TooManyBodies()},
	{"TooManyConnections", TooManyConnections()},
	{"TooManyConnectionsOfOne", TooManyConnectionsOfOne()},
	{"Draining", Draining()},
	{"OutcomeUnknown", OutcomeUnknown()},
	{"LogRefused", LogRefused()},
	{"Internal", Internal()},
	{"TimestampTooOld", TimestampTooOld(1769422501)},
	{"TimestampInFuture", TimestampInFuture(1772446801)},
	{"PayloadNoCustomer", PayloadNoCustomer("stripe_customer_id", "payload[stripe_customer_id]")},
	{"PayloadInvalidValue", PayloadInvalidValue("1e9", "payload.value")},
	{"PayloadNoValue", PayloadNoValue("value", "payload.value")},
	{"NoMeter", NoMeter("api_requests")},
	{"ArchivedMeter", ArchivedMeter("api_requests")},
	{"DuplicateMeterEvent", DuplicateMeterEvent([]byte("idem-v1-1"))},
	{"EventRefused", EventRefused("payload_invalid_value", "The value is not a number.")},
	{"CancelTooLate", CancelTooLate([]byte("order-17"))},
	{"OwnerAway", OwnerAway()},
	{"VerdictUnknown", VerdictUnknown("order-17")},
	{"NoSuchMeter", NoSuchMeter("mtr_x")},
	{"NoSuchCursor", NoSuchCursor("billing meter", "mtr_x", "starting_after")},
	{"NoSuchUsageEvent", NoSuchUsageEvent("order-17", true)},
	{"EventNameTaken", EventNameTaken("api_requests", "mtr_1")},
	{"TooManyMeters", TooManyMeters(10_000)},
	{"ParamTooLong", ParamTooLong("display_name", 250, "characters")},
	{"ParamInvalid", ParamInvalid("limit", "must be between 1 and 100")},
	{"ParamNotOneOf", ParamNotOneOf("status", "asleep", "active or inactive")},
	{"IdempotencyKeyReused", IdempotencyKeyReused()},
	{"IdempotencyKeyInUse", IdempotencyKeyInUse()},
	{"IdempotencyKeyUnreadable", IdempotencyKeyUnreadable()},
	{"ChangeUnknown", ChangeUnknown()},
	{"TotalsIncomplete", TotalsIncomplete(created, later+1)},
	{"UsageUnavailable", UsageUnavailable()},
	{"UsageNotCounted", UsageNotCounted()},
	{"MetersUnavailable", MetersUnavailable()},
	{"NoSuchEvent", NoSuchEvent("evt_test_x")},
	{"NoSuchDestination", NoSuchDestination("ed_test_x")},
	{"TooManyDestinations", TooManyDestinations(100)},
	{"DestinationDisabled", DestinationDisabled("ed_test_x")},
	{"PageInvalid", PageInvalid()},
	{"EventsUnavailable", EventsUnavailable()},
	{"DestinationsUnavailable", DestinationsUnavailable()},
}

func TestEveryRefusalSaysWhatTheGoldenFileSays(t *testing.T) {
	var got bytes.Buffer
	for _, r := range refusals {
		fmt.Fprintf(&got, "%s\n  %d", r.name, r.err.Status)
		for name, value := range r.err.Headers {
			fmt.Fprintf(&got, "  %s: %s", name, value)
		}
		fmt.Fprintf(&got, "\n  v1 %s\n  v2 %s\n\n", r.err.AppendV1(nil), r.err.AppendV2(nil))
	}
	compareGolden(t, "testdata/refusals.golden", got.Bytes())
}

func compareGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	gotLines, wantLines := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		if i >= len(gotLines) || i >= len(wantLines) || gotLines[i] != wantLines[i] {
			t.Fatalf("%s, line %d\n got: %s\nwant: %s\n(go test -run %s -update accepts the change)",
				file, i+1, at(gotLines, i), at(wantLines, i), t.Name())
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}

// The table must not fall behind: what returns an *Error alone is a constructor.
func TestEveryConstructorIsInTheTable(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, r := range refusals {
		names[r.name] = true
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !f.Name.IsExported() || f.Type.Results == nil || len(f.Type.Results.List) != 1 {
				continue
			}
			star, ok := f.Type.Results.List[0].Type.(*ast.StarExpr)
			if !ok {
				continue
			}
			if name, ok := star.X.(*ast.Ident); ok && name.Name == "Error" && !names[f.Name.Name] {
				t.Errorf("%s is missing in the table of refusals", f.Name.Name)
			}
		}
	}
}

func TestEnvelopesHaveWhatSDKsNeed(t *testing.T) {
	v1Types := []string{"api_error", "idempotency_error", "invalid_request_error"}
	for _, r := range refusals {
		if r.err.Status < 400 || r.err.Status > 599 {
			t.Errorf("%s: status %d is no refusal", r.name, r.err.Status)
		}
		// What is missing is said in Stripe's own words, which have no full stop.
		if !strings.HasSuffix(r.err.Message, ".") && !strings.HasPrefix(r.err.Message, "No such ") {
			t.Errorf("%s: the message is not a sentence: %q", r.name, r.err.Message)
		}
		v1, v2 := fields(t, r.err.AppendV1(nil)), fields(t, r.err.AppendV2(nil))
		if r.name != "SessionExpired" && !slices.Contains(v1Types, v1["type"]) {
			t.Errorf("%s: v1 has no type %q", r.name, v1["type"])
		}
		for _, required := range []string{"type", "code", "message"} {
			if v2[required] == "" {
				t.Errorf("%s: v2 lacks %s", r.name, required)
			}
		}
		if v1["type"] == "" || v1["message"] == "" {
			t.Errorf("%s: v1 lacks type or message", r.name)
		}
	}
}

// fields decodes an envelope the way a strict client would: one member, no unknown field, text only.
func fields(t *testing.T, body []byte) map[string]string {
	t.Helper()
	var envelope map[string]map[string]string
	if err := json.Unmarshal(body, &envelope); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if len(envelope) != 1 || envelope["error"] == nil {
		t.Fatalf("%s: not {\"error\":{…}}", body)
	}
	known := []string{"type", "code", "param", "message", "doc_url"}
	for name := range envelope["error"] {
		if !slices.Contains(known, name) {
			t.Fatalf("%s: unknown field %s", body, name)
		}
	}
	return envelope["error"]
}

// Sentences and codes that programs of other people look for.
func TestWhatClientsMatchOnIsVerbatim(t *testing.T) {
	f := func(body []byte, want map[string]string) {
		t.Helper()
		if got := fields(t, body); !reflect.DeepEqual(got, want) {
			t.Errorf("\n got %v\nwant %v", got, want)
		}
	}
	f(TimestampTooOld(1769422501).AppendV1(nil), map[string]string{
		"type": "invalid_request_error", "code": "timestamp_too_far_in_past", "param": "timestamp",
		"message": "The event timestamp cannot be more than 35 days in past. Expected a timestamp greater than or equal to 1769422501.",
	})
	f(NotFound("GET", "/v1/nope").AppendV1(nil), map[string]string{
		"type": "invalid_request_error", "message": "Unrecognized request URL (GET: /v1/nope).",
	})
	f(InvalidFields("events[0].payload.value", "must be a string").AppendV2(nil), map[string]string{
		"type": "invalid_request_error", "code": "invalid_fields", "param": "events[0].payload.value",
		"message": "events[0].payload.value must be a string.",
	})
	f(DuplicateMeterEvent([]byte("idem-v1-1")).AppendV1(nil), map[string]string{
		"type": "invalid_request_error", "message": "An event already exists with identifier idem-v1-1.",
	})
	f(NoSuchMeter("mtr_x").AppendV1(nil), map[string]string{
		"type": "invalid_request_error", "code": "resource_missing", "param": "id", "message": "No such billing meter: 'mtr_x'",
	})
	expired := fields(t, SessionExpired().AppendV2(nil))
	if expired["type"] != "temporary_session_expired" || expired["code"] != "billing_meter_event_session_expired" || expired["doc_url"] == "" {
		t.Errorf("expired session: %v", expired)
	}
	for _, e := range []*Error{InvalidSessionToken(), UnknownSigningKey(), APIKeyAsToken(), SessionRevoked()} {
		if fields(t, e.AppendV2(nil))["type"] == "temporary_session_expired" {
			t.Errorf("%v: a client would refresh for ever", e)
		}
	}
}

func TestTextFromClientsCanNotBreakAnAnswer(t *testing.T) {
	for _, text := range []string{
		`"quotes" and \backslashes\`, "line\nbreak\r\ttab", "nul\x00 and escape\x1b", "\xff\xfe not UTF-8 \xc3", "\xed\xa0\x80 surrogate",
		"line separator \u2028", strings.Repeat("long ", 10_000), strings.Repeat("ü", 99), strings.Repeat("\xf0\x9f\x98\x80", 50), strings.Repeat("\x80", 300),
	} {
		for _, e := range []*Error{
			NotFound(text, text), MethodNotAllowed(text, text, "POST"), InvalidFields(text, "must be a string"), MissingPermission(text),
			NoSuchMeter(text), NoSuchCursor("billing meter", text, "ending_before"), NoSuchUsageEvent(text, true), EventNameTaken(text, "mtr_1"),
			NoSuchEvent(text), NoSuchDestination(text), DestinationDisabled(text), ParamNotOneOf("status", text, "active or inactive"), AccountNotAllowed(text), UnsupportedMediaType(text, "application/json"), PayloadInvalidValue([]byte(text), text),
		} {
			for _, body := range [][]byte{e.AppendV1(nil), e.AppendV2(nil)} {
				fields(t, body)
				if len(body) > 2000 {
					t.Errorf("%.40q: the answer has %d bytes", text, len(body))
				}
			}
		}
	}
}

func TestAnErrorReadsWellInALog(t *testing.T) {
	f := func(e *Error, want string) {
		t.Helper()
		if e.Error() != want {
			t.Errorf("got %q, want %q", e.Error(), want)
		}
	}
	f(&Error{Status: 400, Type: "t", Code: "c", CodeV2: "v", Message: "Why."}, "400 c: Why.")
	f(&Error{Status: 400, Type: "t", CodeV2: "v", Message: "Why."}, "400 v: Why.")
	f(&Error{Status: 400, Type: "t", Message: "Why."}, "400 t: Why.")
	if got := fields(t, (&Error{Status: 400, Type: "t", Message: "Why."}).AppendV2(nil)); got["code"] != "t" {
		t.Errorf("v2 without a code: %v", got)
	}
}

func TestHeadersStopWhenTheirReaderDoes(t *testing.T) {
	full := RateLimited("x", 1, ReasonGlobalRate)
	full.Close, full.ShouldRetry = true, RetryNo
	for stop := range 4 {
		n := 0
		for range full.Headers {
			if n++; n > stop {
				break
			}
		}
	}
	var names []string
	for name := range full.Headers {
		names = append(names, name)
	}
	if want := []string{"Stripe-Rate-Limited-Reason", "Stripe-Should-Retry", "Retry-After", "Connection"}; !slices.Equal(names, want) {
		t.Errorf("got %v", names)
	}
}
