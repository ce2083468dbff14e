package stripe

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/stripe/stripe-go/v85"
)

// answer is what the test's server says to every request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// sdkClient returns an official client at its default settings, a function that sets what it will be answered, and a
// counter of the requests that it sent.
func sdkClient(t *testing.T) (client *sdk.Client, say func(answer), requests *atomic.Int64) {
	t.Helper()
	var now atomic.Pointer[answer]
	requests = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		a := now.Load()
		for name, values := range a.header {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Request-Id", "req_1")
		w.WriteHeader(a.status)
		w.Write(a.body)
	}))
	t.Cleanup(server.Close)
	backends := sdk.NewBackendsWithConfig(&sdk.BackendConfig{
		URL: sdk.String(server.URL), LeveledLogger: &sdk.LeveledLogger{Level: sdk.LevelNull}, EnableTelemetry: sdk.Bool(false),
	})
	return sdk.NewClient("sk_test_123", sdk.WithBackends(backends)), func(a answer) { now.Store(&a) }, requests
}

func refusalAnswer(e *Error, body []byte) answer {
	a := answer{status: e.Status, header: http.Header{}, body: body}
	for name, value := range e.Headers {
		a.header.Set(name, value)
	}
	return a
}

func stream(client *sdk.Client) error {
	return client.V2BillingMeterEventStreams.Create(context.Background(), &sdk.V2BillingMeterEventStreamCreateParams{
		Events: []*sdk.V2BillingMeterEventStreamCreateEventParams{{
			EventName: sdk.String("n"), Payload: map[string]string{"value": "1"},
		}},
	})
}

func v1Event(client *sdk.Client) (*sdk.BillingMeterEvent, error) {
	return client.V1BillingMeterEvents.Create(context.Background(), &sdk.BillingMeterEventCreateParams{
		EventName: sdk.String("n"), Payload: map[string]string{"value": "1"},
	})
}

func TestTheOfficialSDKTypesEveryV2Refusal(t *testing.T) {
	client, say, requests := sdkClient(t)
	for _, r := range refusals {
		say(refusalAnswer(r.err, r.err.AppendV2(nil)))
		before := requests.Load()
		err := stream(client)
		if sent := requests.Load() - before; sent != 1 {
			t.Errorf("%s: sent %d times; this SDK does not repeat what has a JSON error", r.name, sent)
		}
		switch r.name {
		case "SessionExpired":
			e, ok := errors.AsType[*sdk.TemporarySessionExpiredError](err)
			if !ok || e.Code != "billing_meter_event_session_expired" || e.DocURL == nil || e.Message != r.err.Message {
				t.Errorf("%s: %T %v", r.name, err, err)
			}
		case "RateLimited", "TooManyConnectionsOfOne":
			e, ok := errors.AsType[*sdk.RateLimitError](err)
			if !ok || e.Code != "rate_limit" || e.LastResponse.Header.Get("Stripe-Rate-Limited-Reason") != r.err.RateLimitedReason {
				t.Errorf("%s: %T %v", r.name, err, err)
			}
		default:
			e, ok := errors.AsType[*sdk.V2RawError](err)
			if !ok || e.HTTPStatusCode != r.err.Status || e.Message != r.err.Message || e.Code == "" || e.Type == nil || e.RequestID != "req_1" {
				t.Errorf("%s: %T %v", r.name, err, err)
			}
		}
	}
}

func TestTheOfficialSDKTypesEveryV1Refusal(t *testing.T) {
	client, say, requests := sdkClient(t)
	for _, r := range refusals {
		say(refusalAnswer(r.err, r.err.AppendV1(nil)))
		before := requests.Load()
		_, err := v1Event(client)
		if sent := requests.Load() - before; sent != 1 {
			t.Errorf("%s: sent %d times", r.name, sent)
		}
		e, ok := errors.AsType[*sdk.Error](err)
		if !ok || e.HTTPStatusCode != r.err.Status || e.Msg != r.err.Message || string(e.Code) != r.err.Code || e.Param != r.err.Param || string(e.Type) != r.err.Type {
			t.Errorf("%s: %T %v", r.name, err, err)
			continue
		}
		switch r.err.Type {
		case typeAPI:
			_, ok = errors.AsType[*sdk.APIError](e.Err)
		case typeInvalidRequest:
			_, ok = errors.AsType[*sdk.InvalidRequestError](e.Err)
		case typeIdempotency:
			_, ok = errors.AsType[*sdk.IdempotencyError](e.Err)
		}
		if !ok {
			t.Errorf("%s: type %s became %T", r.name, r.err.Type, e.Err)
		}
	}
}

func TestTheOfficialSDKReadsEveryObject(t *testing.T) {
	client, say, _ := sdkClient(t)
	ctx := context.Background()
	ok := func(body []byte) { say(answer{status: http.StatusOK, body: body}) }

	ok(AppendSession(nil, &Session{Random: sampleRandom, Token: []byte("tgst_abc"), CreatedMs: created, ExpiresMs: later}))
	session, err := client.V2BillingMeterEventSessions.Create(ctx, nil)
	noError(t, err)
	if session.AuthenticationToken != "tgst_abc" || session.Livemode || !strings.HasPrefix(session.ID, "mtes_test_") ||
		!session.ExpiresAt.Equal(time.UnixMilli(later)) || session.Object != "v2.billing.meter_event_session" || session.ExpiresAt.Sub(session.Created) != 15*time.Minute {
		t.Errorf("%+v", session)
	}

	payload := "{\"k\\\"ü\":\"\\u0001\",\"value\":\"25\"}"
	event := MeterEvent{
		EventName: []byte("name \"ü\" \x01"), Identifier: []byte("i\\1"), Payload: []byte(payload),
		CreatedMs: created, TimestampMs: created - 1, Livemode: true,
	}
	ok(AppendV2MeterEvent(nil, &event))
	v2, err := client.V2BillingMeterEvents.Create(ctx, &sdk.V2BillingMeterEventCreateParams{EventName: sdk.String("n")})
	noError(t, err)
	if v2.EventName != string(event.EventName) || v2.Identifier != `i\1` || v2.Payload["k\"ü"] != "\x01" || !v2.Livemode ||
		!v2.Timestamp.Equal(time.UnixMilli(created-1)) || !v2.Created.Equal(time.UnixMilli(created)) {
		t.Errorf("%+v", v2)
	}

	ok(AppendV1MeterEvent(nil, &event))
	v1, err := v1Event(client)
	noError(t, err)
	if v1.EventName != string(event.EventName) || v1.Payload["value"] != "25" || v1.Created != created/1000 || v1.Timestamp != created/1000-1 {
		t.Errorf("%+v", v1)
	}

	adjustment := Adjustment{Random: sampleRandom, EventName: []byte("n"), CancelIdentifier: []byte("i"), Status: Pending, CreatedMs: created}
	ok(AppendV2Adjustment(nil, &adjustment))
	a2, err := client.V2BillingMeterEventAdjustments.Create(ctx, &sdk.V2BillingMeterEventAdjustmentCreateParams{EventName: sdk.String("n")})
	noError(t, err)
	if a2.Cancel.Identifier != "i" || a2.Status != sdk.V2BillingMeterEventAdjustmentStatusPending || !strings.HasPrefix(a2.ID, "mtr_event_adj_test_") || a2.Type != sdk.V2BillingMeterEventAdjustmentTypeCancel {
		t.Errorf("%+v", a2)
	}

	ok(AppendV1Adjustment(nil, &adjustment))
	a1, err := client.V1BillingMeterEventAdjustments.Create(ctx, &sdk.BillingMeterEventAdjustmentCreateParams{EventName: sdk.String("n"), Type: sdk.String("cancel")})
	noError(t, err)
	if a1.Cancel.Identifier != "i" || a1.Status != sdk.BillingMeterEventAdjustmentStatusPending || a1.Type != sdk.BillingMeterEventAdjustmentTypeCancel {
		t.Errorf("%+v", a1)
	}

	ok([]byte("{}"))
	noError(t, stream(client))
}

// The SDK's own form encoder against our parser.
func TestTheOfficialSDKsFormIsUnderstood(t *testing.T) {
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf := new(strings.Builder)
		if _, err := io.Copy(buf, r.Body); err != nil {
			t.Error(err)
		}
		bodies = append(bodies, buf.String())
		w.Write([]byte(`{"object":"billing.meter_event"}`))
	}))
	defer server.Close()
	client := sdk.NewClient("sk_test_123", sdk.WithBackends(sdk.NewBackendsWithConfig(&sdk.BackendConfig{URL: sdk.String(server.URL)})))
	_, err := client.V1BillingMeterEvents.Create(context.Background(), &sdk.BillingMeterEventCreateParams{
		EventName: sdk.String("api calls & ü"), Identifier: sdk.String("i+1=%"), Timestamp: sdk.Int64(1772446501),
		Payload: map[string]string{"value": "2 5"}, Expand: []*string{sdk.String("x"), sdk.String("y")},
	})
	noError(t, err)
	got, err := meterEvent(bodies[0])
	if want := "name=api calls & ü identifier=i+1=% timestamp=1772446501 value:2 5"; err != nil || got != want {
		t.Errorf("%s\n got %s (%v)\nwant %s", bodies[0], got, err, want)
	}
}
