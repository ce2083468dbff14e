package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/internal/metrics"
	"tollgate/pkg/control"
	"tollgate/pkg/usage"
	"tollgate/test/fakestripe"
)

// modelled says what the model counts.
type modelled struct {
	w     *world
	asked func() // before each answer; nil: nothing
}

func (m modelled) Totals(_ context.Context, q usage.Query) (usage.Totals, error) {
	t := usage.Totals{AsOfMs: m.w.now().UnixMilli()}
	if m.asked != nil {
		m.asked()
	}
	if v, ok := m.totals(q.EventName, q.StartMs, q.EndMs)[q.Customer]; ok {
		t.Windows = []usage.WindowTotal{{StartMs: q.StartMs, EndMs: q.EndMs, Value: fmt.Sprint(v)}}
	}
	return t, nil
}

func (m modelled) Amounts(_ context.Context, q usage.AmountsQuery) (usage.Amounts, error) {
	totals := m.totals(q.EventName, q.StartMs, q.EndMs)
	a := usage.Amounts{AsOfMs: m.w.now().UnixMilli()}
	for _, customer := range slices.SortedFunc(maps.Keys(totals), usage.CompareCustomers) {
		switch {
		case q.After != "" && usage.CompareCustomers(customer, q.After) <= 0:
		case len(a.Customers) == q.Limit:
			a.More = true
			return a, nil
		default:
			a.Customers = append(a.Customers, usage.Amount{Customer: customer, Value: fmt.Sprint(totals[customer])})
		}
	}
	return a, nil
}

func (m modelled) totals(meter string, fromMs, toMs int64) map[string]int64 {
	totals := map[string]int64{}
	for c, v := range m.w.model {
		if c.meter == meter && c.minute*1000 >= fromMs && c.minute*1000 < toMs {
			totals[c.customer] += v
		}
	}
	return totals
}

// tampering changes what Stripe says of customers, or does something before it says it.
type tampering struct {
	http.RoundTripper
	before  func(customer string)
	answers map[string]string // by customer: the body
}

func (p *tampering) RoundTrip(r *http.Request) (*http.Response, error) {
	customer := r.URL.Query().Get("customer")
	if !strings.HasSuffix(r.URL.Path, "/event_summaries") {
		return p.RoundTripper.RoundTrip(r)
	}
	if p.before != nil {
		p.before(customer)
	}
	body, ok := p.answers[customer]
	if !ok {
		return p.RoundTripper.RoundTrip(r)
	}
	status := 200
	if strings.HasPrefix(body, `{"error"`) {
		status = 404
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func summaryOf(value string) string {
	return `{"object":"list","has_more":false,"url":"/","data":[{"id":"x","object":"billing.meter_event_summary","aggregated_value":` + value + `,"start_time":1,"end_time":2,"livemode":false,"meter":"m"}]}`
}

// compared is a small world whose meter is known to a control plane.
func compared(t *testing.T, change func(*Config)) (*world, *tampering) {
	t.Helper()
	w := small(t, nil, "acct_a")
	ctl, err := control.Open(control.Config{Log: w.log, Topic: controlTopic})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ctl.Close(context.Background()) })
	wanted := control.NewMeter{DisplayName: "calls", EventName: "calls", Formula: control.Sum, CustomerKey: "stripe_customer_id", ValueKey: "value"}
	if v, err := ctl.Propose(context.Background(), control.Change{Business: "acct_a", Create: &wanted}); err != nil || v.Refusal != control.NotRefused {
		t.Fatal(v.Refusal, err)
	}
	p := &tampering{RoundTripper: w.fake.Transport(), answers: map[string]string{}}
	w.cfg.Control, w.cfg.Transport, w.cfg.Metrics = ctl, p, metrics.New()
	if change != nil {
		change(&w.cfg)
	}
	return w, p
}

// compare compares the hour about now, and returns the differences in order.
func (w *world) compare(l *life, change func(*Comparison)) (differences []string, done Compared) {
	w.t.Helper()
	at := time.Now().Truncate(time.Hour)
	c := Comparison{Business: "acct_a", From: at.Add(-time.Hour), To: at.Add(time.Hour), Ours: modelled{w: w}, CallsPerSecond: 50}
	c.Differs = func(d Difference) error {
		differences = append(differences, fmt.Sprintf("%s %s of %s %v %s", d.Customer, d.Theirs, d.Ours, d.Explained, d.Drift))
		return nil
	}
	if change != nil {
		change(&c)
	}
	done, err := l.f.Compare(context.Background(), c)
	if err != nil {
		w.t.Error(err)
	}
	slices.Sort(differences)
	if done.Differences != len(differences) {
		w.t.Errorf("%d differences are counted, and there are %v", done.Differences, differences)
	}
	return differences, done
}

func (w *world) scrape() string {
	r := httptest.NewRecorder()
	w.cfg.Metrics.Handler().ServeHTTP(r, httptest.NewRequest("GET", "/metrics", nil))
	return r.Body.String()
}

func TestComparingFindsWhatStripeLacksOrHasTooMuchAndWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := compared(t, nil)
		p.RoundTripper = picky{w.fake.Transport()}
		for n := range 10 {
			w.send("acct_a", fmt.Sprint("id-", n), "same", int64(n))
		}
		w.send("acct_a", "bad", "refused", 5)
		w.send("acct_a", "fine", "refused", 4)
		w.send("acct_a", "lost", "lost", 3)
		w.send("acct_a", "more", "more", 3)
		w.send("acct_a", "stranger", "stranger", 2)
		p.answers["lost"], p.answers["more"], p.answers["theirs"] = summaryOf("1"), summaryOf("4.5"), summaryOf("7")
		p.answers["stranger"] = `{"error":{"type":"invalid_request_error","code":"resource_missing","param":"customer","message":"No such customer"}}`
		l := w.drained()
		got, done := w.compare(l, func(c *Comparison) { c.Customers = []string{"theirs", "nobody", "same"} })
		want := []string{"lost 1 of 3 [] 2", "more 4.5 of 3 [] -1.5", "refused 4 of 9 [{refused: invalid_fields 5}] ", "stranger 0 of 2 [{customer_not_at_stripe 2}] ", "theirs 7 of 0 [] -7"}
		if !slices.Equal(got, want) || done.Drift != 3 || done.Customers != 7 || done.Meters != 1 || done.Waiting != "" {
			t.Errorf("%v\nwant %v; %+v", got, want, done)
		}
		if text := w.scrape(); !strings.Contains(text, `tollgate_forward_drift{business="acct_a",event_name="calls",livemode="false"} 3`) || !strings.Contains(text, "tollgate_forward_compared_timestamp_seconds{") {
			t.Errorf("no metric says it:\n%s", text)
		}
		clear(p.answers)
		if got, _ := w.compare(l, nil); len(got) != 1 {
			t.Errorf("when all is well but a dead letter: %v", got)
		}
		if text := w.scrape(); !strings.Contains(text, `tollgate_forward_drift{business="acct_a",event_name="calls",livemode="false"} 0`) {
			t.Errorf("the metric still says it:\n%s", text)
		}
	})
}

func TestACancelThatStripeRefusedExplainsWhatItHasTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := compared(t, nil)
		w.send("acct_a", "a", "cus_1", 5)
		w.send("acct_a", "b", "cus_1", 7)
		l := w.drained()
		w.fake.Jump(25 * time.Hour) // Stripe takes no cancel any more
		w.cancelOne(0)
		w.drain(l)
		dead := w.dead(l)
		if len(dead) != 1 || dead[0].Kind != kindCancel || !bytes.Contains(dead[0].Payload, []byte("cus_1")) || dead[0].Timestamp == "" {
			t.Errorf("the letters are %+v", dead)
		}
		got, done := w.compare(l, nil)
		if len(got) != 1 || !strings.HasPrefix(got[0], "cus_1 12 of 7 [{adjustment refused") || done.Drift != 0 {
			t.Errorf("%v", got)
		}
	})
}

func TestWhatIsStillOnItsWayIsNoDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := compared(t, nil)
		w.send("acct_a", "a", "cus_1", 5)
		l := w.drained()
		if err := w.fake.Inject(fakestripe.Fault{Kind: fakestripe.Unavailable, Endpoint: fakestripe.Stream}); err != nil {
			t.Fatal(err)
		}
		w.send("acct_a", "b", "cus_1", 7)
		begun := time.Now()
		got, done := w.compare(l, nil)
		if !slices.Equal(got, []string{"cus_1 5 of 12 [{in_flight 7}] "}) || done.Drift != 0 || done.Waiting == "" {
			t.Errorf("%v %+v", got, done)
		}
		if took := time.Since(begun); took > 5*time.Minute {
			t.Errorf("it waited for %v", took)
		}
		w.fake.ClearFaults()
		if got, done := w.compare(l, nil); len(got) > 0 || done.Waiting != "" { // the second look waits for it
			t.Errorf("%v %+v", got, done)
		}
	})
}

// Events keep coming while it compares: between our answer and Stripe's, and with a roll-up that holds them back.
func TestEventsThatComeWhileItComparesAreNoDrift(t *testing.T) {
	for _, rollup := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w, p := compared(t, func(c *Config) { c.Rollup = rollup })
			for n := range 20 {
				w.send("acct_a", fmt.Sprint("id-", n), fmt.Sprint("cus_", n), 1)
			}
			l := w.drained()
			var begun atomic.Bool
			p.before = func(string) {
				if begun.Swap(true) {
					return
				}
				for n := range 20 {
					w.send("acct_a", fmt.Sprint("late-", n), fmt.Sprint("cus_", n), 2)
				}
				time.Sleep(time.Second)
			}
			if got, done := w.compare(l, nil); len(got) > 0 || done.Customers != 20 {
				t.Errorf("%v %+v", got, done)
			}
		})
	}
}

func TestATotalThatKeepsChangingIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := compared(t, nil)
		w.send("acct_a", "a", "cus_1", 5)
		p.answers["cus_1"] = summaryOf("1")
		l := w.drained()
		n := 0
		source := modelled{w, func() { n++; w.send("acct_a", fmt.Sprint("b-", n), "cus_1", 1) }}
		got, done := w.compare(l, func(c *Comparison) { c.Ours = source })
		if len(got) != 1 || !strings.Contains(got[0], "{late ") || done.Drift != 0 {
			t.Errorf("%v", got)
		}
	})
}

// A total that changed once while both were asked is asked for again: behind the change there may be drift.
func TestDriftIsFoundBehindATotalThatChangesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := compared(t, nil)
		w.send("acct_a", "a", "cus_1", 5)
		p.answers["cus_1"] = summaryOf("1")
		l := w.drained()
		n := 0
		source := modelled{w, func() {
			if n++; n == 1 {
				w.send("acct_a", "b", "cus_1", 2)
			}
		}}
		if got, _ := w.compare(l, func(c *Comparison) { c.Ours = source }); !slices.Equal(got, []string{"cus_1 1 of 7 [] 6"}) {
			t.Errorf("%v", got)
		}
	})
}

// A worker that is behind what Stripe was asked about may lack an event that is there.
func TestATotalThatMayLackEventsIsNoDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := compared(t, nil)
		w.send("acct_a", "a", "cus_1", 5)
		p.answers["cus_1"] = summaryOf("6")
		l := w.drained()
		got, _ := w.compare(l, func(c *Comparison) { c.Ours = outdated{modelled{w: w}} })
		if !slices.Equal(got, []string{"cus_1 6 of 5 [{late -1}] "}) {
			t.Errorf("%v", got)
		}
	})
}

// outdated is as of a minute ago.
type outdated struct{ modelled }

func (b outdated) Totals(ctx context.Context, q usage.Query) (usage.Totals, error) {
	t, err := b.modelled.Totals(ctx, q)
	t.AsOfMs -= 60_000
	return t, err
}

func TestADeadLetterExplainsItsValueOnceAndNotWhenItWasSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := compared(t, nil)
		w.send("acct_a", "bad", "cus_1", 5)
		w.send("acct_a", "fine", "cus_1", 4)
		p.RoundTripper = picky{w.fake.Transport()}
		p.answers["cus_1"] = summaryOf("1")
		l := w.drained()
		if got, _ := w.compare(l, nil); !slices.Equal(got, []string{"cus_1 1 of 9 [{refused: invalid_fields 5}] 3"}) {
			t.Errorf("%v", got)
		}
		p.RoundTripper = w.fake.Transport()
		if settled, _, err := l.f.Retry(context.Background(), "acct_a", w.dead(l)[0].ID()); settled != 1 || err != nil {
			t.Error(settled, err)
		}
		p.answers["cus_1"] = summaryOf("4")
		if got, _ := w.compare(l, nil); !slices.Equal(got, []string{"cus_1 4 of 9 [] 5"}) {
			t.Errorf("%v", got)
		}
	})
}

func TestSummariesThatFollowWithADelayAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := compared(t, nil)
		w.fake = fakestripe.New(fakestripe.Config{Keys: map[string]string{"sk_test_acct_a": "acct_a"}, SettleAfter: 20 * time.Second})
		if _, err := w.fake.CreateMeter(fakestripe.Account{Business: "acct_a"}, fakestripe.Meter{EventName: "calls"}); err != nil {
			t.Fatal(err)
		}
		p.RoundTripper = w.fake.Transport()
		w.send("acct_a", "a", "cus_1", 5)
		l := w.drained()
		if got, _ := w.compare(l, nil); len(got) > 0 {
			t.Errorf("%v", got)
		}
	})
}

func TestManyCustomersAreAskedAboutOnceAtThePaceThatStripeAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := compared(t, nil)
		const customers = 2*pageCustomers + 50
		for n := range customers {
			w.send("acct_a", fmt.Sprint("id-", n), fmt.Sprint("cus_", n), 1)
		}
		l := w.drained()
		asked := func() (n int) {
			for _, r := range w.fake.Requests() {
				if r.Status == 200 && strings.HasSuffix(r.Path, "/event_summaries") {
					n++
				}
			}
			return n
		}
		begun := time.Now()
		var progress []int
		if got, done := w.compare(l, func(c *Comparison) { c.Progress = func(d Compared) { progress = append(progress, d.Customers) } }); len(got) > 0 || done.Customers != customers || asked() != customers {
			t.Errorf("%v, %+v, %d asked", got, done, asked())
		}
		if took := time.Since(begun); took < customers/50*time.Second || took > 15*time.Second {
			t.Errorf("at 50 a second it took %v", took)
		}
		if !slices.Equal(progress, []int{pageCustomers, 2 * pageCustomers, customers}) {
			t.Errorf("progress: %v", progress)
		}
		w.fake.SetLimits(fakestripe.Limits{Calls: 10})
		got, _ := w.compare(l, nil)
		if limited := w.fake.State(fakestripe.Account{Business: "acct_a"}).RateLimited; len(got) > 0 || asked() != 2*customers || limited == 0 || limited > customers/2 {
			t.Errorf("%v, %d asked, %d times it was too fast", got, asked(), limited)
		}
	})
}

func TestAMeterThatStripeHasNotOrOtherwiseIsSaidToBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := compared(t, nil)
		ctl := w.cfg.Control.(*control.Control)
		for _, name := range []string{"hits", "seats"} {
			wanted := control.NewMeter{DisplayName: name, EventName: name, Formula: control.Count, CustomerKey: "stripe_customer_id", ValueKey: "value"}
			if _, err := ctl.Propose(context.Background(), control.Change{Business: "acct_a", Create: &wanted}); err != nil {
				t.Fatal(err)
			}
			at := time.Now().UnixMilli()
			w.model[cell{"acct_a", name, "cus_1", floorTo(at, 60_000) / 1000}] = 1
		}
		if _, err := w.fake.CreateMeter(fakestripe.Account{Business: "acct_a"}, fakestripe.Meter{EventName: "seats", Formula: "sum"}); err != nil {
			t.Fatal(err)
		}
		l := w.live("g")
		var got []Difference
		if _, done := w.compare(l, func(c *Comparison) {
			add := c.Differs
			c.Differs = func(d Difference) error { got = append(got, d); return add(d) }
		}); done.Meters != 3 || done.Drift != 0 {
			t.Errorf("%+v", done)
		}
		text := fmt.Sprint(got)
		if len(got) != 2 || !strings.Contains(text, reasonNoMeter) || !strings.Contains(text, "meters_differ: the formula is count here and sum at Stripe") {
			t.Errorf("%s", text)
		}
		if got, done := w.compare(l, func(c *Comparison) { c.Meters = []string{"calls"} }); len(got) > 0 || done.Meters != 1 {
			t.Errorf("%v %+v", got, done)
		}
		l.kill()
	})
}

func TestACountThatIsRolledUpIsComparedWithASum(t *testing.T) {
	for formula, want := range map[string]string{"sum": "", "count": "it has to be a sum there"} {
		synctest.Test(t, func(t *testing.T) {
			w, _ := compared(t, func(c *Config) { c.Rollup = time.Minute })
			wanted := control.NewMeter{DisplayName: "hits", EventName: "hits", Formula: control.Count, CustomerKey: "stripe_customer_id", ValueKey: "value"}
			if _, err := w.cfg.Control.Propose(context.Background(), control.Change{Business: "acct_a", Create: &wanted}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.fake.CreateMeter(fakestripe.Account{Business: "acct_a"}, fakestripe.Meter{EventName: "hits", Formula: formula}); err != nil {
				t.Fatal(err)
			}
			for n := range 10 {
				e := sent{business: "acct_a", meter: simMeters["hits"], customer: "cus_1", identifier: fmt.Sprint("id-", n), value: 7, atMs: time.Now().UnixMilli()}
				w.event(&e, false)
			}
			l := w.drained()
			got, done := w.compare(l, nil)
			if done.Meters != 2 || done.Drift != 0 || (want == "") != (len(got) == 0) || !strings.Contains(fmt.Sprint(got), want) {
				t.Errorf("%s: %v %+v", formula, got, done)
			}
		})
	}
}

func TestAComparisonThatCanNotBeMadeSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := compared(t, func(c *Config) {
			b := c.Businesses["acct_a"]
			b.Since = time.Now().Truncate(time.Hour).Add(-2 * time.Hour)
			c.Businesses["acct_a"] = b
		})
		w.send("acct_a", "a", "cus_1", 5)
		l := w.drained()
		at := time.Now().Truncate(time.Hour)
		compare := func(change func(*Comparison)) error {
			c := Comparison{Business: "acct_a", From: at.Add(-time.Hour), To: at.Add(time.Hour), Ours: modelled{w: w}, Differs: func(Difference) error { return nil }}
			change(&c)
			_, err := l.f.Compare(context.Background(), c)
			return err
		}
		for want, change := range map[string]func(*Comparison){
			"acct_b is not forwarded":     func(c *Comparison) { c.Business = "acct_b" },
			"no range of whole minutes":   func(c *Comparison) { c.From = c.From.Add(time.Second) },
			"no range of whole minutes; ": func(c *Comparison) { c.To = c.From },
			"compare from then on":        func(c *Comparison) { c.From = c.From.Add(-2 * time.Hour) },
			"there is no meter nothing":   func(c *Comparison) { c.Meters = []string{"calls", "nothing"} },
			"customers are named":         func(c *Comparison) { c.Customers = make([]string, namedMax+1) },
			"no longer wanted": func(c *Comparison) {
				c.Customers = []string{"theirs"}
				c.Differs = func(Difference) error { return errors.New("no longer wanted") }
			},
		} {
			p.answers["theirs"] = summaryOf("1")
			if err := compare(change); err == nil || !strings.Contains(err.Error(), strings.TrimRight(want, "; ")) {
				t.Errorf("%v, want one that says %q", err, want)
			}
		}
		// Two at once.
		p.before = func(string) {
			p.before = nil
			if err := compare(func(*Comparison) {}); err == nil || !strings.Contains(err.Error(), "being compared already") {
				t.Errorf("a second one at once: %v", err)
			}
		}
		if err := compare(func(*Comparison) {}); err != nil {
			t.Error(err)
		}
		// A key that may not read.
		p.before = nil
		p.answers["cus_1"] = `{"error":{"type":"invalid_request_error","code":"more_permissions_required","message":"No."}}`
		if err := compare(func(*Comparison) {}); err == nil || !strings.Contains(err.Error(), "asking Stripe about cus_1") {
			t.Errorf("%v", err)
		}
	})
}
