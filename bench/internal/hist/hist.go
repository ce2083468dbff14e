// Package hist counts durations in buckets whose width is a fixed share of their value, as HDR histograms do: 128
// buckets an octave, so that a quantile is never more than 0.8 % above the truth, from nanoseconds to 18 minutes.
//
// Any number of goroutines may record at once while others take snapshots; a snapshot is plain data. It keeps no
// single values, and what is longer than the last bucket is counted there.
//
//	var h hist.Histogram
//	h.Record(3 * time.Millisecond)
//	s := h.Snapshot()
//	s.Quantile(0.99)
package hist

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	subBits = 7 // 128 buckets an octave
	maxBits = 40
	buckets = (maxBits - subBits + 1) << subBits
)

// Histogram is ready as its zero value, and must not be copied after the first use.
type Histogram struct {
	counts [buckets]atomic.Uint64
	max    atomic.Int64
}

// Record counts one duration; a negative one counts as zero.
func (h *Histogram) Record(d time.Duration) { h.RecordN(d, 1) }

// RecordN counts the same duration n times.
func (h *Histogram) RecordN(d time.Duration, n uint64) {
	h.counts[bucketOf(d)].Add(n)
	for {
		was := h.max.Load()
		if int64(d) <= was || h.max.CompareAndSwap(was, int64(d)) {
			return
		}
	}
}

// bucketOf: values below 128 ns have a bucket each; above, the seven bits behind the leading one choose among the 128
// buckets of their octave.
func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return min((shift+1)<<subBits|int(v>>shift)&(1<<subBits-1), buckets-1)
}

// upper is the largest value of a bucket.
func upper(bucket int) time.Duration {
	octave, sub := bucket>>subBits, bucket&(1<<subBits-1)
	if octave == 0 {
		return time.Duration(sub)
	}
	return time.Duration(uint64(1<<subBits|sub)+1)<<(octave-1) - 1
}

// Snapshot is what a histogram held, or the sum or the difference of such.
type Snapshot struct {
	Count  uint64
	Max    time.Duration // exact; of a difference, that of the later snapshot
	counts []uint64
}

// Snapshot copies the counts. Durations recorded meanwhile are in it or not.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Max: time.Duration(h.max.Load()), counts: make([]uint64, buckets)}
	for i := range h.counts {
		n := h.counts[i].Load()
		s.counts[i] = n
		s.Count += n
	}
	return s
}

// Add returns the sum of two snapshots.
func (s Snapshot) Add(o Snapshot) Snapshot {
	sum := Snapshot{Count: s.Count + o.Count, Max: max(s.Max, o.Max), counts: make([]uint64, buckets)}
	copy(sum.counts, s.counts)
	for i, n := range o.counts {
		sum.counts[i] += n
	}
	return sum
}

// Since returns what was recorded after an earlier snapshot of the same histogram.
func (s Snapshot) Since(earlier Snapshot) Snapshot {
	diff := Snapshot{Count: s.Count - earlier.Count, Max: s.Max, counts: make([]uint64, buckets)}
	copy(diff.counts, s.counts)
	for i, n := range earlier.counts {
		diff.counts[i] -= n
	}
	return diff
}

// Quantile returns the duration that a share q of the values does not exceed, 0 when there are none.
func (s Snapshot) Quantile(q float64) time.Duration {
	if s.Count == 0 {
		return 0
	}
	rank := uint64(q * float64(s.Count))
	rank = min(max(rank, 1), s.Count)
	seen := uint64(0)
	for i, n := range s.counts {
		if seen += n; seen >= rank {
			return min(upper(i), s.Max)
		}
	}
	return s.Max
}
