package load

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const metricsText = `# HELP tollgate_ingest_backlog_bytes Bytes.
# TYPE tollgate_ingest_backlog_bytes gauge
tollgate_business_events_accepted_total{business="acct_a"} 3
tollgate_ingest_backlog_bytes 3.145728e+06
tollgate_ingest_full_total{what="ring"} 7
tollgate_ingest_ring_capacity_bytes 1.6777216e+07
tollgate_ingest_ring_used_bytes 524288
tollgate_ingest_tickets_in_use 42
`

func TestQueuesAreReadFromMetrics(t *testing.T) {
	got, err := parseQueues(strings.NewReader(metricsText))
	if want := (Queues{RingMiB: 0.5, RingCapacityMiB: 16, BacklogMiB: 3, Tickets: 42}); err != nil || *got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for name, text := range map[string]string{
		"one is missing":     strings.Replace(metricsText, "tickets_in_use", "tickets", 1),
		"one is no number":   strings.Replace(metricsText, " 42", " many", 1),
		"another's metrics":  "go_goroutines 4\n",
		"an endless line":    strings.Repeat("x", 1<<20),
		"nothing":            "",
		"cut off in between": metricsText[:200],
	} {
		if got, err := parseQueues(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// The server's metrics are asked while it takes load; that they can not be had for a while, or never, is a gap.
func TestQueuesAreInTheTimelineWhenTheServerSays(t *testing.T) {
	var asked atomic.Int64
	metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) > 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		io.WriteString(w, metricsText)
	}))
	t.Cleanup(metrics.Close)
	url, _ := target(t, accept)
	r, _ := runLoad(t, Config{Target: url, Rate: 1000, Batch: 10, Duration: 2200 * time.Millisecond, ServerMetrics: metrics.URL})
	if len(r.Timeline) != 2 || r.Timeline[0].Queues == nil || r.Timeline[0].Queues.Tickets != 42 || r.Timeline[1].Queues != nil {
		t.Errorf("%+v", r.Timeline)
	}
}
