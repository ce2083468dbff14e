package compare

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"

	"tollgate/bench/internal/load"
	"tollgate/bench/internal/machine"
	"tollgate/bench/internal/tables"
	"tollgate/bench/internal/verify"
)

// Passes: what is done with an entrant while it is measured.
const (
	Saturate   = "saturate"    // each connection sends when it has its answer
	FixedRate  = "fixed-rate"  // so many events a second, as batches shrink then
	BrokerKill = "broker-kill" // a fixed rate while the broker is killed, and started again
	Work       = "work"        // what a Self does
	AtRate     = "at-rate"     // a floor at the gateway's own rate of the round, as idle processors make work dearer
)

// Result is the JSON file of a comparison.
type Result struct {
	Command  string       `json:"command"`
	Started  time.Time    `json:"started"`
	Seed     uint64       `json:"seed"`
	Machine  machine.Info `json:"machine"`
	Setup    Setup        `json:"compare"`
	Entrants []Entrant    `json:"entrants"`
	Runs     []Run        `json:"runs"` // every single one, in the order in which they were made
	Limits   []Judged     `json:"limits"`
	OK       bool         `json:"ok"`
}

// Setup is what was asked for.
type Setup struct {
	Rounds      int           `json:"rounds"`
	Length      time.Duration `json:"length_ns"`
	Warmup      time.Duration `json:"warmup_ns"`
	Batches     []int         `json:"batches"`
	Connections int           `json:"connections"`
	Rate        float64       `json:"rate"` // events a second of the passes that have one
	Kills       int           `json:"broker_kills"`
}

// An Entrant is what was measured, or left out.
type Entrant struct {
	Name    string `json:"name"`
	About   string `json:"about"`
	Promise string `json:"promise"`
	Kind    string `json:"kind"`
	Floor   bool   `json:"floor,omitempty"`
	LeftOut string `json:"left_out,omitempty"` // why
}

// A Run is one entrant for some seconds.
type Run struct {
	Pass    string  `json:"pass"`
	Batch   int     `json:"batch,omitempty"`
	Round   int     `json:"round,omitempty"`
	Entrant string  `json:"entrant"`
	Rate    float64 `json:"rate,omitempty"`  // events a second that were asked for, in AtRate
	Error   string  `json:"error,omitempty"` // why there are no figures

	Events       uint64            `json:"events"` // acknowledged; records, of a Self
	Seconds      float64           `json:"seconds"`
	EventsPerS   float64           `json:"events_per_s"`
	CPU          float64           `json:"cpu_us,omitempty"`        // of the server, an event
	BrokerCPU    float64           `json:"broker_cpu_us,omitempty"` // of the broker, an event
	GeneratorCPU float64           `json:"generator_cpu_us,omitempty"`
	RSSMaxMiB    float64           `json:"rss_max_mib,omitempty"`
	P50          float64           `json:"p50_ms,omitempty"`
	P99          float64           `json:"p99_ms,omitempty"`
	P999         float64           `json:"p999_ms,omitempty"`
	Max          float64           `json:"max_ms,omitempty"`
	Requests     uint64            `json:"requests,omitempty"`
	Failed       uint64            `json:"failed,omitempty"`
	NotSent      uint64            `json:"not_sent,omitempty"` // requests that were due
	Errors       map[string]uint64 `json:"errors,omitempty"`
	LastPerS     float64           `json:"last_events_per_s,omitempty"` // of the last three seconds: whether it came back

	BatchBytes int             `json:"batch_bytes,omitempty"` // on average to the broker, or an fsync; of a Self, as it was told
	EventBytes float64         `json:"event_bytes,omitempty"` // an event, as the gateway hands it to its log
	BytesPerS  float64         `json:"bytes_per_s,omitempty"` // of a Self
	Log        *verify.Verdict `json:"log,omitempty"`
	ReadPerS   float64         `json:"log_read_per_s,omitempty"` // records, when the log was looked through
}

// Add takes the figures of a load.
func (r *Run) Add(p *load.Report) {
	r.Events, r.Seconds, r.EventsPerS = p.Events, short(p.Seconds), short(p.EventsPerS)
	r.P50, r.P99, r.P999, r.Max = p.Latency.P50, p.Latency.P99, p.Latency.P999, p.Latency.Max
	r.Requests, r.Failed, r.NotSent, r.Errors = p.Requests, p.Failed, p.Missed, p.Errors
	for _, c := range []struct {
		cost *load.CostReport
		to   *float64
	}{{p.Server, &r.CPU}, {p.Broker, &r.BrokerCPU}, {p.Generator, &r.GeneratorCPU}} {
		if c.cost != nil {
			*c.to = short(c.cost.CPUPerEvent)
		}
	}
	if p.Server != nil {
		r.RSSMaxMiB = short(p.Server.RSSMaxMiB)
	}
	last := p.Timeline[max(0, len(p.Timeline)-3):]
	for _, s := range last {
		r.LastPerS += s.EventsPerS / float64(len(last))
	}
	r.LastPerS = short(r.LastPerS)
}

// AddSelf takes what a program said that made its own load, CPU times in microseconds.
func (r *Run) AddSelf(records, bytes uint64, seconds, cpu, broker, rssMaxMiB float64) {
	r.Events, r.Seconds = records, short(seconds)
	r.EventsPerS, r.BytesPerS = short(float64(records)/seconds), short(float64(bytes)/seconds)
	r.RSSMaxMiB = short(rssMaxMiB)
	if records > 0 {
		r.CPU, r.BrokerCPU = short(cpu/float64(records)), short(broker/float64(records))
	}
}

// short keeps five digits: the rest is noise, and a result is kept beside the documents.
func short(v float64) float64 {
	s, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 5, 64), 64)
	if err != nil || math.IsInf(s, 0) || math.IsNaN(s) {
		return 0
	}
	return s
}

// JSON is the file, a run on each line.
func (r *Result) JSON() ([]byte, error) {
	small, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return tables.Shallow(small), nil
}

// Parse reads a file. It returns nil for a JSON file that is no comparison.
func Parse(text []byte) (*Result, error) {
	var r Result
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	if r.Setup.Rounds == 0 || len(r.Entrants) == 0 {
		return nil, nil
	}
	return &r, nil
}

// Spread is what the rounds agree on, and how far apart they are. Rounds is 0 when nothing was measured.
type Spread struct {
	Median, Min, Max float64
	Rounds           int
}

func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return Spread{Median: (values[(n-1)/2] + values[n/2]) / 2, Min: values[0], Max: values[n-1], Rounds: n}
}

// runs are those of a pass that have figures.
func (r *Result) runs(pass, entrant string, batch int) (runs []*Run) {
	for i := range r.Runs {
		if got := &r.Runs[i]; got.Pass == pass && got.Entrant == entrant && got.Batch == batch && got.Error == "" {
			runs = append(runs, got)
		}
	}
	return runs
}

// over is the spread of a figure over the rounds.
func over(runs []*Run, figure func(*Run) float64) Spread {
	var values []float64
	for _, run := range runs {
		values = append(values, figure(run))
	}
	return spread(values)
}

// paired is the spread, over the rounds in which all of the entrants have figures, of what f makes of their runs.
func (r *Result) paired(pass string, batch int, f func(runs []*Run) float64, entrants ...string) Spread {
	var values []float64
	for round := range r.Setup.Rounds + 1 {
		var of []*Run
		for _, e := range entrants {
			for _, run := range r.runs(passOf(pass, e), e, batch) {
				if run.Round == round {
					of = append(of, run)
					break
				}
			}
		}
		if len(of) != len(entrants) {
			continue
		}
		if v := f(of); v > 0 && !math.IsInf(v, 0) && !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return spread(values)
}

// passOf: the floors that make their own load do it in a pass of their own.
func passOf(pass, entrant string) string {
	if entrant == FloorProduce || entrant == FloorKafkaGo || entrant == FloorFsync {
		return Work
	}
	return pass
}

// CPURatio is the CPU an event of an entrant by the gateway's of the same round: above 1 the gateway needs less.
func (r *Result) CPURatio(pass, entrant string, batch int) Spread {
	return r.paired(pass, batch, func(of []*Run) float64 { return of[0].CPU / of[1].CPU }, entrant, Tollgate)
}

// FloorRatio is the gateway's CPU an event by that of the floors which do the same with nothing between: reading
// requests, and producing batches as large as the gateway's were, by FloorProduce or FloorKafkaGo.
func (r *Result) FloorRatio(produce string, batch int) Spread {
	return r.paired(Saturate, batch, func(of []*Run) float64 { return of[0].CPU / (of[1].CPU + of[2].CPU) }, Tollgate, FloorHTTP, produce)
}

// FloorRatioAtRate is the same with floors that do as much in a second as the gateway did in that round. A server that
// is not saturated wakes up more often for the same work; the gateway, which shares the processors with a broker, never
// is, and its floors alone on the machine always are.
func (r *Result) FloorRatioAtRate(batch int) Spread {
	var values []float64
	for _, gateway := range r.runs(Saturate, Tollgate, batch) {
		http, produce := r.inRound(AtRate, FloorHTTP, gateway), r.inRound(AtRate, FloorProduce, gateway)
		if http != nil && produce != nil && http.CPU+produce.CPU > 0 {
			values = append(values, gateway.CPU/(http.CPU+produce.CPU))
		}
	}
	return spread(values)
}

// inRound is an entrant's run of the same round and batch as another run, nil when there is none.
func (r *Result) inRound(pass, entrant string, as *Run) *Run {
	for _, run := range r.runs(pass, entrant, as.Batch) {
		if run.Round == as.Round {
			return run
		}
	}
	return nil
}

// JournalShare is the gateway's events a second on its journal by what the disk permits: the bytes that the floor syncs
// in groups as large as the gateway's were, in events.
func (r *Result) JournalShare(batch int) Spread {
	return r.paired(Saturate, batch, func(of []*Run) float64 { return of[0].EventsPerS / permitted(of[0], of[1]) }, TollgateJournal, FloorFsync)
}

// JournalReach is how far the gateway on its journal is from what is asked of it: a million events a second, or 80 % of
// what the disk permits where the disk permits less. 1 and above is there.
func (r *Result) JournalReach(batch int) Spread {
	return r.paired(Saturate, batch, func(of []*Run) float64 {
		return of[0].EventsPerS / min(journalAsked, journalShareAsked*permitted(of[0], of[1]))
	}, TollgateJournal, FloorFsync)
}

const (
	journalAsked      = 1e6 // events a second
	journalShareAsked = 0.8
)

// permitted is the events a second that are as many bytes as the floor synced.
func permitted(journal, floor *Run) float64 { return floor.BytesPerS / journal.EventBytes }
