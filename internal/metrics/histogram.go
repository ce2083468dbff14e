package metrics

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Buckets is a fixed series of upper bounds in the unit that is observed, and how many of these make one of the
// unit that is exported. It is not an inverse to multiply by: 50,000 ns / 1e9 prints as 5e-05, 50,000 ns × 1e-9 as
// 5.000000000000001e-05, a label that every dashboard would have to know.
type Buckets struct {
	bounds []int64
	per    float64
}

// Latency takes nanoseconds and exports seconds, from 50 µs, below which an answer from a log is not to be had, to
// 10 s, above which every timeout of ours has fired.
var Latency = Buckets{per: 1e9, bounds: []int64{
	50e3, 100e3, 200e3, 500e3,
	1e6, 2e6, 5e6, 10e6, 20e6, 50e6, 100e6, 200e6, 500e6,
	1e9, 2e9, 5e9, 10e9,
}}

// Bytes is for sizes from 256 B to 16 MiB, in powers of four.
var Bytes = Buckets{per: 1, bounds: []int64{
	1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24,
}}

// Counts is for numbers of things taken together, such as the records of a batch: 1 to 100,000.
var Counts = Buckets{per: 1, bounds: []int64{
	1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000,
}}

// bucketsMax is the number of bounds that a histogram can have; a cell is an array of one more, for what is above
// the last bound.
const bucketsMax = 17

// Histogram counts observations by size. The number of observations is the sum of the buckets and is not kept
// beside them, so the exported count and buckets always agree.
type Histogram struct {
	desc    *prometheus.Desc
	buckets Buckets
	cells   []histogramCell // a power of two
}

type histogramCell struct {
	counts [bucketsMax + 1]atomic.Uint64 // counts[i]: observations ≤ bounds[i] and > bounds[i-1]
	sum    atomic.Int64                  // in observed units: nanoseconds last 292 years
	_      [2*cellBytes - (bucketsMax+2)*8]byte
}

func newHistogram(desc *prometheus.Desc, b Buckets) *Histogram {
	if len(b.bounds) == 0 || len(b.bounds) > bucketsMax {
		panic(fmt.Sprintf("BUG: %v: %d buckets, between 1 and %d are possible", desc, len(b.bounds), bucketsMax))
	}
	return &Histogram{desc: desc, buckets: b, cells: make([]histogramCell, cellCount())}
}

// Observe counts one observation of v: nanoseconds for Latency, bytes or a number for the others. What is below
// zero (a clock was set back) counts as zero. It never allocates.
func (h *Histogram) Observe(v int64) {
	v = max(v, 0)
	i := 0
	for i < len(h.buckets.bounds) && v > h.buckets.bounds[i] {
		i++
	}
	c := &h.cells[cellHint()&uint32(len(h.cells)-1)]
	c.counts[i].Add(1)
	c.sum.Add(v)
}

// Count is the number of observations so far.
func (h *Histogram) Count() uint64 {
	_, count, _ := h.read()
	return count
}

// read returns the observations at or below each bound, their number, and their sum in observed units.
func (h *Histogram) read() (cumulative [bucketsMax]uint64, count uint64, sum int64) {
	for b := range len(h.buckets.bounds) + 1 {
		for i := range h.cells {
			count += h.cells[i].counts[b].Load()
		}
		if b < bucketsMax {
			cumulative[b] = count
		}
	}
	for i := range h.cells {
		sum += h.cells[i].sum.Load()
	}
	return cumulative, count, sum
}

// Describe implements prometheus.Collector.
func (h *Histogram) Describe(ch chan<- *prometheus.Desc) { ch <- h.desc }

// Collect implements prometheus.Collector.
func (h *Histogram) Collect(ch chan<- prometheus.Metric) {
	cumulative, count, sum := h.read()
	bounds := make(map[float64]uint64, len(h.buckets.bounds))
	for i, b := range h.buckets.bounds {
		bounds[h.buckets.export(b)] = cumulative[i]
	}
	ch <- prometheus.MustNewConstHistogram(h.desc, count, h.buckets.export(sum), bounds)
}

// export turns an observed number into an exported one.
func (b Buckets) export(v int64) float64 { return float64(v) / b.per }
