package harness

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// EnsureMeter makes a meter of this event name, unless there is one: synchronous events need it, and the stream counts
// nothing without it. It tries again while the gateway can not answer.
func EnsureMeter(tb testing.TB, base, key, eventName string) {
	tb.Helper()
	form := url.Values{"display_name": {eventName}, "event_name": {eventName}, "default_aggregation[formula]": {"sum"}}
	var status int
	var message string
	for end := time.Now().Add(startMax); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		status, message = makeMeter(tb, base, key, form)
		if status == http.StatusOK || status == http.StatusBadRequest && strings.Contains(message, "exists already") {
			return
		}
	}
	tb.Fatalf("meter %s: %d %s", eventName, status, message)
}

func makeMeter(tb testing.TB, base, key string, form url.Values) (status int, message string) {
	tb.Helper()
	req, err := http.NewRequest(http.MethodPost, base+"/v1/billing/meters", strings.NewReader(form.Encode()))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(key, "")
	res, err := probe.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	var body struct{ Error struct{ Message string } }
	_ = json.NewDecoder(res.Body).Decode(&body)
	return res.StatusCode, body.Error.Message
}
