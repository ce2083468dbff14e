package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	kafkatest "tollgate/test/kafka"

	"tollgate/test/e2e/harness"
)

const usageTopic = "tollgate.usage"

func onKafka(c *kafkatest.Cluster, args ...string) harness.Options {
	return harness.Options{Args: append([]string{"--kafka-brokers", strings.Join(c.Brokers, ",")}, args...)}
}

// needAcked fails a fault test whose load was hardly answered: it would prove nothing.
func needAcked(t *testing.T, l harness.Ledger, least int) {
	t.Helper()
	if l.Acked() < least {
		t.Fatalf("only %d events were acknowledged (want %d), so nothing is proved: %v", l.Acked(), least, l.Other)
	}
}

func TestTopicsAreCreatedWithTheSettingsTheyNeed(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g := harness.Start(t, onKafka(cluster))
	sendOne(t, g, "first")
	events := slices.Collect(harness.ReadTopic(t, cluster.Brokers, usageTopic))
	if len(events) != 1 || events[0].Key != "acct_e2e/testmode/api_requests" || events[0].Object != "meter_event" ||
		events[0].Payload["value"] != "25" || time.Since(time.UnixMilli(events[0].RecordMs)) > time.Minute {
		t.Fatalf("the topic holds %+v", events)
	}
	out := cluster.CLI("consume", "--bootstrap-server", cluster.Brokers[0], "--topic", usageTopic, "--from-beginning", "--max-messages", "1", "--timeout-ms", "20000")
	if !strings.Contains(out, `"identifier":"first"`) {
		t.Errorf("the console consumer prints %q", out)
	}
	describe := cluster.CLI("topics", "--bootstrap-server", cluster.Brokers[0], "--describe")
	for _, want := range [][]string{
		{usageTopic, "PartitionCount: 12", "cleanup.policy=delete", "retention.ms=3456000000"},
		{"tollgate.control", "PartitionCount: 1", "cleanup.policy=compact", "min.compaction.lag.ms=3888000000"},
		{"tollgate.events", "PartitionCount: 1", "retention.ms=2678400000"},
		{"tollgate.cursors", "PartitionCount: 1", "cleanup.policy=compact"},
		{"tollgate.sessions", "PartitionCount: 1", "cleanup.policy=delete", "retention.ms=2678400000", "retention.bytes=536870912"},
	} {
		found := false
		for line := range strings.Lines(describe) {
			ok := strings.Contains(line, "Topic: "+want[0]+"\t")
			for _, w := range want[1:] {
				ok = ok && strings.Contains(line, w)
			}
			found = found || ok
		}
		if !found {
			t.Errorf("no line with %q in\n%s", want, describe)
		}
	}
}

func TestKafkaAwayAtStartIsSaidAndAnsweredWith503UntilItComes(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	cluster.Kill9(1)
	o := onKafka(cluster)
	o.NoWait = true
	g := harness.Start(t, o)
	harness.Eventually(t, 20*time.Second, "readyz says that Kafka is away", func() bool {
		status, body := g.Readyz()
		return status == 503 && strings.Contains(body, cluster.Brokers[0])
	})
	start := time.Now()
	status, body, header, err := harness.Post(g.URL+"/v2/billing/meter_events", harness.TestKey,
		`{"event_name":"m","payload":{"stripe_customer_id":"c","value":"1"}}`)
	if err != nil || status != 503 || body["error"] == nil || header.Get("Stripe-Should-Retry") != "true" || time.Since(start) > 2*time.Second {
		t.Fatalf("without Kafka: %d %v %v after %s (%v)", status, body, header, time.Since(start), err)
	}
	// Sessions need no log.
	if status, body, _, err := harness.Post(g.URL+"/v2/billing/meter_event_session", harness.TestKey, "{}"); status != 200 {
		t.Errorf("a session without Kafka: %d %v %v", status, body, err)
	}
	cluster.Start(1)
	g.WaitReady(30 * time.Second)
	sendOne(t, g, "after")
}

func TestKillOfTheGatewayLosesNothingAcknowledgedByKafka(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g := harness.Start(t, onKafka(cluster))
	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 12})
	for range rounds(6) {
		time.Sleep(time.Duration(300+rand.IntN(700)) * time.Millisecond)
		g.Kill()
		g = g.Restart()
	}
	time.Sleep(500 * time.Millisecond)
	ledger := load.Stop()
	needAcked(t, ledger, 1000)
	// No client sends anything twice here, so even across lives there are no copies.
	ledger.Check(t, harness.ReadTopic(t, cluster.Brokers, usageTopic), true)
}

func TestBrokerKilledAndRestartedUnderLoadLosesAndDoublesNothing(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g := harness.Start(t, onKafka(cluster))
	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 12})
	for range rounds(2) {
		time.Sleep(time.Duration(500+rand.IntN(1000)) * time.Millisecond)
		cluster.Kill9(1)
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
		cluster.Start(1)
		g.WaitReady(45 * time.Second)
	}
	time.Sleep(2 * time.Second)
	ledger := load.Stop()
	needAcked(t, ledger, 1000)
	if code, took := g.Term(); code != 0 {
		t.Errorf("drain: exit %d after %s", code, took)
	}
	ledger.Check(t, harness.ReadTopic(t, cluster.Brokers, usageTopic), true)
}

func TestBrokerPausedUnderLoadLosesAndDoublesNothing(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g := harness.Start(t, onKafka(cluster))
	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 12})
	for i := range rounds(2) {
		time.Sleep(time.Second)
		cluster.Pause(1)
		if i%2 == 0 {
			// Longer than a partition may be silent: it must be said, and answered 503, before the broker is back.
			harness.Eventually(t, 20*time.Second, "readyz says that the broker is silent", func() bool {
				status, _ := g.Readyz()
				return status == 503
			})
		} else {
			time.Sleep(time.Second)
		}
		cluster.Resume(1)
		g.WaitReady(30 * time.Second)
	}
	time.Sleep(2 * time.Second)
	ledger := load.Stop()
	needAcked(t, ledger, 1000)
	ledger.Check(t, harness.ReadTopic(t, cluster.Brokers, usageTopic), true)
}

func TestDrainWithABrokerPausedAnswersEverybodyWithinTenSeconds(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g := harness.Start(t, onKafka(cluster))
	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 8})
	time.Sleep(time.Second)
	cluster.Pause(1)
	time.Sleep(500 * time.Millisecond)
	code, took := g.Term()
	ledger := load.Stop()
	if took > 10*time.Second || code != 0 {
		t.Errorf("exit %d after %s", code, took)
	}
	for kind := range ledger.Other {
		if kind == "EOF" || strings.Contains(kind, "reset") {
			t.Errorf("a request was left without an answer: %v", ledger.Other)
		}
	}
	cluster.Resume(1)
	ledger.Check(t, harness.ReadTopic(t, cluster.Brokers, usageTopic), true)
}

func TestLeaderChangeAmongThreeBrokersLosesAndDoublesNothing(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{Nodes: 3})
	file := writeConfig(t, "kafka:\n  replication_factor: 3\n  partitions: 6\n")
	g := harness.Start(t, onKafka(cluster, "--config", file))
	describe := cluster.CLI("topics", "--bootstrap-server", cluster.Brokers[0], "--describe", "--topic", usageTopic)
	if !strings.Contains(describe, "ReplicationFactor: 3") || !strings.Contains(describe, "min.insync.replicas=2") {
		t.Errorf("the topic is not as safe as acks=all suggests: %s", describe)
	}
	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 12, Meters: 12})
	for i := range rounds(2) {
		node := 1 + i%3
		time.Sleep(time.Second)
		switch i % 2 {
		case 0:
			cluster.Kill9(node)
		case 1:
			cluster.Stop(node)
		}
		time.Sleep(4 * time.Second) // the others elect leaders and go on
		cluster.Start(node)
		g.WaitReady(45 * time.Second)
	}
	time.Sleep(2 * time.Second)
	ledger := load.Stop()
	needAcked(t, ledger, 1000)
	ledger.Check(t, harness.ReadTopic(t, cluster.Brokers, usageTopic), true)
}

func TestEachCodecIsReadByOtherClients(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	for _, codec := range []string{"none", "lz4", "zstd"} {
		file := writeConfig(t, fmt.Sprintf("kafka: {topic_prefix: %s., partitions: 1}\n", codec))
		g := harness.Start(t, onKafka(cluster, "--config", file, "--kafka-compression", codec))
		load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 64, Events: 100, Pause: time.Microsecond})
		time.Sleep(2 * time.Second)
		ledger := load.Stop()
		if code, _ := g.Term(); code != 0 {
			t.Errorf("%s: exit %d", codec, code)
		}
		ledger.Check(t, harness.ReadTopic(t, cluster.Brokers, codec+".usage"), true)
	}
}
