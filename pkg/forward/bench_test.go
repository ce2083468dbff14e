package forward

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// taking is a Stripe that costs nothing but the reading.
type taking struct{ events atomic.Int64 }

func (s *taking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(r.URL.Path, "session") {
		now := time.Now().UTC()
		fmt.Fprintf(w, `{"id":"s","object":"v2.billing.meter_event_session","authentication_token":"t","created":%q,"expires_at":%q,"livemode":false}`, now.Format(timeForm), now.Add(15*time.Minute).Format(timeForm))
		return
	}
	s.events.Add(int64(strings.Count(string(body), `"event_name":`)))
	io.WriteString(w, "{}")
}

// inside answers without a socket.
type inside struct{ http.Handler }

func (i inside) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	i.ServeHTTP(rec, r)
	return rec.Result(), nil
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkForward brings events from the log to a Stripe in the same process, whose cost is in the figure: with
// sockets both ends, without them the reading of the body. CPU is of the whole process.
func BenchmarkForward(b *testing.B) {
	for _, c := range []struct {
		name    string
		sockets bool
		rollup  time.Duration
	}{{"inside", false, 0}, {"loopback", true, 0}, {"rolled-up", true, time.Second}} {
		b.Run(c.name, func(b *testing.B) {
			stripe := new(taking)
			w := &world{log: newMemLog(1), folds: []*fold{{}}, model: map[cell]int64{}}
			w.log.chunk = func() int { return 1000 }
			own := Business{StripeKey: "sk_test_1", APIBase: "http://stripe.test", MeterEventsBase: "http://stripe.test", EventsPerSecond: 1 << 30}
			w.cfg = Config{Log: w.log, UsageTopic: usageTopic, CursorsTopic: cursorsTopic, DeadTopic: deadTopic, Rollup: c.rollup, Transport: inside{stripe}}
			if c.sockets {
				server := httptest.NewServer(stripe)
				defer server.Close()
				own.APIBase, own.MeterEventsBase = server.URL, server.URL
				w.cfg.Transport = &http.Transport{MaxIdleConnsPerHost: 16}
			}
			w.cfg.Businesses = map[string]Business{"acct_1": own}
			for n := range b.N {
				e := sent{business: "acct_1", meter: simMeters["calls"], customer: fmt.Sprint("cus_", n%100), identifier: fmt.Sprintf("identifier-%09d", n), value: 25, atMs: time.Now().UnixMilli()}
				w.event(&e, false)
			}
			cfg := w.cfg
			f, err := Open(cfg)
			if err != nil {
				b.Fatal(err)
			}
			before := cpu()
			b.ResetTimer()
			ctx := b.Context()
			var wait sync.WaitGroup
			wait.Go(func() { f.run(ctx, 0, func() View { return &simView{w: w} }) })
			for f.counts.events.Value()+f.counts.rolled.Value() < uint64(b.N) {
				time.Sleep(20 * time.Millisecond)
			}
			b.StopTimer()
			b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/event")
			f.cancel()
			wait.Wait()
		})
	}
}
