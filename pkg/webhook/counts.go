package webhook

import (
	"sync/atomic"
	"time"

	"tollgate/internal/metrics"
)

// counts are the metrics of a Courier.
type counts struct {
	tries                             map[kind]*metrics.Counter
	trySeconds                        *metrics.Histogram
	givenUp, dropped, expired         *metrics.Counter // deliveries that end without being delivered
	disabled                          *metrics.Counter
	delivering                        *metrics.Gauge
	readFaults, writeFaults, evFaults *metrics.Counter
	badRecords                        *metrics.Counter
	backlog                           *atomic.Int64
}

func newCounts(c *Courier) counts {
	r := c.cfg.Metrics
	const tries, triesHelp = "tollgate_webhook_tries_total", "Tries to deliver an event to a destination, by how they ended."
	const ended, endedHelp = "tollgate_webhook_undelivered_total", "Deliveries that ended without being delivered, by reason."
	const faults, faultsHelp = "tollgate_webhook_faults_total", "What kept the state of deliveries from being read or written, or events from being read."
	k := counts{
		tries:       map[kind]*metrics.Counter{},
		trySeconds:  r.Histogram("tollgate_webhook_try_seconds", "Time of one try.", metrics.Latency),
		givenUp:     r.Counter(ended, endedHelp, "reason", "given_up"),
		dropped:     r.Counter(ended, endedHelp, "reason", "destination_disabled"),
		expired:     r.Counter(ended, endedHelp, "reason", "event_expired"),
		disabled:    r.Counter("tollgate_webhook_disabled_total", "Destinations that this gateway disabled because nothing but failure had come of them."),
		delivering:  r.Gauge("tollgate_webhook_delivering", "1 on the gateway that delivers."),
		readFaults:  r.Counter(faults, faultsHelp, "at", "read"),
		writeFaults: r.Counter(faults, faultsHelp, "at", "write"),
		evFaults:    r.Counter(faults, faultsHelp, "at", "events"),
		badRecords:  r.Counter(faults, faultsHelp, "at", "record"),
		backlog:     &atomic.Int64{},
	}
	for _, how := range []kind{delivered, refused, answered, timedOut, noConn, badTLS, badHTTP, noTopic} {
		k.tries[how] = r.Counter(tries, triesHelp, "outcome", string(how))
	}
	r.GaugeFunc("tollgate_webhook_waiting", "Deliveries that wait for their next try.", func() float64 {
		n, _, _ := c.board.summary()
		return float64(n)
	})
	r.GaugeFunc("tollgate_webhook_oldest_waiting_seconds", "Since when the oldest of them has been tried.", func() float64 {
		_, oldestMs, _ := c.board.summary()
		if oldestMs == 0 {
			return 0
		}
		return max(0, c.cfg.Now().Sub(time.UnixMilli(oldestMs)).Seconds())
	})
	r.GaugeFunc("tollgate_webhook_failing", "Destinations of which nothing but failure has come lately.", func() float64 {
		_, _, n := c.board.summary()
		return float64(n)
	})
	r.GaugeFunc("tollgate_webhook_backlog", "Records of the events topic that the destination furthest behind has not looked at; 0 on a gateway that does not deliver.", func() float64 {
		return float64(k.backlog.Load())
	})
	return k
}
