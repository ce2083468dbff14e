package httpd

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tollgate/pkg/ingest"
	"tollgate/pkg/usage"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestAnswersByteForByte holds whole answers, status line and headers included, as they go over the wire. What differs
// from run to run is masked.
func TestAnswersByteForByte(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Policy = &Policy{Default: Limits{StreamEvents: 50}} })
	token := f.token(testKey)
	asked := 0
	request := func(path, key, body string) string {
		asked++
		contentType := "application/json"
		if strings.HasPrefix(path, "/v1") {
			contentType = "application/x-www-form-urlencoded"
		}
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer %s\r\nIdempotency-Key: key-%d\r\nStripe-Version: 2026-07-29.dahlia\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			path, key, asked, contentType, len(body), body)
	}
	masks := []struct {
		re *regexp.Regexp
		by string
	}{
		{regexp.MustCompile(`Date: [^\r]*`), "Date: …"},
		{regexp.MustCompile(`req_[0-9A-Za-z]{22}`), "req_…"},
		{regexp.MustCompile(`mtes_test_[0-9A-Za-z]{22}`), "mtes_test_…"},
		{regexp.MustCompile(`tgst_[0-9A-Za-z_-]+`), "tgst_…"},
		{regexp.MustCompile(`"20[^"]*Z"`), `"…Z"`},
		{regexp.MustCompile(`(to|than) [0-9]{10}\.`), "$1 …."},
		{regexp.MustCompile(`mtr_test_[0-9A-Za-z]{22}`), "mtr_test_…"},
		{regexp.MustCompile(`mtrusg_test_[0-9A-Za-z]{22}`), "mtrusg_test_…"},
		{regexp.MustCompile(`ed_test_[0-9A-Za-z]{22}`), "ed_test_…"},
		{regexp.MustCompile(`evt_test_[0-9A-Za-z]{22}`), "evt_test_…"},
		{regexp.MustCompile(`whsec_[0-9a-f]{64}`), "whsec_…"},
		{regexp.MustCompile(`page=[0-9A-Za-z_-]+`), "page=…"},
		{regexp.MustCompile(`adj_test_[0-9A-Za-z]{22}`), "adj_test_…"},
		{regexp.MustCompile(`":[0-9]{10}([,}])`), `":…$1`},
	}
	f.usage.totals, f.usage.fate, f.usage.verdict = hours(0, 2), goldenFate, goldenVerdict
	meter := f.control.Snapshot().Named("acct_demo", false, "api_requests").ID
	read := func(target string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer " + testKey + "\r\n\r\n"
	}
	event := func(identifier string) string { return strings.Replace(oneMeterEvent, "id_1", identifier, 1) }
	bad := report("acct_demo", meter, 1, someMs)
	f.shelve(bad, report("acct_demo", "", 2, someMs+1))
	destination := f.destination(`,"name":"first"`)
	var got strings.Builder
	for _, row := range []struct {
		name, request string
		err           error
	}{
		{"session", request(sessionPath, testKey, "{}"), nil},
		{"stream", request(streamPath, token, oneEvent), nil},
		{"stream, an event that is none", request(streamPath, token, `{"events":[{"event_name":"a"}]}`), nil},
		{"stream, an API key", request(streamPath, testKey, oneEvent), nil},
		{"stream, more events than a second's", request(streamPath, token, batchOf(100)), nil},
		{"stream, the gateway is full", request(streamPath, token, oneEvent), ingest.ErrFull},
		{"stream, the outcome is unknown", request(streamPath, token, oneEvent), ingest.ErrUnknown},
		{"stream, the log is away", request(streamPath, token, oneEvent), ingest.ErrUnavailable},
		{"v2 event, too old", request(eventsPath, testKey, withTimestamp("2020-01-01T00:00:00Z")), nil},
		{"v1 event, a parameter is missing", request(v1EventsPath, testKey, "identifier=a"), nil},
		{"v2 event", request(eventsPath, testKey, oneMeterEvent), nil},
		{"v1 event", request(v1EventsPath, testKey, formEvent), nil},
		{"v2 adjustment", request(adjustmentsPath, testKey, oneAdjustment), nil},
		{"v1 adjustment", request(v1AdjustPath, testKey, formAdjust), nil},
		{"a meter", request(metersPath, testKey, meterForm), nil},
		{"a meter, its name is taken", request(metersPath, testKey, meterForm), nil},
		{"a meter, a parameter is missing", request(metersPath, testKey, "display_name=a"), nil},
		{"no such meter", request(metersPath+"/mtr_x", testKey, "display_name=a"), nil},
		{"all meters", read(metersPath + "?limit=1"), nil},
		{"summaries", read(metersPath + "/" + meter + "/event_summaries?customer=a&start_time=0&end_time=86400&value_grouping_window=hour"), nil},
		{"summaries, misaligned", read(metersPath + "/" + meter + "/event_summaries?customer=a&start_time=1&end_time=86400&value_grouping_window=hour"), nil},
		{"a fate", read("/v1/tollgate/usage_events/id_1?event_name=a"), nil},
		{"no fate", read("/v1/tollgate/usage_events/none?event_name=a"), nil},
		{"v2 event, again", request(eventsPath, testKey, event("replay")), nil},
		{"v2 event, its key was used", request(eventsPath, testKey, event("key_reused")), nil},
		{"v2 event, a duplicate", request(eventsPath, testKey, event("duplicate")), nil},
		{"v1 event, a duplicate", request(v1EventsPath, testKey, strings.Replace(formEvent, "id_1", "duplicate", 1)), nil},
		{"v2 event, its verdict is not known", request(eventsPath, testKey, event("unknown")), nil},
		{"v1 event, no meter", request(v1EventsPath, testKey, strings.Replace(formEvent, "api_requests", "nope", 1)), nil},
		{"v2 adjustment, too late", request(adjustmentsPath, testKey, strings.Replace(oneAdjustment, "id_1", "refused", 1)), nil},
		{"an event", read(coreEventsPath + "/" + bad.ID), nil},
		{"no such event", read(coreEventsPath + "/evt_test_x"), nil},
		{"all events", read(coreEventsPath + "?limit=1"), nil},
		{"events, a page that is none", read(coreEventsPath + "?page=a"), nil},
		{"a destination", request(destinationsPath, testKey, aDestination+`,"name":"a","metadata":{"b":"c"},"include":["webhook_endpoint.signing_secret"]}`), nil},
		{"a destination of all events", request(destinationsPath, testKey, strings.Replace(aDestination, bothEvents, `"enabled_events":["*"]`, 1)+`,"name":"a"}`), nil},
		{"all destinations", read(destinationsPath + "?limit=1&include=webhook_endpoint.url"), nil},
		{"no such destination", read(destinationsPath + "/ed_test_x"), nil},
		{"a ping", request(destinationsPath+"/"+destination+"/ping", testKey, ""), nil},
		{"another method for a meter", "DELETE " + metersPath + "/mtr_x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", nil},
		{"v1, no key", strings.Replace(request(v1EventsPath, "", formEvent), "Authorization: Bearer \r\n", "", 1), nil},
		{"v1, no such path", request("/v1/nope", testKey, ""), nil},
		{"v2, no such path", request("/v2/nope", testKey, ""), nil},
		{"another method", "DELETE " + streamPath + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", nil},
		{"a head that is none", "POST / HTTP/1.1\nHost: a\r\n\r\n", nil},
		{"a body that is too large", "POST " + streamPath + " HTTP/1.1\r\nHost: a\r\nIdempotency-Key: key\r\nContent-Length: 9999999\r\n\r\n", nil},
		{"HTTP/1.0", "POST " + streamPath + " HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", nil},
	} {
		f.ingest.fail(row.err)
		nc := f.dial()
		write(t, nc, row.request)
		answer, err := io.ReadAll(nc)
		if err != nil {
			t.Fatal(err)
		}
		text := string(answer)
		for _, m := range masks {
			text = m.re.ReplaceAllString(text, m.by)
		}
		fmt.Fprintf(&got, "== %s\n%s\n\n", row.name, strings.ReplaceAll(text, "\r\n", "\n"))
	}
	path := filepath.Join("testdata", "answers.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("answers changed; if that is meant, run with -update and read the difference:\n%s", got.String())
	}
}

// goldenVerdict has the identifier say what the verdict is.
func goldenVerdict(q usage.VerdictQuery) (usage.Verdict, error) {
	switch outcome := usage.Outcome(q.Identifier); outcome {
	case "unknown":
		return usage.Verdict{}, errors.New("gone")
	case usage.OutcomeReplay, usage.OutcomeKeyReused, usage.OutcomeDuplicate, usage.OutcomeRefused:
		return usage.Verdict{Outcome: outcome, Code: "invalid_cancel_configuration", ReceivedMs: 1_772_445_600_000, TimestampMs: 1_772_445_600_000}, nil
	}
	return usage.Verdict{Outcome: usage.OutcomeNew}, nil
}

func goldenFate(q usage.FateQuery) (usage.Fate, error) {
	if q.Identifier == "none" {
		return usage.Fate{Status: usage.NotFound, AsOfMs: 1_772_445_600_000}, nil
	}
	return usage.Fate{Status: usage.Accepted, Topic: "tollgate.usage", Partition: 1, Offset: 2, ReceivedMs: 1_772_445_600_000, AsOfMs: 1_772_445_600_000}, nil
}
