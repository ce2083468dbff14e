package hist

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestAQuantileIsAtMostOneBucketAboveTheTruth(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(1) << dice.IntN(38)
		d += time.Duration(dice.Int64N(int64(d)))
		h.Record(d)
		all = append(all, d)
	}
	slices.Sort(all)
	s := h.Snapshot()
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		truth := all[max(int(q*float64(len(all))), 1)-1]
		if got := s.Quantile(q); got < truth || float64(got) > float64(truth)*1.008 {
			t.Errorf("quantile %v is %v and the truth is %v", q, got, truth)
		}
	}
	if s.Max != all[len(all)-1] || s.Count != uint64(len(all)) {
		t.Errorf("max %v, count %d", s.Max, s.Count)
	}
}

func TestEveryBucketEndsWhereTheNextBegins(t *testing.T) {
	for i := range buckets - 1 {
		if bucketOf(upper(i)) != i || bucketOf(upper(i)+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, which belongs to %d and %d", i, upper(i), bucketOf(upper(i)), bucketOf(upper(i)+1))
		}
	}
}

func TestTooLongNegativeAndNothingAreCounted(t *testing.T) {
	var h Histogram
	if h.Snapshot().Quantile(0.5) != 0 {
		t.Error("an empty histogram has a quantile")
	}
	h.Record(-time.Second)
	h.Record(100 * time.Hour)
	s := h.Snapshot()
	if s.Count != 2 || s.Quantile(0.5) != 0 || s.Max != 100*time.Hour {
		t.Errorf("%d values, median %v, max %v", s.Count, s.Quantile(0.5), s.Max)
	}
}

func TestSnapshotsAddAndSubtract(t *testing.T) {
	var a, b Histogram
	a.RecordN(time.Millisecond, 10)
	before := a.Snapshot()
	a.RecordN(time.Second, 10)
	b.RecordN(time.Minute, 10)
	if d := a.Snapshot().Since(before); d.Count != 10 || d.Quantile(0.01) < time.Second {
		t.Errorf("the difference holds %d from %v on", d.Count, d.Quantile(0.01))
	}
	if sum := a.Snapshot().Add(b.Snapshot()); sum.Count != 30 || sum.Quantile(1) != time.Minute {
		t.Errorf("the sum holds %d up to %v", sum.Count, sum.Quantile(1))
	}
}
