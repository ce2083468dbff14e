package metrics

import (
	"fmt"
	"io"
	"math"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"tollgate/internal/invariants"
)

// scrape returns what the registry exports, as a Prometheus server would parse it.
func scrape(t *testing.T, r *Registry) map[string]*dto.MetricFamily {
	t.Helper()
	return parse(t, strings.NewReader(exported(r)))
}

// exported is the answer to a scrape.
func exported(r *Registry) string {
	answer := httptest.NewRecorder()
	r.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	return answer.Body.String()
}

func parse(t *testing.T, text io.Reader) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(text)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// values is a family's counters and gauges by the values of their labels.
func values(f *dto.MetricFamily) map[string]float64 {
	got := make(map[string]float64)
	for _, m := range f.GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetName()+"="+l.GetValue())
		}
		got[strings.Join(labels, ",")] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return got
}

func TestEveryKindOfMetricIsExportedAsPrometheusReadsIt(t *testing.T) {
	r := New()
	r.Counter("tollgate_refused_total", "Refused.", "reason", "ring_full").Add(3)
	r.Counter("tollgate_refused_total", "Refused.", "reason", "limit").Add(4)
	g := r.Gauge("tollgate_open_requests", "Open.")
	g.Set(10)
	g.Add(-3)
	r.GaugeFunc("tollgate_ring_fill", "Fill.", func() float64 { return 0.25 }, "ring", "0")
	r.LabelSet("tollgate_business_events_total", "Events.", "business", 10).With("acct_demo").Add(100)

	families := scrape(t, r)
	for name, want := range map[string]struct {
		kind   dto.MetricType
		values map[string]float64
	}{
		"tollgate_refused_total":         {dto.MetricType_COUNTER, map[string]float64{"reason=ring_full": 3, "reason=limit": 4}},
		"tollgate_open_requests":         {dto.MetricType_GAUGE, map[string]float64{"": 7}},
		"tollgate_ring_fill":             {dto.MetricType_GAUGE, map[string]float64{"ring=0": 0.25}},
		"tollgate_business_events_total": {dto.MetricType_COUNTER, map[string]float64{"business=acct_demo": 100}},
	} {
		f := families[name]
		if f == nil {
			t.Errorf("%s is not exported", name)
			continue
		}
		if f.GetType() != want.kind || fmt.Sprint(values(f)) != fmt.Sprint(want.values) {
			t.Errorf("%s is a %v with %v, want a %v with %v", name, f.GetType(), values(f), want.kind, want.values)
		}
	}
	for _, name := range []string{"go_goroutines", "process_open_fds"} {
		if families[name] == nil {
			t.Errorf("%s is not exported: the runtime's and the process's own metrics belong to a scrape", name)
		}
	}
}

func TestALatencyHistogramIsObservedInNanosecondsAndExportedInSeconds(t *testing.T) {
	r := New()
	h := r.Histogram("tollgate_ack_seconds", "Acks.", Latency)
	for _, ns := range []int64{-1, 50_000, 50_001, 1_000_000, 20e9} {
		h.Observe(ns)
	}
	if h.Count() != 5 {
		t.Fatalf("Count() = %d, want 5", h.Count())
	}
	got := scrape(t, r)["tollgate_ack_seconds"].GetMetric()[0].GetHistogram()
	if got.GetSampleCount() != 5 || math.Abs(got.GetSampleSum()-20.001100001) > 1e-9 {
		t.Errorf("count %d and sum %v, want 5 and 20.001100001", got.GetSampleCount(), got.GetSampleSum())
	}
	for _, b := range got.GetBucket() {
		want := map[float64]uint64{5e-05: 2, 0.0001: 3, 0.001: 4, 10: 4, math.Inf(1): 5}
		if n, ok := want[b.GetUpperBound()]; ok && b.GetCumulativeCount() != n {
			t.Errorf("%d observations at or below %v s, want %d", b.GetCumulativeCount(), b.GetUpperBound(), n)
		}
	}
}

func TestTheBoundsOfBucketsAreExportedAsRoundNumbers(t *testing.T) {
	r := New()
	r.Histogram("tollgate_ack_seconds", "Acks.", Latency)
	text := exported(r)
	for _, le := range []string{`le="5e-05"`, `le="0.0001"`, `le="0.0002"`, `le="0.002"`, `le="0.05"`, `le="0.5"`, `le="10"`} {
		if !strings.Contains(text, le) {
			t.Errorf("no bucket %s is exported", le)
		}
	}
}

func TestBucketsFitTheirCellsAndAscend(t *testing.T) {
	for name, b := range map[string]Buckets{"Latency": Latency, "Bytes": Bytes, "Counts": Counts} {
		if len(b.bounds) > bucketsMax {
			t.Errorf("%s has %d bounds, at most %d fit a cell", name, len(b.bounds), bucketsMax)
		}
		for i := 1; i < len(b.bounds); i++ {
			if b.bounds[i] <= b.bounds[i-1] {
				t.Errorf("%s: bound %d, %d, is not above the one before it", name, i, b.bounds[i])
			}
		}
	}
}

func TestALabelSetCountsNamesAboveItsCapAsOther(t *testing.T) {
	r := New()
	s := r.LabelSet("tollgate_business_events_total", "Events.", "business", 3)
	for i := range 1000 {
		s.With(fmt.Sprintf("acct_%d", i)).Add(1)
	}
	s.With("acct_1").Add(1)
	s.With("other").Add(1)
	want := map[string]float64{"business=acct_0": 1, "business=acct_1": 2, "business=acct_2": 1, "business=other": 998}
	if got := values(scrape(t, r)["tollgate_business_events_total"]); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("exported %v, want %v", got, want)
	}
}

func TestANameThatIsNotUTF8DoesNotSpoilTheScrape(t *testing.T) {
	r := New()
	s := r.LabelSet("tollgate_business_events_total", "Events.", "business", 3)
	s.With("a\xff").Add(1)
	s.With("a\xfe").Add(2)
	want := map[string]float64{"business=a�": 3}
	if got := values(scrape(t, r)["tollgate_business_events_total"]); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("exported %v, want %v", got, want)
	}
}

func TestAskingAgainReturnsTheSameMetric(t *testing.T) {
	r := New()
	c, h := r.Counter("tollgate_a_total", "A.", "k", "v"), r.Histogram("tollgate_b_seconds", "B.", Latency)
	if again := r.Counter("tollgate_a_total", "A.", "k", "v"); again != c {
		t.Error("two counters for one name and labels")
	}
	if again := r.Histogram("tollgate_b_seconds", "B.", Latency); again != h {
		t.Error("two histograms for one name")
	}
	r.GaugeFunc("tollgate_c", "C.", func() float64 { return 1 })
	r.GaugeFunc("tollgate_c", "C.", func() float64 { return 2 })
	if got := values(scrape(t, r)["tollgate_c"]); got[""] != 2 {
		t.Errorf("the gauge function given first is still asked: %v", got)
	}
}

func TestAMistakenDeclarationPanicsAtOnce(t *testing.T) {
	f := func(what string, declare func(r *Registry)) {
		t.Helper()
		r := New()
		r.Counter("tollgate_a_total", "A.")
		r.LabelSet("tollgate_l_total", "L.", "business", 1)
		defer func() {
			if got := recover(); got == nil || !strings.HasPrefix(fmt.Sprint(got), "BUG: ") {
				t.Errorf("%s: panic %v, want one with BUG", what, got)
			}
		}()
		declare(r)
	}
	f("a strange name", func(r *Registry) { r.Counter("requests_total", "R.") })
	f("an odd number of labels", func(r *Registry) { r.Counter("tollgate_b_total", "B.", "reason") })
	f("another kind", func(r *Registry) { r.Gauge("tollgate_a_total", "A.") })
	f("another help", func(r *Registry) { r.Counter("tollgate_a_total", "B.", "k", "v") })
	f("another label", func(r *Registry) { r.LabelSet("tollgate_l_total", "L.", "meter", 1) })
	f("no buckets", func(r *Registry) { r.Histogram("tollgate_h", "H.", Buckets{}) })
}

func TestANilRegistryHandsOutMetricsThatWork(t *testing.T) {
	var r *Registry
	c := r.Counter("tollgate_a_total", "A.", "k", "v")
	c.Add(2)
	h := r.Histogram("tollgate_b_seconds", "B.", Latency)
	h.Observe(1)
	s := r.LabelSet("tollgate_c_total", "C.", "k", 1)
	s.With("x").Add(1)
	g := r.Gauge("tollgate_d", "D.")
	g.Set(5)
	r.GaugeFunc("tollgate_e", "E.", func() float64 { return 0 })
	if c.Value() != 2 || h.Count() != 1 || s.With("x").Value() != 1 || g.Value() != 5 {
		t.Errorf("counted %d, %d, %d, %d; want 2, 1, 1, 5", c.Value(), h.Count(), s.With("x").Value(), g.Value())
	}
	if families := scrape(t, r); len(families) != 0 {
		t.Errorf("a nil registry exports %v", families)
	}
}

func TestTheHandlerAnswersAScrape(t *testing.T) {
	r := New()
	r.Counter("tollgate_a_total", "A.").Add(1)
	answer := httptest.NewRecorder()
	r.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if answer.Code != 200 || parse(t, answer.Body)["tollgate_a_total"] == nil {
		t.Fatalf("status %d, body %s", answer.Code, answer.Body)
	}
}

// Many goroutines count while another scrapes: nothing is lost, and no scrape ever sees a counter go back.
func TestNothingIsLostWhenManyCountWhileOthersScrape(t *testing.T) {
	const goroutines, each = 16, 2_000
	r := New()
	c := r.Counter("tollgate_a_total", "A.")
	h := r.Histogram("tollgate_b_seconds", "B.", Latency)
	s := r.LabelSet("tollgate_c_total", "C.", "business", 4)

	var writers sync.WaitGroup
	for g := range goroutines {
		writers.Go(func() {
			name := fmt.Sprintf("acct_%d", g%8)
			for i := range each {
				c.Add(1)
				h.Observe(int64(i) * 1e5)
				s.With(name).Add(1)
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for last, running := uint64(0), true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		now := c.Value()
		if now < last {
			t.Fatalf("the counter went from %d to %d", last, now)
		}
		last = now
		scrape(t, r)
	}

	families := scrape(t, r)
	if got := c.Value(); got != goroutines*each {
		t.Errorf("the counter holds %d, want %d", got, goroutines*each)
	}
	if got := families["tollgate_b_seconds"].GetMetric()[0].GetHistogram().GetSampleCount(); got != goroutines*each {
		t.Errorf("the histogram holds %d, want %d", got, goroutines*each)
	}
	var sum float64
	for _, n := range values(families["tollgate_c_total"]) {
		sum += n
	}
	if got := families["tollgate_c_total"].GetMetric(); sum != goroutines*each || len(got) != 5 {
		t.Errorf("the label set holds %v under %d names, want %d under 4 and other", sum, len(got), goroutines*each)
	}
}

func TestCountingDoesNotAllocate(t *testing.T) {
	if invariants.Enabled {
		t.Skip("SKIPPED: the race detector makes sync.Pool forget items at random, which the pool then makes anew")
	}
	var r *Registry
	c := r.Counter("tollgate_a_total", "A.")
	g := r.Gauge("tollgate_b", "B.")
	h := r.Histogram("tollgate_c_seconds", "C.", Latency)
	s := r.LabelSet("tollgate_d_total", "D.", "business", 1)
	s.With("acct_demo")
	for what, f := range map[string]func(){
		"Counter.Add":                  func() { c.Add(1) },
		"Gauge.Set":                    func() { g.Set(1) },
		"Histogram.Observe":            func() { h.Observe(1_234_567) },
		"LabelSet.With":                func() { s.With("acct_demo").Add(1) },
		"LabelSet.With beyond the cap": func() { s.With("acct_other").Add(1) },
	} {
		if got := testing.AllocsPerRun(1000, f); got != 0 {
			t.Errorf("%s: %v allocations, want 0", what, got)
		}
	}
}
