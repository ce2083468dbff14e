package httpd

import (
	"context"
	"errors"
	"testing"

	sdk "github.com/stripe/stripe-go/v85"
)

func TestTheStripeSDKManagesMeters(t *testing.T) {
	f := newFixture(t, nil)
	ctx := context.Background()
	meters := f.newSDK(otherKey).V1BillingMeters

	m, err := meters.Create(ctx, &sdk.BillingMeterCreateParams{
		DisplayName: sdk.String("API calls"), EventName: sdk.String("api_calls"),
		DefaultAggregation: &sdk.BillingMeterCreateDefaultAggregationParams{Formula: sdk.String(string(sdk.BillingMeterDefaultAggregationFormulaSum))},
		CustomerMapping:    &sdk.BillingMeterCreateCustomerMappingParams{EventPayloadKey: sdk.String("who"), Type: sdk.String("by_id")},
		ValueSettings:      &sdk.BillingMeterCreateValueSettingsParams{EventPayloadKey: sdk.String("much")},
		EventTimeWindow:    sdk.String("hour"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if m.Object != "billing.meter" || m.Status != sdk.BillingMeterStatusActive || m.CustomerMapping.EventPayloadKey != "who" || m.ValueSettings.EventPayloadKey != "much" ||
		m.EventTimeWindow != sdk.BillingMeterEventTimeWindowHour || m.DefaultAggregation.Formula != sdk.BillingMeterDefaultAggregationFormulaSum || m.Created == 0 {
		t.Errorf("%+v", m)
	}
	if got, err := meters.Retrieve(ctx, m.ID, nil); err != nil || got.EventName != "api_calls" {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := meters.Update(ctx, m.ID, &sdk.BillingMeterUpdateParams{DisplayName: sdk.String("ü & more")}); err != nil || got.DisplayName != "ü & more" {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := meters.Deactivate(ctx, m.ID, nil); err != nil || got.Status != sdk.BillingMeterStatusInactive || got.StatusTransitions.DeactivatedAt == 0 {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := meters.Reactivate(ctx, m.ID, &sdk.BillingMeterReactivateParams{Expand: []*string{sdk.String("x"), sdk.String("y")}}); err != nil || got.Status != sdk.BillingMeterStatusActive {
		t.Errorf("%+v %v", got, err)
	}
	keyed := &sdk.BillingMeterCreateParams{
		DisplayName: sdk.String("second"), EventName: sdk.String("second"),
		DefaultAggregation: &sdk.BillingMeterCreateDefaultAggregationParams{Formula: sdk.String("count")},
	}
	keyed.SetIdempotencyKey("key-1")
	second, err := meters.Create(ctx, keyed)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := meters.Create(ctx, keyed); err != nil || again.ID != second.ID || again.LastResponse.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%+v %v", again, err)
	}
	keyed.DisplayName = sdk.String("third")
	_, err = meters.Create(ctx, keyed)
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Type != sdk.ErrorTypeIdempotency || e.HTTPStatusCode != 400 {
		t.Errorf("a key used for something else: %v", err)
	}
	var ids []string
	params := &sdk.BillingMeterListParams{Status: sdk.String("active")}
	params.Limit = sdk.Int64(1) // so that the SDK asks for another page
	for m, err := range meters.List(ctx, params).All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.ID)
	}
	if len(ids) != 2 || ids[0] != second.ID || ids[1] != m.ID {
		t.Errorf("listed %v, not %s and %s", ids, second.ID, m.ID)
	}
	_, err = meters.Retrieve(ctx, "mtr_x", nil)
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.HTTPStatusCode != 404 || e.Code != sdk.ErrorCodeResourceMissing || e.Param != "id" {
		t.Errorf("no such meter: %v", err)
	}
	_, err = meters.Create(ctx, &sdk.BillingMeterCreateParams{EventName: sdk.String("x")})
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.HTTPStatusCode != 400 || e.Code != sdk.ErrorCodeParameterMissing || e.Param != "display_name" {
		t.Errorf("a parameter is missing: %v", err)
	}
}
