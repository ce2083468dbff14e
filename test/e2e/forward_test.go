package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	kafkatest "tollgate/test/kafka"

	"tollgate/test/e2e/harness"
	"tollgate/test/fakestripe"
)

const (
	stripeKey     = "sk_test_only_stripe_knows"
	stripeAccount = "acct_at_stripe"
)

// forwardConfig is the configuration of a gateway that forwards to a Stripe of the test's.
func forwardConfig(url, key string, more ...string) string {
	return fmt.Sprintf("forward:\n  businesses:\n    %s: {stripe_key: %s, api_base: %q, meter_events_base: %q}\n  %s\n",
		harness.TestBusiness, key, url, url, strings.Join(more, "\n  "))
}

// startFake is a fake Stripe that listens, with no limits of its own.
func startFake(t *testing.T) (*fakestripe.Stripe, string) {
	t.Helper()
	none := fakestripe.Limits{BusinessEvents: -1, SessionEvents: -1, SyncEvents: -1, Calls: -1}
	fake := fakestripe.New(fakestripe.Config{Keys: map[string]string{stripeKey: stripeAccount}, Limits: none})
	server := httptest.NewServer(fake)
	t.Cleanup(func() {
		fake.Release()
		server.CloseClientConnections()
		server.Close()
	})
	return fake, server.URL
}

// forwarding is usage that is sent to gateways, killed now and then, and has to be at Stripe as the model has it.
type forwarding struct {
	t         *testing.T
	gateways  []*harness.Gateway
	meters    []*meterSpec
	customers int
	events    int // of a round
	model     *usageModel
	fromMs    int64
	round     int
	dice      *rand.Rand
}

func newForwarding(t *testing.T, meters []*meterSpec, gateways ...*harness.Gateway) *forwarding {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	now := time.Now().UnixMilli()
	return &forwarding{
		t: t, gateways: gateways, meters: meters, customers: 4, events: 4000, model: newUsageModel(),
		fromMs: now/hourMs*hourMs - 2*hourMs, dice: rand.New(rand.NewPCG(seed, 1)),
	}
}

// send sends the events of a round, in two hours of its own, and calls disturb again and again until all are acknowledged.
// It returns the hours.
func (f *forwarding) send(disturb func()) (fromMs, toMs int64) {
	f.t.Helper()
	f.round++
	l := &usageLoad{
		meters: f.meters, customers: f.customers, clients: 3, events: f.events, perSecond: f.events / 2,
		fromMs: f.fromMs, toMs: f.fromMs + 2*hourMs, seed: f.dice.Uint64(),
	}
	f.fromMs -= 2 * hourMs
	for _, g := range f.gateways {
		l.urls = append(l.urls, g.URL)
	}
	l.streaming.Add(1)
	var wait sync.WaitGroup
	done := make(chan struct{})
	wait.Go(func() { defer close(done); l.run(f.t) })
	f.t.Cleanup(func() { l.stop.Store(true); wait.Wait() })
	for {
		select {
		case <-done:
			f.model.merge(l.model)
			return l.fromMs, l.toMs
		case <-time.After(time.Duration(300+f.dice.IntN(1200)) * time.Millisecond):
			disturb()
		}
	}
}

// kill ends a gateway, hardly ever politely, and starts it again.
func (f *forwarding) kill() {
	i := f.dice.IntN(len(f.gateways))
	f.gateways[i] = killed(f.dice, f.gateways[i])
}

func killed(dice *rand.Rand, g *harness.Gateway) *harness.Gateway {
	if dice.IntN(5) == 0 {
		g.Term()
	} else {
		g.Kill()
	}
	return g.Restart()
}

// drain is what a person runs before invoices close.
func (f *forwarding) drain() {
	f.t.Helper()
	admin := strings.TrimPrefix(f.gateways[0].Admin, "http://")
	if out, errs, code := harness.Command(f.t, "drain", "--timeout", "2m", "--admin-listen", admin); code != 0 || !strings.Contains(out, "is at Stripe") {
		f.t.Fatalf("round %d: drain: exit %d\n%s%s", f.round, code, out, errs)
	}
	if out, errs, code := harness.Command(f.t, "forward", "dead", "list", "--admin-listen", admin); code != 0 || out != "" {
		f.t.Fatalf("round %d: dead letters: exit %d\n%s%s", f.round, code, out, errs)
	}
}

// checkFake compares what the fake has counted, by the hour and in all, and whether anything was ever said twice.
func (f *forwarding) checkFake(fake *fakestripe.Stripe, fromMs, toMs int64) {
	f.t.Helper()
	account := fakestripe.Account{Business: stripeAccount}
	harness.Eventually(f.t, 10*time.Second, "requests that are applied late", func() bool { return fake.LateRequests() == 0 })
	faults := 0
	for _, m := range f.meters {
		for c := range f.customers {
			hours, total := f.model.hours(series{m, c}, fromMs, toMs)
			hours[-1] = total
			for from, want := range hours {
				to := from + hourMs
				if from == -1 {
					from, to = fromMs, toMs
				}
				if got := fake.Sum(account, m.name, customerName(c), time.UnixMilli(from), time.UnixMilli(to)); !sameHundredths(got, want) {
					if faults++; faults < 10 {
						f.t.Errorf("round %d: %s of customer %d from %s is %s at Stripe, want %d hundredths", f.round, m.name, c, time.UnixMilli(from).UTC(), got, want)
					}
				}
			}
		}
	}
	st := fake.State(account)
	if st.Conflicts > 0 || st.Twice > 0 {
		f.t.Errorf("round %d: of one identifier different things were said, or it counted twice: %+v", f.round, st)
	}
	if f.t.Failed() {
		f.t.FailNow()
	}
}

// faultsOfStripe are what goes wrong there in a round, each with a small chance.
func (f *forwarding) faultsOfStripe() []fakestripe.Fault {
	var list []fakestripe.Fault
	for _, kind := range fakestripe.Kinds {
		switch kind {
		case fakestripe.None, fakestripe.BadKey: // a key that is refused is a matter for a person, and waited for
			continue
		}
		list = append(list, fakestripe.Fault{Kind: kind, Chance: 0.01 + 0.02*f.dice.Float64(), For: time.Duration(f.dice.IntN(400)) * time.Millisecond})
	}
	return list
}

// What a gateway that is killed brings to a Stripe that is as unpleasant as it may be adds up to the model, event by event
// and rolled up.
func TestWhatIsForwardedIsAtStripeOnceThroughKillsAndFaults(t *testing.T) {
	for _, mode := range []struct {
		name string
		more []string
		keep func(*meterSpec) bool
	}{
		{"stream", nil, func(*meterSpec) bool { return true }},
		// A cancel of what was rolled up of a meter that keeps the last value is a dead letter, by decision.
		{"rolled-up", []string{"rollup: 1s"}, func(m *meterSpec) bool { return m.formula != "last" }},
	} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			fake, url := startFake(t)
			var meters []*meterSpec
			for _, m := range usageMeters() {
				if mode.keep(m) {
					meters = append(meters, m)
				}
			}
			g := harness.Start(t, harness.Options{Args: []string{"--config", writeConfig(t, forwardConfig(url, stripeKey, mode.more...))}})
			for _, m := range meters {
				makeMeter(t, g, m)
				there := fakestripe.Meter{EventName: m.name, Formula: m.formula, TimeWindow: m.window}
				if m.formula == "count" && len(mode.more) > 0 {
					there.Formula = "sum" // a number of events is sent as a value
				}
				if _, err := fake.CreateMeter(fakestripe.Account{Business: stripeAccount}, there); err != nil {
					t.Fatal(err)
				}
			}
			f := newForwarding(t, meters, g)
			for range rounds(2) {
				if err := fake.Inject(f.faultsOfStripe()...); err != nil {
					t.Fatal(err)
				}
				from, to := f.send(func() {
					if f.dice.IntN(3) == 0 {
						fake.Restart()
						return
					}
					f.kill()
				})
				fake.ClearFaults()
				fake.Release()
				f.drain()
				f.checkFake(fake, from, to)
			}
			if logs := f.gateways[0].Logs(); strings.Contains(logs, stripeKey) {
				t.Error("the key stands in the log")
			}
		})
	}
}

// The gateway is a Stripe, too: one in front of another, both killed, and the one behind has the model's totals.
func TestWhatAGatewayForwardsToAGatewayIsThereOnceThroughKillsOfBoth(t *testing.T) {
	t.Parallel()
	behind := harness.Start(t, harness.Options{APIKeys: "acct_behind:" + harness.TestKey})
	meters := usageMeters()
	for _, m := range meters {
		makeMeter(t, behind, m)
	}
	front := harness.Start(t, harness.Options{Args: []string{"--config", writeConfig(t, forwardConfig(behind.URL, harness.TestKey, "mirror_meters: true"))}})
	harness.Eventually(t, 20*time.Second, "the meters in front", func() bool {
		_, _, body, err := call("GET", front.URL+"/v1/billing/meters?limit=100", nil)
		list, _ := body["data"].([]any)
		return err == nil && len(list) == len(meters)
	})
	f := newForwarding(t, meters, front)
	for range rounds(2) {
		from, to := f.send(func() {
			if f.dice.IntN(2) == 0 {
				behind = killed(f.dice, behind)
				return
			}
			f.kill()
		})
		f.drain()
		countedUntil(t, behind, meters[0].id, time.Now(), time.Minute)
		f.model.check(t, behind, meters, f.customers, from, to)
		if t.Failed() {
			t.FailNow()
		}
	}
}

// Two gateways on one Kafka, of which each runs some partitions: what one had begun to send when it was killed the other
// ends.
func TestWhatTwoGatewaysForwardIsAtStripeOnceThroughKillsOfEither(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t, kafkatest.Options{})
	fake, url := startFake(t)
	config := sharedConfig(t, forwardConfig(url, stripeKey))
	f := newForwarding(t, usageMeters(), harness.Start(t, memberOf(t, cluster, config)), harness.Start(t, memberOf(t, cluster, config)))
	for i, m := range f.meters {
		makeMeter(t, f.gateways[i%2], m)
		if _, err := fake.CreateMeter(fakestripe.Account{Business: stripeAccount}, fakestripe.Meter{EventName: m.name, Formula: m.formula, TimeWindow: m.window}); err != nil {
			t.Fatal(err)
		}
	}
	for range rounds(2) {
		if err := fake.Inject(f.faultsOfStripe()...); err != nil {
			t.Fatal(err)
		}
		var last time.Time
		from, to := f.send(func() {
			// A killed member is away until its session ends, 10 s; one killed sooner would keep all of them from anything.
			if time.Since(last) > 15*time.Second {
				f.kill()
				last = time.Now()
			}
		})
		fake.ClearFaults()
		fake.Release()
		f.drain()
		f.checkFake(fake, from, to)
	}
}

// What Stripe refuses is a dead letter, and one that can be sent when the reason is gone.
func TestADeadLetterIsListedAndSentAgain(t *testing.T) {
	t.Parallel()
	fake, url := startFake(t)
	g := harness.Start(t, harness.Options{Args: []string{"--config", writeConfig(t, forwardConfig(url, stripeKey, "mode: v1"))}})
	admin := strings.TrimPrefix(g.Admin, "http://")
	sendOne(t, g, "id-1") // its meter is here and not there
	list := func() string {
		out, errs, code := harness.Command(t, "forward", "dead", "list", "--admin-listen", admin)
		if code != 0 {
			t.Fatalf("exit %d: %s", code, errs)
		}
		return out
	}
	harness.Eventually(t, 20*time.Second, "the dead letter", func() bool { return strings.Contains(list(), "id-1  refused  400") })
	out, _, code := harness.Command(t, "forward", "dead", "retry", "--refused", "--admin-listen", admin)
	if code != 1 || !strings.Contains(out, "0 sent, 1 refused again") {
		t.Errorf("exit %d: %s", code, out)
	}
	if _, err := fake.CreateMeter(fakestripe.Account{Business: stripeAccount}, fakestripe.Meter{EventName: "api_requests"}); err != nil {
		t.Fatal(err)
	}
	letter := strings.Fields(list())[1]
	g.Kill()
	g = g.Restart()
	if out, errs, code := harness.Command(t, "forward", "dead", "retry", letter, "--admin-listen", admin); code != 0 || !strings.Contains(out, "1 sent, 0 refused again") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if _, _, code := harness.Command(t, "forward", "dead", "retry", letter, "--admin-listen", admin); code != 2 {
		t.Errorf("a letter that was sent is sent again: exit %d", code)
	}
	if out := list(); out != "" {
		t.Errorf("it is still listed: %s", out)
	}
	now := time.Now()
	if got := fake.Sum(fakestripe.Account{Business: stripeAccount}, "api_requests", "cus_1", now.Add(-time.Hour), now.Add(time.Hour)); got != "25" {
		t.Errorf("%s is at Stripe", got)
	}
	if n := g.Metric("tollgate_forward_dead_total"); n != 0 {
		t.Errorf("%v letters were written after the restart", n)
	}
	if out, errs, code := harness.Command(t, "drain", "--before", time.Now().Add(time.Hour).Format(time.RFC3339), "--timeout", "1s", "--admin-listen", admin); code != 1 || !strings.Contains(errs, "not drained within 1s") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}
