package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"tollgate/bench/internal/compare"
	"tollgate/bench/internal/load"
	"tollgate/bench/internal/machine"
	"tollgate/bench/internal/page"
)

type reportCommand struct {
	Result string `arg:"" type:"existingfile" help:"JSON file of bench load, bench run or bench compare."`
	Out    string `required:"" type:"path" help:"HTML file to write."`
}

// Run is called by kong.
func (c *reportCommand) Run() error {
	text, err := os.ReadFile(c.Result)
	if err != nil {
		return err
	}
	p, err := pageOf(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Result, err)
	}
	out, err := os.Create(c.Out)
	if err != nil {
		return err
	}
	if err := page.Write(out, p); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// pageOf tells the three kinds of results apart by what only one of them has.
func pageOf(text []byte) (page.Page, error) {
	var one result
	if err := json.Unmarshal(text, &one); err != nil {
		return page.Page{}, err
	}
	if one.Report != nil {
		p := page.Page{Title: "Load of " + one.Started.Format("2006-01-02 15:04 MST"), Facts: about(one.Command, one.Machine)}
		p.Sections = append(p.Sections, section("load", one.Report))
		return p, nil
	}
	if r, err := compare.Parse(text); r != nil && err == nil {
		return pageOfComparison(r), nil
	}
	var r played
	if err := json.Unmarshal(text, &r); err != nil {
		return page.Page{}, err
	}
	if r.Scenario == nil || r.Verdict == nil {
		return page.Page{}, fmt.Errorf("this is no result of bench load, bench run or bench compare")
	}
	p := page.Page{Title: fmt.Sprintf("%s on %s, %s", r.Scenario.Name, r.Log, r.Started.Format("2006-01-02 15:04 MST"))}
	p.Facts = append([]page.Fact{{Name: "about", Text: r.Scenario.About}}, about(r.Command, r.Machine)...)
	n := func(n uint64) string { return thousands(float64(n)) }
	p.Facts = append(p.Facts, page.Fact{
		Name: "in the log", Bad: !r.Verdict.OK(),
		Text: fmt.Sprintf("%s acknowledged, %s of them found, %s missing, %s duplicated, %s never acknowledged but found",
			n(r.Verdict.Acked), n(r.Verdict.Found), n(r.Verdict.Missing), n(r.Verdict.Duplicated), n(r.Verdict.RefusedFound+r.Verdict.UnknownFound)),
	})
	for _, j := range r.Limits {
		p.Facts = append(p.Facts, page.Fact{Name: "limit", Text: j.String(), Bad: !j.OK})
	}
	for _, ph := range r.Scenario.Phases {
		for _, l := range ph.Loads {
			if report := r.Loads[ph.Name][l.Name]; report != nil {
				p.Sections = append(p.Sections, section(ph.Name+", "+l.Name, report))
			}
		}
	}
	return p, nil
}

func about(command string, m machine.Info) []page.Fact {
	return []page.Fact{
		{Name: "command", Text: command},
		{Name: "machine", Text: fmt.Sprintf("%s, %d cores, %s MiB, Linux %s", m.Processor, m.Cores, thousands(float64(m.MemoryMiB)), m.Kernel)},
		{Name: "source", Text: m.Commit + ", " + m.Go},
	}
}

func section(title string, r *load.Report) page.Section {
	s := page.Section{Title: title}
	fact := func(name, format string, values ...any) {
		s.Facts = append(s.Facts, page.Fact{Name: name, Text: fmt.Sprintf(format, values...)})
	}
	loop := fmt.Sprintf("of %s due; open loop, latencies from the intended send times", thousands(r.Rate))
	if r.Closed {
		loop = "closed loop, latencies from the sends"
	}
	fact("acknowledged", "%s events/s over %.1f s; %s", thousands(r.EventsPerS), r.Seconds, loop)
	fact("requests", "%s, failed %s, due and not sent %s", thousands(float64(r.Requests)), thousands(float64(r.Failed)), thousands(float64(r.Missed)))
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		kinds = append(kinds, thousands(float64(r.Errors[kind]))+" × "+kind)
	}
	if len(kinds) > 0 {
		fact("failures", "%s", strings.Join(kinds, ", "))
	}
	q := r.Latency
	fact("latency", "p50 %.2f, p90 %.2f, p99 %.2f, p999 %.2f, max %.2f ms", q.P50, q.P90, q.P99, q.P999, q.Max)
	costs := func(name string, c *load.CostReport) {
		if c != nil {
			fact(name, "%.3f µs of CPU an event, %.2f cores, at most %.0f MiB resident", c.CPUPerEvent, c.Cores, c.RSSMaxMiB)
		}
	}
	costs("server", r.Server)
	costs("broker", r.Broker)
	costs("generator", r.Generator)
	s.Charts = charts(r)
	return s
}

func charts(r *load.Report) []page.Chart {
	over := func(name string, of func(load.Second) float64) page.Line {
		l := page.Line{Name: name}
		for _, s := range r.Timeline {
			l.X, l.Y = append(l.X, s.At), append(l.Y, of(s))
		}
		return l
	}
	q := r.Latency
	at := []float64{0, 1, 2, 3, 4}
	all := []page.Chart{
		{Title: "Throughput", Unit: "events/s acknowledged", Lines: []page.Line{
			over("acknowledged", func(s load.Second) float64 { return s.EventsPerS }),
		}},
		{Title: "Latency percentiles", Unit: "ms", Labels: []string{"p50", "p90", "p99", "p999", "max"}, Lines: []page.Line{
			{Name: "acknowledged requests", X: at, Y: []float64{q.P50, q.P90, q.P99, q.P999, q.Max}},
		}},
		{Title: "Latency over time", Unit: "ms, without the warm-up", Lines: []page.Line{
			over("p50", func(s load.Second) float64 { return measured(s, s.P50) }),
			over("p99", func(s load.Second) float64 { return measured(s, s.P99) }),
		}},
	}
	cpu := page.Chart{Title: "Processor", Unit: "cores", Lines: []page.Line{over("generator", func(s load.Second) float64 { return s.OwnCPU })}}
	if r.Server != nil {
		cpu.Lines = append(cpu.Lines, over("server", func(s load.Second) float64 { return s.ServerCPU }))
		all = append(all, page.Chart{Title: "Memory", Unit: "MiB resident", Lines: []page.Line{
			over("server", func(s load.Second) float64 { return s.ServerRSS }),
		}})
	}
	if r.Broker != nil {
		cpu.Lines = append(cpu.Lines, over("broker", func(s load.Second) float64 { return s.BrokerCPU }))
	}
	return append(append(all, cpu), queues(r)...)
}

// measured leaves a gap where there is no latency: in the warm-up, and where nothing was acknowledged.
func measured(s load.Second, ms float64) float64 {
	if s.Warmup || ms == 0 {
		return math.NaN()
	}
	return ms
}

// queues are plots of what the server said about its own; none when it was not asked.
func queues(r *load.Report) []page.Chart {
	var last *load.Queues
	over := func(name string, of func(*load.Queues) float64) page.Line {
		l := page.Line{Name: name}
		for _, s := range r.Timeline {
			y := math.NaN()
			if s.Queues != nil {
				y, last = of(s.Queues), s.Queues
			}
			l.X, l.Y = append(l.X, s.At), append(l.Y, y)
		}
		return l
	}
	lines := []page.Line{
		over("ring", func(q *load.Queues) float64 { return q.RingMiB }),
		over("backlog", func(q *load.Queues) float64 { return q.BacklogMiB }),
	}
	waiting := []page.Line{over("requests", func(q *load.Queues) float64 { return q.Tickets })}
	if last == nil {
		return nil
	}
	return []page.Chart{
		{Title: "Queues", Unit: fmt.Sprintf("MiB; the ring holds %.0f", last.RingCapacityMiB), Lines: lines},
		{Title: "Waiting for the log", Unit: "requests", Lines: waiting},
	}
}
