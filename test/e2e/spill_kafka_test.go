package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
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
	m := &meterSpec{name: "nobody_sends", formula: "sum"}
	makeMeter(t, g, m)
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
	totalsTrail(t, g, m, killed)
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

// totalsTrail asks for totals until all that was spilled is in Kafka. As long as it is not, no answer may say that it holds what
// was acknowledged later than Kafka was killed.
func totalsTrail(t *testing.T, g *harness.Gateway, m *meterSpec, killed time.Time) {
	t.Helper()
	hour := time.Now().Unix() / 3600 * 3600
	answers := 0
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		status, header, _, err := call("GET", fmt.Sprintf("%s/v1/billing/meters/%s/event_summaries?customer=cus_1&start_time=%d&end_time=%d",
			g.URL, m.id, hour-3600, hour), nil)
		if err != nil || status != 200 && status != 503 {
			t.Fatalf("summaries: %d %v", status, err)
		}
		if g.Metric("tollgate_spill_state") == 0 { // after the answer
			break
		}
		if status != 200 {
			continue
		}
		answers++
		asOf, err := time.Parse(time.RFC3339, header.Get("Tollgate-As-Of"))
		if err != nil || asOf.After(killed.Add(5*time.Second)) {
			t.Errorf("%v after Kafka was killed, and with usage that waits for it, totals are said to be as of %v after (%v)",
				time.Since(killed), asOf.Sub(killed), err)
		}
	}
	t.Logf("%d answers about totals while it drained", answers)
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
	for range rounds(2) {
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

func TestStoppingWhileKafkaIsAwayLosesNothingAcknowledgedAndEndsInTime(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g := harness.Start(t, onSpill(t, cluster, spillConfig))
	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 16, Events: 50, Meters: 12})
	stop := func(when string) {
		t.Helper()
		if code, took := g.Term(); code != 0 || took > 10*time.Second {
			t.Errorf("%s: exit %d after %v", when, code, took)
		} else {
			t.Logf("%s: stopped in %v", when, took.Round(time.Millisecond))
		}
		g.Options.NoWait = true
		g = g.Restart()
	}
	for _, end := range []struct {
		name    string
		away    func(int)
		back    func(int)
		running bool // the broker's process is there
	}{{"killed", cluster.Kill9, cluster.Start, false}, {"paused", cluster.Pause, cluster.Resume, true}} {
		time.Sleep(time.Second)
		end.away(1)
		time.Sleep(300 * time.Millisecond)
		stop(end.name + ", requests wait for Kafka")
		waitSpill(g, 2, 20*time.Second, t)
		time.Sleep(500 * time.Millisecond)
		stop(end.name + ", spilling")
		waitSpill(g, 2, 20*time.Second, t)
		end.back(1)
		time.Sleep(200 * time.Millisecond)
		stop(end.name + ", back again")
		g.WaitReady(45 * time.Second)
		waitDrained(g, time.Minute, t)
	}
	ledger := load.Stop()
	needAcked(t, ledger, 1000)
	for kind := range ledger.Other {
		if kind == "EOF" || strings.Contains(kind, "reset") {
			t.Errorf("a request was left without an answer: %v", ledger.Other)
		}
	}
	ledger.Check(t, harness.ReadTopic(t, cluster.Brokers, usageTopic), true)
}

func TestAFullSpillIsAnsweredWith503UntilKafkaIsBack(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g := harness.Start(t, onSpill(t, cluster, strings.Replace(spillConfig, "8589934592", "16777216", 1)))
	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 16, Events: 100, Meters: 12})
	time.Sleep(time.Second)
	cluster.Kill9(1)
	harness.Eventually(t, 60*time.Second, "readyz says that the spill is full", func() bool {
		status, body := g.Readyz()
		return status == 503 && strings.Contains(body, "spill.max_bytes") && strings.Contains(body, cluster.Brokers[0])
	})
	if waiting := g.Metric("tollgate_spill_waiting_bytes"); waiting > 24<<20 {
		t.Errorf("%.0f bytes wait, with 16 MiB configured", waiting)
	}
	status, _, header, err := stream(t, g, "refused")
	if err != nil || status != 503 || header.Get("Retry-After") == "" {
		t.Errorf("with a full spill: %d %v (%v)", status, header, err)
	}
	cluster.Start(1)
	g.WaitReady(45 * time.Second)
	waitDrained(g, time.Minute, t)
	time.Sleep(time.Second)
	ledger := load.Stop()
	needAcked(t, ledger, 10_000)
	for kind := range ledger.Other {
		if kind != "503" {
			t.Errorf("refused with something else: %v", ledger.Other)
		}
	}
	ledger.Check(t, harness.ReadTopic(t, cluster.Brokers, usageTopic), true)
}

// stream opens a session and sends one event.
func stream(t *testing.T, g *harness.Gateway, identifier string) (int, map[string]any, http.Header, error) {
	t.Helper()
	_, session, _, err := harness.Post(g.URL+"/v2/billing/meter_event_session", harness.TestKey, "{}")
	token, _ := session["authentication_token"].(string)
	if token == "" {
		t.Fatalf("no session: %v %v", session, err)
	}
	return harness.Post(g.URL+"/v2/billing/meter_event_stream", token, streamBody(identifier))
}

func TestWithoutTheSpillTheGatewayDoesNotStartWhileUsageWaits(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t, kafkatest.Options{})
	o := onSpill(t, cluster, "spill: {enabled: true}\n")
	g := harness.Start(t, o)
	cluster.Kill9(1)
	if status, body, _, err := stream(t, g, "spilled"); status != 200 {
		t.Fatalf("without Kafka: %d %v %v", status, body, err)
	}
	if code, took := g.Term(); code != 0 {
		t.Fatalf("exit %d after %v", code, took)
	}
	refused := func(what, want string, o harness.Options) {
		t.Helper()
		o.DataDir, o.NoWait = g.DataDir, true
		other := harness.Start(t, o)
		if code := other.Wait(10 * time.Second); code != 1 || !strings.Contains(other.Logs()+other.Stdout(), want) {
			t.Errorf("%s: exit %d: %s%s", what, code, other.Logs(), other.Stdout())
		}
	}
	refused("on Kafka without the spill", "start with spill.enabled", onKafka(cluster))
	refused("on the journal", "start with spill.enabled", harness.Options{})
	refused("with another prefix", "tollgate.usage", onSpill(t, cluster, "spill: {enabled: true}\nkafka: {topic_prefix: other.}\n"))
	cluster.Start(1)
	o.DataDir = g.DataDir
	g = harness.Start(t, o)
	waitDrained(g, 30*time.Second, t)
	if code, _ := g.Term(); code != 0 {
		t.Errorf("exit %d", code)
	}
	plain := onKafka(cluster)
	plain.DataDir = g.DataDir
	sendOne(t, harness.Start(t, plain), "after")
	var found []string
	for e := range harness.ReadTopic(t, cluster.Brokers, usageTopic) {
		found = append(found, e.Identifier)
	}
	if !slices.Contains(found, "spilled") || !slices.Contains(found, "after") {
		t.Errorf("the topic holds %v", found)
	}
}

func TestAGatewayThatHasSeenKafkaStartsWithoutItAndTakesEvents(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t, kafkatest.Options{})
	cluster.Kill9(1)
	o := onSpill(t, cluster, "spill: {enabled: true}\n")
	o.NoWait, o.DataDir = true, t.TempDir()
	g := harness.Start(t, o)
	// How many partitions there are, nobody has said yet.
	g.WaitLog("not ready", 10*time.Second)
	if status, body, _, err := stream(t, g, "never"); status != 503 {
		t.Errorf("a first start without Kafka: %d %v %v", status, body, err)
	}
	cluster.Start(1)
	g.WaitReady(45 * time.Second)
	if code, _ := g.Term(); code != 0 {
		t.Errorf("exit %d", code)
	}
	cluster.Kill9(1)
	g = harness.Start(t, o)
	g.WaitLog("serving", 10*time.Second)
	for i := range 3 {
		if status, body, _, err := stream(t, g, fmt.Sprint("spilled-", i)); status != 200 {
			t.Errorf("a later start without Kafka: %d %v %v", status, body, err)
		}
	}
	// It takes events, and is not ready: the meters were not read since it started.
	if status, body := g.Readyz(); status != 503 || !strings.Contains(body, "meters") {
		t.Errorf("readyz: %d %s", status, body)
	}
	cluster.Start(1)
	g.WaitReady(45 * time.Second)
	waitDrained(g, 30*time.Second, t)
	var found []string
	for e := range harness.ReadTopic(t, cluster.Brokers, usageTopic) {
		found = append(found, e.Identifier)
	}
	if !slices.Equal(found, []string{"spilled-0", "spilled-1", "spilled-2"}) {
		t.Errorf("the topic holds %v", found)
	}
}

// What is asked about usage while it is spilled is answered with what is known, and says up to when; nobody is told a verdict
// that only the log's order can give.
func TestWhileItSpillsTotalsTrailAndVerdictsAreNotGuessed(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g := harness.Start(t, onSpill(t, cluster, "spill: {enabled: true}\n"))
	m := &meterSpec{name: "api_requests", formula: "sum"}
	makeMeter(t, g, m)
	sendOne(t, g, "before")
	hour := time.Now().UnixMilli() / hourMs * hourMs
	counted := time.Now()
	countedUntil(t, g, m.id, counted, time.Minute)
	cluster.Kill9(1)
	killed := time.Now()
	if status, body, _, err := stream(t, g, "spilled"); status != 200 {
		t.Fatalf("without Kafka: %d %v %v", status, body, err)
	}
	sync := func(identifier string) (status int, code any) {
		t.Helper()
		status, body, _, err := harness.Post(g.URL+"/v2/billing/meter_events", harness.TestKey,
			`{"event_name":"api_requests","identifier":"`+identifier+`","payload":{"stripe_customer_id":"cus_1","value":"25"}}`)
		e, _ := body["error"].(map[string]any)
		if err != nil || e == nil {
			return status, err
		}
		return status, e["code"]
	}
	seen := map[string]int{}
	for time.Since(killed) < 15*time.Second { // also when the group's session is over
		for _, id := range []string{"before", "spilled", "new"} {
			status, code := sync(id)
			if status != 503 || code != "service_unavailable" {
				t.Fatalf("a synchronous event with identifier %s while it spills: %d %v", id, status, code)
			}
		}
		status, header, body, err := call("GET", fmt.Sprintf("%s/v1/billing/meters/%s/event_summaries?customer=cus_1&start_time=%d&end_time=%d",
			g.URL, m.id, (hour-hourMs)/1000, (hour+2*hourMs)/1000), nil)
		seen[fmt.Sprint("summaries ", status)]++
		if asOf, _ := time.Parse(time.RFC3339, header.Get("Tollgate-As-Of")); err != nil || status == 200 && asOf.After(killed.Add(3*time.Second)) {
			t.Fatalf("summaries while it spills: %d %v as of %v (%v)", status, body, header.Get("Tollgate-As-Of"), err)
		}
		status, header, body, err = call("GET", g.URL+"/v1/tollgate/usage_events/spilled?event_name=api_requests", nil)
		seen[fmt.Sprint("fate ", status)]++
		if asOf, _ := time.Parse(time.RFC3339, header.Get("Tollgate-As-Of")); err != nil || status == 200 || status == 404 && asOf.After(killed.Add(3*time.Second)) {
			t.Fatalf("fate of what is spilled: %d %v as of %v (%v)", status, body, header.Get("Tollgate-As-Of"), err)
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Logf("answers while it spills: %v", seen)
	if _, text := status(g); !strings.Contains(text, "spill      spilling: 1 of 12 partitions") {
		t.Errorf("statusz says %s", text)
	}
	cluster.Start(1)
	waitDrained(g, 45*time.Second, t)
	countedUntil(t, g, m.id, time.Now(), time.Minute)
	if status, code := sync("spilled"); status != 400 {
		t.Errorf("the spilled identifier again: %d %v", status, code)
	}
	var sum string
	for _, s := range summaries(t, g, m.id, "cus_1", hour-hourMs, hour+2*hourMs, "") {
		sum += s.Value
	}
	if sum != "26" {
		t.Errorf("the total is %s, want 25 from before and 1 that was spilled", sum)
	}
	if status, body := fate(t, g, "api_requests", "spilled"); status != 200 {
		t.Errorf("fate of what was spilled: %d %v", status, body)
	}
}
