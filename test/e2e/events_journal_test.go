package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/test/e2e/harness"
)

// badLoad streams events that the worker refuses: of each meter one without a number, one without a customer, and one of a
// name without a meter.
type badLoad struct {
	names []string
	urls  func(i int) string
	stop  atomic.Bool
	done  sync.WaitGroup
	acked atomic.Int64
}

// start sends a request every pause until Stop.
func (l *badLoad) start(pause time.Duration) {
	l.done.Go(func() {
		token := ""
		for i := 0; !l.stop.Load(); i++ {
			url := l.urls(i)
			if token == "" {
				_, session, _, _ := harness.Post(url+"/v2/billing/meter_event_session", harness.TestKey, "{}")
				token, _ = session["authentication_token"].(string)
			}
			if token != "" {
				var b strings.Builder
				b.WriteString(`{"events":[`)
				fmt.Fprintf(&b, `{"event_name":"nobody_%d","payload":{"stripe_customer_id":"c","value":"1"}}`, i%7)
				for n := range min(len(l.names), 49) {
					name := l.names[(i+n)%len(l.names)]
					fmt.Fprintf(&b, `,{"event_name":%q,"payload":{"stripe_customer_id":"c","value":"none"}}`, name)
					if n%3 == 0 {
						fmt.Fprintf(&b, `,{"event_name":%q,"payload":{"value":"1"}}`, name)
					}
				}
				b.WriteString(`]}`)
				if status, _, _, err := harness.Post(url+"/v2/billing/meter_event_stream", token, b.String()); err == nil && status == http.StatusOK {
					l.acked.Add(1)
				} else if status == http.StatusUnauthorized {
					token = ""
				}
			}
			time.Sleep(pause)
		}
	})
}

func (l *badLoad) Stop() { l.stop.Store(true); l.done.Wait() }

// whyRefused is what the worker says of badLoad's events.
func whyRefused(e harness.Event) string {
	switch {
	case strings.HasPrefix(e.Name, "nobody_"):
		return "no_meter"
	case e.Payload["stripe_customer_id"] == "":
		return "meter_event_no_customer_defined"
	case e.Payload["value"] == "none":
		return "meter_event_invalid_value"
	}
	return ""
}

// badMeters makes n meters, and returns their names and ids.
func badMeters(t *testing.T, g *harness.Gateway, n int) (names []string, ids map[string]string) {
	t.Helper()
	ids = map[string]string{}
	for i := range n {
		m := &meterSpec{name: fmt.Sprint("bad_", i), formula: "sum"}
		makeMeter(t, g, m)
		names, ids[m.name] = append(names, m.name), m.id
	}
	return names, ids
}

// reportsOf waits until the reports of all that a log holds are listed.
func reportsOf(t *testing.T, g *harness.Gateway, want int64, max time.Duration) []thinEvent {
	t.Helper()
	var list []thinEvent
	harness.Eventually(t, max, fmt.Sprint(want, " refused events are reported"), func() bool {
		list = events(t, g, errorReport, noMeter)
		return sum(reported(list)) >= want
	})
	return list
}

// Kills at any moment, also between a delivery and what is noted about it: each event is delivered, at least once, under
// one id, and together they count what the log holds.
func TestKillOfTheGatewayLosesAndDoublesNoThinEvent(t *testing.T) {
	const meters = 40
	g := harness.Start(t, harness.Options{})
	hook := harness.NewHook(t)
	webhookTo(t, g, hook)
	names, ids := badMeters(t, g, meters)
	url := g.URL
	l := &badLoad{names: names, urls: func(int) string { return url }}
	t.Cleanup(l.Stop)
	l.start(100 * time.Millisecond)
	kills := 0
	for begin := time.Now(); len(hook.Times()) < 5*meters && time.Since(begin) < 3*time.Minute; kills++ {
		before := len(hook.Received())
		time.Sleep(time.Duration(500+rand.IntN(3000)) * time.Millisecond)
		if kills%2 == 0 { // in the middle of the deliveries of a window
			for end := time.Now().Add(12 * time.Second); len(hook.Received()) == before && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
		}
		g.Kill()
		g = g.Restart()
	}
	l.Stop()
	if kills < 4 || l.acked.Load() < 20 {
		t.Fatalf("%d kills and %d requests: nothing is proved", kills, l.acked.Load())
	}
	want := refusalsOf(harness.DumpJournal(t, g.DataDir), ids, whyRefused)
	list := reportsOf(t, g, sum(want), 30*time.Second)
	noIDTwice(t, list)
	compareRefusals(t, reported(list), want)
	harness.Eventually(t, 30*time.Second, "every event is delivered", func() bool {
		times := hook.Times()
		for _, e := range list {
			if times[e.ID] == 0 {
				return false
			}
		}
		return true
	})
	again := 0
	listed := map[string]bool{}
	for _, e := range list {
		listed[e.ID] = true
	}
	for id, n := range hook.Times() {
		if !listed[id] {
			t.Errorf("%s was delivered and is not listed", id)
		}
		again += n - 1
	}
	t.Logf("%d events after %d kills, of which %d deliveries were made again", len(list), kills, again)
}

// A destination that fails is shown, and what it missed is delivered once a person asks; a worker that counts nothing
// delivers nothing.
func TestADestinationThatFailsIsShownAndAPersonAsksAgain(t *testing.T) {
	g := harness.Start(t, harness.Options{})
	hook := harness.NewHook(t)
	hook.Answer(func(string) int { return 500 })
	id, _ := webhookTo(t, g, hook)
	var ping thinEvent
	mustAsk(t, g, "POST", "/v2/core/event_destinations/"+id+"/ping", "", &ping)
	harness.Eventually(t, 15*time.Second, "the ping is tried", func() bool { return hook.Times()[ping.ID] > 0 })
	harness.Eventually(t, 15*time.Second, "statusz shows that it fails", func() bool {
		_, text := status(g)
		return strings.Contains(text, id) && strings.Contains(text, "500")
	})
	hook.Answer(func(string) int { return 200 })
	tries := hook.Times()[ping.ID]
	out, errs, code := harness.Command(t, "events", "resend", ping.ID, "--destination", id, "--url", g.URL, "--key", harness.TestKey)
	if code != 0 {
		t.Fatalf("gateway events resend: exit %d\n%s%s", code, out, errs)
	}
	harness.Eventually(t, 15*time.Second, "it is delivered again", func() bool { return hook.Times()[ping.ID] > tries })
	if _, _, code := harness.Command(t, "events", "resend", "evt_test_nobody", "--destination", id, "--url", g.URL, "--key", harness.TestKey); code != 1 {
		t.Errorf("resend of an event that does not exist: exit %d, want 1", code)
	}
	out, errs, code = harness.Command(t, "events", "list", "--url", g.URL, "--key", harness.TestKey)
	if code != 0 || !strings.Contains(out, ping.ID) {
		t.Errorf("gateway events list: exit %d\n%s%s", code, out, errs)
	}
}

// status is /statusz.
func status(g *harness.Gateway) (int, string) {
	res, err := http.Get(g.Admin + "/statusz")
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

// The index is a cache: damaged, events of usage are taken and counted, questions about thin events are answered 503, and
// a rebuild brings all back.
func TestADamagedIndexOfEventsIsSaidAndMadeAnew(t *testing.T) {
	g := harness.Start(t, harness.Options{})
	hook := harness.NewHook(t)
	id, _ := webhookTo(t, g, hook)
	var ping thinEvent
	mustAsk(t, g, "POST", "/v2/core/event_destinations/"+id+"/ping", "", &ping)
	if list := events(t, g); len(list) != 1 || list[0].ID != ping.ID {
		t.Fatalf("listed: %+v", list)
	}
	g.Term()
	index := filepath.Join(g.DataDir, "state", "events")
	if _, err := os.Stat(index); err != nil {
		t.Fatal(err)
	}
	damage(t, index)
	g = g.Restart()
	var answer map[string]any
	if status, err := ask(g, "GET", "/v2/core/events", "", &answer); status != 503 || err != nil {
		t.Errorf("with a damaged index the list is %d %v %v", status, answer, err)
	}
	m := &meterSpec{name: "api_requests", formula: "sum"}
	makeMeter(t, g, m)
	sendOne(t, g, "taken")
	countedUntil(t, g, m.id, time.Now(), 30*time.Second)
	if status, body := g.Readyz(); status != 200 {
		t.Errorf("a damaged index makes the gateway unready: %d %s", status, body)
	}
	if _, text := status(g); !strings.Contains(text, "events") || !strings.Contains(text, "damaged") {
		t.Errorf("statusz says\n%s", text)
	}
	g.Term()
	out, errs, code := harness.Command(t, "state", "rebuild", "--data-dir", g.DataDir)
	if code != 0 || !strings.Contains(out, "index of thin events was moved to") {
		t.Fatalf("gateway state rebuild: exit %d\n%s%s", code, out, errs)
	}
	g = g.Restart()
	if list := events(t, g); len(list) != 1 || list[0].ID != ping.ID {
		t.Errorf("after the rebuild: %+v", list)
	}
}

// An endpoint that takes a connection and never answers holds nobody up: not the events of others, and not the end.
func TestAnEndpointThatHangsDelaysNeitherOtherDestinationsNorTheDrain(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	hanging := make(chan net.Conn, 16)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			hanging <- conn
		}
	}()
	bad, _ := createDestination(t, g, map[string]any{
		"type": "webhook_endpoint", "webhook_endpoint": map[string]any{"url": "http://" + ln.Addr().String()},
	})
	hook := harness.NewHook(t)
	good, _ := webhookTo(t, g, hook)
	var ping thinEvent
	mustAsk(t, g, "POST", "/v2/core/event_destinations/"+bad+"/ping", "", &ping)
	select {
	case conn := <-hanging:
		defer conn.Close()
	case <-time.After(10 * time.Second):
		t.Fatal("the endpoint that hangs was not called")
	}
	mustAsk(t, g, "POST", "/v2/core/event_destinations/"+good+"/ping", "", &ping)
	harness.Eventually(t, 5*time.Second, "the other destination gets its event", func() bool { return hook.Times()[ping.ID] > 0 })
	if code, took := g.Term(); code != 0 || took > 5*time.Second {
		t.Errorf("drain: exit %d after %s", code, took)
	}
}
