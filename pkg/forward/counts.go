package forward

import "tollgate/internal/metrics"

// counts are the metrics of all businesses together; State tells of each.
type counts struct {
	answers                                       [undetermined + 1]*metrics.Counter
	events, rolled, cancels, dead, sessions, gaps *metrics.Counter
	ranges, badCursors                            *metrics.Counter
}

var meaningNames = [...]string{"delivered", "refused", "too_large", "again", "slow_down", "expired", "blocked", "undetermined"}

func newCounts(r *metrics.Registry) *counts {
	c := &counts{
		events:   r.Counter("tollgate_forward_events_total", "Events that Stripe has taken; of those rolled up, the ones that were sent."),
		rolled:   r.Counter("tollgate_forward_rolled_records_total", "Records in events that were rolled up and that Stripe has taken."),
		cancels:  r.Counter("tollgate_forward_adjustments_total", "Adjustments that Stripe has taken."),
		dead:     r.Counter("tollgate_forward_dead_total", "Dead letters written."),
		sessions: r.Counter("tollgate_forward_sessions_total", "Sessions opened at Stripe."),
		gaps:     r.Counter("tollgate_forward_records_lost_total", "Records that retention took before they were sent."),
		ranges:   r.Counter("tollgate_forward_ranges_total", "Ranges of the log that were passed."),
		badCursors: r.Counter("tollgate_forward_cursor_records_invalid_total",
			"Records of the cursors topic that should be the forwarder's and can not be read."),
	}
	for i, name := range meaningNames {
		c.answers[i] = r.Counter("tollgate_forward_answers_total", "Answers of Stripe, by what they mean for what was sent.", "meaning", name)
	}
	return c
}

func (c *counts) delivered(parcels []parcel) {
	rolled, cancels := 0, 0
	for i := range parcels {
		if parcels[i].cancel {
			cancels++
		}
		rolled += parcels[i].rolled
	}
	c.cancels.Add(uint64(cancels))
	c.rolled.Add(uint64(rolled))
	c.events.Add(uint64(len(parcels) - cancels))
}
