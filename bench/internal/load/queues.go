package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Queues is how full the server says that it is, at one moment.
type Queues struct {
	RingMiB         float64 `json:"ring_mib"`          // requests that nobody has sorted into batches yet
	RingCapacityMiB float64 `json:"ring_capacity_mib"` // beyond which requests are refused
	BacklogMiB      float64 `json:"backlog_mib"`       // batches that wait for the log
	Tickets         float64 `json:"tickets"`           // requests that wait for the log
}

const (
	metricsBytesMax = 4 << 20                // far more than a gateway with all its labels has to say
	metricsAt       = 500 * time.Millisecond // within each second, which the watch closes at its end
	metricsWaitMax  = 400 * time.Millisecond // an answer is there by then, or is a gap
)

// A gauge asks the server's metrics once a second, beside the watch: a server that does not answer delays nothing.
type gauge struct {
	url    string
	client http.Client
	last   atomic.Pointer[Queues] // nil: the server did not say, or is not asked
}

func newGauge(url string) *gauge {
	// Compressing the text would cost the server more than all else about it.
	return &gauge{url: url, client: http.Client{Timeout: metricsWaitMax, Transport: &http.Transport{DisableCompression: true}}}
}

// run returns when the context has ended, at once when there is nobody to ask.
func (g *gauge) run(ctx context.Context, start time.Time) {
	if g.url == "" {
		return
	}
	defer g.client.CloseIdleConnections()
	for next := start.Add(metricsAt); sleepUntil(ctx, next); next = next.Add(time.Second) {
		q, err := g.ask(ctx)
		if err != nil {
			q = nil // a gap in the plot: a killed server is no fault of the run
		}
		g.last.Store(q)
	}
}

func (g *gauge) ask(ctx context.Context) (*Queues, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url, nil)
	if err != nil {
		return nil, err
	}
	res, err := g.client.Do(q)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d", g.url, res.StatusCode)
	}
	return parseQueues(io.LimitReader(res.Body, metricsBytesMax))
}

// parseQueues reads the few lines of a Prometheus text that speak of queues, all of which have no labels.
func parseQueues(text io.Reader) (*Queues, error) {
	const mib = 1 << 20
	var q Queues
	fields := map[string]struct {
		to   *float64
		unit float64
	}{
		"tollgate_ingest_ring_used_bytes":     {&q.RingMiB, mib},
		"tollgate_ingest_ring_capacity_bytes": {&q.RingCapacityMiB, mib},
		"tollgate_ingest_backlog_bytes":       {&q.BacklogMiB, mib},
		"tollgate_ingest_tickets_in_use":      {&q.Tickets, 1},
	}
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		f, ok := fields[name]
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		*f.to = v / f.unit
		delete(fields, name)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(fields) > 0 {
		return nil, fmt.Errorf("%d of the metrics of queues are not there", len(fields))
	}
	return &q, nil
}
