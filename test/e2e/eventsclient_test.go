package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"tollgate/test/e2e/harness"
)

// thinEvent is an event as it is listed.
type thinEvent struct {
	ID            string
	Type          string
	Created       time.Time
	RelatedObject *struct{ ID string } `json:"related_object"`
	Data          struct {
		Reason struct {
			ErrorCount int64 `json:"error_count"`
			ErrorTypes []struct {
				Code       string
				ErrorCount int64 `json:"error_count"`
			} `json:"error_types"`
		}
		ValidationStart time.Time `json:"validation_start"`
		ValidationEnd   time.Time `json:"validation_end"`
	}
}

const (
	errorReport = "v1.billing.meter.error_report_triggered"
	noMeter     = "v1.billing.meter.no_meter_found"
	pingEvent   = "v2.core.event_destination.ping"
)

// ask sends a request of the v2 API and decodes the answer.
func ask(g *harness.Gateway, method, path, body string, answer any) (status int, err error) {
	req, err := http.NewRequest(method, g.URL+path, bodyOf(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+harness.TestKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return res.StatusCode, fmt.Errorf("%q: %w", text, err)
	}
	return res.StatusCode, nil
}

// mustAsk is ask that tries again while the gateway can not answer, and fails the test on a refusal.
func mustAsk(t *testing.T, g *harness.Gateway, method, path, body string, answer any) {
	t.Helper()
	var last string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var raw json.RawMessage
		status, err := ask(g, method, path, body, &raw)
		last = fmt.Sprint(status, " ", string(raw), " ", err)
		switch {
		case err != nil || status == http.StatusServiceUnavailable:
		case status != http.StatusOK:
			t.Fatalf("%s %s: %s", method, path, last)
		default:
			if err := json.Unmarshal(raw, answer); err != nil {
				t.Fatalf("%s %s: %s: %v", method, path, last, err)
			}
			return
		}
	}
	t.Fatalf("%s %s: %s", method, path, last)
}

// events lists all events of these types, the newest first, page by page.
func events(t *testing.T, g *harness.Gateway, types ...string) (list []thinEvent) {
	t.Helper()
	path := "/v2/core/events?limit=100"
	for i, name := range types {
		path += fmt.Sprintf("&types[%d]=%s", i, url.QueryEscape(name))
	}
	for path != "" {
		var page struct {
			Data []thinEvent
			Next string `json:"next_page_url"`
		}
		mustAsk(t, g, "GET", path, "", &page)
		list = append(list, page.Data...)
		path = page.Next
	}
	return list
}

// createDestination makes a destination and returns its id and secret.
func createDestination(t *testing.T, g *harness.Gateway, settings map[string]any) (id, secret string) {
	t.Helper()
	d := map[string]any{
		"name": "test", "event_payload": "thin", "enabled_events": []string{errorReport, noMeter, pingEvent},
	}
	for k, v := range settings {
		d[k] = v
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		ID      string
		Webhook *struct {
			Secret string `json:"signing_secret"`
		} `json:"webhook_endpoint"`
	}
	mustAsk(t, g, "POST", "/v2/core/event_destinations", string(text), &answer)
	if answer.Webhook != nil {
		secret = answer.Webhook.Secret
	}
	return answer.ID, secret
}

// webhookTo is a destination that posts to a hook.
func webhookTo(t *testing.T, g *harness.Gateway, h *harness.Hook) (id, secret string) {
	t.Helper()
	return createDestination(t, g, map[string]any{
		"type": "webhook_endpoint", "webhook_endpoint": map[string]any{"url": h.URL}, "include": []string{"webhook_endpoint.signing_secret"},
	})
}

// refusal is what events must say of one subject in one window.
type refusal struct {
	subject string // the meter's id; empty: names without a meter
	start   int64  // of the window, Unix milliseconds
	code    string
}

const windowMs = 10_000

// refusalsOf counts what a log's records must be reported as: the reference. A window is one of the log's clock, the
// largest time of receipt so far. codes tells why an event is refused, "" when it is not.
func refusalsOf(log []harness.Event, meters map[string]string, codes func(harness.Event) string) map[refusal]int64 {
	counts := map[refusal]int64{}
	clock := map[int]int64{}
	for _, e := range log {
		clock[e.Partition] = max(clock[e.Partition], e.RecordMs)
		if code := codes(e); code != "" {
			counts[refusal{meters[e.Name], clock[e.Partition] / windowMs * windowMs, code}]++
		}
	}
	return counts
}

// reported counts what events say.
func reported(list []thinEvent) map[refusal]int64 {
	counts := map[refusal]int64{}
	for i := range list {
		subject := ""
		if list[i].RelatedObject != nil {
			subject = list[i].RelatedObject.ID
		}
		for _, kind := range list[i].Data.Reason.ErrorTypes {
			counts[refusal{subject, list[i].Data.ValidationStart.UnixMilli(), kind.Code}] += kind.ErrorCount
		}
	}
	return counts
}

// sum adds counts up.
func sum(counts map[refusal]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// compareRefusals fails the test where events do not say what the log holds.
func compareRefusals(t *testing.T, got, want map[refusal]int64) {
	t.Helper()
	wrong := 0
	for k, n := range want {
		if got[k] != n {
			if wrong++; wrong <= 10 {
				t.Errorf("%+v: %d reported, %d in the log", k, got[k], n)
			}
		}
	}
	for k, n := range got {
		if want[k] == 0 {
			if wrong++; wrong <= 10 {
				t.Errorf("%+v: %d reported, none in the log", k, n)
			}
		}
	}
	if wrong > 10 {
		t.Errorf("and %d more", wrong-10)
	}
}

// noIDTwice fails the test when an event is listed twice, or the list is not the newest first.
func noIDTwice(t *testing.T, list []thinEvent) {
	t.Helper()
	seen := map[string]bool{}
	for _, e := range list {
		if seen[e.ID] {
			t.Errorf("%s is listed twice", e.ID)
		}
		seen[e.ID] = true
	}
	if !slices.IsSortedFunc(list, func(a, b thinEvent) int { return b.Created.Compare(a.Created) }) {
		t.Error("the list is not the newest first")
	}
}

func bodyOf(text string) io.Reader {
	if text == "" {
		return nil
	}
	return strings.NewReader(text)
}
