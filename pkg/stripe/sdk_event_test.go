package stripe

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	sdk "github.com/stripe/stripe-go/v85"
)

func TestTheOfficialSDKVerifiesAndTypesWhatIsPushed(t *testing.T) {
	var f signatureFixtures
	fixture(t, "thin_notification.json", &f)
	client := sdk.NewClient("sk_test_123")
	for _, v := range f.Vectors {
		body := AppendNotification(nil, eventOf(t, []byte(v.Body)))
		// Signed now, with the SDK's own tolerance of 300 seconds, by the new secret and the old one.
		header := string(AppendSignature(nil, time.Now().Unix(), body, v.Secret, v.OldSecret))
		for _, secret := range []string{v.Secret, v.OldSecret} {
			n, err := client.ParseEventNotification(body, header, secret)
			noError(t, err)
			common := n.GetEventNotification()
			if common.ID == "" || common.Type != v.Type || common.Context != nil || common.Livemode || common.Created.UnixMilli()%1000 != eventOf(t, []byte(v.Body)).CreatedMs%1000 {
				t.Errorf("%s: %+v", v.Type, common)
			}
			switch n := n.(type) {
			case *sdk.V1BillingMeterErrorReportTriggeredEventNotification:
				if n.RelatedObject.ID != "mtr_test_65gwFixture0001" || n.RelatedObject.URL != "/v1/billing/meters/mtr_test_65gwFixture0001" {
					t.Errorf("%+v", n.RelatedObject)
				}
			case *sdk.V1BillingMeterNoMeterFoundEventNotification:
			case *sdk.V2CoreEventDestinationPingEventNotification:
				if n.RelatedObject.Type != "v2.core.event_destination" || common.Reason.Request.ID != "req_v2fixture0009" {
					t.Errorf("%+v %+v", n.RelatedObject, common.Reason)
				}
			default:
				t.Errorf("%s became %T", v.Type, n)
			}
		}
		if _, err := client.ParseEventNotification(body, header, "whsec_other"); !errors.Is(err, sdk.ErrWebhookNoValidSignature) {
			t.Errorf("under another secret: %v", err)
		}
		old := string(AppendSignature(nil, time.Now().Unix()-301, body, v.Secret))
		if _, err := client.ParseEventNotification(body, old, v.Secret); !errors.Is(err, sdk.ErrWebhookTooOld) {
			t.Errorf("signed 301 seconds ago: %v", err)
		}
	}
}

func TestTheOfficialSDKReadsEveryEvent(t *testing.T) {
	client, say, _ := sdkClient(t)
	ctx := context.Background()
	var f eventFixtures
	fixture(t, "v2_events.json", &f)
	retrieve := func(name string) sdk.V2CoreEvent {
		t.Helper()
		say(answer{status: http.StatusOK, body: AppendEvent(nil, eventOf(t, f.Retrieve[name]))})
		e, err := client.V2CoreEvents.Retrieve(ctx, "evt_1", nil)
		noError(t, err)
		return e
	}
	report, ok := retrieve("error_report").(*sdk.V1BillingMeterErrorReportTriggeredEvent)
	if !ok || report.RelatedObject.ID != "mtr_test_65gwFixture0001" || report.Data.Reason.ErrorCount != 3 || report.Data.Reason.ErrorTypes[0].SampleErrors[0].Request.Identifier != "idem-1" {
		t.Errorf("%+v", report)
	}
	none, ok := retrieve("no_meter").(*sdk.V1BillingMeterNoMeterFoundEvent)
	if !ok || none.Data.DeveloperMessageSummary != "There is 1 invalid event" || none.Data.ValidationEnd.Sub(none.Data.ValidationStart) != 10*time.Second {
		t.Errorf("%+v", none)
	}
	ping, ok := retrieve("ping").(*sdk.V2CoreEventDestinationPingEvent)
	if !ok || ping.RelatedObject.ID != "ed_test_65gwFixture0001" || ping.Reason.Request.IdempotencyKey == "" {
		t.Errorf("%+v", ping)
	}

	say(answer{status: http.StatusOK, body: AppendPage(nil, []*Event{eventOf(t, f.Retrieve["ping"]), eventOf(t, f.Retrieve["no_meter"])}, "", "", AppendEvent)})
	var ids []string
	for e, err := range client.V2CoreEvents.List(ctx, &sdk.V2CoreEventListParams{ObjectID: sdk.String("x")}).All(ctx) {
		noError(t, err)
		ids = append(ids, eventID(e))
	}
	if len(ids) != 2 || ids[0] != "evt_test_65gwFixture0003" || ids[1] != "evt_test_65gwFixture0002" {
		t.Errorf("%q", ids)
	}
}

func eventID(e sdk.V2CoreEvent) string {
	switch e := e.(type) {
	case *sdk.V1BillingMeterNoMeterFoundEvent:
		return e.ID
	case *sdk.V2CoreEventDestinationPingEvent:
		return e.ID
	}
	return ""
}

func TestTheOfficialSDKReadsEveryDestination(t *testing.T) {
	client, say, _ := sdkClient(t)
	ctx := context.Background()
	answers := destinationAnswers(t)
	retrieve := func(d *EventDestination) *sdk.V2CoreEventDestination {
		t.Helper()
		say(answer{status: http.StatusOK, body: AppendEventDestination(nil, d)})
		got, err := client.V2CoreEventDestinations.Retrieve(ctx, d.ID, nil)
		noError(t, err)
		return got
	}
	got := retrieve(destinationOf(t, answers["create"]))
	if got.Status != sdk.V2CoreEventDestinationStatusEnabled || got.Type != sdk.V2CoreEventDestinationTypeWebhookEndpoint || got.EventPayload != sdk.V2CoreEventDestinationEventPayloadThin ||
		got.WebhookEndpoint.SigningSecret != "whsec_gatewayfixturesecret" || got.WebhookEndpoint.URL != "https://hooks.fixture.test/stripe" || len(got.EnabledEvents) != 2 || got.StatusDetails != nil {
		t.Errorf("%+v", got)
	}
	if got = retrieve(destinationOf(t, answers["disable"])); got.Status != sdk.V2CoreEventDestinationStatusDisabled || got.StatusDetails.Disabled.Reason != "user" || got.WebhookEndpoint != nil {
		t.Errorf("%+v", got)
	}
	// What is ours must not stand in an SDK's way.
	got = retrieve(&EventDestination{ID: "ed_1", Type: KafkaTopic, Topic: "t", Enabled: true, Failing: &DestinationFailing{SinceMs: created, LastError: "x"}})
	if got.Type != KafkaTopic || got.StatusDetails == nil || got.StatusDetails.Disabled != nil {
		t.Errorf("%+v", got)
	}

	say(answer{status: http.StatusOK, body: AppendDeleted(nil, "v2.core.event_destination", "ed_1")})
	deleted, err := client.V2CoreEventDestinations.Delete(ctx, "ed_1", nil)
	noError(t, err)
	if deleted.ID != "ed_1" || deleted.Object != "v2.core.event_destination" {
		t.Errorf("%+v", deleted)
	}
	say(answer{status: http.StatusOK, body: AppendEvent(nil, eventOf(t, answers["ping"]))})
	ping, err := client.V2CoreEventDestinations.Ping(ctx, "ed_1", nil)
	noError(t, err)
	if _, ok := ping.(*sdk.V2CoreEventDestinationPingEvent); !ok {
		t.Errorf("%T", ping)
	}
}
