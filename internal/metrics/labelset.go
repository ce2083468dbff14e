package metrics

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// other is the name under which everything above the cap is counted.
const other = "other"

// LabelSet is counters by the value of one label, a business for example, with a cap on the number of values:
// metrics that grow with what is sent to them have taken down better services than this.
//
// A look-up reads an immutable map through an atomic pointer and allocates nothing. A new name copies the map
// under a mutex; that happens at most namesMax times in the life of a process.
type LabelSet struct {
	desc     *prometheus.Desc
	label    string
	namesMax int
	rest     *Counter

	known atomic.Pointer[map[string]*Counter]
	mu    sync.Mutex // held while known is replaced
}

func newLabelSet(name, help, label string, namesMax int) *LabelSet {
	s := &LabelSet{desc: prometheus.NewDesc(name, help, []string{label}, nil), label: label, namesMax: namesMax, rest: newCounter(nil)}
	s.known.Store(&map[string]*Counter{})
	return s
}

// With returns the counter of a name. It allocates only when the name is new and there is room for it.
func (s *LabelSet) With(name string) *Counter {
	known := *s.known.Load()
	if c, ok := known[name]; ok {
		return c
	}
	// Beyond the cap strangers' names neither make garbage nor queue for a mutex.
	if len(known) >= s.namesMax {
		return s.rest
	}
	return s.add(strings.Clone(name)) // the caller's may be a view of a request
}

func (s *LabelSet) add(name string) *Counter {
	if name == other {
		return s.rest
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := *s.known.Load()
	if c, ok := known[name]; ok {
		return c
	}
	if len(known) >= s.namesMax {
		return s.rest
	}
	grown := make(map[string]*Counter, len(known)+1)
	for k, c := range known {
		grown[k] = c
	}
	c := newCounter(nil)
	grown[name] = c
	s.known.Store(&grown)
	return c
}

// Describe implements prometheus.Collector.
func (s *LabelSet) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }

// Collect implements prometheus.Collector.
func (s *LabelSet) Collect(ch chan<- prometheus.Metric) {
	// Names that are not UTF-8 would make the whole scrape fail, and two of them may look alike once repaired:
	// they are added up.
	sums := make(map[string]uint64)
	for name, c := range *s.known.Load() {
		sums[strings.ToValidUTF8(name, "�")] += c.Value()
	}
	if n := s.rest.Value(); n > 0 {
		sums[other] += n
	}
	for name, n := range sums {
		ch <- prometheus.MustNewConstMetric(s.desc, prometheus.CounterValue, float64(n), name)
	}
}
