package ingest

import (
	"net/http/httptest"
	"strings"
	"testing"

	"tollgate/internal/metrics"
)

func TestMetricsAreExported(t *testing.T) {
	r := metrics.New()
	g := open(t, newFakeLog(t, 1), Config{Metrics: r})
	wantErr(t, "Submit", submit(g, "key", "value", "key", "value"), nil)
	answer := httptest.NewRecorder()
	r.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`tollgate_ingest_full_total{what="ring"} 0`,
		`tollgate_ingest_batch_records_sum 2`,
		`tollgate_ingest_set_batches_count 1`,
		`tollgate_ingest_ring_capacity_bytes `,
		`tollgate_ingest_tickets_in_use 0`,
	} {
		if !strings.Contains(answer.Body.String(), want) {
			t.Errorf("no %q in what is exported", want)
		}
	}
}
