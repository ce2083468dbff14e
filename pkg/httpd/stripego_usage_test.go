package httpd

import (
	"context"
	"errors"
	"testing"
	"time"

	sdk "github.com/stripe/stripe-go/v85"

	"tollgate/pkg/control"
	"tollgate/pkg/usage"
)

func TestTheStripeSDKReadsSummaries(t *testing.T) {
	f := newFixture(t, nil)
	ctx := context.Background()
	m := f.control.meter(t, "acct_demo", false, control.NewMeter{EventName: "m"})
	const from = 1_772_445_600
	f.usage.totals = hours(from*1000, 5)
	summaries := f.newSDK(readerKey).V1BillingMeterEventSummaries
	params := &sdk.BillingMeterEventSummaryListParams{
		ID: sdk.String(m.ID), Customer: sdk.String("cus_1"), StartTime: sdk.Int64(from), EndTime: sdk.Int64(from + 24*hourSeconds),
		ValueGroupingWindow: sdk.String("hour"),
	}
	params.Limit = sdk.Int64(2)
	params.AddExpand("data")
	var got []float64
	for s, err := range summaries.List(ctx, params).All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if s.Meter != m.ID || s.EndTime-s.StartTime != hourSeconds || s.Livemode {
			t.Errorf("%+v", s)
		}
		got = append(got, s.AggregatedValue)
	}
	if len(got) != 5 || got[0] != 4 || got[4] != 0 {
		t.Errorf("%v", got)
	}
	params.StartTime = sdk.Int64(from + 1)
	params.ValueGroupingWindow = sdk.String("day")
	list := summaries.List(ctx, params)
	if e, ok := errors.AsType[*sdk.Error](list.Err()); !ok || e.HTTPStatusCode != 400 || e.Param != "start_time" {
		t.Errorf("misaligned: %v", list.Err())
	}
	f.usage.set(func(o *oracle) {
		o.totals = func(usage.Query) (usage.Totals, error) { return usage.Totals{}, errors.New("away") }
	})
	params.StartTime, params.ValueGroupingWindow = sdk.Int64(1), nil
	if e, ok := errors.AsType[*sdk.Error](summaries.List(ctx, params).Err()); !ok || e.HTTPStatusCode != 503 || e.Type != sdk.ErrorTypeAPI {
		t.Error("an owner that is away is no API error to the SDK")
	}
}

// TestTheStripeSDKSeesVerdicts: replays, duplicates and refusals, each as the SDK types it.
func TestTheStripeSDKSeesVerdicts(t *testing.T) {
	f := working(t, nil)
	ctx := context.Background()
	api := f.newSDK(testKey)
	v2 := func(key, identifier, value string) (*sdk.V2BillingMeterEvent, error) {
		p := &sdk.V2BillingMeterEventCreateParams{
			EventName: sdk.String("api_requests"), Payload: map[string]string{"stripe_customer_id": "cus_1", "value": value},
		}
		if identifier != "" {
			p.Identifier = sdk.String(identifier)
		}
		if key != "" {
			p.SetIdempotencyKey(key)
		}
		return api.V2BillingMeterEvents.Create(ctx, p)
	}
	v1 := func(key, identifier, value string) (*sdk.BillingMeterEvent, error) {
		p := &sdk.BillingMeterEventCreateParams{
			EventName: sdk.String("api_requests"), Payload: map[string]string{"stripe_customer_id": "cus_1", "value": value},
		}
		if identifier != "" {
			p.Identifier = sdk.String(identifier)
		}
		if key != "" {
			p.SetIdempotencyKey(key)
		}
		return api.V1BillingMeterEvents.Create(ctx, p)
	}
	first, err := v2("k1", "", "1")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := v2("k1", "", "1"); err != nil || again.Identifier != first.Identifier || !again.Created.Equal(first.Created) || !again.Timestamp.Equal(first.Timestamp) {
		t.Errorf("%+v and again %+v %v", first, again, err)
	}
	raw := func(err error, code string) {
		t.Helper()
		if e, ok := errors.AsType[*sdk.V2RawError](err); !ok || e.HTTPStatusCode != 400 || e.Code != code {
			t.Errorf("%v, not %s", err, code)
		}
	}
	_, err = v2("k1", "", "2")
	raw(err, "idempotency_error")
	_, err = v2("", first.Identifier, "1")
	raw(err, "duplicate_meter_event")

	old, err := v1("k1", "id_1", "1")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := v1("k1", "id_1", "1"); err != nil || again.Created != old.Created || again.LastResponse.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%+v %v", again, err)
	}
	_, err = v1("k1", "id_1", "2")
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Type != sdk.ErrorTypeIdempotency {
		t.Errorf("%v", err)
	}
	_, err = v1("", "id_1", "1")
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Type != sdk.ErrorTypeInvalidRequest || e.Msg != "An event already exists with identifier id_1." {
		t.Errorf("%v", err)
	}
	cancel := &sdk.V2BillingMeterEventAdjustmentCreateParams{
		EventName: sdk.String("api_requests"), Type: sdk.String("cancel"),
		Cancel: &sdk.V2BillingMeterEventAdjustmentCreateCancelParams{Identifier: sdk.String("id_1")},
	}
	cancel.SetIdempotencyKey("k9")
	one, err := api.V2BillingMeterEventAdjustments.Create(ctx, cancel)
	if err != nil {
		t.Fatal(err)
	}
	if two, err := api.V2BillingMeterEventAdjustments.Create(ctx, cancel); err != nil || two.ID != one.ID || !two.Created.Equal(one.Created) {
		t.Errorf("%+v %v", two, err)
	}
	session := &sdk.V2BillingMeterEventSessionCreateParams{}
	session.SetIdempotencyKey("k10")
	opened, err := api.V2BillingMeterEventSessions.Create(ctx, session)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := api.V2BillingMeterEventSessions.Create(ctx, session); err != nil || again.ID != opened.ID || again.AuthenticationToken != opened.AuthenticationToken {
		t.Errorf("%+v %v", again, err)
	}
	if opened.ExpiresAt.Sub(opened.Created) != 15*time.Minute {
		t.Errorf("%+v", opened)
	}
}
