package fakestripe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"tollgate/test/fakestripe"
)

const (
	streamPath  = "/v2/billing/meter_event_stream"
	sessionPath = "/v2/billing/meter_event_session"
	eventsPath  = "/v2/billing/meter_events"
	adjustPath  = "/v2/billing/meter_event_adjustments"
	v1Events    = "/v1/billing/meter_events"
	v1Adjust    = "/v1/billing/meter_event_adjustments"
	v1Meters    = "/v1/billing/meters"

	key = "sk_test_1"
)

var (
	acct  = fakestripe.Account{Business: "acct_1"}
	start = time.Date(2026, 3, 2, 10, 15, 0, 0, time.UTC)
)

// rig is a fake with a clock of the test's own and a client without sockets.
type rig struct {
	*fakestripe.Stripe
	t     *testing.T
	at    time.Time
	token string
}

// newRig has the meters sum, count, last, and hourly, a sum with one event an hour.
func newRig(t *testing.T, cfg fakestripe.Config) *rig {
	t.Helper()
	r := &rig{t: t, at: start}
	cfg.Keys = map[string]string{key: acct.Business, "sk_live_1": acct.Business, "sk_test_2": "acct_2"}
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return r.at }
	}
	r.Stripe = fakestripe.New(cfg)
	for _, m := range []fakestripe.Meter{
		{EventName: "sum"},
		{EventName: "count", Formula: "count"},
		{EventName: "last", Formula: "last"},
		{EventName: "hourly", TimeWindow: "hour"},
	} {
		if _, err := r.CreateMeter(acct, m); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// reply is what came back; Code is that of the error, or its type where there is none.
type reply struct {
	Status              int
	Header              http.Header
	Body                string
	Type, Code, Message string
	Err                 error
}

func (r *rig) do(ctx context.Context, method, path, secret, body string) reply {
	return do(ctx, r.Transport(), "http://stripe", method, path, secret, body)
}

func do(ctx context.Context, by http.RoundTripper, base, method, path, secret, body string) (got reply) {
	url, idempotency, _ := strings.Cut(path, " ")
	q, err := http.NewRequestWithContext(ctx, method, base+url, strings.NewReader(body))
	if err != nil {
		return reply{Err: err}
	}
	q.Header.Set("Authorization", "Bearer "+secret)
	if idempotency != "" {
		q.Header.Set("Idempotency-Key", idempotency)
	}
	a, err := by.RoundTrip(q)
	if err != nil {
		return reply{Err: err}
	}
	defer a.Body.Close()
	all, err := io.ReadAll(a.Body)
	got = reply{Status: a.StatusCode, Header: a.Header, Body: string(all), Err: err}
	var e struct {
		Error struct{ Type, Code, Message string }
	}
	if json.Unmarshal(all, &e) == nil {
		got.Type, got.Code, got.Message = e.Error.Type, e.Error.Code, e.Error.Message
	}
	return got
}

func (r *rig) post(path, body string) reply {
	return r.do(r.t.Context(), http.MethodPost, path, key, body)
}
func (r *rig) get(path string) reply { return r.do(r.t.Context(), http.MethodGet, path, key, "") }

// open makes a session whose token stream uses.
func (r *rig) open() {
	r.t.Helper()
	got := r.post(sessionPath, "{}")
	if r.token = tokenOf(got); r.token == "" {
		r.t.Fatalf("no session: %+v", got)
	}
}

// tokenOf is the token of a session's answer, or empty.
func tokenOf(a reply) string {
	var s struct {
		Token string `json:"authentication_token"`
	}
	if a.Err != nil || a.Status != http.StatusOK || json.Unmarshal([]byte(a.Body), &s) != nil {
		return ""
	}
	return s.Token
}

// stream sends events as they stand, opening a session before the first.
func (r *rig) stream(events ...string) reply {
	r.t.Helper()
	if r.token == "" {
		r.open()
	}
	return r.do(r.t.Context(), http.MethodPost, streamPath, r.token, body(events...))
}

func (r *rig) want(got reply, status int, code string) {
	r.t.Helper()
	if got.Err != nil || got.Status != status || got.Code != code {
		r.t.Errorf("answered %d %q, want %d %q: %s %v", got.Status, got.Code, status, code, got.Body, got.Err)
	}
}

func (r *rig) wantCounts(want map[string]int64) {
	r.t.Helper()
	if got := r.State(acct).Counts; fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("counted %v, want %v", got, want)
	}
}

// sum is what summaries say of all time.
func (r *rig) sum(meter string) string {
	return r.Sum(acct, meter, "cus_1", time.Unix(0, 0), start.AddDate(10, 0, 0))
}

func body(events ...string) string { return `{"events":[` + strings.Join(events, ",") + `]}` }

// usage is an event of cus_1; a time of zero leaves it out.
func usage(meter, identifier, value string, at time.Time) string {
	e := map[string]any{"event_name": meter, "payload": map[string]string{"stripe_customer_id": "cus_1", "value": value}}
	if identifier != "" {
		e["identifier"] = identifier
	}
	if !at.IsZero() {
		e["timestamp"] = at.Format(time.RFC3339Nano)
	}
	text, _ := json.Marshal(e)
	return string(text)
}

// many are n events of value 1, with identifiers from the prefix.
func many(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = usage("sum", fmt.Sprint(prefix, i), "1", time.Time{})
	}
	return list
}
