package httpd

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/stripe/stripe-go/v85"
)

// newSDK is Stripe's Go library with its default settings, pointed at the server; only its log is silent.
func (f *fixture) newSDK(key string) *sdk.Client {
	backends := sdk.NewBackendsWithConfig(&sdk.BackendConfig{
		URL:           sdk.String("http://" + f.addr),
		LeveledLogger: &sdk.LeveledLogger{Level: sdk.LevelNull},
	})
	return sdk.NewClient(key, sdk.WithBackends(backends))
}

func streamParams(n int) *sdk.V2BillingMeterEventStreamCreateParams {
	p := &sdk.V2BillingMeterEventStreamCreateParams{}
	for range n {
		p.Events = append(p.Events, &sdk.V2BillingMeterEventStreamCreateEventParams{
			EventName: sdk.String("api_requests"),
			Payload:   map[string]string{"stripe_customer_id": "cus_1", "value": "25"},
			Timestamp: sdk.Time(time.Now()),
		})
	}
	return p
}

func TestTheStripeSDKIsServedAsItIs(t *testing.T) {
	f := newFixture(t, nil)
	ctx := context.Background()
	api := f.newSDK(testKey)

	session, err := api.V2BillingMeterEventSessions.Create(ctx, &sdk.V2BillingMeterEventSessionCreateParams{})
	if err != nil {
		t.Fatal(err)
	}
	if session.Livemode || session.ExpiresAt.Sub(session.Created) != 15*time.Minute {
		t.Errorf("session %+v", session)
	}
	if err := f.newSDK(session.AuthenticationToken).V2BillingMeterEventStreams.Create(ctx, streamParams(100)); err != nil {
		t.Fatal(err)
	}
	if n := len(f.records()); n != 100 {
		t.Errorf("%d records", n)
	}

	event, err := api.V2BillingMeterEvents.Create(ctx, &sdk.V2BillingMeterEventCreateParams{
		EventName: sdk.String("api_requests"), Payload: map[string]string{"stripe_customer_id": "cus_1", "value": "1.5"},
	})
	if err != nil || len(event.Identifier) != 32 || event.Payload["value"] != "1.5" || event.Timestamp.IsZero() {
		t.Errorf("%+v %v", event, err)
	}
	adjustment, err := api.V2BillingMeterEventAdjustments.Create(ctx, &sdk.V2BillingMeterEventAdjustmentCreateParams{
		EventName: sdk.String("api_requests"), Type: sdk.String("cancel"),
		Cancel: &sdk.V2BillingMeterEventAdjustmentCreateCancelParams{Identifier: sdk.String(event.Identifier)},
	})
	if err != nil || adjustment.Status != "pending" || adjustment.Cancel.Identifier != event.Identifier {
		t.Errorf("%+v %v", adjustment, err)
	}
	old, err := api.V1BillingMeterEvents.Create(ctx, &sdk.BillingMeterEventCreateParams{
		EventName: sdk.String("api_requests"), Identifier: sdk.String("id_v1"), Timestamp: sdk.Int64(time.Now().Unix()),
		Payload: map[string]string{"stripe_customer_id": "cus_1", "value": "25"},
	})
	if err != nil || old.Identifier != "id_v1" || old.Payload["value"] != "25" {
		t.Errorf("%+v %v", old, err)
	}
	oldAdjustment, err := api.V1BillingMeterEventAdjustments.Create(ctx, &sdk.BillingMeterEventAdjustmentCreateParams{
		EventName: sdk.String("api_requests"), Type: sdk.String("cancel"),
		Cancel: &sdk.BillingMeterEventAdjustmentCreateCancelParams{Identifier: sdk.String("id_v1")},
	})
	if err != nil || oldAdjustment.Status != "pending" {
		t.Errorf("%+v %v", oldAdjustment, err)
	}
	if n := len(f.records()); n != 4 {
		t.Errorf("%d records", n)
	}
}

func TestTheStripeSDKSeesTypedErrors(t *testing.T) {
	var ahead atomic.Int64
	f := newFixture(t, func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		c.Policy = &Policy{Default: Limits{StreamEvents: 150, SyncEvents: 1}}
	})
	ctx := context.Background()
	token := f.token(testKey)
	stream := f.newSDK(token).V2BillingMeterEventStreams
	if err := stream.Create(ctx, streamParams(100)); err != nil {
		t.Fatal(err)
	}
	if limited, ok := errors.AsType[*sdk.RateLimitError](stream.Create(ctx, streamParams(100))); !ok || limited.Code != "rate_limit" {
		t.Errorf("over the limit: %v", limited)
	}
	ahead.Store(int64(16 * time.Minute))
	if expired, ok := errors.AsType[*sdk.TemporarySessionExpiredError](stream.Create(ctx, streamParams(1))); !ok || expired.Code != "billing_meter_event_session_expired" {
		t.Errorf("an expired session: %v", expired)
	}
	ahead.Store(0)

	raw := func(err error, status int, code string) {
		t.Helper()
		if e, ok := errors.AsType[*sdk.V2RawError](err); !ok || e.HTTPStatusCode != status || e.Code != code || e.RequestID == "" {
			t.Errorf("%#v, not %d %s", err, status, code)
		}
	}
	raw(f.newSDK(testKey).V2BillingMeterEventStreams.Create(ctx, streamParams(1)), 401, "invalid_api_key")
	_, err := f.newSDK("sk_test_wrong").V2BillingMeterEventSessions.Create(ctx, &sdk.V2BillingMeterEventSessionCreateParams{})
	raw(err, 401, "invalid_api_key")
	_, err = f.newSDK(idleKey).V2BillingMeterEventSessions.Create(ctx, &sdk.V2BillingMeterEventSessionCreateParams{})
	raw(err, 403, "insufficient_permissions")
	raw(f.newSDK(f.token(testKey)).V2BillingMeterEventStreams.Create(ctx, streamParams(101)), 400, "invalid_fields")

	_, err = f.newSDK(testKey).V1BillingMeterEvents.Create(ctx, &sdk.BillingMeterEventCreateParams{
		EventName: sdk.String("api_requests"), Payload: map[string]string{"stripe_customer_id": "cus_1", "value": "1"}, Timestamp: sdk.Int64(1),
	})
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.HTTPStatusCode != 400 || e.Code != "timestamp_too_far_in_past" || e.Param != "timestamp" {
		t.Errorf("v1: %v", err)
	}
}
