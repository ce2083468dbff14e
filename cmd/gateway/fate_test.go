package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeAPI answers as a gateway with 101 meters, of which the last one and m-7 know the event "e/1".
func fakeAPI(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/billing/meters", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sk_test_1" {
			w.WriteHeader(401)
			_, _ = w.Write([]byte(`{"error":{"type":"invalid_request_error","message":"Invalid API Key provided"}}`))
			return
		}
		if r.URL.Query().Get("starting_after") == "mtr_7" {
			_, _ = w.Write([]byte(`{"data":[{"id":"mtr_8","event_name":"größe 8"}],"has_more":false}`))
			return
		}
		_, _ = w.Write([]byte(`{"data":[{"id":"mtr_6","event_name":"m-6"},{"id":"mtr_7","event_name":"m-7"}],"has_more":true}`))
	})
	mux.HandleFunc("GET /v1/tollgate/usage_events/{id}", func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("event_name")
		switch {
		case r.PathValue("id") == "away":
			w.WriteHeader(503)
			_, _ = w.Write([]byte(`{"error":{"type":"api_error","message":"a partition's gateway is away"}}`))
		case r.PathValue("id") == "e/1" && name == "m-7":
			_, _ = w.Write([]byte(`{"object":"tollgate.usage_event","identifier":"e/1","event_name":"m-7","livemode":false,"status":"refused",` +
				`"record":{"topic":"tollgate.usage","partition":3,"offset":12,"received":"2026-11-21T12:00:00.123Z"},"timestamp":null,` +
				`"code":"meter_event_invalid_value","message":"The value is none.","duplicate":null,"cancelled_by":null}`))
		case r.PathValue("id") == "e/1" && name == "größe 8":
			_, _ = w.Write([]byte(`{"object":"tollgate.usage_event","identifier":"e/1","event_name":"größe 8","livemode":false,"status":"counted",` +
				`"record":{"topic":"tollgate.usage","partition":0,"offset":0,"received":"2026-11-21T12:00:00.123Z"},"timestamp":"2026-11-21T12:00:00.000Z",` +
				`"code":null,"message":null,"duplicate":{"topic":"tollgate.usage","partition":0,"offset":9,"received":"2026-11-21T12:00:09.000Z"},"cancelled_by":null}`))
		default:
			asOf := "2026-11-21T12:00:01.000Z"
			if name == "m-7" { // whose partition is behind
				asOf = "2026-11-21T12:00:00.000Z"
			}
			w.Header().Set("Tollgate-As-Of", asOf)
			w.WriteHeader(404)
			_, _ = w.Write([]byte(`{"error":{"type":"invalid_request_error","code":"resource_missing","message":"No such usage event"}}`))
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestFateSaysWhereAnEventIsAndEndsWithACodeForScripts(t *testing.T) {
	api := fakeAPI(t)
	t.Setenv("TOLLGATE_KEY", "")
	t.Setenv("STRIPE_API_KEY", "")
	f := func(want int, text string, args ...string) {
		t.Helper()
		var out, errs strings.Builder
		code := (&Main{Stdout: &out, Stderr: &errs}).Run(append([]string{"fate", "--url", api.URL + "/"}, args...))
		if code != want || !strings.Contains(out.String()+errs.String(), text) {
			t.Errorf("%v: exit %d, want %d and %q:\n%s%s", args, code, want, text, out.String(), errs.String())
		}
	}
	f(0, `e/1 of m-7: refused
  code         meter_event_invalid_value
  message      The value is none.
  record       tollgate.usage, partition 3, offset 12, received 2026-11-21T12:00:00.123Z
e/1 of größe 8: counted
  record       tollgate.usage, partition 0, offset 0, received 2026-11-21T12:00:00.123Z
  timestamp    2026-11-21T12:00:00.000Z
  duplicate    tollgate.usage, partition 0, offset 9, received 2026-11-21T12:00:09.000Z
`, "e/1", "--key", "sk_test_1")
	f(0, "e/1 of m-7: refused", "e/1", "--event-name", "m-7", "--key", "sk_test_1")
	f(1, "e/1 was not found", "e/1", "--event-name", "m-6", "--key", "sk_test_1")
	f(1, "nobody was not found among the events that were answered in the 24 hours before 2026-11-21T12:00:00.000Z", "nobody", "--key", "sk_test_1")
	f(2, "Invalid API Key", "e/1", "--key", "sk_test_2")
	f(2, "a partition's gateway is away", "away", "--event-name", "m-6", "--key", "sk_test_1")
	f(2, "no API key", "e/1", "--data-dir", t.TempDir())
	f(2, "does the gateway run", "e/1", "--key", "sk_test_1", "--event-name", "m", "--url", "http://127.0.0.1:1")

	t.Setenv("STRIPE_API_KEY", "sk_test_1")
	f(0, "counted", "e/1")
	t.Setenv("TOLLGATE_KEY", "sk_test_2")
	f(2, "Invalid API Key", "e/1")
	t.Setenv("TOLLGATE_KEY", "")
	t.Setenv("STRIPE_API_KEY", "")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, defaultKeyFile), []byte("sk_test_1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f(0, "counted", "e/1", "--data-dir", dir)
}
