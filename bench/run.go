package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"tollgate/bench/internal/load"
	"tollgate/bench/internal/machine"
	"tollgate/bench/internal/scenario"
)

//go:embed scenarios/*.yaml
var scenarios embed.FS

type runCommand struct {
	Scenario []string      `arg:"" optional:"" help:"Names of files in bench/scenarios, or paths of others. None: they are listed."`
	Log      []string      `enum:"journal,kafka" help:"Run on this log only; otherwise on each that the scenario names."`
	Gateway  string        `type:"existingfile" help:"Binary to run. Default: the working copy's, built first."`
	Duration time.Duration `help:"Shorten every phase to this, to try a scenario out."`
	Dir      string        `type:"path" help:"Directory for data, log lines, ledgers and results. Default: a new one in the system's place for temporary files."`
	Keep     bool          `help:"Keep the data of runs that passed, too."`
}

// errFailed is a scenario whose limits do not hold.
var errFailed = errors.New("a scenario failed")

// played is the JSON file of one run on one log.
type played struct {
	Command  string                             `json:"command"`
	Started  time.Time                          `json:"started"`
	Machine  machine.Info                       `json:"machine"`
	Scenario *scenario.Scenario                 `json:"scenario"`
	Log      string                             `json:"log"`
	Loads    map[string]map[string]*load.Report `json:"loads"` // by phase and load
	Verdict  *verified                          `json:"verdict"`
	Limits   []scenario.Judged                  `json:"limits"`
	OK       bool                               `json:"ok"`
}

// Run is called by kong.
func (c *runCommand) Run(ctx context.Context) error {
	if len(c.Scenario) == 0 {
		fmt.Print(listScenarios())
		return nil
	}
	var all []*scenario.Scenario
	for _, name := range c.Scenario {
		s, err := openScenario(name)
		if err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		if c.Duration > 0 {
			s.Shorten(c.Duration)
		}
		all = append(all, s)
	}
	if c.Dir == "" {
		var err error
		if c.Dir, err = os.MkdirTemp("", "tollgate-bench-"); err != nil {
			return err
		}
	}
	failed := 0
	for _, s := range all {
		for _, log := range s.Logs {
			if len(c.Log) > 0 && !slices.Contains(c.Log, log) {
				continue
			}
			ok, err := c.play(ctx, s, log)
			if err != nil {
				return fmt.Errorf("%s on %s: %w; see %s", s.Name, log, err, c.Dir)
			}
			if !ok {
				failed++
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%w; see %s", errFailed, c.Dir)
	}
	return nil
}

// openScenario takes a name of ours or the path of a file.
func openScenario(name string) (*scenario.Scenario, error) {
	text, err := scenarios.ReadFile("scenarios/" + name + ".yaml")
	if err != nil {
		if text, err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("there is no scenario %q; there are %s", name, strings.Join(scenarioNames(), ", "))
		}
	}
	return scenario.Parse(strings.TrimSuffix(filepath.Base(name), ".yaml"), text)
}

func scenarioNames() (names []string) {
	entries, _ := scenarios.ReadDir("scenarios") // which is in the binary
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Help is what kong prints below the flags.
func (c *runCommand) Help() string { return "Scenarios:\n\n" + listScenarios() }

// listScenarios is a line for each of ours: its name, its logs, and what it shows.
func listScenarios() string {
	var b strings.Builder
	for _, name := range scenarioNames() {
		s, err := openScenario(name)
		if err != nil {
			fmt.Fprintf(&b, "  %-16s %v\n", name, err)
			continue
		}
		fmt.Fprintf(&b, "  %-16s %s (%s)\n", name, s.About, strings.Join(s.Logs, ", "))
	}
	return b.String()
}

// play runs a scenario on one log, judges it, and says so.
func (c *runCommand) play(ctx context.Context, s *scenario.Scenario, log string) (ok bool, err error) {
	release, err := alone(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	fmt.Printf("== %s on %s: %s\n", s.Name, log, s.About)
	dir := filepath.Join(c.Dir, s.Name+"-"+log)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, err
	}
	result := played{
		Command: commandLine(os.Args[1:]), Started: time.Now().UTC().Truncate(time.Second), Machine: machine.Describe(),
		Scenario: s, Log: log, Loads: map[string]map[string]*load.Report{},
	}
	syscall.Sync() // what the disk has still to do for the run before this one, deleting it above all, is not measured
	p := player{scenario: s, dir: dir, result: &result, figures: scenario.Figures{}}
	if err := p.play(ctx, c.Gateway, log == scenario.Kafka); err != nil {
		return false, err
	}
	printVerdict(os.Stdout, result.Verdict)
	result.Limits, result.OK = s.Judge(p.figures)
	for _, j := range result.Limits {
		fmt.Println(j)
	}
	file := filepath.Join(c.Dir, s.Name+"-"+log+".json")
	if err := saveJSON(file, result); err != nil {
		return false, err
	}
	fmt.Println("result:", file)
	if result.OK && !c.Keep {
		err = os.RemoveAll(dir)
	}
	return result.OK, err
}
