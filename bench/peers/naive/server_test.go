package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
)

// fake keeps what was produced, and fails when told to.
type fake struct {
	produced []kafka.Message
	err      error
}

func (f *fake) WriteMessages(_ context.Context, list ...kafka.Message) error {
	f.produced = append(f.produced, list...)
	return f.err
}

func post(h http.Handler, path, token, body string) *httptest.ResponseRecorder {
	q := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	q.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, q)
	return w
}

const (
	sessionPath = "/v2/billing/meter_event_session"
	streamPath  = "/v2/billing/meter_event_stream"
)

func open(t *testing.T, h http.Handler) (token string) {
	t.Helper()
	var session struct {
		Token string `json:"authentication_token"`
	}
	w := post(h, sessionPath, "sk_test_bench", "{}")
	if err := json.Unmarshal(w.Body.Bytes(), &session); err != nil || w.Code != 200 || session.Token == "" {
		t.Fatalf("session: %d %s %v", w.Code, w.Body, err)
	}
	return session.Token
}

func TestAnEventBecomesOneRecordOfTheContractsForm(t *testing.T) {
	p := &fake{}
	h := newServer("sk_test_bench", "acct_bench", p).routes()
	w := post(h, streamPath, open(t, h), `{"events":[{"event_name":"meter_0001","identifier":"tgb-5f3a01c9-002a-00000004d2","timestamp":"2026-11-21T13:00:00+01:00","payload":{"stripe_customer_id":"cus_00000001","value":"25"}},`+
		`{"event_name":"meter_0002","payload":{}}]}`)
	if w.Code != 200 || w.Body.String() != "{}" || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if len(p.produced) != 2 {
		t.Fatalf("%d records of 2 events", len(p.produced))
	}
	if key := string(p.produced[0].Key); key != "acct_bench/testmode/meter_0001" {
		t.Error("key", key)
	}
	before, after, ok := strings.Cut(string(p.produced[0].Value), `,"received":"`)
	if want := `{"object":"meter_event","business":"acct_bench","livemode":false,"event_name":"meter_0001","identifier":"tgb-5f3a01c9-002a-00000004d2","timestamp":"2026-11-21T12:00:00.000Z"`; !ok || before != want {
		t.Errorf("value\n%s\nwant\n%s", before, want)
	}
	if want := `","payload":{"stripe_customer_id":"cus_00000001","value":"25"}}`; !strings.HasSuffix(after, want) {
		t.Errorf("value ends %s, want %s", after, want)
	}
	var generated record
	if err := json.Unmarshal(p.produced[1].Value, &generated); err != nil || generated.Identifier == "" || generated.Timestamp != generated.Received {
		t.Errorf("without identifier and timestamp: %s", p.produced[1].Value)
	}
}

func TestABadRequestIsRefusedAndNothingOfItProduced(t *testing.T) {
	p := &fake{}
	h := newServer("sk_test_bench", "acct_bench", p).routes()
	token := open(t, h)
	good := `{"event_name":"m","payload":{"value":"1"}}`
	for _, body := range []string{
		``, `{}`, `{"events":[]}`, `[]`, `{"events":[` + good + `]} x`,
		`{"events":[` + good + `,{"payload":{}}]}`,
		`{"events":[{"event_name":"","payload":{}}]}`,
		`{"events":[{"event_name":1,"payload":{}}]}`,
		`{"events":[{"event_name":"m"}]}`,
		`{"events":[{"event_name":"m","payload":{"value":1}}]}`,
		`{"events":[{"event_name":"m","payload":{},"timestamp":"yesterday"}]}`,
		`{"events":[{"event_name":"m","payload":{},"identifier":"` + strings.Repeat("x", 101) + `"}]}`,
		`{"events":[` + strings.Join(slices.Repeat([]string{good}, 101), ",") + `]}`,
	} {
		w := post(h, streamPath, token, body)
		if w.Code != 400 || !strings.Contains(w.Body.String(), `"code":"invalid_fields"`) {
			t.Errorf("%.80s: %d %s", body, w.Code, w.Body)
		}
	}
	if len(p.produced) > 0 {
		t.Errorf("%d records were produced", len(p.produced))
	}
}

func TestWithoutKeyOrTokenNothingIsTaken(t *testing.T) {
	h := newServer("sk_test_bench", "acct_bench", &fake{}).routes()
	for _, path := range []string{sessionPath, streamPath} {
		if w := post(h, path, "other", `{"events":[{"event_name":"m","payload":{}}]}`); w.Code != 401 || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestWhatWasNotAcknowledgedIsNotSaidToBeStored(t *testing.T) {
	h := newServer("sk_test_bench", "acct_bench", &fake{err: errors.New("no leader")}).routes()
	if w := post(h, streamPath, open(t, h), `{"events":[{"event_name":"m","payload":{}}]}`); w.Code != 503 || !json.Valid(w.Body.Bytes()) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
