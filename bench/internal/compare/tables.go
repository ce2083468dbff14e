package compare

import (
	"fmt"
	"strconv"

	"tollgate/bench/internal/tables"
)

const nothing = "–"

// Tables tell the result; their names are batch-N for each size of requests, fixed-rate, broker-kill, floors,
// gateway-floors, journal-floor, promises, left-out and limits. One about which nothing was measured has no rows.
func (r *Result) Tables() (all []tables.Table) {
	for _, b := range r.Setup.Batches {
		title := fmt.Sprintf("%d events a request, as fast as answers come; medians of %d rounds", b, r.Setup.Rounds)
		all = append(all, r.servers("batch-"+strconv.Itoa(b), title, Saturate, b))
	}
	title := fmt.Sprintf("%s events a second in requests of %d; one round", tables.Figure(r.Setup.Rate), r.fixedBatch())
	all = append(all, r.servers(FixedRate, title, FixedRate, r.fixedBatch()))
	return append(all, r.brokerKill(), r.gatewayFloors(), r.journalFloor(), r.floors(), r.promises(), r.leftOut(), r.limits())
}

// fixedBatch is the size of requests in the passes with a rate.
func (r *Result) fixedBatch() int {
	for _, run := range r.Runs {
		if run.Pass == FixedRate || run.Pass == BrokerKill {
			return run.Batch
		}
	}
	return 0
}

func (r *Result) servers(name, title, pass string, batch int) tables.Table {
	t := tables.Table{Name: name, Title: title, Columns: []string{
		"", "events/s", "CPU µs an event", "by tollgate's (range)", "broker µs", "p50 ms", "p99 ms", "p999 ms", "memory MiB", "failed",
	}}
	for _, e := range r.Entrants {
		runs := r.runs(pass, e.Name, batch)
		if len(runs) == 0 {
			continue
		}
		median := func(of func(*Run) float64) string { return tables.Figure(over(runs, of).Median) }
		failed := uint64(0)
		for _, run := range runs {
			failed += run.Failed
		}
		broker := nothing
		if !e.Floor && e.Name != TollgateJournal {
			broker = median(func(r *Run) float64 { return r.BrokerCPU })
		}
		t.Rows = append(t.Rows, []string{
			e.Name, median(func(r *Run) float64 { return r.EventsPerS }), median(func(r *Run) float64 { return r.CPU }),
			ratioText(r.CPURatio(pass, e.Name, batch)), broker,
			median(func(r *Run) float64 { return r.P50 }), median(func(r *Run) float64 { return r.P99 }),
			median(func(r *Run) float64 { return r.P999 }), fmt.Sprintf("%.0f", over(runs, func(r *Run) float64 { return r.RSSMaxMiB }).Median),
			tables.Count(failed),
		})
	}
	return t
}

func ratioText(s Spread) string {
	switch s.Rounds {
	case 0:
		return nothing
	case 1:
		return fmt.Sprintf("%.2f", s.Median)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Min, s.Max)
}

func (r *Result) brokerKill() tables.Table {
	t := tables.Table{
		Name:  BrokerKill,
		Title: fmt.Sprintf("kill -9 of the broker, %d times, at %s events a second", r.Setup.Kills, tables.Figure(r.Setup.Rate)),
		Columns: []string{
			"", "acknowledged", "of these missing", "duplicated", "refused", "of these found", "unanswered", "of these found", "events/s at the end",
		},
	}
	for _, e := range r.Entrants {
		for _, run := range r.Runs {
			if run.Pass != BrokerKill || run.Entrant != e.Name || run.Error != "" || run.Log == nil {
				continue
			}
			v := run.Log
			t.Rows = append(t.Rows, []string{
				e.Name, tables.Count(v.Acked), tables.Count(v.Missing), tables.Count(v.Duplicated), tables.Count(v.Refused),
				tables.Count(v.RefusedFound), tables.Count(v.Unknown), tables.Count(v.UnknownFound), tables.Figure(run.LastPerS),
			})
		}
	}
	return t
}

func (r *Result) gatewayFloors() tables.Table {
	t := tables.Table{
		Name: "gateway-floors", Title: "CPU µs an event of tollgate, by what reading requests and producing its batches cost alone",
		Columns: []string{"events a request", "tollgate", FloorHTTP, FloorKafkaGo, "ratio (range)", FloorProduce, "ratio (range)", "at its rate: " + FloorHTTP, FloorProduce, "ratio (range)"},
	}
	for _, b := range r.Setup.Batches {
		s := r.FloorRatio(FloorProduce, b)
		if s.Rounds == 0 {
			continue
		}
		cpu := func(pass, entrant string) string {
			s := over(r.runs(pass, entrant, b), func(r *Run) float64 { return r.CPU })
			if s.Rounds == 0 {
				return "–"
			}
			return tables.Figure(s.Median)
		}
		t.Rows = append(t.Rows, []string{
			strconv.Itoa(b), cpu(Saturate, Tollgate), cpu(Saturate, FloorHTTP),
			cpu(Work, FloorKafkaGo), ratioText(r.FloorRatio(FloorKafkaGo, b)), cpu(Work, FloorProduce), ratioText(s),
			cpu(AtRate, FloorHTTP), cpu(AtRate, FloorProduce), ratioText(r.FloorRatioAtRate(b)),
		})
	}
	return t
}

func (r *Result) journalFloor() tables.Table {
	t := tables.Table{
		Name: "journal-floor", Title: "events a second on the journal, by what the disk permits in fsyncs of the same size",
		Columns: []string{"events a request", "events/s", "bytes an fsync", "permitted", "share (range)"},
	}
	for _, b := range r.Setup.Batches {
		s := r.JournalShare(b)
		if s.Rounds == 0 {
			continue
		}
		runs := r.runs(Saturate, TollgateJournal, b)
		may := r.paired(Saturate, b, func(of []*Run) float64 { return permitted(of[0], of[1]) }, TollgateJournal, FloorFsync)
		t.Rows = append(t.Rows, []string{
			strconv.Itoa(b), tables.Figure(over(runs, func(r *Run) float64 { return r.EventsPerS }).Median),
			tables.Figure(over(runs, func(r *Run) float64 { return float64(r.BatchBytes) }).Median), tables.Figure(may.Median), ratioText(s),
		})
	}
	return t
}

func (r *Result) floors() tables.Table {
	t := tables.Table{
		Name: "floors", Title: "Programs that make their own load; medians",
		Columns: []string{"", "for requests of", "batch bytes", "records/s", "MB/s", "CPU µs a record", "broker µs"},
	}
	for _, e := range r.Entrants {
		if e.Kind != Self {
			continue
		}
		for _, b := range append([]int{0}, r.Setup.Batches...) {
			for _, runs := range bySize(r.runs(Work, e.Name, b), b > 0) {
				of := nothing
				if b > 0 {
					of = strconv.Itoa(b)
				}
				median := func(of func(*Run) float64) float64 { return over(runs, of).Median }
				t.Rows = append(t.Rows, []string{
					e.Name, of, tables.Figure(median(func(r *Run) float64 { return float64(r.BatchBytes) })),
					tables.Figure(median(func(r *Run) float64 { return r.EventsPerS })),
					tables.Figure(median(func(r *Run) float64 { return r.BytesPerS / 1e6 })),
					tables.Figure(median(func(r *Run) float64 { return r.CPU })), tables.Figure(median(func(r *Run) float64 { return r.BrokerCPU })),
				})
			}
		}
	}
	return t
}

// bySize groups runs by the size of their batches; those of a size that was measured first belong together.
func bySize(runs []*Run, together bool) (groups [][]*Run) {
	at := map[int]int{}
	for _, run := range runs {
		size := run.BatchBytes
		if together {
			size = 0
		}
		i, ok := at[size]
		if !ok {
			i = len(groups)
			at[size] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], run)
	}
	return groups
}

func (r *Result) promises() tables.Table {
	t := tables.Table{Name: "promises", Title: "What is compared", Columns: []string{"", "what it is", "what a 2xx of it means"}}
	for _, e := range r.Entrants {
		if e.LeftOut == "" {
			t.Rows = append(t.Rows, []string{e.Name, e.About, e.Promise})
		}
	}
	return t
}

func (r *Result) leftOut() tables.Table {
	t := tables.Table{Name: "left-out", Title: "Left out, and what failed", Columns: []string{"", "why"}}
	for _, e := range r.Entrants {
		if e.LeftOut != "" {
			t.Rows = append(t.Rows, []string{e.Name, e.LeftOut})
		}
	}
	for _, run := range r.Runs {
		if run.Error != "" {
			t.Rows = append(t.Rows, []string{fmt.Sprintf("%s, %s, batch %d, round %d", run.Entrant, run.Pass, run.Batch, run.Round), run.Error})
		}
	}
	return t
}

func (r *Result) limits() tables.Table {
	t := tables.Table{Name: "limits", Title: "Limits", Columns: []string{"limit"}}
	for _, j := range r.Limits {
		t.Rows = append(t.Rows, []string{j.String()})
	}
	return t
}
