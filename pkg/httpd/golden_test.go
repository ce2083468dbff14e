package httpd

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tollgate/pkg/ingest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestAnswersByteForByte holds whole answers, status line and headers included, as they go over the wire. What differs
// from run to run is masked.
func TestAnswersByteForByte(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Policy = &Policy{Default: Limits{StreamEvents: 50}} })
	token := f.token(testKey)
	request := func(path, key, body string) string {
		contentType := "application/json"
		if strings.HasPrefix(path, "/v1") {
			contentType = "application/x-www-form-urlencoded"
		}
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer %s\r\nIdempotency-Key: key-1\r\nStripe-Version: 2026-07-29.dahlia\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			path, key, contentType, len(body), body)
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
	}
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
		{"v1, no key", strings.Replace(request(v1EventsPath, "", formEvent), "Authorization: Bearer \r\n", "", 1), nil},
		{"v1, no such path", request("/v1/nope", testKey, ""), nil},
		{"v2, no such path", request("/v2/nope", testKey, ""), nil},
		{"another method", "DELETE " + streamPath + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", nil},
		{"a head that is none", "POST / HTTP/1.1\nHost: a\r\n\r\n", nil},
		{"a body that is too large", "POST " + streamPath + " HTTP/1.1\r\nHost: a\r\nIdempotency-Key: key-1\r\nContent-Length: 9999999\r\n\r\n", nil},
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
