package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	"tollgate/test/e2e/harness"
)

// stripeClient is Stripe's SDK with its default settings, pointed at a gateway.
func stripeClient(url, key string) *stripe.Client {
	return stripe.NewClient(key, stripe.WithBackends(stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		URL: stripe.String(url), LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
	})))
}

// cli runs `gateway fate` against a gateway.
func cli(t *testing.T, g *harness.Gateway, args ...string) (string, int) {
	t.Helper()
	out, errs, code := harness.Command(t, append([]string{"fate", "--url", g.URL, "--key", harness.TestKey}, args...)...)
	return out + errs, code
}

// One life of usage on the journal: a meter made, used, corrected and read with the SDK, and the same totals after
// everything that can happen to the process and to its state.
func TestUsageIsCountedCorrectedAndReadBackThroughKillsAndLossesOfState(t *testing.T) {
	g := harness.Start(t, harness.Options{})
	api := stripeClient(g.URL, harness.TestKey)
	meter, err := api.V1BillingMeters.Create(t.Context(), &stripe.BillingMeterCreateParams{
		DisplayName: stripe.String("API requests"), EventName: stripe.String("api_requests"),
		DefaultAggregation: &stripe.BillingMeterCreateDefaultAggregationParams{Formula: stripe.String("sum")},
	})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	from, to := now.Truncate(time.Hour).Add(-2*time.Hour), now.Truncate(time.Hour).Add(time.Hour)
	session, err := api.V2BillingMeterEventSessions.Create(t.Context(), &stripe.V2BillingMeterEventSessionCreateParams{})
	if err != nil {
		t.Fatal(err)
	}
	stream := stripeClient(g.URL, session.AuthenticationToken)
	send := func(ids ...string) {
		t.Helper()
		p := &stripe.V2BillingMeterEventStreamCreateParams{}
		for _, id := range ids {
			p.Events = append(p.Events, &stripe.V2BillingMeterEventStreamCreateEventParams{
				EventName: stripe.String("api_requests"), Identifier: stripe.String(id),
				Payload: map[string]string{"stripe_customer_id": "cus_1", "value": "0.1"},
			})
		}
		if err := stream.V2BillingMeterEventStreams.Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	for i := range 50 {
		ids = append(ids, fmt.Sprint("e-", i))
	}
	send(ids...)
	send(append(slices.Clone(ids[:20]), "e-twice", "e-twice")...)
	if _, err := api.V1BillingMeterEventAdjustments.Create(t.Context(), &stripe.BillingMeterEventAdjustmentCreateParams{
		EventName: stripe.String("api_requests"), Type: stripe.String("cancel"),
		Cancel: &stripe.BillingMeterEventAdjustmentCreateCancelParams{Identifier: stripe.String("e-7")},
	}); err != nil {
		t.Fatal(err)
	}
	sent := time.Now()

	// 51 different events, one of them cancelled, of 0.1 each: a float would say 5.000000000000001 or so.
	const want = "5"
	check := func(when string) {
		t.Helper()
		countedUntil(t, g, meter.ID, sent, 30*time.Second)
		s := summaries(t, g, meter.ID, "cus_1", from.UnixMilli(), to.UnixMilli(), "")
		if len(s) != 1 || s[0].Value != want {
			t.Errorf("%s: the total is %v, want %s", when, s, want)
		}
		for id, want := range map[string]string{"e-0": "counted", "e-7": "cancelled", "e-twice": "counted"} {
			if status, body := fate(t, g, "api_requests", id); status != 200 || body["status"] != want {
				t.Errorf("%s: the fate of %s is %d %v, want %s", when, id, status, body, want)
			}
		}
	}
	check("at first")
	list := api.V1BillingMeterEventSummaries.List(t.Context(), &stripe.BillingMeterEventSummaryListParams{
		ID: stripe.String(meter.ID), Customer: stripe.String("cus_1"), StartTime: stripe.Int64(1), EndTime: stripe.Int64(now.Unix() + 60),
	})
	for s, err := range list.All(t.Context()) {
		if err != nil || s.AggregatedValue != 5 || s.Meter != meter.ID {
			t.Errorf("the SDK reads %+v, %v", s, err)
		}
	}

	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"e-0", "--event-name", "api_requests"}, "counted", 0},
		{[]string{"e-7"}, "cancelled", 0}, // every meter is asked
		{[]string{"e-nobody"}, "not found", 1},
		{[]string{"e-0", "--event-name", "another_meter"}, "not found", 1},
	} {
		if out, code := cli(t, g, c.args...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("gateway fate %v: exit %d, want %d and %q:\n%s", c.args, code, c.code, c.want, out)
		}
	}
	if out, _, code := harness.Command(t, "fate", "e-0", "--url", "http://127.0.0.1:1", "--key", harness.TestKey); code != 2 {
		t.Errorf("nobody listens, and gateway fate exits %d: %s", code, out)
	}

	g.Kill()
	g = g.Restart()
	check("after kill -9")

	g.Term()
	verify(t, g, 0)
	state := filepath.Join(g.DataDir, "state")
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	g = g.Restart()
	check("after the state was deleted")

	g.Term()
	damage(t, state)
	g = g.Restart()
	g.WaitLog("gateway state rebuild", 10*time.Second)
	sent = time.Now()
	send("while damaged") // ingestion goes on
	status, _, body, err := call("GET", fmt.Sprintf("%s/v1/billing/meters/%s/event_summaries?customer=cus_1&start_time=%d&end_time=%d", g.URL, meter.ID, from.Unix(), to.Unix()), nil)
	if err != nil || status < 500 {
		t.Errorf("a damaged state answers %d %v %v", status, body, err)
	}
	if status, body := g.Readyz(); status != 200 {
		t.Errorf("a damaged state makes the gateway unready: %d %s", status, body)
	}
	g.Term()
	verify(t, g, 1)
	if out, errs, code := harness.Command(t, "state", "rebuild", "--data-dir", g.DataDir); code != 0 {
		t.Fatalf("gateway state rebuild: exit %d\n%s%s", code, out, errs)
	}
	g = g.Restart()
	countedUntil(t, g, meter.ID, sent, 30*time.Second)
	if s := summaries(t, g, meter.ID, "cus_1", from.UnixMilli(), to.UnixMilli(), ""); len(s) != 1 || s[0].Value != "5.1" {
		t.Errorf("after the rebuild the total is %v, want 5.1: an event was sent while the state was damaged", s)
	}
	g.Term()
	verify(t, g, 0)
}

// verify runs `gateway state verify` on a stopped gateway.
func verify(t *testing.T, g *harness.Gateway, want int) {
	t.Helper()
	out, errs, code := harness.Command(t, "state", "verify", "--data-dir", g.DataDir)
	if code != want {
		t.Errorf("gateway state verify: exit %d, want %d:\n%s%s", code, want, out, errs)
	}
}

// damage overwrites the middle of every file of the store.
func damage(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || len(text) < 16 {
			return err
		}
		for i := len(text) / 4; i < len(text)*3/4; i++ {
			text[i] ^= 0x55
		}
		n++
		return os.WriteFile(path, text, 0o600)
	})
	if err != nil || n == 0 {
		t.Fatalf("%d files of %s were damaged: %v", n, dir, err)
	}
}
