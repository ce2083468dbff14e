package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"tollgate/bench/internal/load"
	"tollgate/bench/internal/verify"
)

const good = `
about: Something.
logs: [kafka]
gateway: {businesses: [{id: acct_a, keys: [{key: sk_test_a}]}]}
meters: [{business: "acct_a:sk_test_a", count: 100}]
phases:
  - name: alone
    duration: 10s
    loads:
      - {name: quiet, businesses: ["acct_a:sk_test_a"], rate: 1000}
  - name: beside
    warmup: 1s
    duration: 20s
    loads:
      - {name: quiet, businesses: ["acct_a:sk_test_a"], rate: 1000}
      - {name: noise, businesses: ["acct_b:sk_test_b"]}
    faults: {do: pause-broker, every: 5s, down: 2s, times: 3}
limits:
  - {figure: beside.quiet.p99_ms, at_most: 2, times: alone.quiet.p99_ms}
  - {figure: log.acknowledged, at_least: 100}
`

func TestWhatDoesNotMakeSenseIsRefused(t *testing.T) {
	if _, err := Parse("good", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{"rate: 1000}", "rats: 1000}"},
		{"count: 100", "count: 0"},
		{`business: "acct_a:sk_test_a", count`, "count"},
		{"[kafka]", "[journal, kafka]"}, // which has no broker to pause
		{"[kafka]", "[files]"},
		{"name: noise", "name: quiet"},
		{"name: noise", "name: The Noise"},
		{"duration: 20s", "duration: 16s"},
		{"pause-broker", "pause-coffee"},
		{"down: 2s", "down: 5s"},
		{"times: 3", "times: 0"},
		{"alone.quiet.p99_ms", "alone.noise.p99_ms"},
		{"alone.quiet.p99_ms", "alone.quiet.p98_ms"},
		{"log.acknowledged", "log.gone"},
		{"at_least: 100", "at_least: 100, at_most: 200"},
		{"about: Something.", ""},
		{"do: pause-broker", "do: slow-disk, delay: 50ms"}, // which is the journal's
		{"down: 2s", "down: 2s, delay: 50ms"},
		{`, businesses: ["acct_b:sk_test_b"]`, ""},
		{`businesses: ["acct_b:sk_test_b"]`, `businesses: ["acct_b:sk_test_b"], rate_of: {figure: beside.quiet.events_per_second, times: 1}`},
		{`businesses: ["acct_b:sk_test_b"]`, `businesses: ["acct_b:sk_test_b"], rate_of: {figure: log.acknowledged, times: 1}`},
		{`businesses: ["acct_b:sk_test_b"]`, `businesses: ["acct_b:sk_test_b"], rate_of: {figure: alone.quiet.events_per_second}`},
		{`businesses: ["acct_b:sk_test_b"]`, `businesses: ["acct_b:sk_test_b"], rate: 1, rate_of: {figure: alone.quiet.events_per_second, times: 1}`},
		{"phases:", "businesses: {count: 10001}\nphases:"},
	} {
		if s, err := Parse("bad", []byte(strings.Replace(good, c[0], c[1], 1))); err == nil {
			t.Errorf("with %q in place of %q it is taken: %+v", c[1], c[0], s)
		}
	}
}

func TestASlowDiskHasADelay(t *testing.T) {
	slow := strings.NewReplacer("[kafka]", "[journal]", "do: pause-broker", "do: slow-disk, delay: 50ms").Replace(good)
	s, err := Parse("slow", []byte(slow))
	if err != nil || !s.Uses(SlowDisk) || s.Uses(KillGateway) || s.Phases[1].Faults.Delay != 50*time.Millisecond {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := Parse("slow", []byte(strings.Replace(slow, ", delay: 50ms", "", 1))); err == nil {
		t.Error("a slow disk without a delay is taken")
	}
}

func TestBusinessesAreMadeInARow(t *testing.T) {
	rows := strings.Replace(good, `, businesses: ["acct_b:sk_test_b"]`, "", 1)
	s, err := Parse("rows", []byte(strings.Replace(rows, "phases:", "businesses: {count: 1000}\nphases:", 1)))
	if err != nil {
		t.Fatal(err)
	}
	of := s.BusinessesOf(&s.Phases[1].Loads[1])
	if len(of) != 1000 || of[0] != "acct_bench_0000:sk_test_bench_0000" || of[999] != "acct_bench_0999:sk_test_bench_0999" {
		t.Errorf("%d businesses: %v", len(of), of)
	}
	if of := s.BusinessesOf(&s.Phases[0].Loads[0]); len(of) != 1 || of[0] != "acct_a:sk_test_a" {
		t.Errorf("the load that names its own: %v", of)
	}
	text, err := yaml.Marshal(s.GatewayConfig())
	if err != nil || strings.Count(string(text), "- id: acct_") != 1001 || strings.Count(string(text), "key: sk_test_bench_0999") != 1 {
		t.Errorf("%s, %v", text[len(text)-300:], err)
	}
	if again := s.GatewayConfig()["businesses"].([]any); len(again) != 1001 {
		t.Errorf("asked a second time it has %d businesses", len(again))
	}
}

func TestARateFollowsFromWhatWasMeasured(t *testing.T) {
	f := Figures{"measure.all.events_per_second": 50_000}
	of := func(times, atMost float64) *Load {
		return &Load{Rate: 7, RateOf: &RateOf{Figure: "measure.all.events_per_second", Times: times, AtMost: atMost}}
	}
	for _, c := range []struct {
		load *Load
		want float64
	}{{&Load{Rate: 7}, 7}, {of(0.5, 0), 25_000}, {of(0.5, 60_000), 25_000}, {of(0.5, 20_000), 20_000}} {
		if got, err := f.Rate(c.load); err != nil || got != c.want {
			t.Errorf("%+v sends %v, %v", c.load, got, err)
		}
	}
	if got, err := (Figures{}).Rate(of(0.5, 60_000)); err == nil {
		t.Errorf("half of what was not measured is %v", got)
	}
}

func TestGrowthComparesTheEndWithTheTimeAfterItSettled(t *testing.T) {
	// Two seconds of warm-up, then fifths of three seconds.
	p99 := []float64{900, 900 /**/, 80, 80, 80 /**/, 10, 12, 500 /**/, 1, 1, 1 /**/, 1, 1, 1 /**/, 18, 12, 1}
	rss := []float64{9, 9 /**/, 9, 9, 9 /**/, 90, 100, 110 /**/, 1, 1, 1 /**/, 1, 1, 1 /**/, 100, 100, 130}
	r := &load.Report{Server: &load.CostReport{}}
	for i := range p99 {
		r.Timeline = append(r.Timeline, load.Second{Warmup: i < 2, P99: p99[i], ServerRSS: rss[i]})
	}
	f := Figures{}
	f.AddLoad("a", Load{Name: "b"}, r)
	if f["a.b.p99_growth"] != 1 || f["a.b.rss_growth"] != 1.1 {
		t.Errorf("%v", f)
	}
	f = Figures{}
	r.Timeline = r.Timeline[:11]
	f.AddLoad("a", Load{Name: "b"}, r)
	if _, ok := f["a.b.p99_growth"]; ok {
		t.Errorf("nine seconds have grown: %v", f)
	}
}

func TestAShorterScenarioHasFewerFaults(t *testing.T) {
	for d, times := range map[time.Duration]int{time.Hour: 3, 16 * time.Second: 2, 9 * time.Second: 1, 2 * time.Second: 0} {
		s, err := Parse("good", []byte(good))
		if err != nil {
			t.Fatal(err)
		}
		s.Shorten(d)
		if p := s.Phases[1]; p.Duration > d || p.Faults.Times != times {
			t.Errorf("%v: a phase of %v with %d faults", d, p.Duration, p.Faults.Times)
		}
	}
}

func TestLimitsAreHeldAgainstFigures(t *testing.T) {
	s, err := Parse("good", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	judge := func(alone, beside float64, v verify.Verdict) bool {
		f := Figures{}
		f.AddLoad("alone", s.Phases[0].Loads[0], &load.Report{Latency: load.Quantiles{P99: alone}})
		f.AddLoad("beside", s.Phases[1].Loads[0], &load.Report{Latency: load.Quantiles{P99: beside}})
		f.AddVerdict(&v)
		_, ok := s.Judge(f)
		return ok
	}
	found := verify.Verdict{Acked: 100, Found: 100}
	if !judge(4, 8, found) {
		t.Error("twice as long is at most twice as long")
	}
	if judge(4, 8.1, found) || judge(4, 8, verify.Verdict{Acked: 99}) {
		t.Error("a limit that does not hold")
	}
	if judge(4, 8, verify.Verdict{Acked: 100, Missing: 1}) || judge(4, 8, verify.Verdict{Acked: 100, Strange: 1}) {
		t.Error("a 200 that is a lie passes where no limit speaks of it")
	}
	if all, ok := s.Judge(Figures{"log.missing": 0, "log.never_sent_but_found": 0, "log.acknowledged": 100}); ok || all[2].OK {
		t.Errorf("a figure that was not measured: %v", all)
	}
}
