// Package sdk uses the official Stripe SDK, unmodified, against the real binary: with its default settings and with
// retries switched off.
package sdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	kafkatest "tollgate/test/kafka"

	"tollgate/test/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// client is stripe-go pointed at the gateway; retries < 0 leaves the SDK's default.
func client(url, key string, retries int64) *stripe.Client {
	cfg := &stripe.BackendConfig{URL: stripe.String(url), LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull}}
	if retries >= 0 {
		cfg.MaxNetworkRetries = stripe.Int64(retries)
	}
	return stripe.NewClient(key, stripe.WithBackends(stripe.NewBackendsWithConfig(cfg)))
}

func session(t *testing.T, api *stripe.Client) *stripe.V2BillingMeterEventSession {
	t.Helper()
	s, err := api.V2BillingMeterEventSessions.Create(t.Context(), &stripe.V2BillingMeterEventSessionCreateParams{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func event(identifier string) *stripe.V2BillingMeterEventStreamCreateEventParams {
	e := &stripe.V2BillingMeterEventStreamCreateEventParams{
		EventName: stripe.String("api_requests"),
		Payload:   map[string]string{"stripe_customer_id": "cus_1", "value": "25"},
	}
	if identifier != "" {
		e.Identifier = stripe.String(identifier)
	}
	return e
}

func stream(ctx context.Context, c *stripe.Client, events ...*stripe.V2BillingMeterEventStreamCreateEventParams) error {
	return c.V2BillingMeterEventStreams.Create(ctx, &stripe.V2BillingMeterEventStreamCreateParams{Events: events})
}

// forEachRetrySetting runs f with the SDK as it comes and with retries off.
func forEachRetrySetting(t *testing.T, f func(t *testing.T, retries int64)) {
	for _, retries := range []int64{-1, 0} {
		name := "default"
		if retries == 0 {
			name = "retries 0"
		}
		t.Run(name, func(t *testing.T) { f(t, retries) })
	}
}

func TestSessionThenStreamIsReadBackFromTheJournal(t *testing.T) {
	t.Parallel()
	forEachRetrySetting(t, func(t *testing.T, retries int64) {
		g := harness.Start(t, harness.Options{})
		streamAll(t, g.URL, retries)
		if counted := g.Metric("tollgate_business_events_accepted_total", `business="`+harness.TestBusiness+`"`); counted != streamed {
			t.Errorf("%d events were acknowledged and %v counted", streamed, counted)
		}
		if code, _ := g.Term(); code != 0 {
			t.Fatalf("exit %d", code)
		}
		checkStreamed(t, harness.DumpJournal(t, g.DataDir))
	})
}

func TestSessionThenStreamIsReadBackFromKafka(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	forEachRetrySetting(t, func(t *testing.T, retries int64) {
		prefix := fmt.Sprintf("r%d.", retries+1)
		file := filepath.Join(t.TempDir(), "gateway.yaml")
		if err := os.WriteFile(file, []byte("kafka: {topic_prefix: "+prefix+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		g := harness.Start(t, harness.Options{Args: []string{"--kafka-brokers", strings.Join(cluster.Brokers, ","), "--config", file}})
		streamAll(t, g.URL, retries)
		checkStreamed(t, slices.Collect(harness.ReadTopic(t, cluster.Brokers, prefix+"usage")))
	})
}

const streamed = 250

// streamAll sends identifiers e000 … in requests of 100 at most, with times in every spelling the SDK has.
func streamAll(t *testing.T, url string, retries int64) {
	t.Helper()
	s := session(t, client(url, harness.TestKey, retries))
	if s.Object != "v2.billing.meter_event_session" || s.Livemode || !strings.HasPrefix(s.ID, "mtes_test_") ||
		s.ExpiresAt.Sub(s.Created) != 15*time.Minute || s.ExpiresAt.Location() != time.UTC {
		t.Errorf("the session is %+v", s)
	}
	sender := client(url, s.AuthenticationToken, retries)
	at := time.Now().Add(-time.Hour).In(time.FixedZone("east", 5*3600+1800))
	var batch []*stripe.V2BillingMeterEventStreamCreateEventParams
	for i := range streamed {
		e := event(fmt.Sprintf("e%03d", i))
		if i%2 == 0 {
			e.Timestamp = stripe.Time(at)
		}
		if batch = append(batch, e); len(batch) == 100 || i == streamed-1 {
			if err := stream(t.Context(), sender, batch...); err != nil {
				t.Fatal(err)
			}
			batch = nil
		}
	}
}

func checkStreamed(t *testing.T, found []harness.Event) {
	t.Helper()
	if len(found) != streamed {
		t.Fatalf("%d events were acknowledged and %d are in the log", streamed, len(found))
	}
	for i, e := range found { // one meter, one partition, one order
		received, err := time.Parse(time.RFC3339, e.Received)
		if err != nil || received.UnixMilli() != e.RecordMs || time.Since(received) > time.Minute {
			t.Errorf("received %q, record time %d: %v", e.Received, e.RecordMs, err)
		}
		at, err := time.Parse(time.RFC3339, e.Timestamp)
		if late := received.Sub(at); err != nil || i%2 == 0 && (late < 59*time.Minute || late > 61*time.Minute) || i%2 == 1 && late != 0 {
			t.Errorf("event %d has time %q (%v)", i, e.Timestamp, err)
		}
		if e.Identifier != fmt.Sprintf("e%03d", i) || e.Object != "meter_event" || e.Business != harness.TestBusiness || e.Livemode ||
			e.Name != "api_requests" || e.Payload["value"] != "25" || e.Payload["stripe_customer_id"] != "cus_1" ||
			e.Key != harness.TestBusiness+"/testmode/api_requests" {
			t.Fatalf("event %d is %+v", i, e)
		}
	}
}

func TestEveryMeteringEndpointAnswersWhatTheSDKExpects(t *testing.T) {
	t.Parallel()
	forEachRetrySetting(t, func(t *testing.T, retries int64) {
		g := harness.Start(t, harness.Options{APIKeys: harness.TestBusiness + ":sk_live_x"})
		api, ctx := client(g.URL, "sk_live_x", retries), t.Context()
		if s := session(t, api); !s.Livemode || strings.HasPrefix(s.ID, "mtes_test_") {
			t.Errorf("a live session is %+v", s)
		}
		harness.EnsureMeter(t, g.URL, "sk_live_x", "m")
		at := time.Now().Add(-time.Minute).Truncate(time.Second)
		payload := map[string]string{"stripe_customer_id": "cus_1", "value": "1.5"}

		v2, err := api.V2BillingMeterEvents.Create(ctx, &stripe.V2BillingMeterEventCreateParams{
			EventName: stripe.String("m"), Identifier: stripe.String("two"), Payload: payload, Timestamp: stripe.Time(at),
		})
		if err != nil || v2.Object != "v2.billing.meter_event" || v2.Identifier != "two" || v2.EventName != "m" || !v2.Livemode ||
			!v2.Timestamp.Equal(at) || v2.Payload["value"] != "1.5" || time.Since(v2.Created) > time.Minute {
			t.Errorf("v2 meter event: %+v, %v", v2, err)
		}
		v2adj, err := api.V2BillingMeterEventAdjustments.Create(ctx, &stripe.V2BillingMeterEventAdjustmentCreateParams{
			EventName: stripe.String("m"), Type: stripe.String("cancel"),
			Cancel: &stripe.V2BillingMeterEventAdjustmentCreateCancelParams{Identifier: stripe.String("two")},
		})
		if err != nil || v2adj.Object != "v2.billing.meter_event_adjustment" || v2adj.Status != "pending" || v2adj.Cancel.Identifier != "two" ||
			!strings.HasPrefix(v2adj.ID, "mtr_event_adj_") || v2adj.EventName != "m" || !v2adj.Livemode {
			t.Errorf("v2 adjustment: %+v, %v", v2adj, err)
		}
		v1, err := api.V1BillingMeterEvents.Create(ctx, &stripe.BillingMeterEventCreateParams{
			EventName: stripe.String("m"), Identifier: stripe.String("one"), Payload: payload, Timestamp: stripe.Int64(at.Unix()),
		})
		if err != nil || v1.Object != "billing.meter_event" || v1.Identifier != "one" || v1.Timestamp != at.Unix() || v1.Payload["value"] != "1.5" || !v1.Livemode {
			t.Errorf("v1 meter event: %+v, %v", v1, err)
		}
		v1adj, err := api.V1BillingMeterEventAdjustments.Create(ctx, &stripe.BillingMeterEventAdjustmentCreateParams{
			EventName: stripe.String("m"), Type: stripe.String("cancel"),
			Cancel: &stripe.BillingMeterEventAdjustmentCreateCancelParams{Identifier: stripe.String("one")},
		})
		if err != nil || v1adj.Object != "billing.meter_event_adjustment" || v1adj.Cancel.Identifier != "one" || v1adj.Status != "pending" {
			t.Errorf("v1 adjustment: %+v, %v", v1adj, err)
		}
		generated, err := api.V2BillingMeterEvents.Create(ctx, &stripe.V2BillingMeterEventCreateParams{EventName: stripe.String("m"), Payload: payload})
		if err != nil || generated.Identifier == "" {
			t.Errorf("an event without identifier: %+v, %v", generated, err)
		}
		g.Term()
		var log []string
		for _, e := range harness.DumpJournal(t, g.DataDir) {
			log = append(log, strings.TrimSpace(e.Object+" "+e.Identifier+e.Cancel.Identifier))
			if e.Key != harness.TestBusiness+"/livemode/m" || !e.Livemode {
				t.Errorf("in the log: %+v", e)
			}
		}
		want := []string{"meter_event two", "meter_event_adjustment two", "meter_event one", "meter_event_adjustment one", "meter_event " + generated.Identifier}
		if !slices.Equal(log, want) {
			t.Errorf("the log holds %q, want %q", log, want)
		}
	})
}

func TestRefusalsAreTheSDKsTypedErrors(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(`businesses:
  - id: acct_a
    keys:
      - key: sk_test_all
      - {key: rk_test_adjust, permissions: [billing_meter_event_adjustment_write]}
    limits: {stream_events_per_second: 5}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	g := harness.Start(t, harness.Options{APIKeys: "-", Args: []string{"--config", file}})
	forEachRetrySetting(t, func(t *testing.T, retries int64) {
		ctx := t.Context()
		v2 := func(what string, err error, status int, code, message string) {
			t.Helper()
			var raw *stripe.V2RawError
			if !errors.As(err, &raw) || raw.HTTPStatusCode != status || raw.Code != code || !strings.Contains(raw.Message, message) {
				t.Errorf("%s: %v, want %d %s with %q", what, err, status, code, message)
			}
		}
		api := client(g.URL, "sk_test_all", retries)
		sender := client(g.URL, session(t, api).AuthenticationToken, retries)

		_, err := client(g.URL, "sk_test_wrong", retries).V2BillingMeterEventSessions.Create(ctx, &stripe.V2BillingMeterEventSessionCreateParams{})
		v2("unknown key", err, 401, "invalid_api_key", "")
		_, err = client(g.URL, "rk_test_adjust", retries).V2BillingMeterEventSessions.Create(ctx, &stripe.V2BillingMeterEventSessionCreateParams{})
		v2("missing permission", err, 403, "insufficient_permissions", "billing_meter_event_write")
		err = stream(ctx, client(g.URL, "sk_test_all", retries), event("x"))
		v2("API key as token", err, 401, "invalid_api_key", "")
		bad := event("x")
		bad.EventName = nil
		v2("no event name", stream(ctx, sender, event("ok"), bad), 400, "invalid_fields", "events[1].event_name")

		_, err = api.V1BillingMeterEvents.Create(ctx, &stripe.BillingMeterEventCreateParams{EventName: stripe.String("m")})
		var v1 *stripe.Error
		if !errors.As(err, &v1) || v1.HTTPStatusCode != 400 || v1.Type != stripe.ErrorTypeInvalidRequest || v1.Param != "payload" || v1.RequestID == "" {
			t.Errorf("v1 without payload: %v", err)
		}

		err = stream(ctx, sender, event("1"), event("2"), event("3"), event("4"), event("5"), event("6"))
		var limited *stripe.RateLimitError
		if !errors.As(err, &limited) || limited.Code != "rate_limit" {
			t.Errorf("six events at five a second: %v", err)
		}
	})
	g.Term()
	if found := harness.DumpJournal(t, g.DataDir); len(found) != 0 {
		t.Errorf("refused requests left %v", found)
	}
}

func TestAnExpiredSessionIsTypedAndRefreshedAsDocumented(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Args: []string{"--session-ttl", "1s"}})
	api := client(g.URL, harness.TestKey, -1)
	s := session(t, api)
	if life := s.ExpiresAt.Sub(s.Created); life != time.Second {
		t.Errorf("a session lives %s", life)
	}
	sender := client(g.URL, s.AuthenticationToken, -1)
	if err := stream(t.Context(), sender, event("fresh")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	if err := stream(t.Context(), sender, event("in-grace")); err != nil {
		t.Errorf("within 30 s after expires_at: %v", err)
	}
	time.Sleep(time.Until(s.ExpiresAt.Add(30*time.Second + 500*time.Millisecond)))
	err := stream(t.Context(), sender, event("late"))
	var expired *stripe.TemporarySessionExpiredError
	if !errors.As(err, &expired) || expired.Code != "billing_meter_event_session_expired" || expired.DocURL == nil || expired.Message == "" {
		t.Fatalf("after the grace: %v", err)
	}
	if err := stream(t.Context(), client(g.URL, session(t, api).AuthenticationToken, -1), event("late")); err != nil {
		t.Errorf("with a new session: %v", err)
	}
}
