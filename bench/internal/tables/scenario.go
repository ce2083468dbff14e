package tables

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The part of a scenario's result that is told in tables.
type scenarioResult struct {
	Scenario struct {
		Name   string `json:"name"`
		Phases []struct {
			Name  string `json:"name"`
			Loads []struct {
				Name string `json:"name"`
			} `json:"loads"`
		} `json:"phases"`
	} `json:"scenario"`
	Log     string                             `json:"log"`
	Loads   map[string]map[string]scenarioLoad `json:"loads"`
	Verdict *struct {
		Acked      uint64 `json:"acknowledged"`
		Found      uint64 `json:"found"`
		Missing    uint64 `json:"missing"`
		Duplicated uint64 `json:"duplicated"`
	} `json:"verdict"`
}

type scenarioLoad struct {
	EventsPerS float64       `json:"events_per_second"`
	Failed     uint64        `json:"requests_failed"`
	Missed     uint64        `json:"requests_missed"`
	Latency    latency       `json:"latency_ms"`
	Server     *scenarioCost `json:"server"`
	Broker     *scenarioCost `json:"broker"`
}

type latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

type scenarioCost struct {
	CPUPerEvent float64 `json:"cpu_us_per_event"`
	RSSMaxMiB   float64 `json:"rss_max_mib"`
}

// OfScenario tells a result of a scenario: loads, a row each, and log, what was found there. It returns nil for
// another JSON file.
func OfScenario(text []byte) ([]Table, error) {
	var r scenarioResult
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	if r.Scenario.Name == "" || r.Verdict == nil {
		return nil, nil
	}
	loads := Table{
		Name: "loads", Title: r.Scenario.Name + " on " + r.Log,
		Columns: []string{"load", "events/s", "p50 ms", "p99 ms", "p999 ms", "max ms", "CPU µs an event", "broker µs", "memory MiB", "failed", "not sent"},
	}
	for _, ph := range r.Scenario.Phases {
		for _, l := range ph.Loads {
			if got, ok := r.Loads[ph.Name][l.Name]; ok {
				loads.Rows = append(loads.Rows, got.row(ph.Name+", "+l.Name))
			}
		}
	}
	v := r.Verdict
	log := Table{
		Name: "log", Title: r.Scenario.Name + " on " + r.Log + ", in the log",
		Columns: []string{"acknowledged", "found of these", "missing", "duplicated"},
		Rows:    [][]string{{Count(v.Acked), Count(v.Found), Count(v.Missing), Count(v.Duplicated)}},
	}
	return []Table{loads, log}, nil
}

func (l scenarioLoad) row(name string) []string {
	cpu, broker, memory := "–", "–", "–"
	if l.Server != nil {
		cpu, memory = Figure(l.Server.CPUPerEvent), fmt.Sprintf("%.0f", l.Server.RSSMaxMiB)
	}
	if l.Broker != nil {
		broker = Figure(l.Broker.CPUPerEvent)
	}
	q := l.Latency
	return []string{
		name, Count(uint64(l.EventsPerS)), Figure(q.P50), Figure(q.P99), Figure(q.P999), Figure(q.Max), cpu, broker, memory,
		Count(l.Failed), Count(l.Missed),
	}
}

// Count groups digits: 1,234,567.
func Count(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Figure has three digits that count: 0.0123, 1.23, 12.3, 1,234.
func Figure(v float64) string {
	if v >= 100 || v <= -100 {
		if v < 0 {
			return "-" + Count(uint64(-v+0.5))
		}
		return Count(uint64(v + 0.5))
	}
	text := fmt.Sprintf("%#.3g", v)
	if strings.ContainsRune(text, 'e') {
		text = fmt.Sprintf("%.4f", v)
	}
	return strings.TrimSuffix(text, ".")
}
