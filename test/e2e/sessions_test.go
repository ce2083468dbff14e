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

// eachShared calls f with keys, until the log was there in time for all sessions of n calls: on a busy machine a broker may
// be silent for longer than a session waits for it, which is counted, and then nothing is to be seen.
func eachShared(t *testing.T, n int, name string, f func(key string) (check func()), gateways ...*harness.Gateway) {
	t.Helper()
	count := func() (sum float64) {
		for _, g := range gateways {
			sum += unshared(g)
		}
		return sum
	}
	for tries := 0; n > 0; tries++ {
		if tries == 100 {
			t.Fatalf("%s: sessions are not shared", name)
		}
		before := count()
		check := f(fmt.Sprint(name, " ", tries))
		if count() > before {
			time.Sleep(500 * time.Millisecond)
			continue
		}
		check()
		n--
	}
}

func TestASessionIsAnsweredAgainByTheOtherGateway(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	config := writeConfig(t, "session_keys: "+sessionKeysFile(t)+"\n")
	one, two := harness.Start(t, onKafka(cluster, "--config", config)), harness.Start(t, onKafka(cluster, "--config", config))
	sessionsShared(t, one, two)
	var known string // a key that both know
	var first openedSession
	oneThenTwo := func(key string) func() {
		a, b := openSession(one, key), openSession(two, key)
		return func() {
			t.Helper()
			needFirst(t, key, a)
			needReplay(t, key+", by the other", a, b)
			known, first = key, a
		}
	}
	eachShared(t, 1, "in turn", oneThenTwo, one, two)
	eachShared(t, 20, "at once", func(key string) func() {
		answers := make([]openedSession, 6)
		var group sync.WaitGroup
		for i := range answers {
			group.Go(func() { answers[i] = openSession([]*harness.Gateway{one, two}[i%2], key) })
		}
		group.Wait()
		return func() {
			firsts := 0
			for _, a := range answers {
				if a.status != 200 || a.body != answers[0].body {
					t.Fatalf("%s: one was answered %+v, another %+v", key, answers[0], a)
				}
				if !a.replayed {
					firsts++
				}
			}
			if firsts != 1 {
				t.Errorf("%s: %d were the first", key, firsts)
			}
		}
	}, one, two)
	two.Kill()
	two = two.Restart()
	sessionsShared(t, two)
	needReplay(t, "after kill -9 of the other", first, openSession(two, known))

	// Without the broker sessions open, known to one gateway alone.
	cluster.Kill9(1)
	before := unshared(one)
	alone := openSession(one, "alone")
	needFirst(t, "without the broker", alone)
	if alone.took > 5*time.Second { // 1 s, and a machine that is busy
		t.Errorf("without the broker a session took %v", alone.took)
	}
	needReplay(t, "without the broker, again", alone, openSession(one, "alone"))
	needReplay(t, "without the broker, one of before", first, openSession(two, known))
	if unshared(one) == before {
		t.Error("that is not counted")
	}
	cluster.Start(1)
	one.WaitReady(45 * time.Second)
	two.WaitReady(45 * time.Second)
	eachShared(t, 1, "with the broker back", oneThenTwo, one, two)
}

// What the spill takes must go on for longer than the 15 minutes of a session.
func TestSessionsOpenWhileUsageIsSpilled(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g := harness.Start(t, onSpill(t, cluster, "spill: {enabled: true}\n"))
	sessionsShared(t, g)
	cluster.Kill9(1)
	for i := range 20 {
		key := fmt.Sprint("away ", i)
		a := openSession(g, key)
		needFirst(t, key, a)
		t.Logf("%s took %v", key, a.took)
		if a.took > 5*time.Second {
			t.Errorf("%s took %v", key, a.took)
		}
		needReplay(t, key+", again", a, openSession(g, key))
		time.Sleep(100 * time.Millisecond)
	}
	if n := unshared(g); n != 20 {
		t.Errorf("%v sessions are counted as not shared, want 20", n)
	}
	cluster.Start(1)
	eachShared(t, 1, "with the broker back", func(key string) func() {
		a := openSession(g, key)
		return func() { needFirst(t, key, a) }
	}, g)
}
