package httpd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/stripe/stripe-go/v85"

	"tollgate/pkg/stripe"
	"tollgate/pkg/thinevent"
)

// TestTheStripeSDKReadsTypedEvents lists and retrieves each type, and follows an event to its meter.
func TestTheStripeSDKReadsTypedEvents(t *testing.T) {
	f := newFixture(t, nil)
	ctx := context.Background()
	api := f.newSDK(testKey)
	meter := f.control.Snapshot().Named("acct_demo", false, "api_requests")
	now := time.Now().UnixMilli()
	bad, none := report("acct_demo", meter.ID, 1, now-2), report("acct_demo", "", 2, now-1)
	f.shelve(bad, none)
	d, err := api.V2CoreEventDestinations.Create(ctx, destinationParams("a"))
	if err != nil {
		t.Fatal(err)
	}
	pinged, err := api.V2CoreEventDestinations.Ping(ctx, d.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	ping, ok := pinged.(*sdk.V2CoreEventDestinationPingEvent)
	if !ok || ping.RelatedObject.ID != d.ID || ping.Reason == nil || ping.Reason.Request.IdempotencyKey == "" {
		t.Fatalf("%T %+v", pinged, pinged)
	}
	if same, err := ping.FetchRelatedObject(ctx); err != nil || same.ID != d.ID {
		t.Errorf("%+v %v", same, err)
	}
	var listed []string
	for e, err := range api.V2CoreEvents.List(ctx, &sdk.V2CoreEventListParams{}).All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := e.(type) {
		case *sdk.V2CoreEventDestinationPingEvent:
			listed = append(listed, e.ID)
		case *sdk.V1BillingMeterNoMeterFoundEvent:
			listed = append(listed, e.ID)
			if e.Data.Reason.ErrorCount != 1 || e.Data.DeveloperMessageSummary != "There is 1 invalid event" {
				t.Errorf("%+v", e.Data)
			}
		case *sdk.V1BillingMeterErrorReportTriggeredEvent:
			listed = append(listed, e.ID)
		default:
			t.Errorf("%T", e)
		}
	}
	if want := []string{ping.ID, none.ID, bad.ID}; !slices.Equal(listed, want) {
		t.Errorf("%v, not %v", listed, want)
	}
	got, err := api.V2CoreEvents.Retrieve(ctx, bad.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, ok := got.(*sdk.V1BillingMeterErrorReportTriggeredEvent)
	if !ok || e.Data.Reason.ErrorTypes[0].Code != "meter_event_invalid_value" || e.Data.Reason.ErrorTypes[0].SampleErrors[0].Request.Identifier != "id" {
		t.Fatalf("%T %+v", got, got)
	}
	if m, err := e.FetchRelatedObject(ctx); err != nil || m.ID != meter.ID || m.EventName != "api_requests" {
		t.Errorf("%+v %v", m, err)
	}
	_, err = api.V2CoreEvents.Retrieve(ctx, "evt_test_x", nil)
	if raw, ok := errors.AsType[*sdk.V2RawError](err); !ok || raw.HTTPStatusCode != 404 || raw.Code != "not_found" {
		t.Errorf("%v", err)
	}
}

// TestTheStripeSDKFollowsANotification as a webhook's receiver does, with what it has got from us and nothing else.
func TestTheStripeSDKFollowsANotification(t *testing.T) {
	f := newFixture(t, nil)
	ctx := context.Background()
	api := f.newSDK(testKey)
	meter := f.control.Snapshot().Named("acct_demo", false, "api_requests")
	e := report("acct_demo", meter.ID, 1, time.Now().UnixMilli())
	f.shelve(e)
	body := stripe.AppendNotification(nil, &e.Event)
	const secret = "whsec_a"
	signature := stripe.AppendSignature(nil, time.Now().Unix(), body, secret)
	parsed, err := api.ParseEventNotification(body, string(signature), secret)
	if err != nil {
		t.Fatal(err)
	}
	n, ok := parsed.(*sdk.V1BillingMeterErrorReportTriggeredEventNotification)
	if !ok {
		t.Fatalf("%T", parsed)
	}
	if fetched, err := n.FetchEvent(ctx); err != nil || fetched.ID != e.ID || fetched.Data.Reason.ErrorCount != 1 {
		t.Errorf("%+v %v", fetched, err)
	}
	if m, err := n.FetchRelatedObject(ctx); err != nil || m.ID != meter.ID {
		t.Errorf("%+v %v", m, err)
	}
}

// TestTheStripeSDKPagesThroughEventsWhileMoreArrive: a thousand, each once, and in order.
func TestTheStripeSDKPagesThroughEventsWhileMoreArrive(t *testing.T) {
	f := newFixture(t, nil)
	ctx := context.Background()
	const n = 1000
	var want []string
	for i := range n {
		e := report("acct_demo", "mtr_test_a", int64(i), someMs+int64(i)*50)
		want = append(want, e.ID)
		f.shelve(e)
	}
	slices.Reverse(want)
	params := &sdk.V2CoreEventListParams{
		ObjectID: sdk.String("mtr_test_a"), Types: []*string{sdk.String(thinevent.TypeErrorReport), sdk.String(thinevent.TypeNoMeter)},
		Created: &sdk.RangeQueryParams{GreaterThanOrEqual: someMs / 1000}, Limit: sdk.Int64(30),
	}
	var got []string
	for e, err := range f.newSDK(testKey).V2CoreEvents.List(ctx, params).All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.(*sdk.V1BillingMeterErrorReportTriggeredEvent).ID)
		if len(got)%7 == 0 {
			f.shelve(report("acct_demo", "mtr_test_a", int64(n+len(got)), someMs+int64(n+len(got))*50))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d events of %d, or in another order", len(got), len(want))
	}
}

func destinationParams(name string) *sdk.V2CoreEventDestinationCreateParams {
	return &sdk.V2CoreEventDestinationCreateParams{
		Name: sdk.String(name), Type: sdk.String("webhook_endpoint"), EventPayload: sdk.String("thin"),
		EnabledEvents:   []*string{sdk.String(thinevent.TypeErrorReport)},
		WebhookEndpoint: &sdk.V2CoreEventDestinationCreateWebhookEndpointParams{URL: sdk.String("https://hooks.example.com/" + name)},
		Include:         []*string{sdk.String("webhook_endpoint.signing_secret"), sdk.String("webhook_endpoint.url")},
	}
}

func TestTheStripeSDKManagesDestinations(t *testing.T) {
	f := newFixture(t, nil)
	ctx := context.Background()
	api := f.newSDK(otherKey).V2CoreEventDestinations
	var ids []string
	for i := range 25 {
		d, err := api.Create(ctx, destinationParams(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		if d.WebhookEndpoint == nil || !strings.HasPrefix(d.WebhookEndpoint.SigningSecret, "whsec_") || d.WebhookEndpoint.URL != fmt.Sprintf("https://hooks.example.com/%d", i) || d.Livemode {
			t.Fatalf("%+v", d)
		}
		ids = append([]string{d.ID}, ids...)
	}
	var listed []string
	for d, err := range api.List(ctx, &sdk.V2CoreEventDestinationListParams{Limit: sdk.Int64(10), Include: []*string{sdk.String("webhook_endpoint.url")}}).All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if d.WebhookEndpoint == nil || d.WebhookEndpoint.URL == "" || d.WebhookEndpoint.SigningSecret != "" {
			t.Errorf("%+v", d)
		}
		listed = append(listed, d.ID)
	}
	if !slices.Equal(listed, ids) {
		t.Errorf("%v, not %v", listed, ids)
	}
	id := ids[0]
	d, err := api.Update(ctx, id, &sdk.V2CoreEventDestinationUpdateParams{
		Name: sdk.String("renamed"), Metadata: map[string]*string{"team": sdk.String("billing"), "old": nil},
		WebhookEndpoint: &sdk.V2CoreEventDestinationUpdateWebhookEndpointParams{URL: sdk.String("https://hooks.example.com/new")},
		Include:         []*string{sdk.String("webhook_endpoint.url")},
	})
	if err != nil || d.Name != "renamed" || d.Metadata["team"] != "billing" || d.WebhookEndpoint.URL != "https://hooks.example.com/new" {
		t.Errorf("%+v %v", d, err)
	}
	if d, err = api.Disable(ctx, id, nil); err != nil || d.Status != "disabled" || d.StatusDetails.Disabled.Reason != "user" {
		t.Errorf("%+v %v", d, err)
	}
	if d, err = api.Enable(ctx, id, nil); err != nil || d.Status != "enabled" {
		t.Errorf("%+v %v", d, err)
	}
	if d, err = api.Retrieve(ctx, id, &sdk.V2CoreEventDestinationRetrieveParams{}); err != nil || d.WebhookEndpoint != nil || d.EnabledEvents[0] != thinevent.TypeErrorReport {
		t.Errorf("%+v %v", d, err)
	}
	if gone, err := api.Delete(ctx, id, nil); err != nil || gone.ID != id {
		t.Errorf("%+v %v", gone, err)
	}
	_, err = api.Retrieve(ctx, id, nil)
	if raw, ok := errors.AsType[*sdk.V2RawError](err); !ok || raw.HTTPStatusCode != 404 || raw.Code != "not_found" {
		t.Errorf("%v", err)
	}
	bad := destinationParams("a")
	bad.EnabledEvents = []*string{sdk.String("*")}
	_, err = api.Create(ctx, bad)
	if raw, ok := errors.AsType[*sdk.V2RawError](err); !ok || raw.HTTPStatusCode != 400 || raw.Code != "invalid_fields" {
		t.Errorf("%v", err)
	}
}

// TestTheStripeSDKActsForAnAccount sends the headers as its users do.
func TestTheStripeSDKActsForAnAccount(t *testing.T) {
	f := newFixture(t, nil)
	ctx := context.Background()
	api := f.newSDK(platformKey)
	meter := f.control.Snapshot().Named("acct_demo", false, "api_requests")
	e := report("acct_demo", meter.ID, 1, time.Now().UnixMilli())
	f.shelve(e)
	retrieve := &sdk.V2CoreEventRetrieveParams{}
	retrieve.SetStripeContext("acct_platform/acct_demo")
	if got, err := api.V2CoreEvents.Retrieve(ctx, e.ID, retrieve); err != nil || got.(*sdk.V1BillingMeterErrorReportTriggeredEvent).ID != e.ID {
		t.Errorf("%+v %v", got, err)
	}
	byMeter := &sdk.BillingMeterRetrieveParams{}
	byMeter.SetStripeAccount("acct_demo")
	if got, err := api.V1BillingMeters.Retrieve(ctx, meter.ID, byMeter); err != nil || got.ID != meter.ID {
		t.Errorf("%+v %v", got, err)
	}
	byMeter.SetStripeAccount("acct_other")
	if _, err := api.V1BillingMeters.Retrieve(ctx, meter.ID, byMeter); err == nil {
		t.Error("it acted for another's account")
	}
}
