package usage

import (
	"tollgate/internal/metrics"
)

// What became of cancels.
const (
	cancelDone      = iota // the event was taken out
	cancelWaits            // no event yet
	cancelRepeated         // cancelled already, or the same request
	cancelLate             // received more than 24 hours after the event
	cancelKeyReused        // its Idempotency-Key was used with other parameters
	cancelNothing          // no event in 24 hours
	cancelElsewhere        // likewise, of a spread meter: another partition or bucket has the event
	cancelOutcomes
)

// What became of reports.
const (
	reportOpened    = iota // begun with a refused record
	reportClosed           // put into the outbox
	reportAppended         // in the events topic
	reportRepeated         // known there already
	reportTooOld           // of a window older than the events topic keeps
	reportDisagrees        // known there with another end, which can not be put right any more
	reportNobody           // a refused record without a meter to tell of
	reportOutcomes
)

var reportNames = [reportOutcomes]string{"opened", "closed", "appended", "repeated", "too_old", "disagrees", "nobody"}

var cancelNames = [cancelOutcomes]string{"cancelled", "waiting", "repeated", "too_late", "key_reused", "nothing", "elsewhere"}

// tally is what a slice of records came to.
type tally struct {
	counted, duplicates, cancelledEarly, unreadable uint64
	refused                                         [len(reasons)]uint64
	cancels                                         [cancelOutcomes]uint64
	reports                                         [reportOutcomes]uint64
	passed                                          uint64
}

// counts are the worker's metrics.
type counts struct {
	counted, duplicates, cancelledEarly, unreadable *metrics.Counter
	refused                                         [len(reasons)]*metrics.Counter
	cancels                                         [cancelOutcomes]*metrics.Counter
	reports                                         [reportOutcomes]*metrics.Counter
	passed                                          *metrics.Counter
	flush                                           *metrics.Histogram
	upkeep                                          *metrics.Histogram
	seal                                            *metrics.Histogram
}

func newCounts(r *metrics.Registry) *counts {
	const (
		events  = "tollgate_usage_events_total"
		help    = "Events that the worker came to, by what became of them."
		cancels = "tollgate_usage_cancels_total"
	)
	c := &counts{
		counted:        r.Counter(events, help, "outcome", "counted"),
		duplicates:     r.Counter(events, help, "outcome", "duplicate"),
		cancelledEarly: r.Counter(events, help, "outcome", "cancelled_before"),
		unreadable:     r.Counter("tollgate_usage_cancels_unreadable_total", "Cancelled events that stay counted, since their share could not be read back from the log: retention removed them, or their meter is not known."),
		flush:          r.Histogram("tollgate_usage_flush_seconds", "Time to write a partition's totals and offset.", metrics.Latency),
		upkeep:         r.Histogram("tollgate_usage_upkeep_seconds", "Time of a partition's hourly upkeep.", metrics.Latency),
		seal:           r.Histogram("tollgate_usage_seal_seconds", "Time to put a partition's newest identifiers on disk.", metrics.Latency),
	}
	for i, reason := range reasons {
		c.refused[i] = r.Counter("tollgate_usage_refused_total", "Events and cancels that the worker refused, by code.", "code", string(reason))
	}
	for i, name := range cancelNames {
		c.cancels[i] = r.Counter(cancels, "Cancels that the worker came to, by what became of them.", "outcome", name)
	}
	for i, name := range reportNames {
		c.reports[i] = r.Counter("tollgate_usage_reports_total", "Reports of refused events, by what became of them. appended less than closed: see tollgate_usage_outbox_reports; disagrees: events were told of twice or not at all.", "outcome", name)
	}
	c.passed = r.Counter("tollgate_usage_reported_before_total", "Refused events and cancels that were come to again, here or after another gateway, and are in a report already.")
	return c
}

// export makes the worker's gauges, which are asked of the worker at each scrape.
func (w *Worker) export(r *metrics.Registry) {
	r.GaugeFunc("tollgate_usage_lag_records", "Records of this worker's partitions that it has not come to.", func() float64 { records, _ := w.lag(); return float64(records) })
	r.GaugeFunc("tollgate_usage_lag_seconds", "Age of the newest record that the slowest of this worker's partitions has come to, 0 when there is none behind it.", func() float64 { _, ms := w.lag(); return float64(ms) / 1000 })
	r.GaugeFunc("tollgate_usage_partitions", "Partitions that this worker runs.", func() float64 { return float64(len(w.Owned())) })
	r.GaugeFunc("tollgate_usage_outbox_reports", "Reports of refused events that wait for the events topic.", func() float64 { return float64(w.Outbox().Reports) })
	r.GaugeFunc("tollgate_usage_outbox_bytes", "Size of the reports that wait for the events topic. At its bound windows are put together.", func() float64 { return float64(w.Outbox().Bytes) })
	r.GaugeFunc("tollgate_usage_outbox_age_seconds", "Age of the oldest report that waits for the events topic, 0 when none does.", func() float64 { return w.Outbox().Age.Seconds() })
	r.GaugeFunc("tollgate_usage_store_bytes", "Size of the worker's store on disk.", func() float64 { return float64(w.storeBytes()) })
}

// add counts what a slice came to, and begins anew.
func (c *counts) add(t *tally) {
	add := func(to *metrics.Counter, n uint64) {
		if n > 0 {
			to.Add(n)
		}
	}
	add(c.counted, t.counted)
	add(c.duplicates, t.duplicates)
	add(c.cancelledEarly, t.cancelledEarly)
	add(c.unreadable, t.unreadable)
	for i, n := range t.refused {
		add(c.refused[i], n)
	}
	for i, n := range t.cancels {
		add(c.cancels[i], n)
	}
	for i, n := range t.reports {
		add(c.reports[i], n)
	}
	add(c.passed, t.passed)
	*t = tally{}
}
