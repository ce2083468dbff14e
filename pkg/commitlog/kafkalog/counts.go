package kafkalog

import "tollgate/internal/metrics"

// counts are the log's metrics.
type counts struct {
	requests   *metrics.Counter
	seconds    *metrics.Histogram
	bytes      *metrics.Counter
	batchBytes *metrics.Histogram
	retries    *metrics.Counter
	lost       *metrics.Counter
	answers    *metrics.LabelSet
	joins      *metrics.Counter
}

func (c *counts) register(r *metrics.Registry, l *Log) {
	c.requests = r.Counter("tollgate_kafka_requests_total", "Produce requests sent.")
	c.seconds = r.Histogram("tollgate_kafka_produce_seconds", "Time from sending a produce request to its answer or failure.", metrics.Latency)
	c.bytes = r.Counter("tollgate_kafka_sent_bytes_total", "Bytes of record batches sent, compressed, repeats included.")
	c.batchBytes = r.Histogram("tollgate_kafka_batch_bytes", "Size of a record batch as sent.", metrics.Bytes)
	c.retries = r.Counter("tollgate_kafka_retries_total", "Batches that had to be sent again.")
	c.lost = r.Counter("tollgate_kafka_attempts_lost_total", "Requests that failed without an answer, dialling included.")
	c.joins = r.Counter("tollgate_kafka_group_joins_total", "Generations of consumer groups in which this process got its share.")
	c.answers = r.LabelSet("tollgate_kafka_errors_total", "Errors that brokers answered batches with.", "error", len(rules))
	r.GaugeFunc("tollgate_kafka_open_batches", "Batches handed over and not completed.", func() float64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		return float64(l.open)
	})
	r.GaugeFunc("tollgate_kafka_stalled_partitions", "Partitions that turn appends away because earlier ones are not answered.", func() float64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		n := 0
		for _, t := range l.topics {
			for _, p := range t.all() {
				if p.stalled != nil {
					n++
				}
			}
		}
		return float64(n)
	})
}

func (c *counts) answer(code int16) {
	if code != 0 {
		c.answers.With(ruleFor(code).name).Add(1) // as Kafka spells it, to be looked up
	}
}
