package scenario

import (
	"strings"
	"testing"
	"time"

	"tollgate/bench/internal/load"
	"tollgate/bench/internal/verify"
)

const good = `
about: Something.
logs: [kafka]
gateway: {businesses: [{id: acct_a, keys: [{key: sk_test_a}]}]}
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
	} {
		if s, err := Parse("bad", []byte(strings.Replace(good, c[0], c[1], 1))); err == nil {
			t.Errorf("with %q in place of %q it is taken: %+v", c[1], c[0], s)
		}
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
