package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"tollgate/bench/internal/load"
)

// A line is the terminal's last one, rewritten each second while a load runs. Where there is no terminal it is silent.
type line struct {
	out    io.Writer
	length time.Duration
	failed uint64
}

func newLine(out *os.File, length time.Duration) *line {
	if info, err := out.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &line{out: io.Discard, length: length}
	}
	return &line{out: out, length: length}
}

const barCells = 20

func (l *line) show(s load.Second) {
	l.failed += s.Failed
	cells := min(int(s.At/l.length.Seconds()*barCells), barCells)
	phase := ""
	if s.Warmup {
		phase = " warming up"
	}
	fmt.Fprintf(l.out, "\r\033[K[%s%s] %3.0fs  %s events/s  p50 %.1f ms  p99 %.1f ms  failed %d  cores: server %.2f own %.2f%s",
		strings.Repeat("█", cells), strings.Repeat("·", barCells-cells), s.At, thousands(s.EventsPerS), s.P50, s.P99,
		l.failed, s.ServerCPU, s.OwnCPU, phase)
}

func (l *line) end() { fmt.Fprint(l.out, "\r\033[K") }

// thousands groups digits: 1,234,567.
func thousands(v float64) string {
	text := fmt.Sprintf("%.0f", v)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func printReport(out io.Writer, r *load.Report) {
	loop := fmt.Sprintf("of %s due; open loop: latencies from the intended send times", thousands(r.Rate))
	if r.Closed {
		loop = "closed loop: latencies from the sends, under the load that the connections make"
	}
	fmt.Fprintf(out, "%s events/s acknowledged over %.1f s (%s)\n", thousands(r.EventsPerS), r.Seconds, loop)
	if r.Interrupted {
		fmt.Fprintln(out, "interrupted before its end")
	}
	fmt.Fprintf(out, "requests   %s, failed %s, due and not sent %s\n",
		thousands(float64(r.Requests)), thousands(float64(r.Failed)), thousands(float64(r.Missed)))
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(out, "           %s × %s\n", thousands(float64(r.Errors[kind])), kind)
	}
	printQuantiles(out, "latency", r.Latency)
	if !r.Closed {
		printQuantiles(out, "send late", r.Lateness)
	}
	for _, p := range []struct {
		name string
		cost *load.CostReport
	}{{"server", r.Server}, {"broker", r.Broker}, {"generator", r.Generator}} {
		if p.cost != nil {
			fmt.Fprintf(out, "%-10s %.3f µs of CPU an event, %.2f cores, %.0f MiB resident (at most %.0f)\n",
				p.name, p.cost.CPUPerEvent, p.cost.Cores, p.cost.RSSMiB, p.cost.RSSMaxMiB)
		}
	}
}

func printQuantiles(out io.Writer, name string, q load.Quantiles) {
	fmt.Fprintf(out, "%-10s p50 %.2f  p90 %.2f  p99 %.2f  p999 %.2f  max %.2f ms\n", name, q.P50, q.P90, q.P99, q.P999, q.Max)
}
