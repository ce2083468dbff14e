package ingest

import (
	"sync/atomic"

	"tollgate/internal/metrics"
)

// meters is what this package counts. How many requests and events were taken, and how long an answer took, httpd
// counts: it knows whose they are.
type meters struct {
	fullTickets, fullRing, fullPartition *metrics.Counter
	abandoned, orphaned                  *metrics.Counter
	batchRecords, batchBytes, setBatches *metrics.Histogram
	backlogBytes                         atomic.Int64 // written by the drainer
}

func newMeters(g *Ingester) *meters {
	r := g.cfg.Metrics
	const full, fullHelp = "tollgate_ingest_full_total", "Requests refused because something was full: tickets, the rings, the backlog of a partition."
	m := &meters{
		fullTickets:   r.Counter(full, fullHelp, "what", "tickets"),
		fullRing:      r.Counter(full, fullHelp, "what", "ring"),
		fullPartition: r.Counter(full, fullHelp, "what", "partition"),
		abandoned: r.Counter("tollgate_ingest_abandoned_total",
			"Requests that timed out in a ring and were not written."),
		orphaned: r.Counter("tollgate_ingest_orphaned_total",
			"Requests that timed out in the log's hands: their outcome is unknown."),
		batchRecords: r.Histogram("tollgate_ingest_batch_records", "Records in a batch handed to the log.", metrics.Counts),
		batchBytes:   r.Histogram("tollgate_ingest_batch_bytes", "Bytes of a batch handed to the log.", metrics.Bytes),
		setBatches:   r.Histogram("tollgate_ingest_set_batches", "Batches handed to the log at once.", metrics.Counts),
	}
	r.GaugeFunc("tollgate_ingest_ring_used_bytes", "Bytes in the rings, on their way to the drainer.",
		func() float64 { return float64(g.rings.Used()) })
	r.GaugeFunc("tollgate_ingest_ring_capacity_bytes", "Bytes that the rings hold.",
		func() float64 { return float64(g.rings.Cap()) })
	r.GaugeFunc("tollgate_ingest_backlog_bytes", "Bytes taken from the rings and not yet answered by the log.",
		func() float64 { return float64(m.backlogBytes.Load()) })
	r.GaugeFunc("tollgate_ingest_tickets_in_use", "Requests waiting for their outcome.",
		func() float64 { return float64(g.tickets.inUse()) })
	return m
}
