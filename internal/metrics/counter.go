package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Counter is a number that only grows.
type Counter struct {
	desc  *prometheus.Desc
	cells []counterCell // a power of two
}

type counterCell struct {
	n atomic.Uint64
	_ [cellBytes - 8]byte
}

func newCounter(desc *prometheus.Desc) *Counter {
	return &Counter{desc: desc, cells: make([]counterCell, cellCount())}
}

// Add counts n more. It never allocates.
func (c *Counter) Add(n uint64) {
	c.cells[cellHint()&uint32(len(c.cells)-1)].n.Add(n)
}

// Value is what was counted so far. While others count, it is some value between those at its start and its end.
func (c *Counter) Value() uint64 {
	var sum uint64
	for i := range c.cells {
		sum += c.cells[i].n.Load()
	}
	return sum
}

// Describe implements prometheus.Collector.
func (c *Counter) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *Counter) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(c.Value()))
}

// Gauge is an integer that goes up and down: bytes in use, requests open. It is one cell, since setting a value
// that several cores hold parts of has no meaning; count hot things with two Counters.
type Gauge struct {
	desc *prometheus.Desc
	n    atomic.Int64
}

// Set makes n the value.
func (g *Gauge) Set(n int64) { g.n.Store(n) }

// Add changes the value by n, which may be negative.
func (g *Gauge) Add(n int64) { g.n.Add(n) }

// Value is the value now.
func (g *Gauge) Value() int64 { return g.n.Load() }

// Describe implements prometheus.Collector.
func (g *Gauge) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc }

// Collect implements prometheus.Collector.
func (g *Gauge) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(g.Value()))
}

// gaugeFunc reads its value from elsewhere at each scrape.
type gaugeFunc struct {
	desc *prometheus.Desc
	f    atomic.Pointer[func() float64]
}

// Describe implements prometheus.Collector.
func (g *gaugeFunc) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc }

// Collect implements prometheus.Collector.
func (g *gaugeFunc) Collect(ch chan<- prometheus.Metric) {
	// Registered, but its function is stored a moment later: there is nothing to say yet.
	if f := g.f.Load(); f != nil {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, (*f)())
	}
}
