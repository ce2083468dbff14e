package metrics

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// The peers are the client library's own counter, histogram and vector, as most programs use them.
//
//	go test -run - -bench . -benchmem -cpu 1,2 ./internal/metrics

func BenchmarkCounter(b *testing.B) {
	b.Run("tollgate", func(b *testing.B) {
		c := (*Registry)(nil).Counter("tollgate_a_total", "A.")
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c.Add(1)
			}
		})
	})
	b.Run("client_golang", func(b *testing.B) {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "a"})
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c.Inc()
			}
		})
	})
}

func BenchmarkHistogram(b *testing.B) {
	b.Run("tollgate", func(b *testing.B) {
		h := (*Registry)(nil).Histogram("tollgate_a_seconds", "A.", Latency)
		b.RunParallel(func(pb *testing.PB) {
			for v := int64(0); pb.Next(); v += 977 {
				h.Observe(v & (1<<24 - 1))
			}
		})
	})
	b.Run("client_golang", func(b *testing.B) {
		var bounds []float64
		for _, v := range Latency.bounds {
			bounds = append(bounds, Latency.export(v))
		}
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "a", Buckets: bounds})
		b.RunParallel(func(pb *testing.PB) {
			for v := int64(0); pb.Next(); v += 977 {
				h.Observe(float64(v&(1<<24-1)) / 1e9)
			}
		})
	})
}

func BenchmarkLabelSet(b *testing.B) {
	b.Run("tollgate", func(b *testing.B) {
		s := (*Registry)(nil).LabelSet("tollgate_a_total", "A.", "business", 1000)
		name := "acct_demo"
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				s.With(name).Add(1)
			}
		})
	})
	b.Run("client_golang", func(b *testing.B) {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "a"}, []string{"business"})
		name := "acct_demo"
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				v.WithLabelValues(name).Inc()
			}
		})
	})
}
