package forward

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/pkg/recordbatch"
	"tollgate/pkg/thinevent"
	"tollgate/pkg/usage"
	"tollgate/test/fakestripe"
)

// small is a world without dice: businesses with a meter each, one partition.
func small(t *testing.T, change func(*Config), businesses ...string) *world {
	keys, forwarded := map[string]string{}, map[string]Business{}
	for _, b := range businesses {
		keys["sk_test_"+b] = b
		forwarded[b] = Business{StripeKey: "sk_test_" + b, APIBase: "http://stripe.test", MeterEventsBase: "http://events.test"}
	}
	w := &world{t: t, log: newMemLog(1), fake: fakestripe.New(fakestripe.Config{Keys: keys}), model: map[cell]int64{}, folds: []*fold{{}}}
	for _, b := range businesses {
		if _, err := w.fake.CreateMeter(fakestripe.Account{Business: b}, fakestripe.Meter{EventName: "calls"}); err != nil {
			t.Fatal(err)
		}
	}
	w.cfg = Config{
		Log: w.log, UsageTopic: usageTopic, CursorsTopic: cursorsTopic, DeadTopic: deadTopic, Businesses: forwarded,
		Transport: w.fake.Transport(), Now: w.now,
	}
	if change != nil {
		change(&w.cfg)
	}
	return w
}

func (w *world) send(business, identifier, customer string, value int64) {
	e := sent{business: business, meter: simMeters["calls"], customer: customer, identifier: identifier, value: value, atMs: time.Now().UnixMilli()}
	w.event(&e, false)
}

func (w *world) total(business string) int64 {
	sum := int64(0)
	for _, total := range w.fake.Totals(fakestripe.Account{Business: business}) {
		var v int64
		if _, err := fmt.Sscan(total.Value, &v); err != nil {
			w.t.Error(err)
		}
		sum += v
	}
	return sum
}

func (w *world) drain(l *life) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Hour)
	defer cancel()
	if err := l.f.Drain(ctx, w.now(), nil); err != nil {
		w.t.Error(err)
	}
}

// drained is a life that has sent what there was, and ends with the test.
func (w *world) drained() *life {
	w.t.Helper()
	l := w.live("g")
	w.t.Cleanup(l.kill)
	w.drain(l)
	return l
}

func (w *world) dead(l *life) []Dead {
	w.t.Helper()
	list, err := l.f.DeadList(context.Background(), "")
	if err != nil {
		w.t.Error(err)
	}
	return list
}

// picky is a Stripe that refuses a request for one of its events.
type picky struct{ http.RoundTripper }

func (p picky) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if strings.Contains(string(body), `"identifier":"bad"`) {
		return &http.Response{StatusCode: 400, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"error":{"type":"invalid_request_error","code":"invalid_fields","message":"No."}}`))}, nil
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	return p.RoundTripper.RoundTrip(r)
}

func TestOneBadEventOfAHundredIsFoundAndTheOthersArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := small(t, nil, "acct_a")
		for n := range 99 {
			w.send("acct_a", fmt.Sprint("id-", n), "cus_1", 1)
		}
		w.send("acct_a", "bad", "cus_1", 1)
		w.cfg.Transport = picky{w.fake.Transport()}
		l := w.live("g")
		w.drain(l)
		dead := w.dead(l)
		if w.total("acct_a") != 99 || len(dead) != 1 || dead[0].Identifier != "bad" || dead[0].Reason != reasonRefused || dead[0].Answer == nil || dead[0].Answer.Status != 400 {
			t.Errorf("%d arrived, dead are %+v", w.total("acct_a"), dead)
		}
		if len(dead) == 0 {
			t.FailNow()
		}
		if settled, left, err := l.f.Retry(context.Background(), "acct_a", dead[0].ID()); settled != 0 || len(left) != 1 || err != nil {
			t.Errorf("%d %v %v", settled, left, err)
		}
		l.kill()
	})
}

func TestWhatStripeMayHaveForgottenIsSetAsideAndNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := small(t, nil, "acct_a")
		w.send("acct_a", "applied", "cus_1", 5)
		if err := w.fake.Inject(fakestripe.Fault{Kind: fakestripe.ErrorAfter, Endpoint: fakestripe.Stream}); err != nil {
			t.Fatal(err)
		}
		l := w.live("g")
		time.Sleep(12 * time.Hour)
		l.kill() // the next life knows from the cursor when it was first tried
		l = w.live("h")
		time.Sleep(13 * time.Hour)
		w.fake.ClearFaults()
		w.drain(l)
		dead := w.dead(l)
		if w.total("acct_a") != 5 || len(dead) != 1 || dead[0].Reason != reasonUnknown {
			t.Errorf("%d arrived, dead are %+v", w.total("acct_a"), dead)
		}
		if st := w.fake.State(fakestripe.Account{Business: "acct_a"}); st.Twice != 0 {
			t.Errorf("counted twice: %v", st.TwiceOf)
		}
		l.kill()
	})
}

func TestWhatSurelyDidNotArriveIsSentAfterDaysToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := small(t, nil, "acct_a")
		w.send("acct_a", "a", "cus_1", 5)
		if err := w.fake.Inject(fakestripe.Fault{Kind: fakestripe.RateLimited, Endpoint: fakestripe.Stream}); err != nil {
			t.Fatal(err)
		}
		l := w.live("g")
		time.Sleep(50 * time.Hour)
		w.fake.ClearFaults()
		w.drain(l)
		if dead := w.dead(l); w.total("acct_a") != 5 || len(dead) != 0 {
			t.Errorf("%d arrived, dead are %+v", w.total("acct_a"), dead)
		}
		l.kill()
	})
}

type someEvents struct{ got []*thinevent.Event }

func (e *someEvents) Append(_ context.Context, events ...*thinevent.Event) error {
	e.got = append(e.got, events...)
	return nil
}

func TestTheAlarmIsRaisedBeforeItIsTooLateAndEventsThatAreTooOldAreSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events someEvents
		w := small(t, func(c *Config) { c.Events = &events }, "acct_a")
		w.send("acct_a", "a", "cus_1", 5)
		if err := w.fake.Inject(fakestripe.Fault{Kind: fakestripe.BadKey}); err != nil {
			t.Fatal(err)
		}
		l := w.live("g")
		time.Sleep(19 * time.Hour)
		if len(events.got) != 0 {
			t.Errorf("the alarm came after 19 hours")
		}
		time.Sleep(2 * time.Hour)
		if n := len(events.got); n < 1 || n > 3 || events.got[0].Type != thinevent.TypeAtRisk || events.got[0].Business != "acct_a" {
			t.Errorf("%d alarms", n)
		}
		if st := l.f.State(); st[0].Unsent != 1 || st[0].Trouble == "" || time.Since(st[0].OldestReceived) < 20*time.Hour {
			t.Errorf("%+v", st)
		}
		time.Sleep(35 * 24 * time.Hour)
		w.fake.ClearFaults()
		w.drain(l)
		if dead := w.dead(l); len(dead) != 1 || dead[0].Reason != reasonTooOld || w.total("acct_a") != 0 {
			t.Errorf("%+v", dead)
		}
		l.kill()
	})
}

func TestABusinessThatHangsOrIsRefusedDelaysNoOther(t *testing.T) {
	for _, kind := range []fakestripe.Kind{fakestripe.HangBefore, fakestripe.RateLimited} {
		t.Run(string(kind), func(t *testing.T) { besideOneThatIsNotServed(t, kind) })
	}
}

func besideOneThatIsNotServed(t *testing.T, kind fakestripe.Kind) {
	synctest.Test(t, func(t *testing.T) {
		var businesses []string
		for n := range 100 {
			businesses = append(businesses, fmt.Sprint("acct_", n))
		}
		w := small(t, func(c *Config) { c.QueueEvents = 50 }, businesses...)
		if err := w.fake.Inject(fakestripe.Fault{Kind: kind, Business: "acct_0"}); err != nil {
			t.Fatal(err)
		}
		l := w.live("g")
		time.Sleep(10 * time.Second)
		for n := range 200 {
			for i, b := range businesses {
				w.send(b, fmt.Sprint("id-", n, "-", i), "cus_1", 1)
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		for _, b := range businesses[1:] {
			if got := w.total(b); got != 200 {
				t.Errorf("%s: %d of 200 arrived", b, got)
			}
		}
		if got := w.total("acct_0"); got != 0 {
			t.Errorf("acct_0: %d arrived of what is not taken", got)
		}
		w.fake.ClearFaults()
		w.fake.Release()
		w.drain(l)
		if got := w.total("acct_0"); got != 200 {
			t.Errorf("acct_0: %d of 200 arrived in the end", got)
		}
		l.kill()
	})
}

func TestABusinessStaysBelowItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := small(t, func(c *Config) {
			b := c.Businesses["acct_a"]
			b.EventsPerSecond = 1000
			c.Businesses["acct_a"] = b
		}, "acct_a")
		w.fake.SetLimits(fakestripe.Limits{SessionEvents: 1000})
		for n := range 10_000 {
			w.send("acct_a", fmt.Sprint("id-", n), "cus_1", 1)
		}
		begun := time.Now()
		l := w.live("g")
		for w.total("acct_a") < 10_000 {
			time.Sleep(100 * time.Millisecond)
		}
		st := w.fake.State(fakestripe.Account{Business: "acct_a"})
		if took := time.Since(begun); st.RateLimited > 0 || st.SessionRateMax > 1000 || took > 13*time.Second {
			t.Errorf("it took %v; %d a second at most, refused %d times", took, st.SessionRateMax, st.RateLimited)
		}
		l.kill()
	})
}

func TestABusinessKeepsItsPaceHoweverLongStripeTakesToAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := small(t, nil, "acct_a")
		w.fake = fakestripe.New(fakestripe.Config{Keys: map[string]string{"sk_test_acct_a": "acct_a"}, Latency: 200 * time.Millisecond})
		if _, err := w.fake.CreateMeter(fakestripe.Account{Business: "acct_a"}, fakestripe.Meter{EventName: "calls"}); err != nil {
			t.Fatal(err)
		}
		w.cfg.Transport = w.fake.Transport()
		const events = 50_000
		for n := range events {
			w.send("acct_a", fmt.Sprint("id-", n), "cus_1", 1)
		}
		begun := time.Now()
		l := w.live("g")
		for w.total("acct_a") < events {
			time.Sleep(100 * time.Millisecond)
		}
		st := w.fake.State(fakestripe.Account{Business: "acct_a"})
		if took := time.Since(begun); st.RateLimited > 0 || st.SessionRateMax > 10_000 || took > events*time.Second/9500+time.Second {
			t.Errorf("it took %v; %d a second at most, refused %d times", took, st.SessionRateMax, st.RateLimited)
		}
		l.kill()
	})
}

// A range is on its way, behind it comes an event whose cancel is known, then another range with that cancel.
func TestWhatIsLeftOutBetweenTwoRangesOnTheirWayStaysLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := small(t, nil, "acct_a")
		if err := w.fake.Inject(fakestripe.Fault{Kind: fakestripe.HangBefore, Endpoint: fakestripe.Stream}); err != nil {
			t.Fatal(err)
		}
		l := w.live("g")
		time.Sleep(10 * time.Second)
		w.send("acct_a", "a", "cus_1", 1)
		time.Sleep(time.Second)
		b := sent{offset: 1, business: "acct_a", meter: simMeters["calls"], customer: "cus_1", identifier: "b", value: 10, atMs: time.Now().UnixMilli()}
		w.append(0, b.record(), usage.Ruling{Kind: usage.RulingCounted, Other: 3}) // the fold is further than the forwarder
		w.events = append(w.events, b)
		time.Sleep(time.Second)
		w.send("acct_a", "c", "cus_1", 100)
		w.cancelOne(1)
		time.Sleep(time.Second)
		l.kill()
		w.fake.ClearFaults()
		w.fake.Release()
		l = w.live("h")
		w.drain(l)
		if got := w.total("acct_a"); got != 101 {
			t.Errorf("%d arrived", got)
		}
		l.kill()
	})
}

func TestRequestsHaveConnectionsOfTheirOwnWhichAreKept(t *testing.T) {
	const requests = 20
	var conns, others atomic.Int64
	came, answer := make(chan struct{}), make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			others.Add(1)
		}
		came <- struct{}{}
		<-answer
	}))
	server.EnableHTTP2, server.Config.ErrorLog = true, log.New(io.Discard, "", 0) // a connection may be given up before it is used
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	cfg := Config{Businesses: map[string]Business{"acct_a": {StripeKey: "sk_test_1"}}}.withDefaults()
	transport := cfg.Transport.(*http.Transport)
	defer transport.CloseIdleConnections()
	transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	s := newSender(&cfg, newCounts(nil), "acct_a", cfg.Businesses["acct_a"])
	first := int64(0)
	for round := range 3 {
		if round == 1 {
			first = conns.Load()
		}
		var wait sync.WaitGroup
		for range requests {
			wait.Go(func() {
				if a := s.post(t.Context(), server.URL, "application/json", "t", []byte("{}"), ""); a.err != nil || a.status != 200 {
					t.Errorf("%+v", a)
				}
			})
		}
		for range requests { // none is answered before all have come
			<-came
		}
		for range requests {
			answer <- struct{}{}
		}
		wait.Wait()
	}
	if more := conns.Load() - first; more > requests/2 || others.Load() > 0 {
		t.Errorf("%d connections were made for %d requests at once, then %d more; %d requests by another version of HTTP", first, requests, more, others.Load())
	}
}

func TestTheAlarmIsRaisedForALaneThatCanNotBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &someEvents{}
		w := small(t, func(c *Config) { c.Events = events }, "acct_a")
		c := &cursor{Object: cursorObject, Business: "acct_a", Partition: 0, Seq: 1, Writer: "w", Next: 1000, End: 1000, Gateway: "g", At: time.Now().UTC().Format(timeForm)}
		w.log.add(cursorsTopic, 0, recordbatch.Record{Key: []byte(c.key()), Value: c.encode()}) // of another log
		l := w.live("g")
		time.Sleep(19 * time.Hour)
		if len(events.got) > 0 {
			t.Errorf("after 19 hours: %v", events.got)
		}
		time.Sleep(2 * time.Hour)
		if len(events.got) == 0 || events.got[0].Type != thinevent.TypeAtRisk {
			t.Errorf("after 21 hours: %v", events.got)
		}
		l.kill()
	})
}
