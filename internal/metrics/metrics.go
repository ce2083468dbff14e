// Package metrics is what the gateway counts about itself, and the only importer of the Prometheus client.
//
// A Registry hands out counters, gauges, histograms and label sets, and writes them in Prometheus' text form. The
// hot ones cost a few nanoseconds and never allocate: a Counter and a Histogram are sharded over padded cells, an
// observation is an integer added to a bucket, and the arithmetic of floats is left to the scrape.
//
//	r := metrics.New()
//	full := r.Counter("tollgate_requests_refused_total", "Requests refused, by reason.", "reason", "ring_full")
//	fsync := r.Histogram("tollgate_journal_fsync_seconds", "Time of an fsync.", metrics.Latency)
//	byBusiness := r.LabelSet("tollgate_business_events_total", "Events accepted.", "business", 1000)
//
//	full.Add(1)
//	fsync.Observe(int64(took))                      // nanoseconds
//	byBusiness.With("acct_demo").Add(100)
//
// Asking twice for a name with the same labels returns the same metric. A nil *Registry hands out metrics that
// work and are exported nowhere, so that a room's tests need no registry. Everything may be called from many
// goroutines at once.
//
// It will not grow with what clients send: a LabelSet has a cap, above which names are counted as "other". It will
// not push, aggregate over time, or count anything twice to look exact: a scrape reads the cells one after another
// while they are being written, so two counters of one scrape may be a few events apart.
package metrics

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registry is a set of named metrics. Use New; nil works too and exports nothing.
type Registry struct {
	prom *prometheus.Registry

	mu      sync.Mutex
	metrics map[string]any // by name and labels; guarded by mu
}

// New returns a registry that also exports what the Go runtime and the operating system say about the process.
func New() *Registry {
	r := &Registry{prom: prometheus.NewRegistry(), metrics: make(map[string]any)}
	r.prom.MustRegister(collectors.NewGoCollector())
	r.prom.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Counter returns the counter with this name and these labels, given as name, value, name, value. The name ends in
// _total; all counters of one name have the same label names and the same help.
func (r *Registry) Counter(name, help string, labels ...string) *Counter {
	return register(r, name, help, labels, func(d *prometheus.Desc) *Counter { return newCounter(d) })
}

// Gauge returns the gauge with this name and these labels. It holds an integer: a number of things, or of bytes.
func (r *Registry) Gauge(name, help string, labels ...string) *Gauge {
	return register(r, name, help, labels, func(d *prometheus.Desc) *Gauge { return &Gauge{desc: d} })
}

// GaugeFunc exports what f returns at each scrape. f may be called from any goroutine and must not block. Given
// again for the same name and labels, the new function takes the place of the old one: a room that was opened
// again speaks for itself.
func (r *Registry) GaugeFunc(name, help string, f func() float64, labels ...string) {
	register(r, name, help, labels, func(d *prometheus.Desc) *gaugeFunc { return &gaugeFunc{desc: d} }).f.Store(&f)
}

// Histogram returns the histogram with this name and these labels over these buckets.
func (r *Registry) Histogram(name, help string, buckets Buckets, labels ...string) *Histogram {
	return register(r, name, help, labels, func(d *prometheus.Desc) *Histogram { return newHistogram(d, buckets) })
}

// LabelSet returns counters that share a name and differ in the value of one label, at most namesMax of them.
func (r *Registry) LabelSet(name, help, label string, namesMax int) *LabelSet {
	s := register(r, name, help, nil, func(*prometheus.Desc) *LabelSet { return newLabelSet(name, help, label, namesMax) })
	if s.label != label {
		panic(fmt.Sprintf("BUG: metric %s was registered with the label %q and now with %q", name, s.label, label))
	}
	return s
}

// Handler answers a scrape.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.gatherer(), promhttp.HandlerOpts{})
}

func (r *Registry) gatherer() prometheus.Gatherer {
	if r == nil {
		return prometheus.Gatherers{}
	}
	return r.prom
}

// nameForm is what every metric of ours is called; internal/lint holds the same rule over the sources, so that a
// name which would panic here never gets this far.
var nameForm = regexp.MustCompile(`^tollgate_[a-z0-9]+(_[a-z0-9]+)*$`)

// register returns the metric known by this name and these labels, or makes it and exports it.
func register[M prometheus.Collector](r *Registry, name, help string, labels []string, make func(*prometheus.Desc) M) M {
	if !nameForm.MatchString(name) {
		panic(fmt.Sprintf("BUG: metric %q: a name is tollgate_ and lower-case words", name))
	}
	if len(labels)%2 != 0 {
		panic(fmt.Sprintf("BUG: metric %s: labels %q are not pairs", name, labels))
	}
	constant := prometheus.Labels{}
	for i := 0; i < len(labels); i += 2 {
		constant[labels[i]] = labels[i+1]
	}
	desc := prometheus.NewDesc(name, help, nil, constant)
	if r == nil {
		return make(desc)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	id := name + "\x00" + strings.Join(labels, "\x00")
	if known, ok := r.metrics[id]; ok {
		m, ok := known.(M)
		if !ok {
			panic(fmt.Sprintf("BUG: metric %s is already a %T", name, known))
		}
		return m
	}
	m := make(desc)
	if err := r.prom.Register(m); err != nil {
		panic(fmt.Sprintf("BUG: metric %s: %v", name, err))
	}
	r.metrics[id] = m
	return m
}
