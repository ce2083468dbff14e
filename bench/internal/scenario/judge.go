package scenario

import (
	"fmt"
	"slices"

	"tollgate/bench/internal/load"
	"tollgate/bench/internal/verify"
)

// loadFigures of each load, and logFigures of the verdict on all loads together.
var (
	loadFigures = []string{
		"events_per_second", "acked_share", "failed_share", "missed", "p50_ms", "p99_ms", "p999_ms", "max_ms",
		"last_events_per_second", "p99_growth", "server_us_per_event", "server_rss_max_mib", "rss_growth",
	}
	logFigures = []string{"acknowledged", "missing", "duplicated", "refused_but_found", "unknown_but_found", "never_sent_but_found"}
)

// Figures are the numbers that limits speak of.
type Figures map[string]float64

// AddLoad adds what a load saw:
//
//	acked_share             acknowledged events by those that were due; 1 without a schedule
//	failed_share            failed requests by all
//	missed                  requests due and not sent
//	last_events_per_second  mean of the last three seconds: whether it came back
//	p99_growth              median of the seconds' p99 in the last fifth of the time, by that in the second fifth
//	rss_growth              the same of the server's mean resident memory
//
// Figures of the server's process are there when one process served to the end, and those of growth when it was
// measured for ten seconds.
func (f Figures) AddLoad(phase string, l Load, r *load.Report) {
	add := func(name string, v float64) { f[phase+"."+l.Name+"."+name] = v }
	add("events_per_second", r.EventsPerS)
	share := 1.0
	if r.Rate > 0 {
		share = r.EventsPerS / r.Rate
	}
	add("acked_share", share)
	add("failed_share", float64(r.Failed)/float64(max(r.Requests, 1)))
	add("missed", float64(r.Missed))
	add("p50_ms", r.Latency.P50)
	add("p99_ms", r.Latency.P99)
	add("p999_ms", r.Latency.P999)
	add("max_ms", r.Latency.Max)
	last := r.Timeline[max(0, len(r.Timeline)-3):]
	sum := 0.0
	for _, s := range last {
		sum += s.EventsPerS
	}
	add("last_events_per_second", sum/float64(max(len(last), 1)))
	if growth, ok := growthOf(r.Timeline, median, func(s load.Second) float64 { return s.P99 }); ok {
		add("p99_growth", growth)
	}
	if r.Server != nil {
		add("server_us_per_event", r.Server.CPUPerEvent)
		add("server_rss_max_mib", r.Server.RSSMaxMiB)
		if growth, ok := growthOf(r.Timeline, mean, func(s load.Second) float64 { return s.ServerRSS }); ok {
			add("rss_growth", growth)
		}
	}
}

// fifthSecondsMin is how many seconds a fifth has at least, for growth to be more than chance.
const fifthSecondsMin = 2

// growthOf compares the last fifth of the measured seconds with the second one: in the first one things settle.
func growthOf(timeline []load.Second, typical func([]float64) float64, of func(load.Second) float64) (growth float64, ok bool) {
	var values []float64
	for _, s := range timeline {
		if !s.Warmup {
			values = append(values, of(s))
		}
	}
	fifth := len(values) / 5
	if fifth < fifthSecondsMin {
		return 0, false
	}
	early, late := typical(values[fifth:2*fifth]), typical(values[len(values)-fifth:])
	return late / early, early > 0
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// Rate is what a load is to send: its own rate, or one that follows from what an earlier phase has yielded.
func (f Figures) Rate(l *Load) (float64, error) {
	of := l.RateOf
	if of == nil {
		return l.Rate, nil
	}
	rate := f[of.Figure] * of.Times
	if of.AtMost > 0 {
		rate = min(rate, of.AtMost)
	}
	if rate <= 0 {
		return 0, fmt.Errorf("the rate of load %s: %s was not measured, or is nothing", l.Name, of.Figure)
	}
	return rate, nil
}

// AddVerdict adds what the log held of all loads.
func (f Figures) AddVerdict(v *verify.Verdict) {
	for i, n := range []uint64{v.Acked, v.Missing, v.Duplicated, v.RefusedFound, v.UnknownFound, v.Strange} {
		f["log."+logFigures[i]] = float64(n)
	}
}

// Judged is a limit with what became of it.
type Judged struct {
	Limit
	Value float64 `json:"value"`
	Bound float64 `json:"bound"`
	OK    bool    `json:"ok"`
}

// String is a line of a report.
func (j Judged) String() string {
	mark, relation := "FAILED", "at least"
	if j.OK {
		mark = "ok    "
	}
	if j.AtMost != nil {
		relation = "at most"
	}
	of := ""
	if j.Times != "" {
		of = " by " + j.Times
	}
	return fmt.Sprintf("%s %s = %.4g, %s %.4g%s", mark, j.Figure, j.Value, relation, j.Bound, of)
}

// always are the limits of every scenario: a 200 is never a lie.
func always() []Limit {
	none := 0.0
	return []Limit{{Figure: "log.missing", AtMost: &none}, {Figure: "log.never_sent_but_found", AtMost: &none}}
}

// Judge holds the limits against the figures. A limit whose figure was not measured does not hold.
func (s *Scenario) Judge(f Figures) (all []Judged, ok bool) {
	ok = true
	for _, l := range append(always(), s.Limits...) {
		j := Judged{Limit: l}
		value, measured := f[l.Figure]
		factor := 1.0
		if l.Times != "" {
			var there bool
			factor, there = f[l.Times]
			measured = measured && there
		}
		j.Value = value
		if l.AtMost != nil {
			j.Bound = *l.AtMost * factor
			j.OK = measured && value <= j.Bound
		} else {
			j.Bound = *l.AtLeast * factor
			j.OK = measured && value >= j.Bound
		}
		ok = ok && j.OK
		all = append(all, j)
	}
	return all, ok
}
