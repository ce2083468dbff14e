package fakestripe_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	"tollgate/test/fakestripe"
)

// sdk is stripe-go, unmodified, pointed at a URL.
func sdk(url, secret string, retries int64) *stripe.Client {
	return stripe.NewClient(secret, stripe.WithBackends(stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		URL: stripe.String(url), MaxNetworkRetries: stripe.Int64(retries), LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
	})))
}

func TestStripeGoFromTheMeterToItsSummaries(t *testing.T) {
	fake := fakestripe.New(fakestripe.Config{Keys: map[string]string{key: acct.Business}})
	server := httptest.NewServer(fake)
	defer server.Close()
	api, ctx := sdk(server.URL, key, 0), t.Context()

	meter, err := api.V1BillingMeters.Create(ctx, &stripe.BillingMeterCreateParams{
		DisplayName: stripe.String("API calls"), EventName: stripe.String("api_calls"),
		DefaultAggregation: &stripe.BillingMeterCreateDefaultAggregationParams{Formula: stripe.String("sum")},
	})
	if err != nil || meter.Livemode || meter.Status != stripe.BillingMeterStatusActive || meter.CustomerMapping.EventPayloadKey != "stripe_customer_id" {
		t.Fatalf("%+v: %v", meter, err)
	}
	session, err := api.V2BillingMeterEventSessions.Create(ctx, &stripe.V2BillingMeterEventSessionCreateParams{})
	if err != nil || session.ExpiresAt.Sub(session.Created) != 15*time.Minute {
		t.Fatalf("%+v: %v", session, err)
	}
	hour := time.Now().UTC().Truncate(time.Hour).Add(-48 * time.Hour)
	send := func() error {
		var events []*stripe.V2BillingMeterEventStreamCreateEventParams
		for i := range 30 { // an hour each
			events = append(events, &stripe.V2BillingMeterEventStreamCreateEventParams{
				EventName: stripe.String("api_calls"), Identifier: stripe.String(fmt.Sprint("e", i)),
				Payload:   map[string]string{"stripe_customer_id": "cus_1", "value": "1.25"},
				Timestamp: stripe.Time(hour.Add(time.Duration(i) * time.Hour)),
			})
		}
		sender := sdk(server.URL, session.AuthenticationToken, 0)
		return sender.V2BillingMeterEventStreams.Create(ctx, &stripe.V2BillingMeterEventStreamCreateParams{Events: events})
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	v1, err := api.V1BillingMeterEvents.Create(ctx, &stripe.BillingMeterEventCreateParams{
		EventName: stripe.String("api_calls"), Identifier: stripe.String("one"),
		Payload: map[string]string{"stripe_customer_id": "cus_1", "value": "2"}, Timestamp: stripe.Int64(hour.Unix()),
	})
	if err != nil || v1.Identifier != "one" || v1.Timestamp != hour.Unix() {
		t.Errorf("%+v: %v", v1, err)
	}
	v2, err := api.V2BillingMeterEvents.Create(ctx, &stripe.V2BillingMeterEventCreateParams{
		EventName: stripe.String("api_calls"), Payload: map[string]string{"stripe_customer_id": "cus_1", "value": "4"}, Timestamp: stripe.Time(hour),
	})
	if err != nil || v2.Identifier == "" || !v2.Timestamp.Equal(hour) {
		t.Errorf("%+v: %v", v2, err)
	}
	adjustment, err := api.V2BillingMeterEventAdjustments.Create(ctx, &stripe.V2BillingMeterEventAdjustmentCreateParams{
		EventName: stripe.String("api_calls"), Type: stripe.String("cancel"),
		Cancel: &stripe.V2BillingMeterEventAdjustmentCreateCancelParams{Identifier: stripe.String(v2.Identifier)},
	})
	if err != nil || adjustment.Status != stripe.V2BillingMeterEventAdjustmentStatusPending {
		t.Errorf("%+v: %v", adjustment, err)
	}

	params := &stripe.BillingMeterEventSummaryListParams{
		ID: stripe.String(meter.ID), Customer: stripe.String("cus_1"), StartTime: stripe.Int64(hour.Unix()),
		EndTime: stripe.Int64(hour.Add(30 * time.Hour).Unix()), ValueGroupingWindow: stripe.String("hour"),
	}
	params.Limit = stripe.Int64(7)
	total, windows := 0.0, 0
	for s, err := range api.V1BillingMeterEventSummaries.List(ctx, params).All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		total += s.AggregatedValue
		windows++
	}
	if total != 30*1.25+2 || windows != 30 {
		t.Errorf("%v in %d windows", total, windows)
	}

	if _, err = api.V1BillingMeters.Deactivate(ctx, meter.ID, nil); err != nil {
		t.Fatal(err)
	}
	n := 0
	for m, err := range api.V1BillingMeters.List(ctx, &stripe.BillingMeterListParams{}).All(ctx) {
		if n++; err != nil || m.ID != meter.ID || m.Status != stripe.BillingMeterStatusInactive {
			t.Errorf("listed %+v: %v", m, err)
		}
	}
	if n != 1 {
		t.Errorf("%d meters are listed", n)
	}
}

func TestStripeGoKnowsTheErrorsByTheirTypes(t *testing.T) {
	fake := fakestripe.New(fakestripe.Config{Keys: map[string]string{key: acct.Business}, Limits: fakestripe.Limits{SessionEvents: 1}})
	server := httptest.NewServer(fake)
	defer server.Close()
	api, ctx := sdk(server.URL, key, 0), t.Context()
	session, err := api.V2BillingMeterEventSessions.Create(ctx, &stripe.V2BillingMeterEventSessionCreateParams{})
	if err != nil {
		t.Fatal(err)
	}
	send := func(token string) error {
		return sdk(server.URL, token, 0).V2BillingMeterEventStreams.Create(ctx, &stripe.V2BillingMeterEventStreamCreateParams{
			Events: []*stripe.V2BillingMeterEventStreamCreateEventParams{{EventName: stripe.String("m"), Payload: map[string]string{"a": "b"}}},
		})
	}
	if err := send(session.AuthenticationToken); err != nil {
		t.Errorf("the first: %v", err)
	}
	var limited *stripe.RateLimitError
	if err := send(session.AuthenticationToken); !errors.As(err, &limited) {
		t.Errorf("a limit: %T %v", err, err)
	}
	fake.RevokeSessions(acct)
	var expired *stripe.TemporarySessionExpiredError
	if err := send(session.AuthenticationToken); !errors.As(err, &expired) {
		t.Errorf("a session that ended: %T %v", err, err)
	}
	var raw *stripe.V2RawError
	if err := send("token_unknown"); !errors.As(err, &raw) || raw.Code != "invalid_api_key" {
		t.Errorf("an unknown token: %T %v", err, err)
	}
	_, err = api.V1BillingMeterEvents.Create(ctx, &stripe.BillingMeterEventCreateParams{EventName: stripe.String("m"), Payload: map[string]string{"a": "b"}})
	var v1 *stripe.Error
	if !errors.As(err, &v1) || v1.HTTPStatusCode != 400 {
		t.Errorf("no meter: %T %v", err, err)
	}
}

// What stripe-go sends again after a reset is a duplicate, by identifier or by its idempotency key.
func TestStripeGoRetriesAndCountsOnce(t *testing.T) {
	fake := fakestripe.New(fakestripe.Config{Keys: map[string]string{key: acct.Business}})
	if _, err := fake.CreateMeter(acct, fakestripe.Meter{EventName: "m"}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(fake)
	defer server.Close()
	api, ctx := sdk(server.URL, key, 2), t.Context()
	if err := fake.Script(fakestripe.EventsV1, fakestripe.ResetAfter, fakestripe.Truncated); err != nil {
		t.Fatal(err)
	}
	if _, err := api.V1BillingMeterEvents.Create(ctx, &stripe.BillingMeterEventCreateParams{
		EventName: stripe.String("m"), Payload: map[string]string{"stripe_customer_id": "cus_1", "value": "3"},
	}); err != nil && !strings.Contains(err.Error(), "EOF") {
		t.Errorf("%T %v", err, err)
	}
	if s := fake.State(acct); s.Counts[fakestripe.Counted] != 1 || s.Replays == 0 {
		t.Errorf("counted %+v", s)
	}
}
