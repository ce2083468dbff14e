package sdk

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	"tollgate/test/e2e/harness"
)

// atWindowStart waits for the beginning of a window of 10 s, so that what is sent in the next seconds is of one.
func atWindowStart() {
	const window = 10 * time.Second
	now := time.Now()
	if into := now.Sub(now.Truncate(window)); into > window/2 {
		time.Sleep(window - into + 100*time.Millisecond)
	}
}

func meter(t *testing.T, api *stripe.Client, name string) *stripe.BillingMeter {
	t.Helper()
	m, err := api.V1BillingMeters.Create(t.Context(), &stripe.BillingMeterCreateParams{
		DisplayName: stripe.String(name), EventName: stripe.String(name),
		DefaultAggregation: &stripe.BillingMeterCreateDefaultAggregationParams{Formula: stripe.String("sum")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// bad is an event with an identifier, which the worker refuses.
func bad(name, identifier, customer, value string, at time.Time) *stripe.V2BillingMeterEventStreamCreateEventParams {
	e := &stripe.V2BillingMeterEventStreamCreateEventParams{
		EventName: stripe.String(name), Identifier: stripe.String(identifier), Payload: map[string]string{"value": value},
	}
	if customer != "" {
		e.Payload["stripe_customer_id"] = customer
	}
	if !at.IsZero() {
		e.Timestamp = stripe.Time(at)
	}
	return e
}

// listed is all events of these types, as the SDK pages through them, the newest first.
func listed(t *testing.T, api *stripe.Client, types ...string) (list []stripe.V2CoreEvent) {
	t.Helper()
	p := &stripe.V2CoreEventListParams{Limit: stripe.Int64(2)}
	for _, name := range types {
		p.Types = append(p.Types, stripe.String(name))
	}
	for e, err := range api.V2CoreEvents.List(t.Context(), p).All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// From bad events to a webhook, with nothing but the SDK: what an application does that wants to know what was wrong.
func TestBadEventsComeBackAsTypedThinEvents(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	hook := harness.NewHook(t)
	api := client(g.URL, harness.TestKey, -1)
	one, two := meter(t, api, "api_requests"), meter(t, api, "gigabytes")
	destination, err := api.V2CoreEventDestinations.Create(t.Context(), &stripe.V2CoreEventDestinationCreateParams{
		Name: stripe.String("errors"), Type: stripe.String("webhook_endpoint"), EventPayload: stripe.String("thin"),
		EnabledEvents:   []*string{stripe.String("v1.billing.meter.error_report_triggered"), stripe.String("v1.billing.meter.no_meter_found")},
		WebhookEndpoint: &stripe.V2CoreEventDestinationCreateWebhookEndpointParams{URL: stripe.String(hook.URL)},
		Include:         []*string{stripe.String("webhook_endpoint.signing_secret"), stripe.String("webhook_endpoint.url")},
	})
	if err != nil || destination.WebhookEndpoint == nil || destination.WebhookEndpoint.SigningSecret == "" {
		t.Fatalf("the destination is %+v, %v", destination, err)
	}
	sender := client(g.URL, session(t, api).AuthenticationToken, -1)
	atWindowStart()
	sent := time.Now()
	if err := stream(t.Context(), sender,
		bad("api_requests", "a1", "cus_1", "none", time.Time{}),
		bad("api_requests", "a2", "cus_1", "12,5", time.Time{}),
		bad("api_requests", "a3", "", "1", time.Time{}),
		bad("api_requests", "good", "cus_1", "1", time.Time{}),
		bad("gigabytes", "g1", "cus_1", "1234567890123456", time.Time{}),
		bad("gigabytes", "g2", "cus_1", "1", time.Now().Add(-40*24*time.Hour)),
		bad("nobody", "n1", "cus_1", "1", time.Time{}),
		bad("somebody", "n2", "cus_1", "1", time.Time{}),
		bad("nobody", "n3", "cus_1", "1", time.Time{}),
	); err != nil {
		t.Fatal(err)
	}
	var list []stripe.V2CoreEvent
	harness.Eventually(t, 20*time.Second, "an event for each meter, and one for names without", func() bool {
		list = listed(t, api, "v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found")
		return len(list) >= 3
	})
	if took := time.Since(sent); took > 15*time.Second || len(list) != 3 {
		t.Errorf("%d events after %s, want 3 within 15 s", len(list), took)
	}
	want := map[string]string{
		one.ID: "meter_event_invalid_value=2(a1,a2) meter_event_no_customer_defined=1(a3)",
		two.ID: "meter_event_value_too_many_digits=1(g1) timestamp_too_far_in_past=1(g2)",
		"":     "no_meter=3(n1,n2,n3)",
	}
	got := map[string]string{}
	for _, e := range list {
		subject, codes := said(t, api, e)
		if _, ok := got[subject]; ok {
			t.Errorf("two events of %q", subject)
		}
		got[subject] = codes
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the events say\n%v, want\n%v", got, want)
	}
	byMeter := api.V2CoreEvents.List(t.Context(), &stripe.V2CoreEventListParams{ObjectID: stripe.String(one.ID)})
	n := 0
	for e, err := range byMeter.All(t.Context()) {
		if report, ok := e.(*stripe.V1BillingMeterErrorReportTriggeredEvent); err != nil || !ok || report.RelatedObject.ID != one.ID {
			t.Errorf("by object_id: %+v, %v", e, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d events of the meter by object_id", n)
	}
	harness.Eventually(t, 10*time.Second, "each is delivered", func() bool { return len(hook.Times()) == 3 })
	notified(t, api, hook, destination.WebhookEndpoint.SigningSecret)
}

func idOf(t *testing.T, e stripe.V2CoreEvent) string {
	t.Helper()
	switch e := e.(type) {
	case *stripe.V1BillingMeterErrorReportTriggeredEvent:
		return e.ID
	case *stripe.V1BillingMeterNoMeterFoundEvent:
		return e.ID
	case *stripe.V2CoreEventDestinationPingEvent:
		return e.ID
	}
	t.Fatalf("an event of type %T", e)
	return ""
}

// said retrieves an event and says what it counts, with the identifiers of its samples.
func said(t *testing.T, api *stripe.Client, e stripe.V2CoreEvent) (subject, codes string) {
	t.Helper()
	again, err := api.V2CoreEvents.Retrieve(t.Context(), idOf(t, e), nil)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	kind := func(code string, count int64, samples []string) {
		slices.Sort(samples)
		kinds = append(kinds, fmt.Sprintf("%s=%d(%s)", code, count, strings.Join(samples, ",")))
	}
	switch e := again.(type) {
	case *stripe.V1BillingMeterErrorReportTriggeredEvent:
		m, err := e.FetchRelatedObject(t.Context())
		if err != nil || m.ID != e.RelatedObject.ID {
			t.Errorf("the related object is %+v, %v", m, err)
		}
		subject = m.ID
		for _, k := range e.Data.Reason.ErrorTypes {
			var samples []string
			for _, s := range k.SampleErrors {
				samples = append(samples, s.Request.Identifier)
			}
			kind(string(k.Code), k.ErrorCount, samples)
		}
		inWindow(t, e.Created, e.Data.ValidationStart, e.Data.ValidationEnd, e.Data.DeveloperMessageSummary, e.Data.Reason.ErrorCount)
	case *stripe.V1BillingMeterNoMeterFoundEvent:
		for _, k := range e.Data.Reason.ErrorTypes {
			var samples []string
			for _, s := range k.SampleErrors {
				samples = append(samples, s.Request.Identifier)
			}
			kind(string(k.Code), k.ErrorCount, samples)
		}
		inWindow(t, e.Created, e.Data.ValidationStart, e.Data.ValidationEnd, e.Data.DeveloperMessageSummary, e.Data.Reason.ErrorCount)
	default:
		t.Errorf("an event of type %T", again)
	}
	slices.Sort(kinds)
	return subject, strings.Join(kinds, " ")
}

func inWindow(t *testing.T, created, start, end time.Time, summary string, count int64) {
	t.Helper()
	late := created.Sub(end)
	if end.Sub(start) != 10*time.Second || start.UnixMilli()%10_000 != 0 || late < 0 || late > 5*time.Second || summary != fmt.Sprintf("There are %d invalid events", count) {
		t.Errorf("created %s after a window of %s from %s: %q", late, end.Sub(start), start, summary)
	}
}

// notified parses what the endpoint received as an application does, and follows it back to the event and its object.
func notified(t *testing.T, api *stripe.Client, hook *harness.Hook, secret string) {
	t.Helper()
	for _, d := range hook.Received() {
		n, err := api.ParseEventNotification(d.Body, d.Signature, secret)
		if err != nil {
			t.Errorf("%s: %v", d.Body, err)
			continue
		}
		if _, err := api.ParseEventNotification(append(d.Body[:len(d.Body):len(d.Body)], ' '), d.Signature, secret); err == nil {
			t.Error("another body has the same signature")
		}
		switch n := n.(type) {
		case *stripe.V1BillingMeterErrorReportTriggeredEventNotification:
			e, err := n.FetchEvent(t.Context())
			if err != nil || e.ID != d.ID || e.Data.Reason.ErrorCount == 0 {
				t.Errorf("the event of %s is %+v, %v", d.ID, e, err)
			}
			if m, err := n.FetchRelatedObject(t.Context()); err != nil || m.ID != n.RelatedObject.ID {
				t.Errorf("the object of %s is %+v, %v", d.ID, m, err)
			}
		case *stripe.V1BillingMeterNoMeterFoundEventNotification:
			if e, err := n.FetchEvent(t.Context()); err != nil || e.ID != d.ID || e.Data.Reason.ErrorCount != 3 {
				t.Errorf("the event of %s is %+v, %v", d.ID, e, err)
			}
		default:
			t.Errorf("a notification of type %T: %s", n, d.Body)
		}
	}
}

// A list that is paged through while events are added shows each once.
func TestPagesAreStableWhileEventsAreAdded(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	hook := harness.NewHook(t)
	api := client(g.URL, harness.TestKey, -1)
	d, err := api.V2CoreEventDestinations.Create(t.Context(), &stripe.V2CoreEventDestinationCreateParams{
		Name: stripe.String("pings"), Type: stripe.String("webhook_endpoint"), EventPayload: stripe.String("thin"),
		EnabledEvents:   []*string{stripe.String("v2.core.event_destination.ping")},
		WebhookEndpoint: &stripe.V2CoreEventDestinationCreateWebhookEndpointParams{URL: stripe.String(hook.URL)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ping := func() string {
		e, err := api.V2CoreEventDestinations.Ping(t.Context(), d.ID, &stripe.V2CoreEventDestinationPingParams{})
		if err != nil {
			t.Fatal(err)
		}
		return idOf(t, e)
	}
	var want []string
	for range 60 {
		want = append(want, ping())
	}
	slices.Reverse(want)
	var got []string
	for e, err := range api.V2CoreEvents.List(t.Context(), &stripe.V2CoreEventListParams{Limit: stripe.Int64(7)}).All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, idOf(t, e))
		if len(got)%5 == 0 {
			ping()
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("paging shows\n%v, want\n%v", got, want)
	}
	harness.Eventually(t, 15*time.Second, "the pings are delivered", func() bool { return len(hook.Times()) >= 60 })
}
