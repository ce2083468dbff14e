package thinevent

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAScrapeTellsHowTheIndexIs(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	if err := s.Append(t.Context(), report("mtr_1", 1, t0), report("mtr_1", 2, t0)); err != nil {
		t.Fatal(err)
	}
	f.put(report("mtr_1", 1, t0))
	f.catchUp(s)
	f.log.set(func() { f.log.visible = 3 })
	f.put(report("mtr_1", 3, t0))
	s.observe()
	w := httptest.NewRecorder()
	f.cfg.Metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`tollgate_thin_events_appends_total{outcome="durable"} 2`,
		`tollgate_thin_events_appends_total{outcome="known"} 0`,
		`tollgate_thin_events_appends_total{outcome="failed"} 0`,
		`tollgate_thin_events_repeated_total 1`,
		`tollgate_thin_events_unreadable_total 0`,
		`tollgate_thin_events_stored 2`,
		`tollgate_thin_events_lag_records 1`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("the scrape has no %s", want)
		}
	}
}
