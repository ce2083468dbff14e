package journal

import "tollgate/internal/metrics"

// meters is what the journal counts.
type meters struct {
	fsync        *metrics.Histogram
	groupBytes   *metrics.Histogram
	groupBatches *metrics.Histogram
	bytes        *metrics.Counter
	batches      *metrics.Counter
	unavailable  *metrics.Counter
	unknown      *metrics.Counter
	poisoned     *metrics.Counter
	torn         *metrics.Counter
	removed      *metrics.Counter
	compacted    *metrics.Counter
	free         *metrics.Gauge
}

func newMeters(r *metrics.Registry) *meters {
	const failed, failedHelp = "tollgate_journal_batches_failed_total", "Batches not acknowledged, by outcome."
	return &meters{
		fsync:        r.Histogram("tollgate_journal_fsync_seconds", "Time of one fdatasync of a segment.", metrics.Latency),
		groupBytes:   r.Histogram("tollgate_journal_group_bytes", "Bytes written to one partition between two fsyncs.", metrics.Bytes),
		groupBatches: r.Histogram("tollgate_journal_group_batches", "Batches written to one partition between two fsyncs.", metrics.Counts),
		bytes:        r.Counter("tollgate_journal_bytes_total", "Bytes made durable."),
		batches:      r.Counter("tollgate_journal_batches_total", "Batches made durable."),
		unavailable:  r.Counter(failed, failedHelp, "outcome", "unavailable"),
		unknown:      r.Counter(failed, failedHelp, "outcome", "unknown"),
		poisoned:     r.Counter("tollgate_journal_poisoned_total", "Segment files given up after a failed write or fsync, or since they were removed."),
		torn:         r.Counter("tollgate_journal_torn_bytes_total", "Bytes cut at start behind the last complete batch."),
		removed:      r.Counter("tollgate_journal_removed_bytes_total", "Bytes removed by retention."),
		compacted:    r.Counter("tollgate_journal_compacted_records_total", "Superseded records removed by compaction."),
		free:         r.Gauge("tollgate_journal_free_bytes", "Free bytes on the journal's file system at the last look."),
	}
}
