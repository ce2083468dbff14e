package httpd

import (
	"errors"
	"strconv"
	"time"

	"tollgate/internal/metrics"
	"tollgate/pkg/ingest"
	"tollgate/pkg/stripe"
)

// serverMetrics is what the server counts.
type serverMetrics struct {
	// requests answers "what is asked, and how does it go": by route and status class.
	requests map[*route]*[6]*metrics.Counter
	// refused answers "why do clients get errors": by code.
	refused *metrics.LabelSet
	// events answers "how much usage do we take", accepted "whose".
	events   *metrics.Counter
	accepted *metrics.LabelSet
	// wait answers "how long does an acknowledgement take": from the request's arrival to the log's verdict.
	wait *metrics.Histogram
	// sessionsUnbounded counts requests whose session had no slot for its rate limit; see Config.SessionBuckets.
	sessionsUnbounded *metrics.Counter
	// unsharedLate and unsharedAway count sessions that were opened with an Idempotency-Key and are known here alone: the log
	// did not say in time which session is the key's, or could not be asked.
	unsharedLate, unsharedAway *metrics.Counter

	panics *metrics.Counter
	cutOff *metrics.Counter
}

// Caps on label values. Codes are ours and few; businesses come from the configuration.
const (
	codesMax      = 64
	businessesMax = 1000
)

const (
	unsharedName = "tollgate_http_sessions_unshared_total"
	unsharedHelp = "Sessions opened with an Idempotency-Key that the other gateways, and this one after a restart, may not know."
)

func newServerMetrics(r *metrics.Registry, s *Server) *serverMetrics {
	m := &serverMetrics{
		requests: make(map[*route]*[6]*metrics.Counter, len(routes)+1),
		refused:  r.LabelSet("tollgate_http_refused_total", "Requests refused, by error code.", "code", codesMax),
		events:   r.Counter("tollgate_events_accepted_total", "Events and adjustments acknowledged as durable."),
		accepted: r.LabelSet("tollgate_business_events_accepted_total", "Events and adjustments acknowledged as durable, by business.", "business", businessesMax),
		wait:     r.Histogram("tollgate_ack_seconds", "Time from a request's arrival to the verdict of the log.", metrics.Latency),
		sessionsUnbounded: r.Counter("tollgate_http_sessions_unbounded_total",
			"Stream requests whose session found no room in the table of rate limits."),
		unsharedLate: r.Counter(unsharedName, unsharedHelp, "reason", "late"),
		unsharedAway: r.Counter(unsharedName, unsharedHelp, "reason", "away"),
		panics:       r.Counter("tollgate_http_panics_total", "Requests that made the gateway panic."),
		cutOff:       r.Counter("tollgate_http_cut_off_total", "Connections closed because the client was too slow in sending or reading."),
	}
	for i := range routes {
		m.requests[&routes[i]] = requestCounters(r, routes[i].name)
	}
	m.requests[&noRoute] = requestCounters(r, noRoute.name)
	r.GaugeFunc("tollgate_http_connections", "Open connections.", func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return float64(len(s.conns))
	})
	r.GaugeFunc("tollgate_http_body_bytes", "Memory held for large request bodies that are arriving.", func() float64 {
		return float64(s.bodyBytes.Load())
	})
	return m
}

func requestCounters(r *metrics.Registry, name string) *[6]*metrics.Counter {
	var c [6]*metrics.Counter
	for class := 2; class < len(c); class++ {
		c[class] = r.Counter("tollgate_http_requests_total", "Requests answered, by endpoint and class of status.",
			"endpoint", name, "status", strconv.Itoa(class)+"xx")
	}
	return &c
}

func (m *serverMetrics) answered(r *route, status int) {
	m.requests[r][status/100].Add(1)
}

func (m *serverMetrics) refuse(r *stripe.Error) {
	code := r.CodeV2
	if code == "" {
		code = r.Code
	}
	m.refused.With(code).Add(1)
}

func (m *serverMetrics) unshared(err error) {
	if errors.Is(err, ingest.ErrUnknown) {
		m.unsharedLate.Add(1)
		return
	}
	m.unsharedAway.Add(1)
}

func (m *serverMetrics) acknowledged(x *exchange) {
	m.wait.Observe(int64(time.Since(x.ctx.Time())))
}
