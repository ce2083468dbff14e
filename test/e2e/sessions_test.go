package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	kafkatest "tollgate/test/kafka"

	"tollgate/test/e2e/harness"
)

// openedSession is an answer to who opens a session, byte for byte.
type openedSession struct {
	status   int
	body     string
	replayed bool
	took     time.Duration
}

func openSession(g *harness.Gateway, key string) openedSession {
	req, err := http.NewRequest(http.MethodPost, g.URL+"/v2/billing/meter_event_session", strings.NewReader("{}"))
	if err != nil {
		return openedSession{body: err.Error()}
	}
	req.Header.Set("Authorization", "Bearer "+harness.TestKey)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	start := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return openedSession{body: err.Error()}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return openedSession{body: err.Error()}
	}
	return openedSession{res.StatusCode, string(body), res.Header.Get("Idempotent-Replayed") == "true", time.Since(start)}
}

// sessionsShared waits until a gateway has read the sessions topic: readiness does not wait for that.
func sessionsShared(t *testing.T, gateways ...*harness.Gateway) {
	t.Helper()
	for _, g := range gateways {
		harness.Eventually(t, 30*time.Second, "the sessions topic is read", func() bool {
			res, err := http.Get(g.Admin + "/statusz")
			if err != nil {
				return false
			}
			defer res.Body.Close()
			text, _ := io.ReadAll(res.Body)
			for line := range strings.Lines(string(text)) {
				if f := strings.Fields(line); len(f) == 2 && f[0] == "sessions" && f[1] == "ok" {
					return true
				}
			}
			return false
		})
	}
}

func needReplay(t *testing.T, what string, first, again openedSession) {
	t.Helper()
	if again.status != 200 || again.body != first.body || !again.replayed {
		t.Errorf("%s: %+v, first it was %+v", what, again, first)
	}
}

func needFirst(t *testing.T, what string, first openedSession) {
	t.Helper()
	if first.status != 200 || first.replayed {
		t.Fatalf("%s: %+v", what, first)
	}
}

func unshared(g *harness.Gateway) float64 {
	return g.Metric("tollgate_http_sessions_unshared_total", `reason="late"`) + g.Metric("tollgate_http_sessions_unshared_total", `reason="away"`)
}

func TestASessionIsAnsweredAgainAfterAKill(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	sessionsShared(t, g)
	first := openSession(g, "k")
	needFirst(t, "the first", first)
	needReplay(t, "again", first, openSession(g, "k"))
	g.Kill()
	g = g.Restart()
	sessionsShared(t, g)
	needReplay(t, "after kill -9", first, openSession(g, "k"))
	status, body, _, err := harness.Post(g.URL+"/v2/billing/meter_events", harness.TestKey,
		`{"event_name":"m","payload":{"stripe_customer_id":"c","value":"1"}}`, "Idempotency-Key", "k")
	if err != nil || status != 400 || !strings.Contains(fmt.Sprint(body), "idempotency_error") {
		t.Errorf("the key of the session with an event: %d %v %v", status, body, err)
	}
	if n := unshared(g); n != 0 {
		t.Errorf("%v sessions were not shared", n)
	}
}

func TestASessionIsAnsweredAgainByTheOtherGateway(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	config := writeConfig(t, "session_keys: "+sessionKeysFile(t)+"\n")
	one, two := harness.Start(t, onKafka(cluster, "--config", config)), harness.Start(t, onKafka(cluster, "--config", config))
	sessionsShared(t, one, two)
	first := openSession(one, "k")
	needFirst(t, "the first", first)
	needReplay(t, "by the other", first, openSession(two, "k"))
	for round := range 20 {
		answers := make([]openedSession, 6)
		var group sync.WaitGroup
		for i := range answers {
			group.Go(func() { answers[i] = openSession([]*harness.Gateway{one, two}[i%2], fmt.Sprint("at once ", round)) })
		}
		group.Wait()
		firsts := 0
		for _, a := range answers {
			if a.status != 200 || a.body != answers[0].body {
				t.Fatalf("at once one was answered %+v, another %+v", answers[0], a)
			}
			if !a.replayed {
				firsts++
			}
		}
		if firsts != 1 {
			t.Errorf("%d of those at once were the first", firsts)
		}
	}
	if n := unshared(one) + unshared(two); n != 0 {
		t.Errorf("%v sessions were not shared", n)
	}
	two.Kill()
	two = two.Restart()
	sessionsShared(t, two)
	needReplay(t, "after kill -9 of the other", first, openSession(two, "k"))

	// Without the broker sessions open, known to one gateway alone.
	cluster.Kill9(1)
	alone := openSession(one, "alone")
	needFirst(t, "without the broker", alone)
	if alone.took > 5*time.Second { // 1 s, and a machine that is busy
		t.Errorf("without the broker a session took %v", alone.took)
	}
	needReplay(t, "without the broker, again", alone, openSession(one, "alone"))
	needReplay(t, "without the broker, one of before", first, openSession(two, "k"))
	if unshared(one) == 0 {
		t.Error("that is not counted")
	}
	cluster.Start(1)
	one.WaitReady(45 * time.Second)
	two.WaitReady(45 * time.Second)
	for i := 0; ; i++ { // the partition may turn appends away for a moment yet
		key, before := fmt.Sprint("after ", i), unshared(one)
		a := openSession(one, key)
		needFirst(t, "with the broker back", a)
		if unshared(one) == before {
			needReplay(t, "by the other, with the broker back", a, openSession(two, key))
			return
		}
		if i == 60 {
			t.Fatal("sessions are not shared any more")
		}
		time.Sleep(500 * time.Millisecond)
	}
}
