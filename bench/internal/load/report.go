package load

import (
	"context"
	"maps"
	"os"
	"time"

	"tollgate/bench/internal/hist"
	"tollgate/bench/internal/machine"
)

// Report is what a load saw. Figures are of the measured time, without the warm-up, unless their comment says
// otherwise. Times are in milliseconds, CPU times in seconds.
type Report struct {
	Closed      bool              `json:"closed_loop"`    // no schedule: each connection sent when it had its answer
	Rate        float64           `json:"rate,omitempty"` // events a second that were due; none in a closed loop
	Interrupted bool              `json:"interrupted,omitempty"`
	Seconds     float64           `json:"seconds"`
	Events      uint64            `json:"events_acked"`
	EventsPerS  float64           `json:"events_per_second"`
	Requests    uint64            `json:"requests"` // answered or failed
	Failed      uint64            `json:"requests_failed"`
	Missed      uint64            `json:"requests_missed"`     // due, and not sent by the end; of the whole run
	Errors      map[string]uint64 `json:"errors,omitempty"`    // by kind, of the whole run
	Latency     Quantiles         `json:"latency_ms"`          // of acknowledged and missed requests, from their intended times
	Lateness    Quantiles         `json:"send_lateness_ms"`    // how late requests were sent, for want of a free connection or a processor
	Generator   *CostReport       `json:"generator,omitempty"` // of this process
	Server      *CostReport       `json:"server,omitempty"`
	Broker      *CostReport       `json:"broker,omitempty"`
	Timeline    []Second          `json:"timeline"` // of the whole run
}

// Quantiles of a histogram, in milliseconds.
type Quantiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// CostReport is what a process cost.
type CostReport struct {
	CPUSeconds  float64 `json:"cpu_s"`
	CPUPerEvent float64 `json:"cpu_us_per_event"`
	Cores       float64 `json:"cores"` // CPU time by elapsed time
	RSSMiB      float64 `json:"rss_mib"`
	RSSMaxMiB   float64 `json:"rss_max_mib"` // since the process started
}

// Second is one second of a run while it goes on.
type Second struct {
	At         float64 `json:"t"` // seconds since the start
	Warmup     bool    `json:"warmup,omitempty"`
	EventsPerS float64 `json:"events_per_second"`
	Failed     uint64  `json:"failed"` // requests
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	ServerCPU  float64 `json:"server_cores"`
	BrokerCPU  float64 `json:"broker_cores"`
	OwnCPU     float64 `json:"generator_cores"`
	ServerRSS  float64 `json:"server_rss_mib"`
	Queues     *Queues `json:"queues,omitempty"` // as the server says, within the second
}

// totals is the state of a run's counters at one moment.
type totals struct {
	at                      time.Time
	acked, requests, failed uint64
	missed                  uint64
	latency, lateness       hist.Snapshot
	own, server, broker     machine.Cost
}

func (r *run) totals() totals {
	t := totals{at: time.Now()}
	for i := range r.shards {
		s := &r.shards[i]
		t.acked += s.acked.Load()
		t.requests += s.requests.Load()
		t.failed += s.failed.Load()
		t.missed += s.missed.Load()
		t.latency = t.latency.Add(s.latency.Snapshot())
		t.lateness = t.lateness.Add(s.lateness.Snapshot())
	}
	// A process that has ended, or was restarted under another id, costs what it cost when last seen: nothing more.
	t.own, _ = machine.Usage(os.Getpid())
	if r.c.ServerPID > 0 {
		t.server, _ = machine.Usage(r.c.ServerPID)
	}
	if r.c.BrokerPID > 0 {
		t.broker, _ = machine.Usage(r.c.BrokerPID)
	}
	return t
}

// A watch looks at the run once a second, and exactly when the warm-up ends.
type watch struct {
	load   *run
	each   func(Second)
	gauge  *gauge
	report *Report
	begin  totals // of the measured time
	last   totals
}

func newWatch(r *run, each func(Second)) *watch {
	now := r.totals()
	return &watch{load: r, each: each, gauge: newGauge(r.c.ServerMetrics), report: &Report{Closed: r.c.Rate == 0, Rate: r.c.Rate}, begin: now, last: now}
}

// run returns when the load is over, with all of the report but its sums.
func (w *watch) run(ctx context.Context) *Report {
	warm := w.load.c.Warmup == 0
	for next := w.load.start.Add(time.Second); ; next = next.Add(time.Second) {
		if !warm && !next.Before(w.load.measure) {
			if sleepUntil(ctx, w.load.measure) {
				w.begin = w.load.totals()
				warm = true
			}
		}
		if !sleepUntil(ctx, next) {
			break
		}
		w.second()
	}
	w.load.stopped = w.load.totals()
	w.report.Interrupted = time.Now().Before(w.load.end)
	w.load.began = w.begin
	return w.report
}

// second closes one second.
func (w *watch) second() {
	now := w.load.totals()
	elapsed := now.at.Sub(w.last.at).Seconds()
	latency := now.latency.Since(w.last.latency)
	cores := func(a, b machine.Cost) float64 { return max(0, (b.CPU-a.CPU).Seconds()/elapsed) }
	s := Second{
		At: now.at.Sub(w.load.start).Seconds(), Warmup: now.at.Before(w.load.measure),
		EventsPerS: float64(now.acked-w.last.acked) / elapsed, Failed: now.failed - w.last.failed,
		P50: ms(latency.Quantile(0.5)), P99: ms(latency.Quantile(0.99)),
		ServerCPU: cores(w.last.server, now.server), BrokerCPU: cores(w.last.broker, now.broker),
		OwnCPU: cores(w.last.own, now.own), ServerRSS: mib(now.server.Resident), Queues: w.gauge.last.Load(),
	}
	w.report.Timeline = append(w.report.Timeline, s)
	w.last = now
	if w.each != nil {
		w.each(s)
	}
}

// finish fills in the sums, when all answers are in.
func (p *Report) finish(r *run) {
	end := r.totals()
	began, stopped := r.began, r.stopped
	p.Seconds = stopped.at.Sub(began.at).Seconds()
	p.Events = stopped.acked - began.acked
	p.Requests = stopped.requests - began.requests
	p.Failed = stopped.failed - began.failed
	p.Missed = end.missed
	p.EventsPerS = float64(p.Events) / p.Seconds
	p.Latency, p.Lateness = quantiles(end.latency), quantiles(end.lateness)
	p.Errors = maps.Clone(r.errors.n)
	p.Generator = cost(began.own, stopped.own, p)
	if r.c.ServerPID > 0 {
		p.Server = cost(began.server, stopped.server, p)
	}
	if r.c.BrokerPID > 0 {
		p.Broker = cost(began.broker, stopped.broker, p)
	}
}

// cost is nil when the process could not be seen at both ends.
func cost(began, stopped machine.Cost, p *Report) *CostReport {
	if began.Resident == 0 || stopped.Resident == 0 {
		return nil
	}
	cpu := (stopped.CPU - began.CPU).Seconds()
	c := &CostReport{CPUSeconds: cpu, Cores: cpu / p.Seconds, RSSMiB: mib(stopped.Resident), RSSMaxMiB: mib(stopped.ResidentMax)}
	if p.Events > 0 {
		c.CPUPerEvent = cpu * 1e6 / float64(p.Events)
	}
	return c
}

func quantiles(s hist.Snapshot) Quantiles {
	return Quantiles{
		P50: ms(s.Quantile(0.5)), P90: ms(s.Quantile(0.9)), P99: ms(s.Quantile(0.99)), P999: ms(s.Quantile(0.999)), Max: ms(s.Max),
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
func mib(bytes int64) float64    { return float64(bytes) / (1 << 20) }
