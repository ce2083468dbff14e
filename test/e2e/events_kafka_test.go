package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	kafkatest "tollgate/test/kafka"

	"tollgate/test/e2e/harness"
)

// delivererOf is which of the gateways delivers.
func delivererOf(t *testing.T, gateways []*harness.Gateway) (deliverer, other int) {
	t.Helper()
	harness.Eventually(t, 30*time.Second, "one of the gateways delivers", func() bool {
		a, b := gateways[0].Metric("tollgate_webhook_delivering"), gateways[1].Metric("tollgate_webhook_delivering")
		deliverer, other = 0, 1
		if b == 1 {
			deliverer, other = 1, 0
		}
		return a+b == 1
	})
	return deliverer, other
}

func TestOfTwoGatewaysOneDeliversEachEventAndTheOtherTakesOver(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	config := sharedConfig(t)
	gateways := []*harness.Gateway{harness.Start(t, memberOf(t, cluster, config)), harness.Start(t, memberOf(t, cluster, config))}
	hook := harness.NewHook(t)
	destination, _ := webhookTo(t, gateways[0], hook)
	names, ids := badMeters(t, gateways[1], 24)
	delivererOf(t, gateways)
	l := &badLoad{names: names, urls: func(i int) string { return gateways[i%2].URL }}
	t.Cleanup(l.Stop)
	whole(t, gateways, nil)
	l.start(200 * time.Millisecond)
	time.Sleep(25 * time.Second)
	l.Stop()

	want := refusalsOf(slices.Collect(harness.ReadTopic(t, cluster.Brokers, usageTopic)), ids, whyRefused)
	list := reportsOf(t, gateways[0], sum(want), 30*time.Second)
	noIDTwice(t, list)
	compareRefusals(t, reported(list), want)
	if other := events(t, gateways[1], errorReport, noMeter); !reflect.DeepEqual(other, list) {
		t.Errorf("one gateway lists %d events and the other %d, or others", len(list), len(other))
	}
	harness.Eventually(t, 30*time.Second, "every event is delivered", func() bool { return len(hook.Times()) >= len(list) })
	for id, n := range hook.Times() {
		if n != 1 {
			t.Errorf("%s was delivered %d times, and nothing had failed", id, n)
		}
	}

	// The one that delivers is killed: what is created from then on is delivered by the other.
	deliverer, other := delivererOf(t, gateways)
	killed := time.Now()
	gateways[deliverer].Kill()
	var ping thinEvent
	mustAsk(t, gateways[other], "POST", "/v2/core/event_destinations/"+destination+"/ping", "", &ping)
	harness.Eventually(t, 30*time.Second, "the other gateway has taken over", func() bool { return hook.Times()[ping.ID] > 0 })
	took := time.Since(killed)
	t.Logf("%d events; after a kill -9 of the deliverer the next one was delivered after %s", len(list), took.Round(100*time.Millisecond))
	if took > 15*time.Second {
		t.Errorf("the other gateway took over after %s, want 15 s at most", took)
	}
}

// Partitions and the delivering change hands by kill -9, while events are refused: whoever counts a window, it is reported
// once, and delivered at least once.
func TestKillsOfTwoGatewaysInTurnLoseAndDoubleNoThinEvent(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	config := sharedConfig(t)
	gateways := []*harness.Gateway{harness.Start(t, memberOf(t, cluster, config)), harness.Start(t, memberOf(t, cluster, config))}
	urls := []string{gateways[0].URL, gateways[1].URL}
	hook := harness.NewHook(t)
	webhookTo(t, gateways[0], hook)
	names, ids := badMeters(t, gateways[1], 24)
	whole(t, gateways, nil)
	l := &badLoad{names: names, urls: func(i int) string { return urls[i%2] }}
	t.Cleanup(l.Stop)
	l.start(200 * time.Millisecond)
	kills := 0
	for range rounds(4) {
		time.Sleep(time.Duration(2000+rand.IntN(9000)) * time.Millisecond)
		i := kills % 2
		gateways[i].Kill()
		gateways[i] = gateways[i].Restart()
		whole(t, gateways, nil)
		kills++
	}
	time.Sleep(5 * time.Second)
	l.Stop()
	whole(t, gateways, nil)
	want := refusalsOf(slices.Collect(harness.ReadTopic(t, cluster.Brokers, usageTopic)), ids, whyRefused)
	list := reportsOf(t, gateways[0], sum(want), time.Minute)
	noIDTwice(t, list)
	compareRefusals(t, reported(list), want)
	harness.Eventually(t, time.Minute, "every event is delivered", func() bool {
		times := hook.Times()
		return !slices.ContainsFunc(list, func(e thinEvent) bool { return times[e.ID] == 0 })
	})
	again := 0
	for _, n := range hook.Times() {
		again += n - 1
	}
	t.Logf("%d refused events in %d thin events after %d kills, of which %d deliveries were made again", sum(want), len(list), kills, again)
}

// An internal firehose needs no HTTP: the notification is a record of a topic that belongs to others.
func TestEventsAreDeliveredIntoATopicOfOthers(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g := harness.Start(t, onKafka(cluster, "--config", writeConfig(t, "webhooks: {kafka_topics: [company.events]}\n")))
	var refused map[string]any
	body := `{"name":"n","type":"kafka_topic","event_payload":"thin","enabled_events":["` + pingEvent + `"],"kafka_topic":{"topic":"other.events"}}`
	if status, err := ask(g, "POST", "/v2/core/event_destinations", body, &refused); status != 400 || err != nil {
		t.Errorf("a topic that is not configured: %d %v %v", status, refused, err)
	}
	id, _ := createDestination(t, g, map[string]any{"type": "kafka_topic", "kafka_topic": map[string]any{"topic": "company.events"}})
	var ping thinEvent
	mustAsk(t, g, "POST", "/v2/core/event_destinations/"+id+"/ping", "", &ping)
	harness.Eventually(t, 30*time.Second, "the ping is in the topic", func() bool {
		for r := range harness.ReadTopic(t, cluster.Brokers, "company.events") {
			var v map[string]json.RawMessage
			if err := json.Unmarshal([]byte(r.Value), &v); err != nil {
				t.Fatal(err)
			}
			if string(v["id"]) != fmt.Sprintf("%q", ping.ID) {
				continue
			}
			if _, ok := v["data"]; ok || r.Key != harness.TestBusiness+"/testmode/"+id {
				t.Errorf("the record is %s: %s", r.Key, r.Value)
			}
			return true
		}
		return false
	})
}
