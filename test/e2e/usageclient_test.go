package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"tollgate/test/e2e/harness"
)

// call sends one request with the test key and decodes the answer, numbers as they are written.
func call(method, address string, form url.Values) (status int, header http.Header, body map[string]any, err error) {
	var in io.Reader
	if form != nil {
		in = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequest(method, address, in)
	if err != nil {
		return 0, nil, nil, err
	}
	req.SetBasicAuth(harness.TestKey, "")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	d := json.NewDecoder(res.Body)
	d.UseNumber()
	err = d.Decode(&body)
	return res.StatusCode, res.Header, body, err
}

// makeMeter creates a meter and notes its id.
func makeMeter(t *testing.T, g *harness.Gateway, m *meterSpec) {
	t.Helper()
	form := url.Values{"display_name": {m.name}, "event_name": {m.name}, "default_aggregation[formula]": {m.formula}}
	if m.window != "" {
		form.Set("event_time_window", m.window)
	}
	status, _, body, err := call("POST", g.URL+"/v1/billing/meters", form)
	if err != nil || status != 200 {
		t.Fatalf("meter %s: %d %v %v", m.name, status, body, err)
	}
	m.id, _ = body["id"].(string)
}

// summary is one window of a summary.
type summary struct {
	Start, End int64 // Unix seconds
	Value      string
}

// summaries asks until it is answered: while a partition changes hands, the answer is 503.
func summaries(t *testing.T, g *harness.Gateway, meter, customer string, fromMs, toMs int64, window string) []summary {
	t.Helper()
	list, _ := summariesAsOf(t, g, meter, customer, fromMs, toMs, window)
	return list
}

// summariesAsOf is summaries with the time up to which everything is counted.
func summariesAsOf(t *testing.T, g *harness.Gateway, meter, customer string, fromMs, toMs int64, window string) ([]summary, time.Time) {
	t.Helper()
	q := url.Values{
		"customer": {customer}, "limit": {"100"},
		"start_time": {strconv.FormatInt(fromMs/1000, 10)}, "end_time": {strconv.FormatInt(toMs/1000, 10)},
	}
	if window != "" {
		q.Set("value_grouping_window", window)
	}
	address := g.URL + "/v1/billing/meters/" + meter + "/event_summaries?" + q.Encode()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		status, header, body, err := call("GET", address, nil)
		if err == nil && status == 503 && header.Get("Retry-After") != "" && time.Now().Before(end) {
			continue
		}
		if err != nil || status != 200 {
			t.Fatalf("GET %s: %d %v %v", address, status, body, err)
		}
		asOf, err := time.Parse(time.RFC3339, header.Get("Tollgate-As-Of"))
		if err != nil {
			t.Fatalf("Tollgate-As-Of: %v", err)
		}
		var list []summary
		for _, item := range body["data"].([]any) {
			s := item.(map[string]any)
			start, _ := s["start_time"].(json.Number).Int64()
			stop, _ := s["end_time"].(json.Number).Int64()
			list = append(list, summary{start, stop, s["aggregated_value"].(json.Number).String()})
		}
		return list, asOf
	}
}

// countedUntil waits until a gateway's answers have everything received before a time.
func countedUntil(t *testing.T, g *harness.Gateway, meter string, until time.Time, max time.Duration) {
	t.Helper()
	var asOf time.Time
	for end := time.Now().Add(max); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		hour := until.UnixMilli() / hourMs * hourMs
		if _, asOf = summariesAsOf(t, g, meter, "cus_0", hour-hourMs, hour, ""); !asOf.Before(until) {
			return
		}
	}
	t.Fatalf("%s has counted up to %s after %s, want %s", g.URL, asOf, max, until)
}

// fate asks what became of an event, until it is answered.
func fate(t *testing.T, g *harness.Gateway, name, identifier string) (status int, body map[string]any) {
	t.Helper()
	address := g.URL + "/v1/tollgate/usage_events/" + url.PathEscape(identifier) + "?event_name=" + url.QueryEscape(name)
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		status, _, body, err := call("GET", address, nil)
		if err == nil && status == 503 && time.Now().Before(end) {
			continue
		}
		if err != nil {
			t.Fatalf("GET %s: %v", address, err)
		}
		return status, body
	}
}

// cancelOf is the body of an adjustment.
func cancelOf(e *sentEvent) string {
	return fmt.Sprintf(`{"event_name":%q,"type":"cancel","cancel":{"identifier":%q}}`, e.meter.name, e.identifier)
}
