package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	kafkatest "tollgate/test/kafka"

	"tollgate/test/e2e/harness"
	"tollgate/test/ports"
)

// usageEvents is E2E_EVENTS, or few enough for CI.
func usageEvents() int {
	if v, err := strconv.Atoi(os.Getenv("E2E_EVENTS")); err == nil && v > 0 {
		return v
	}
	return 100_000
}

// sharedConfig is the configuration of the gateways of one cluster: the same keys for sessions, the same secret, and more.
func sharedConfig(t *testing.T, more ...string) string {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "internal-secret")
	if err := os.WriteFile(secret, []byte("a secret of this test alone\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return writeConfig(t, "session_keys: "+sessionKeysFile(t)+"\ninternal_secret_file: "+secret+"\n"+strings.Join(more, ""))
}

// memberOf is a gateway that the others of the cluster can ask.
func memberOf(t *testing.T, cluster *kafkatest.Cluster, config string) harness.Options {
	t.Helper()
	return onKafka(cluster, "--config", config, "--internal-listen", ports.Addr(ports.Reserve(t, 1)[0]))
}

// Kill, not only stop: what one of two gateways had counted and not yet written down is counted again by the other, once.
func TestTotalsOfTwoGatewaysThatAreKilledInTurnAreTheModels(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	config := sharedConfig(t)
	gateways := []*harness.Gateway{harness.Start(t, memberOf(t, cluster, config)), harness.Start(t, memberOf(t, cluster, config))}

	now := time.Now().UnixMilli()
	l := &usageLoad{
		meters: usageMeters(), customers: 20, clients: 6, events: usageEvents(),
		fromMs: now/hourMs*hourMs - 3*hourMs, toMs: now / hourMs * hourMs, seed: uint64(now),
	}
	l.perSecond = min(25_000, l.events/50) // long enough for kills
	for i, m := range l.meters {
		makeMeter(t, gateways[i%2], m)
	}
	for _, g := range gateways {
		l.urls = append(l.urls, g.URL)
	}
	done, sent := make(chan struct{}), make(chan struct{})
	l.streaming.Add(1) // until all clients are there
	go func() {
		defer close(done)
		l.run(t)
	}()
	go func() {
		defer close(sent)
		l.streaming.Wait()
	}()
	t.Cleanup(func() { l.stop.Store(true); <-done })
	kills := 0
	for running := true; running; {
		whole(t, gateways, sent)
		select {
		case <-sent:
			running = false
		case <-time.After(3 * time.Second):
			i := kills % 2
			if kills%4 == 3 { // now and then as politely as a deployment
				gateways[i].Term()
			} else {
				gateways[i].Kill()
			}
			time.Sleep(time.Second)
			gateways[i] = gateways[i].Restart()
			kills++
		}
	}
	if kills < 2 {
		t.Fatalf("only %d kills while events were sent, so nothing is proved", kills)
	}
	select {
	case <-done: // the last cancels
	case <-time.After(5 * time.Minute):
		t.Fatal("the cancels were not answered")
	}
	end := time.Now()
	for i, g := range gateways {
		countedUntil(t, g, l.meters[0].id, end, 3*time.Minute)
		compared := l.model.check(t, g, l.meters, l.customers, l.fromMs, l.toMs)
		t.Logf("gateway %d: %d totals are the model's, after %d kills; caught up %s after the last event", i, compared, kills, time.Since(end).Round(time.Second))
	}
	for i, e := range l.examples {
		want := map[bool]string{false: "counted", true: "cancelled"}[l.model.cancelled[e.identifier]]
		if status, body := fate(t, gateways[i%2], e.meter.name, e.identifier); status != 200 || body["status"] != want {
			t.Errorf("the fate of %s is %d %v, want %s", e.identifier, status, body, want)
		}
	}
}

// whole waits until every partition is run, and each gateway knows by whom, or the load has ended. What a gateway that was
// killed announced just before is believed for some seconds, so who runs them is asked as well.
func whole(t *testing.T, gateways []*harness.Gateway, done <-chan struct{}) {
	t.Helper()
	harness.Eventually(t, time.Minute, "every partition has an owner", func() bool {
		select {
		case <-done:
			return true
		default:
		}
		run := 0.0
		for _, g := range gateways {
			if g.Metric("tollgate_fleet_partitions_away") != 0 {
				return false
			}
			run += g.Metric("tollgate_usage_partitions")
		}
		return run == 12
	})
}

// What one gateway runs and the other is asked for: without its owner there is no answer, and never a part of one.
func TestWithoutTheOwnerOfAPartitionTheAnswerIs503AndThenWhole(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	config := sharedConfig(t)
	one, two := harness.Start(t, memberOf(t, cluster, config)), harness.Start(t, memberOf(t, cluster, config))
	m := &meterSpec{name: "api_requests", formula: "sum"}
	makeMeter(t, one, m)
	for i := range 10 {
		sendOne(t, one, fmt.Sprint("e", i))
	}
	to := (time.Now().UnixMilli()/hourMs + 1) * hourMs
	from := to - 2*hourMs
	for _, g := range []*harness.Gateway{one, two} {
		harness.Eventually(t, 30*time.Second, "both gateways know the total", func() bool {
			s := summaries(t, g, m.id, "cus_1", from, to, "")
			return len(s) == 1 && s[0].Value == "250"
		})
	}
	two.Kill()
	address := fmt.Sprintf("%s/v1/billing/meters/%s/event_summaries?customer=cus_1&start_time=%d&end_time=%d", one.URL, m.id, from/1000, to/1000)
	away := 0
	harness.Eventually(t, time.Minute, "the other one has taken over", func() bool {
		status, header, body, err := call("GET", address, nil)
		switch {
		case err != nil:
			t.Fatal(err)
		case status == 503 && header.Get("Retry-After") != "":
			away++
			return false
		case status != 200:
			t.Fatalf("%d %v", status, body)
		}
		// A partition taken over may still be counting: then the header says so, and the sum is less.
		data := body["data"].([]any)
		return len(data) == 1 && fmt.Sprint(data[0].(map[string]any)["aggregated_value"]) == "250"
	})
	if away == 0 {
		t.Error("no question was answered 503 while the owner was away")
	}
}
