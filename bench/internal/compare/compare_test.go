package compare

import (
	"strings"
	"testing"

	"tollgate/bench/internal/load"
	"tollgate/bench/internal/verify"
)

const list = `
peers:
  - {name: plain, about: a, promise: p, kind: http, needs: [go, no-such], dir: ., build: [go], run: [x]}
  - {name: floor-http, about: a, promise: p, kind: http, run: [x]}
  - {name: logs, about: a, promise: p, kind: http, dialect: otlp-logs, run: [x]}
  - {name: floor-fsync, about: a, promise: p, kind: self, run: [x]}
`

func TestAListIsReadStrictly(t *testing.T) {
	peers, err := ParsePeers([]byte(list))
	if err != nil || len(peers) != 4 || peers[0].Dialect != load.Stripe || peers[2].Dialect != load.OTLPLogs {
		t.Fatalf("%+v, %v", peers, err)
	}
	if peers[0].Floor() || !peers[1].Floor() || peers[2].Floor() || !peers[3].Floor() {
		t.Error("the floors are those that are called so")
	}
	if m := peers[0].Missing(func(c string) bool { return c == "go" }); strings.Join(m, " ") != "no-such" {
		t.Errorf("missing is %v", m)
	}
	for _, c := range [][2]string{
		{"needs:", "wants:"},
		{"name: plain", "name: Plain Old"},
		{"name: plain", "name: logs"},
		{"name: plain", "name: tollgate"},
		{"kind: self", "kind: other"},
		{"otlp-logs", "grpc"},
		{"kind: self", "kind: self, dialect: stripe"},
		{"about: a", "about: ''"},
		{"promise: p", "promise: ''"},
		{"run: [x]", "run: []"},
	} {
		if p, err := ParsePeers([]byte(strings.Replace(list, c[0], c[1], 1))); err == nil {
			t.Errorf("with %q in place of %q it is taken: %+v", c[1], c[0], p)
		}
	}
}

func TestALimitNamesWhatThereIs(t *testing.T) {
	peers, _ := ParsePeers([]byte(list))
	for text, good := range map[string]bool{
		"{figure: cpu-ratio, of: plain, batch: 100, at_least: 8}":             true,
		"{figure: cpu-ratio, of: every, batch: 1, at_least: 0.95}":            true,
		"{figure: floor-ratio, batch: 100, at_most: 1.6}":                     true,
		"{figure: journal-reach, batch: 100, at_least: 0.5}":                  true,
		"{figure: cpu-ratio, batch: 100, at_least: 8}":                        false,
		"{figure: cpu-ratio, of: other, batch: 100, at_least: 8}":             false,
		"{figure: cpu-ratio, of: plain, at_least: 8}":                         false,
		"{figure: cpu-ratio, of: plain, batch: 100}":                          false,
		"{figure: cpu-ratio, of: plain, batch: 100, at_least: 8, at_most: 9}": false,
		"{figure: floor-ratio, of: plain, batch: 100, at_most: 1.6}":          false,
		"{figure: speed, batch: 100, at_least: 8}":                            false,
		"{figure: floor-ratio, batch: 100, most: 1.6}":                        false,
	} {
		if _, err := ParseLimits([]byte("limits: ["+text+"]"), peers); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// result is of two rounds, in the second of which the machine is half as fast.
func result() *Result {
	r := &Result{Setup: Setup{Rounds: 2, Batches: []int{100}, Rate: 20_000}, Entrants: []Entrant{
		{Name: Tollgate, Kind: HTTP},
		{Name: TollgateJournal, Kind: HTTP},
		{Name: "plain", Kind: HTTP},
		{Name: "gone", Kind: HTTP, LeftOut: "no java"},
		{Name: FloorHTTP, Kind: HTTP, Floor: true},
		{Name: FloorProduce, Kind: Self, Floor: true},
		{Name: FloorKafkaGo, Kind: Self, Floor: true},
		{Name: FloorFsync, Kind: Self, Floor: true},
	}}
	for round := 1; round <= 2; round++ {
		slow := float64(round)
		add := func(run Run) {
			run.Round, run.CPU, run.EventsPerS = round, run.CPU*slow, run.EventsPerS/slow
			if run.Batch == 0 {
				run.Batch = 100
			}
			r.Runs = append(r.Runs, run)
		}
		add(Run{Pass: Saturate, Entrant: Tollgate, CPU: 0.6, EventsPerS: 1e6, Log: &verify.Verdict{Acked: 10, Found: 10}})
		add(Run{Pass: Saturate, Entrant: TollgateJournal, CPU: 0.5, EventsPerS: 1e6, EventBytes: 200, BatchBytes: 5000, Log: &verify.Verdict{}})
		add(Run{Pass: Saturate, Entrant: "plain", CPU: 6 * slow, EventsPerS: 1e5, Log: &verify.Verdict{Acked: 10, Found: 10}})
		add(Run{Pass: Saturate, Entrant: FloorHTTP, CPU: 0.3})
		add(Run{Pass: Work, Entrant: FloorProduce, CPU: 0.1, BatchBytes: 5000})
		add(Run{Pass: Work, Entrant: FloorKafkaGo, CPU: 0.2, BatchBytes: 5000})
		add(Run{Pass: Work, Entrant: FloorFsync, BytesPerS: 4e8 / slow, BatchBytes: 5000 + round})
		r.Runs = append(r.Runs, Run{Pass: Work, Entrant: FloorFsync, Round: round, BytesPerS: 1, BatchBytes: 4096},
			Run{Pass: Work, Entrant: FloorFsync, Round: round, BytesPerS: 1, BatchBytes: 65536})
	}
	r.Runs = append(r.Runs, Run{Pass: Saturate, Entrant: "plain", Batch: 100, Round: 2, CPU: 1e9, Error: "it fell over"})
	return r
}

func TestRatiosAreWithinARound(t *testing.T) {
	r := result()
	for name, c := range map[string]struct{ got, want Spread }{
		"the gateway by itself": {r.CPURatio(Saturate, Tollgate, 100), Spread{1, 1, 1, 2}},
		"a peer":                {r.CPURatio(Saturate, "plain", 100), Spread{15, 10, 20, 2}},
		"who did not run":       {r.CPURatio(Saturate, "gone", 100), Spread{}},
		"another size":          {r.CPURatio(Saturate, "plain", 10), Spread{}},
		"floors":                {r.FloorRatio(FloorProduce, 100), Spread{1.5, 1.5, 1.5, 2}},
		"floors, by kafka-go":   {r.FloorRatio(FloorKafkaGo, 100), Spread{1.2, 1.2, 1.2, 2}},
		"floors, not measured":  {r.FloorRatioAtRate(100), Spread{}},
		"the disk":              {r.JournalShare(100), Spread{0.5, 0.5, 0.5, 2}},
		"the disk's limit":      {r.JournalReach(100), Spread{0.8125, 0.625, 1, 2}},
	} {
		if short(c.got.Median) != c.want.Median || short(c.got.Min) != c.want.Min || short(c.got.Max) != c.want.Max || c.got.Rounds != c.want.Rounds {
			t.Errorf("%s: %+v and not %+v", name, c.got, c.want)
		}
	}
	for _, run := range r.runs(Saturate, Tollgate, 100) {
		r.Runs = append(r.Runs, Run{Pass: AtRate, Entrant: FloorHTTP, Batch: 100, Round: run.Round, CPU: run.CPU / 4},
			Run{Pass: AtRate, Entrant: FloorProduce, Batch: 100, Round: run.Round, CPU: run.CPU / 4})
	}
	if s := r.FloorRatioAtRate(100); s.Rounds != 2 || short(s.Median) != 2 {
		t.Errorf("floors at the gateway's rate: %+v", s)
	}
	r.Runs[0].Error = "it was not ready" // the first round does not count then
	if s := r.CPURatio(Saturate, "plain", 100); s.Rounds != 1 || short(s.Median) != 20 {
		t.Errorf("%+v", s)
	}
}

func TestLimitsAndPromisesAreJudged(t *testing.T) {
	limit := func(figure, of string, batch int, least float64) Limit {
		return Limit{Figure: figure, Of: of, Batch: batch, AtLeast: &least}
	}
	r := result()
	r.Judge([]Limit{limit(cpuRatio, every, 100, 15), limit(cpuRatio, "plain", 10, 1), limit(floorRatio, "", 100, 1), limit(floorByKafkaGo, "", 100, 1)})
	var lines []string
	for _, j := range r.Limits {
		lines = append(lines, j.String())
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		"ok     cpu-ratio of plain at batch 100 = 15, at least 15", "–      cpu-ratio of gone at batch 100, at least 15: not judged: gone was left out: no java",
		"not judged: no requests of this size", "ok     floor-ratio at batch 100 = 1.5", "ok     floor-ratio-kafka-go at batch 100 = 1.2", "ok     missing of plain = 0, at most 0", "ok     refused-found of tollgate = 0",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if !r.OK || strings.Contains(text, "cpu-ratio of floor-http") || strings.Contains(text, "cpu-ratio of tollgate-journal") {
		t.Errorf("%v\n%s", r.OK, text)
	}
	judge := func(change func(r *Result)) bool {
		r := result()
		change(r)
		r.Judge([]Limit{limit(cpuRatio, "plain", 100, 1)})
		return r.OK
	}
	lost := &verify.Verdict{Acked: 10, Found: 9, Missing: 1}
	for name, c := range map[string]struct {
		change func(r *Result)
		ok     bool
	}{
		"nothing":                       {func(*Result) {}, true},
		"the gateway lost one":          {func(r *Result) { r.Runs[0].Log = lost }, false},
		"a peer lost one, undisturbed":  {func(r *Result) { r.Runs[2].Log = lost }, false},
		"a peer lost one with a broker": {func(r *Result) { r.Runs = append(r.Runs, Run{Pass: BrokerKill, Entrant: "plain", Log: lost}) }, true},
		"the gateway, too":              {func(r *Result) { r.Runs = append(r.Runs, Run{Pass: BrokerKill, Entrant: Tollgate, Log: lost}) }, false},
		"a peer that was there fell over": {func(r *Result) {
			for i := range r.Runs {
				if r.Runs[i].Entrant == "plain" {
					r.Runs[i].Error = "x"
				}
			}
		}, false},
	} {
		if judge(c.change) != c.ok {
			t.Errorf("%s: %v", name, !c.ok)
		}
	}
}

func TestAResultComesBackAndIsTold(t *testing.T) {
	r := result()
	r.Runs = append(r.Runs, Run{Pass: BrokerKill, Batch: 100, Entrant: "plain", Events: 5, LastPerS: 20_000, Log: &verify.Verdict{Acked: 5, Found: 4, Missing: 1}},
		Run{Pass: FixedRate, Batch: 100, Entrant: "plain", CPU: 3})
	text, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(text)
	if err != nil || got == nil || len(got.Runs) != len(r.Runs) {
		t.Fatalf("%v, %s", err, text)
	}
	rows := map[string]string{}
	for _, table := range got.Tables() {
		for _, row := range table.Rows {
			if len(row) != len(table.Columns) {
				t.Errorf("%s: %q has not the columns %q", table.Name, row, table.Columns)
			}
			rows[table.Name] += strings.Join(row, " ") + "\n"
		}
	}
	for name, want := range map[string]string{
		"batch-100": "plain 75,000 15.0 15.00 (10.00–20.00)", FixedRate: "plain 0.00 3.00 –", BrokerKill: "plain 5 1 0 0 0 0 0 20,000",
		"gateway-floors": "100 0.900 0.450 0.300 1.20 (1.20–1.20) 0.150 1.50 (1.50–1.50)", "journal-floor": "100 750,000 5,000 1,500,000 0.50 (0.50–0.50)",
		"floors": "floor-fsync – 65,536", "left-out": "plain, saturate, batch 100, round 2 it fell over", "promises": "plain",
	} {
		if !strings.Contains(rows[name], want) {
			t.Errorf("%s does not tell %q but\n%s", name, want, rows[name])
		}
	}
	for _, other := range []string{`{}`, `{"scenario":{"name":"x"},"runs":[]}`} {
		if r, err := Parse([]byte(other)); r != nil || err != nil {
			t.Errorf("%s is %+v, %v", other, r, err)
		}
	}
}
