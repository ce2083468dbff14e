// Package scenario describes what is done to a gateway and what must come out of it: phases of loads and faults, and
// limits on the figures that they yield. A scenario is one YAML file; unknown keys are refused.
//
//	about: What it shows.
//	logs: [journal, kafka]               # it is run on each of them
//	gateway: {…}                         # the gateway's configuration file, but for addresses and log
//	businesses: {count: 1000}            # made in a row, for the gateway and for loads that name none
//	meters: [{business: "acct_a:sk_test_a", count: 1000}] # defined before the first phase
//	phases:
//	  - name: steady
//	    warmup: 2s
//	    duration: 60s
//	    loads:
//	      - {name: one, businesses: ["acct_a:sk_test_a"], rate: 100000, batch: 100, sessions: 10, connections: 40}
//	    faults: {do: kill-gateway, every: 5s, down: 1s, times: 3}
//	  - name: half
//	    duration: 60s
//	    loads:
//	      - {name: all, rate_of: {figure: steady.one.events_per_second, times: 0.5, at_most: 60000}}
//	limits:
//	  - {figure: steady.one.p99_ms, at_most: 25}
//	  - {figure: noisy.one.p99_ms, at_most: 2, times: steady.one.p99_ms}
//
// Figures of a load are PHASE.LOAD.NAME, those of the verdict on the log log.NAME; see Figures. That nothing
// acknowledged is missing is a limit of every scenario and need not be written down.
//
// The package only reads and judges: it starts nothing.
package scenario

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Logs and faults, as they are called in the files.
const (
	Journal = "journal"
	Kafka   = "kafka"

	KillGateway = "kill-gateway" // kill -9, and a new process on the same data after a while
	KillBroker  = "kill-broker"
	PauseBroker = "pause-broker" // stopped where it stands: its connections stay open and silent
	SlowDisk    = "slow-disk"    // each of the gateway's fsyncs takes longer by a delay
)

// Scenario is one file.
type Scenario struct {
	Name       string         `yaml:"-" json:"name"`
	About      string         `yaml:"about" json:"about"`
	Logs       []string       `yaml:"logs" json:"-"`
	Gateway    map[string]any `yaml:"gateway" json:"gateway"` // without Businesses; see GatewayConfig
	Businesses Businesses     `yaml:"businesses" json:"businesses,omitzero"`
	Meters     []Meters       `yaml:"meters" json:"meters,omitempty"`
	Phases     []Phase        `yaml:"phases" json:"phases"`
	Limits     []Limit        `yaml:"limits" json:"-"`
}

// Meters are defined before the first phase, by the names that loads send: the first Count of them, which sum up the
// payload's ValueKey. Loads send "value", so that with another key each of their events is refused behind the log.
type Meters struct {
	Business string `yaml:"business" json:"business"` // NAME:KEY
	Count    int    `yaml:"count" json:"count"`
	ValueKey string `yaml:"value_key" json:"value_key,omitempty"` // empty: value
}

// Phase is a time during which its loads run side by side.
type Phase struct {
	Name     string        `yaml:"name" json:"name"`
	Warmup   time.Duration `yaml:"warmup" json:"warmup_ns"`
	Duration time.Duration `yaml:"duration" json:"duration_ns"`
	Loads    []Load        `yaml:"loads" json:"loads"`
	// Settled has it begin when the gateway has counted all that was sent before.
	Settled bool    `yaml:"settled" json:"settled,omitempty"`
	Faults  *Faults `yaml:"faults" json:"faults,omitempty"`
}

// Load is what one kind of sender does; see the flags of bench load. Left out, a number has that flag's default.
type Load struct {
	Name         string   `yaml:"name" json:"name"`
	Businesses   []string `yaml:"businesses" json:"businesses,omitempty"` // NAME:KEY; none: those made in a row
	Rate         float64  `yaml:"rate" json:"rate,omitempty"`             // events a second; 0: as fast as answers come
	RateOf       *RateOf  `yaml:"rate_of" json:"rate_of,omitempty"`       // in place of Rate
	Batch        int      `yaml:"batch" json:"batch"`
	Connections  int      `yaml:"connections" json:"connections"`
	Sessions     int      `yaml:"sessions" json:"sessions,omitempty"`
	SkewSessions bool     `yaml:"skew_sessions" json:"skew_sessions,omitempty"` // the second sends half as much as the first, and so on
	Meters       int      `yaml:"meters" json:"meters,omitempty"`
	Hot          float64  `yaml:"hot" json:"hot,omitempty"` // share of the events that are on meter_0000
	Customers    int      `yaml:"customers" json:"customers,omitempty"`
	Zipf         bool     `yaml:"zipf" json:"zipf,omitempty"`
}

// RateOf is a rate that is known when an earlier phase was measured.
type RateOf struct {
	Figure string  `yaml:"figure" json:"figure"`
	Times  float64 `yaml:"times" json:"times"`
	AtMost float64 `yaml:"at_most" json:"at_most,omitempty"` // 0: no bound
}

// Faults are done again and again: the first time when Every has passed since the phase began.
type Faults struct {
	Do    string        `yaml:"do" json:"do"`
	Every time.Duration `yaml:"every" json:"every_ns"`
	Down  time.Duration `yaml:"down" json:"down_ns"` // until it is started, continued or fast again
	Times int           `yaml:"times" json:"times"`
	Delay time.Duration `yaml:"delay" json:"delay_ns,omitempty"` // of each fsync, when the disk is slow
}

// Limit is a bound on a figure, of which the scenario fails when it does not hold.
type Limit struct {
	Figure  string   `yaml:"figure" json:"figure"`
	AtMost  *float64 `yaml:"at_most" json:"at_most,omitempty"`
	AtLeast *float64 `yaml:"at_least" json:"at_least,omitempty"`
	Times   string   `yaml:"times" json:"times,omitempty"` // the bound is a multiple of this figure
}

const metersMax = 10_000 // as many as loads have names for

// Parse reads a file's text.
func Parse(name string, text []byte) (*Scenario, error) {
	s := &Scenario{Name: name}
	if err := yaml.UnmarshalWithOptions(text, s, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

var word = regexp.MustCompile(`^[a-z0-9-]+$`)

func (s *Scenario) validate() error {
	if s.About == "" || len(s.Logs) == 0 || len(s.Phases) == 0 {
		return errors.New("about, logs and phases are required")
	}
	for _, l := range s.Logs {
		if l != Journal && l != Kafka {
			return fmt.Errorf("there is no log %q", l)
		}
	}
	if s.Businesses.Count < 0 || s.Businesses.Count > businessesMax {
		return fmt.Errorf("businesses: count is not between 0 and %d", businessesMax)
	}
	for _, m := range s.Meters {
		if m.Business == "" || m.Count < 1 || m.Count > metersMax {
			return fmt.Errorf("meters: a business and a count between 1 and %d are required", metersMax)
		}
	}
	loads := map[string]bool{}
	for _, p := range s.Phases {
		if err := s.validatePhase(&p, loads); err != nil {
			return fmt.Errorf("phase %s: %w", p.Name, err)
		}
		for _, l := range p.Loads {
			loads[p.Name+"."+l.Name] = true
		}
	}
	for _, l := range s.Limits {
		if (l.AtMost == nil) == (l.AtLeast == nil) {
			return fmt.Errorf("the limit on %s needs one of at_most and at_least", l.Figure)
		}
		for _, f := range []string{l.Figure, l.Times} {
			if f != "" && !known(f, loads) {
				return fmt.Errorf("there is no figure %q", f)
			}
		}
	}
	return nil
}

// validatePhase is given the loads of the phases before.
func (s *Scenario) validatePhase(p *Phase, before map[string]bool) error {
	if !word.MatchString(p.Name) || p.Duration <= 0 || len(p.Loads) == 0 {
		return errors.New("a name of small letters, a duration and loads are required")
	}
	names := map[string]bool{}
	for _, l := range p.Loads {
		switch {
		case !word.MatchString(l.Name) || names[l.Name] || before[p.Name+"."+l.Name]:
			return fmt.Errorf("load %q: a name of small letters of its own is required", l.Name)
		case len(l.Businesses) == 0 && s.Businesses.Count == 0:
			return fmt.Errorf("load %s: businesses are required", l.Name)
		case l.RateOf != nil && (l.Rate != 0 || l.RateOf.Times <= 0 || l.RateOf.AtMost < 0):
			return fmt.Errorf("load %s: rate_of needs times, and no rate beside it", l.Name)
		case l.RateOf != nil && (!known(l.RateOf.Figure, before) || strings.HasPrefix(l.RateOf.Figure, "log.")):
			return fmt.Errorf("load %s: there is no figure %q of an earlier phase", l.Name, l.RateOf.Figure)
		}
		names[l.Name] = true
	}
	if p.Faults == nil {
		return nil
	}
	return s.validateFaults(p)
}

func (s *Scenario) validateFaults(p *Phase) error {
	f := p.Faults
	needs, ok := map[string]string{KillGateway: "", KillBroker: Kafka, PauseBroker: Kafka, SlowDisk: Journal}[f.Do]
	for _, log := range s.Logs {
		if ok && needs != "" && needs != log {
			return fmt.Errorf("faults: there is no %s with the log %s", f.Do, log)
		}
	}
	switch {
	case !ok:
		return fmt.Errorf("there is no fault %q", f.Do)
	case f.Every <= 0 || f.Times <= 0 || f.Down < 0 || f.Down >= f.Every:
		return errors.New("faults: every and times are required, and down is less than every")
	case (f.Do == SlowDisk) != (f.Delay > 0):
		return fmt.Errorf("faults: a delay is what %s needs, and nothing else", SlowDisk)
	case time.Duration(f.Times)*f.Every+f.Down >= p.Warmup+p.Duration:
		return errors.New("faults: the last one is not over before the phase is")
	}
	return nil
}

// Uses says whether a phase has this kind of fault.
func (s *Scenario) Uses(fault string) bool {
	return slices.ContainsFunc(s.Phases, func(p Phase) bool { return p.Faults != nil && p.Faults.Do == fault })
}

// Shorten makes every phase last d at most, to try a scenario out: with as many faults as leave the time between two of
// them for coming back from the last.
func (s *Scenario) Shorten(d time.Duration) {
	for i := range s.Phases {
		p := &s.Phases[i]
		if p.Duration <= d {
			continue
		}
		p.Duration = d
		if f := p.Faults; f != nil {
			f.Times = max(0, min(f.Times, int((p.Warmup+d)/f.Every)-1))
		}
	}
}

func known(figure string, loads map[string]bool) bool {
	if name, ok := strings.CutPrefix(figure, "log."); ok {
		return slices.Contains(logFigures, name)
	}
	i := strings.LastIndexByte(figure, '.')
	return i > 0 && loads[figure[:i]] && slices.Contains(loadFigures, figure[i+1:])
}
