package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	kafkatest "tollgate/test/kafka"

	"tollgate/test/e2e/harness"
)

// spillConfig has room for what a load makes up for at once, which is to be taken and not limited.
const spillConfig = `spill: {enabled: true, max_bytes: 8589934592}
businesses:
  - id: acct_e2e
    keys: [{key: sk_test_harness}]
    limits: {events_per_second: 100000000, stream_events_per_second: 100000000}
`

func onSpill(t *testing.T, c *kafkatest.Cluster, config string) harness.Options {
	o := onKafka(c, "--config", writeConfig(t, config))
	if strings.Contains(config, "businesses:") {
		o.APIKeys = "-"
	}
	return o
}

// size is a number of the environment, or n.
func size(name string, n int) int {
	if v, err := strconv.Atoi(os.Getenv(name)); err == nil && v > 0 {
		return v
	}
	return n
}

// waitSpill waits until the spill says so of itself: 0 direct, 1 draining, 2 spilling.
func waitSpill(g *harness.Gateway, state float64, most time.Duration, t *testing.T) {
	t.Helper()
	harness.Eventually(t, most, "tollgate_spill_state "+strconv.Itoa(int(state)), func() bool {
		return g.Metric("tollgate_spill_state") == state
	})
}

func waitDrained(g *harness.Gateway, most time.Duration, t *testing.T) {
	t.Helper()
	harness.Eventually(t, most, "everything that was spilled is in Kafka", func() bool {
		status, _ := g.Readyz()
		return status != 0 && g.Metric("tollgate_spill_state") == 0 && g.Metric("tollgate_spill_waiting_bytes") == 0
	})
}

func TestBrokerKilledUnderLoadRefusesNothingWithTheSpill(t *testing.T) {
	away := time.Duration(size("E2E_SPILL_SECONDS", 10)) * time.Second
	rate := size("E2E_SPILL_RATE", 20_000)
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g := harness.Start(t, onSpill(t, cluster, spillConfig))
	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 128, Events: 100, Meters: 12, Rate: rate})
	time.Sleep(3 * time.Second)
	cluster.Kill9(1)
	killed := time.Now()
	waitSpill(g, 2, 10*time.Second, t)
	for time.Since(killed) < away {
		if status, body := g.Readyz(); status != 200 {
			t.Errorf("while it spills: %d %s", status, body)
		}
		time.Sleep(500 * time.Millisecond)
	}
	spilled, oldest := g.Metric("tollgate_spill_waiting_bytes"), g.Metric("tollgate_spill_oldest_seconds")
	if oldest < away.Seconds()-5 || spilled == 0 {
		t.Errorf("%.0f bytes wait, the oldest for %.0f s", spilled, oldest)
	}
	cluster.Start(1)
	back := time.Now()
	waitDrained(g, 5*time.Minute, t)
	drained := time.Since(back)
	time.Sleep(time.Second)
	ledger := load.Stop()
	needAcked(t, ledger, rate*int(away/time.Second)/2)
	if len(ledger.Other) > 0 {
		t.Errorf("requests were refused: %v", ledger.Other)
	}
	t.Logf("%d events a second, Kafka away for %v: %.0f MB spilled, slowest answer %v, all in Kafka %v after it served",
		rate, away, spilled/1e6, ledger.Slowest.Round(time.Millisecond), drained.Round(time.Millisecond))
	ledger.Check(t, harness.ReadTopic(t, cluster.Brokers, usageTopic), true)
}

func TestKillOfTheGatewayWhileSpillingAndWhileDrainingLosesAndDoublesNothing(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g := harness.Start(t, onSpill(t, cluster, spillConfig))
	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 16, Events: 50, Meters: 12})
	again := func() {
		t.Helper()
		g.Kill()
		g.Options.NoWait = true // without Kafka the meters can not be read, and it is not ready
		g = g.Restart()
	}
	for range rounds(3) {
		time.Sleep(time.Duration(200+rand.IntN(800)) * time.Millisecond)
		cluster.Kill9(1)
		if rand.IntN(2) == 0 {
			waitSpill(g, 2, 10*time.Second, t)
		}
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Millisecond)
		again()
		waitSpill(g, 2, 20*time.Second, t)
		batches := g.Metric("tollgate_spill_batches_total")
		harness.Eventually(t, 10*time.Second, "events are taken after a restart without Kafka", func() bool {
			return g.Metric("tollgate_spill_batches_total") > batches
		})
		cluster.Start(1)
		for range 3 {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
			again()
		}
		g.WaitReady(45 * time.Second)
		waitDrained(g, time.Minute, t)
	}
	time.Sleep(500 * time.Millisecond)
	ledger := load.Stop()
	needAcked(t, ledger, 1000)
	ledger.Check(t, harness.ReadTopic(t, cluster.Brokers, usageTopic), true)
}
