package thinevent

import "tollgate/internal/metrics"

// counts are the store's metrics.
type counts struct {
	appended, known, failed, repeated, unreadable *metrics.Counter
}

func newCounts(r *metrics.Registry) *counts {
	const appends, help = "tollgate_thin_events_appends_total", "Thin events that this gateway was asked to append, by what became of them."
	return &counts{
		appended:   r.Counter(appends, help, "outcome", "durable"),
		known:      r.Counter(appends, help, "outcome", "known"),
		failed:     r.Counter(appends, help, "outcome", "failed"),
		repeated:   r.Counter("tollgate_thin_events_repeated_total", "Records of the events topic with the id of an earlier one, which were left out."),
		unreadable: r.Counter("tollgate_thin_events_unreadable_total", "Records of the events topic that are no thin events, which were left out."),
	}
}

// export makes the gauges, which are asked of the store at each scrape.
func (s *Store) export(r *metrics.Registry) {
	r.GaugeFunc("tollgate_thin_events_stored", "Thin events in the index of this gateway.", func() float64 { return float64(s.stored.Load()) })
	r.GaugeFunc("tollgate_thin_events_lag_records", "Records of the events topic that the index of this gateway has not come to, of those that were there some seconds ago.", func() float64 {
		return float64(max(0, s.topicEnd.Load()-s.next.Load()))
	})
}
