package compare

import (
	"errors"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml"

	"tollgate/bench/internal/verify"
)

// Figures that limits speak of: medians over the rounds, but for the sums over all runs.
const (
	cpuRatio       = "cpu-ratio"            // of a peer: its CPU an event by the gateway's
	floorRatio     = "floor-ratio"          // the gateway's CPU an event by that of its floors together
	floorByKafkaGo = "floor-ratio-kafka-go" // the same by the floor that produces by kafka-go
	floorAtRate    = "floor-ratio-at-rate"  // the first by floors at the gateway's own rate
	journalReach   = "journal-reach"        // the journal's events a second by a million, or by 80 % of what the disk permits where that is less
	missing        = "missing"              // acknowledged and not in the log, over all runs
	madeUp         = "made-up"              // in the log and never sent, over all runs
	doubled        = "duplicated"           // over all runs
	refusedFound   = "refused-found"        // refused and in the log, over all runs
)

// every is the name for all servers beside the gateway that keep what they are sent.
const every = "every"

// A Limit is a bound on a figure, of which the comparison fails when it does not hold.
type Limit struct {
	Figure  string   `yaml:"figure" json:"figure"`
	Of      string   `yaml:"of" json:"of,omitempty"` // a peer, or every
	Batch   int      `yaml:"batch" json:"batch,omitempty"`
	AtLeast *float64 `yaml:"at_least" json:"at_least,omitempty"`
	AtMost  *float64 `yaml:"at_most" json:"at_most,omitempty"`
}

// Judged is a limit with what became of it.
type Judged struct {
	Limit
	Value     float64 `json:"value"`
	Rounds    int     `json:"rounds"` // in which it was measured; runs, of a sum
	OK        bool    `json:"ok"`
	NotJudged string  `json:"not_judged,omitempty"` // why; it neither holds nor fails
}

// ParseLimits reads the text of limits.yaml, in which unknown keys are refused.
func ParseLimits(text []byte, peers []Peer) ([]Limit, error) {
	var list struct {
		Limits []Limit `yaml:"limits"`
	}
	if err := yaml.UnmarshalWithOptions(text, &list, yaml.Strict()); err != nil {
		return nil, err
	}
	for _, l := range list.Limits {
		if err := l.validate(peers); err != nil {
			return nil, fmt.Errorf("limit on %s: %w", l.Figure, err)
		}
	}
	return list.Limits, nil
}

func (l *Limit) validate(peers []Peer) error {
	switch {
	case (l.AtLeast == nil) == (l.AtMost == nil):
		return errors.New("it needs one of at_least and at_most")
	case l.Batch <= 0:
		return errors.New("it needs a batch")
	case slices.Contains([]string{floorRatio, floorByKafkaGo, floorAtRate, journalReach}, l.Figure):
		if l.Of != "" {
			return errors.New("it is of the gateway alone")
		}
	case l.Figure != cpuRatio:
		return errors.New("there is no such figure")
	case l.Of != every && !slices.ContainsFunc(peers, func(p Peer) bool { return p.Name == l.Of }):
		return fmt.Errorf("there is no peer %q", l.Of)
	}
	return nil
}

// String is a line of a report.
func (j Judged) String() string {
	name := j.Figure
	if j.Of != "" {
		name += " of " + j.Of
	}
	if j.Batch > 0 {
		name += fmt.Sprintf(" at batch %d", j.Batch)
	}
	bound, relation := j.AtLeast, "at least"
	if bound == nil {
		bound, relation = j.AtMost, "at most"
	}
	if j.NotJudged != "" {
		return fmt.Sprintf("–      %s, %s %.4g: not judged: %s", name, relation, *bound, j.NotJudged)
	}
	mark := "FAILED"
	if j.OK {
		mark = "ok    "
	} else if j.Rounds == 0 {
		return fmt.Sprintf("FAILED %s, %s %.4g: there was no round in which all that it needs was measured", name, relation, *bound)
	}
	return fmt.Sprintf("%s %s = %.4g, %s %.4g", mark, name, j.Value, relation, *bound)
}

// Judge holds the limits against what was measured, and the promises that need no limit: of what the gateway has
// acknowledged nothing is missing and nothing is doubled, what it refused is not there, and no peer's figures count
// that has lost something while nobody disturbed it.
func (r *Result) Judge(limits []Limit) {
	r.OK, r.Limits = true, nil
	for _, l := range limits {
		of := []string{l.Of}
		if l.Of == every {
			of = of[:0]
			for _, e := range r.Entrants {
				if e.Kind == HTTP && !e.Floor && e.Name != Tollgate && e.Name != TollgateJournal {
					of = append(of, e.Name)
				}
			}
		}
		for _, name := range of {
			one := l
			one.Of = name
			r.judge(one)
		}
	}
	for _, e := range r.Entrants {
		if e.Kind == HTTP && e.LeftOut == "" {
			r.judgePromises(e.Name)
		}
	}
}

func (r *Result) judge(l Limit) {
	var s Spread
	switch l.Figure {
	case cpuRatio:
		s = r.CPURatio(Saturate, l.Of, l.Batch)
	case floorRatio:
		s = r.FloorRatio(FloorProduce, l.Batch)
	case floorByKafkaGo:
		s = r.FloorRatio(FloorKafkaGo, l.Batch)
	case floorAtRate:
		s = r.FloorRatioAtRate(l.Batch)
	case journalReach:
		s = r.JournalReach(l.Batch)
	}
	j := Judged{Limit: l, Value: short(s.Median), Rounds: s.Rounds}
	if s.Rounds == 0 {
		j.NotJudged = r.whyNot(l)
	}
	j.OK = s.Rounds > 0 && (l.AtLeast == nil || s.Median >= *l.AtLeast) && (l.AtMost == nil || s.Median <= *l.AtMost)
	r.add(j)
}

func (r *Result) add(j Judged) {
	r.Limits = append(r.Limits, j)
	r.OK = r.OK && (j.OK || j.NotJudged != "")
}

// whyNot says why a figure was not measured, and nothing when it should have been: then the limit fails.
func (r *Result) whyNot(l Limit) string {
	if !slices.Contains(r.Setup.Batches, l.Batch) {
		return "no requests of this size were sent"
	}
	needed := map[string][]string{
		cpuRatio: {l.Of}, journalReach: {TollgateJournal, FloorFsync},
		floorRatio: {FloorHTTP, FloorProduce}, floorByKafkaGo: {FloorHTTP, FloorKafkaGo}, floorAtRate: {FloorHTTP, FloorProduce},
	}[l.Figure]
	for _, name := range needed {
		i := slices.IndexFunc(r.Entrants, func(e Entrant) bool { return e.Name == name })
		if i < 0 {
			return "there is no " + name
		}
		if why := r.Entrants[i].LeftOut; why != "" {
			return name + " was left out: " + why
		}
	}
	return ""
}

func (r *Result) judgePromises(entrant string) {
	var quiet, all verify.Verdict
	runs := 0
	for _, run := range r.Runs {
		if run.Entrant == entrant && run.Log != nil {
			runs++
			all.Add(run.Log)
			if run.Pass != BrokerKill {
				quiet.Add(run.Log)
			}
		}
	}
	if runs == 0 {
		return
	}
	none := 0.0
	at := func(figure string, n uint64) {
		r.add(Judged{Limit: Limit{Figure: figure, Of: entrant, AtMost: &none}, Value: float64(n), Rounds: runs, OK: n == 0})
	}
	if entrant != Tollgate && entrant != TollgateJournal {
		at(missing, quiet.Missing)
		return
	}
	at(missing, all.Missing)
	at(madeUp, all.Strange)
	at(doubled, all.Duplicated)
	at(refusedFound, all.RefusedFound)
}
