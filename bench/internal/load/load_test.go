package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/bench/internal/ledger"
)

// target answers like a gateway: sessions that last long, and streams as the test says.
func target(t *testing.T, stream http.HandlerFunc) (url string, sessions *atomic.Int64) {
	t.Helper()
	return watchedTarget(t, stream, nil)
}

func watchedTarget(t *testing.T, stream http.HandlerFunc, state func(net.Conn, http.ConnState)) (url string, sessions *atomic.Int64) {
	t.Helper()
	sessions = new(atomic.Int64)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/billing/meter_event_session", func(w http.ResponseWriter, q *http.Request) {
		fmt.Fprintf(w, `{"authentication_token":"token-%d","expires_at":"%s"}`, sessions.Add(1), time.Now().Add(time.Hour).Format(time.RFC3339))
	})
	mux.HandleFunc("POST /v2/billing/meter_event_stream", stream)
	s := httptest.NewUnstartedServer(mux)
	s.Config.ConnState = state
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, sessions
}

func accept(w http.ResponseWriter, q *http.Request) {
	io.Copy(io.Discard, q.Body)
	io.WriteString(w, "{}")
}

func runLoad(t *testing.T, c Config) (*Report, *ledger.Ledger) {
	t.Helper()
	c.Businesses = []Business{{Key: "sk_test_1"}}
	r, book, err := Run(context.Background(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r, book
}

func TestARateIsMet(t *testing.T) {
	url, _ := target(t, accept)
	r, book := runLoad(t, Config{Target: url, Rate: 5000, Batch: 10, Sessions: 3, Connections: 6, Duration: time.Second})
	sent := uint64(0)
	for _, l := range book.Lanes {
		sent += l.Acked()
	}
	if got := sent/10 + r.Missed; got != 500 {
		t.Errorf("%d requests were due and 500 are 5,000 events/s", got)
	}
	if len(r.Errors) != 0 || r.Closed {
		t.Errorf("%+v", r)
	}
}

func TestConnectionsStayOpenToTheEnd(t *testing.T) {
	var closed atomic.Int64
	var late atomic.Bool
	url, _ := watchedTarget(t, accept, func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed && !late.Load() {
			closed.Add(1)
		}
	})
	time.AfterFunc(400*time.Millisecond, func() { late.Store(true) })
	// Five requests are due in half a second, and each is another connection's last one.
	r, _ := runLoad(t, Config{Target: url, Rate: 100, Batch: 10, Connections: 10, Duration: 500 * time.Millisecond})
	if r.Requests == 0 || closed.Load() > 0 {
		t.Errorf("%d requests, and %d connections were closed before the end", r.Requests, closed.Load())
	}
}

// While the target stands still for 300 ms, requests are due that no connection is free to send. A generator that
// measured from the send would see one slow answer.
func TestAStallCountsForEveryRequestThatWasDue(t *testing.T) {
	var once sync.Once
	url, _ := target(t, func(w http.ResponseWriter, q *http.Request) {
		once.Do(func() { time.Sleep(300 * time.Millisecond) })
		accept(w, q)
	})
	r, _ := runLoad(t, Config{Target: url, Rate: 1000, Batch: 10, Connections: 1, Duration: 600 * time.Millisecond})
	if r.Latency.P90 < 150 || r.Latency.Max < 250 {
		t.Errorf("a stall over half of the run shows as %+v", r.Latency)
	}
}

func TestTimesThatNobodyCameToSendAreInTheLatencies(t *testing.T) {
	url, _ := target(t, func(w http.ResponseWriter, q *http.Request) {
		time.Sleep(400 * time.Millisecond)
		accept(w, q)
	})
	r, _ := runLoad(t, Config{Target: url, Rate: 1000, Batch: 10, Connections: 1, Duration: 300 * time.Millisecond})
	if r.Missed < 25 || r.Latency.P50 < 100 {
		t.Errorf("%d of 30 requests missed, %+v", r.Missed, r.Latency)
	}
}

func TestTheWarmUpIsNotMeasured(t *testing.T) {
	const warmup = 400 * time.Millisecond
	var begin time.Time
	var once sync.Once
	var during, after atomic.Uint64
	url, _ := target(t, func(w http.ResponseWriter, q *http.Request) {
		once.Do(func() { begin = time.Now() })
		if time.Since(begin) < warmup/2 { // the first request comes a little after the start
			during.Add(1)
		} else {
			after.Add(1)
		}
		accept(w, q)
	})
	r, book := runLoad(t, Config{Target: url, Connections: 1, Warmup: warmup, Duration: 300 * time.Millisecond})
	if during.Load() == 0 || r.Requests == 0 || r.Requests > after.Load() || r.Events > 100*after.Load() {
		t.Errorf("%d requests came early in the warm-up and %d later; measured are %d", during.Load(), after.Load(), r.Requests)
	}
	if got := book.Lanes[0].Sent(); got != 100*(during.Load()+after.Load()) {
		t.Errorf("the ledger holds %d events and not all", got)
	}
}

func TestOutcomesAreWhatTheAnswersSay(t *testing.T) {
	answers := []struct {
		status int
		body   string
		want   ledger.Outcome
	}{
		{200, "{}", ledger.Acked},
		{200, `{"ok":false}`, ledger.Unknown},
		{202, "{}", ledger.Unknown},
		{400, `{"error":{}}`, ledger.Refused},
		{429, `{"error":{"code":"rate_limit"}}`, ledger.Refused},
		{500, `{"error":{"code":"internal_error"}}`, ledger.Unknown},
		{503, `{"error":{"code":"service_unavailable"}}`, ledger.Refused},
		{503, `{"error":{"code":"outcome_unknown"}}`, ledger.Unknown},
	}
	var n atomic.Int64
	url, _ := target(t, func(w http.ResponseWriter, q *http.Request) {
		io.Copy(io.Discard, q.Body)
		i := int(n.Add(1) - 1)
		if i == len(answers) { // and no answer at all
			panic(http.ErrAbortHandler)
		}
		a := answers[0]
		if i < len(answers) {
			a = answers[i]
		}
		w.WriteHeader(a.status)
		io.WriteString(w, a.body)
	})
	_, book := runLoad(t, Config{Target: url, Rate: 30, Batch: 1, Connections: 1, Duration: time.Second})
	var got []ledger.Outcome
	for r := range book.Lanes[0].Runs() {
		for range r.Events {
			got = append(got, r.Outcome)
		}
	}
	if len(got) <= len(answers) {
		t.Fatalf("%d answers were taken", len(got))
	}
	for i, o := range got {
		want := ledger.Acked
		switch {
		case i < len(answers):
			want = answers[i].want
		case i == len(answers):
			want = ledger.Unknown
		}
		if o != want {
			t.Errorf("answer %d counts as %d and not %d", i, o, want)
		}
	}
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	var n atomic.Int64
	url, sessions := target(t, func(w http.ResponseWriter, q *http.Request) {
		n.Add(1)
		io.Copy(io.Discard, q.Body)
		if q.Header.Get("Authorization") != "Bearer token-2" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		io.WriteString(w, "{}")
	})
	r, _ := runLoad(t, Config{Target: url, Batch: 1, Connections: 4, Duration: 200 * time.Millisecond})
	if sessions.Load() != 2 || r.Events == 0 || r.Errors["status 401"] > 4 {
		t.Errorf("%d sessions, %+v", sessions.Load(), r)
	}
}

// Ten thousand connections wait seconds for their turn; an interrupted run does not.
func TestALongWaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if sleepUntil(ctx, begin.Add(time.Hour)) || time.Since(begin) > time.Minute {
		t.Error("it was slept through")
	}
	due := time.Now().Add(1100 * time.Millisecond)
	if !sleepUntil(context.Background(), due) || time.Now().Before(due) {
		t.Error("it was not slept long enough")
	}
}

func TestATargetThatIsAwayIsAnError(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	if _, _, err := Run(context.Background(), Config{Target: s.URL, Businesses: []Business{{Key: "k"}}}, nil); err == nil {
		t.Error("a load began without a target")
	}
}

func TestWhatIsSentIsWhatAnSDKSends(t *testing.T) {
	type seen struct {
		Events []struct {
			Name       string            `json:"event_name"`
			Identifier string            `json:"identifier"`
			Timestamp  time.Time         `json:"timestamp"`
			Payload    map[string]string `json:"payload"`
		} `json:"events"`
	}
	var mu sync.Mutex
	identifiers := map[string]bool{}
	bad := ""
	url, _ := target(t, func(w http.ResponseWriter, q *http.Request) {
		raw, _ := io.ReadAll(q.Body)
		var s seen
		err := json.Unmarshal(raw, &s)
		mu.Lock()
		defer mu.Unlock()
		if err != nil || len(s.Events) != 7 || q.Header.Get("Idempotency-Key") == "" || q.Header.Get("Content-Type") != "application/json" {
			bad = fmt.Sprint(err, string(raw))
		}
		for _, e := range s.Events {
			value, _ := json.Marshal(e.Payload)
			if identifiers[e.Identifier] || len(value) != 120 || time.Since(e.Timestamp).Abs() > time.Minute ||
				!strings.HasPrefix(e.Name, "meter_000") || !strings.HasPrefix(e.Payload["stripe_customer_id"], "cus_000000") {
				bad = fmt.Sprint(e, len(value))
			}
			identifiers[e.Identifier] = true
		}
		io.WriteString(w, "{}")
	})
	runLoad(t, Config{Target: url, Batch: 7, Connections: 3, Duration: 100 * time.Millisecond, PayloadBytes: 120, Zipf: true, Customers: 50, Meters: 5})
	if bad != "" || len(identifiers) < 21 {
		t.Errorf("%d identifiers; %s", len(identifiers), bad)
	}
}

func TestAHotMeterHasItsShareAndTheOthersTheRest(t *testing.T) {
	for _, zipf := range []bool{false, true} {
		d := newDraws(Config{Meters: 5, Customers: 1, Zipf: zipf, HotMeterShare: 0.9})
		n := map[string]float64{}
		for i := range drawn {
			n[string(d.meters[i*meterDigits:][:meterDigits])]++
		}
		if share := n["0000"] / drawn; share < 0.89 || share > 0.91 || len(n) != 5 {
			t.Errorf("of %d events %v are on the first meter", drawn, n)
		}
	}
	c := Config{Target: "http://127.0.0.1:1", Businesses: []Business{{Key: "k"}}, Meters: 8, HotMeterShare: 1}
	if err := c.withDefaults().validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Config{{HotMeterShare: 1.1, Meters: 8}, {HotMeterShare: -0.1, Meters: 8}, {HotMeterShare: 0.5, Meters: 1}} {
		bad.Target, bad.Businesses = c.Target, c.Businesses
		if err := bad.withDefaults().validate(); err == nil {
			t.Errorf("a share of %v on one of %d meters is taken", bad.HotMeterShare, bad.Meters)
		}
	}
}

func TestPatchingARequestAllocatesNothing(t *testing.T) {
	for _, dialect := range []string{Stripe, OTLPLogs} {
		c := Config{Target: "http://127.0.0.1:1", Dialect: dialect, Batch: 100, Meters: 8, Customers: 8, Run: 1}
		q := newRequest(&c, newDraws(c), 1, "token")
		now := time.Now()
		if n := testing.AllocsPerRun(100, func() { now = now.Add(time.Second); q.patch(1234, now) }); n != 0 {
			t.Errorf("%s: %v allocations", dialect, n)
		}
	}
}

// What bounds the generator's own speed beside the socket: 2 M events/s from one core leave 50 µs for a request of 100.
func BenchmarkPatch(b *testing.B) {
	c := Config{Target: "http://127.0.0.1:1", Batch: 100, Meters: 8, Customers: 1000, Run: 1}
	q := newRequest(&c, newDraws(c), 1, "token")
	now := time.Now()
	for i := range b.N {
		b.SetBytes(int64(len(q.patch(uint64(i)*100, now.Add(time.Duration(i)*time.Microsecond)))))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/event")
}
