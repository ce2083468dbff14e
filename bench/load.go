package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tollgate/bench/internal/ledger"
	"tollgate/bench/internal/load"
	"tollgate/bench/internal/machine"
)

type loadCommand struct {
	Target        string        `default:"http://127.0.0.1:8080" help:"Base URL."`
	Dialect       string        `default:"stripe" enum:"stripe,otlp-logs" help:"What is sent: stripe, or otlp-logs, which needs no key."`
	SessionTarget string        `help:"Base URL where sessions are opened, if another one."`
	Key           string        `xor:"who" help:"API key that opens the sessions."`
	Businesses    string        `xor:"who" type:"existingfile" help:"File of businesses, NAME:KEY a line, in place of --key."`
	Rate          float64       `default:"0" help:"Events a second. 0: closed loop, as fast as the target answers."`
	Batch         int           `default:"100" help:"Events a request, 1 to 100."`
	Connections   int           `default:"16" help:"Connections, one request in flight each."`
	Sessions      int           `help:"Sessions, which share connections and rate evenly. Default: one a business."`
	Duration      time.Duration `default:"10s" help:"How long is measured."`
	Warmup        time.Duration `default:"0s" help:"How long is sent before that."`
	Meters        int           `default:"8" help:"Number of event names."`
	Customers     int           `default:"1000" help:"Number of customers."`
	Skew          string        `default:"uniform" enum:"uniform,zipf" help:"How often each meter and customer comes: uniform or zipf."`
	HotMeterShare float64       `default:"0" help:"Share of the events that are on the first meter, 0 to 1. 0: no meter is special."`
	PayloadBytes  int           `help:"Pad each event's payload to this size."`
	Identifiers   string        `default:"on" enum:"on,off" help:"Whether events carry identifiers: on or off."`
	Seed          uint64        `default:"1" help:"Decides which meters and customers follow one another."`
	AnswerMax     time.Duration `default:"30s" help:"How long an answer is waited for."`
	ServerPID     int           `name:"server-pid" help:"Process whose CPU time and memory are reported as the server's."`
	BrokerPID     int           `name:"broker-pid" help:"The same, as the broker's."`
	ServerMetrics string        `help:"URL of the server's metrics, such as http://127.0.0.1:9090/metrics: asked once a second how full its queues are."`
	Ledger        string        `type:"path" help:"File for the ledger of what was sent and acknowledged."`
	Out           string        `type:"path" help:"File for the result as JSON."`
	Owned         bool          `name:"i-own-this-target" help:"Load a target that is not on loopback."`
}

// result is the JSON file: what was measured, and everything needed to measure it again.
type result struct {
	Command string       `json:"command"`
	Started time.Time    `json:"started"`
	Seed    uint64       `json:"seed"`
	Run     string       `json:"run"` // as in the identifiers
	Machine machine.Info `json:"machine"`
	Report  *load.Report `json:"report"`
}

// Run is called by kong.
func (c *loadCommand) Run(ctx context.Context) error {
	config, err := c.config()
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	r := result{Command: commandLine(os.Args[1:]), Started: time.Now().UTC().Truncate(time.Second), Seed: c.Seed, Machine: machine.Describe()}
	line := newLine(os.Stderr, config.Warmup+config.Duration)
	report, book, err := load.Run(ctx, config, line.show)
	line.end()
	if err != nil {
		return err
	}
	r.Report, r.Run = report, ledger.RunName(book.Run)
	printReport(os.Stdout, report)
	if c.Ledger != "" {
		if err := book.Save(c.Ledger); err != nil {
			return err
		}
	}
	return saveJSON(c.Out, r)
}

func (c *loadCommand) config() (load.Config, error) {
	config := load.Config{
		Target: c.Target, Dialect: c.Dialect, SessionTarget: c.SessionTarget, Rate: c.Rate, Batch: c.Batch, Connections: c.Connections,
		Sessions: c.Sessions, Duration: c.Duration, Warmup: c.Warmup, Meters: c.Meters, Customers: c.Customers,
		Zipf: c.Skew == "zipf", HotMeterShare: c.HotMeterShare, PayloadBytes: c.PayloadBytes, Anonymous: c.Identifiers == "off", Seed: c.Seed,
		AnswerMax: c.AnswerMax, ServerPID: c.ServerPID, BrokerPID: c.BrokerPID, ServerMetrics: c.ServerMetrics,
		Businesses: []load.Business{{Name: "the key's", Key: c.Key}},
	}
	if c.Key == "" && c.Businesses == "" && c.Dialect != load.OTLPLogs {
		return config, errors.New("who sends? give --key or --businesses")
	}
	if c.Ledger != "" && config.Anonymous {
		return config, errors.New("--ledger with --identifiers off: events without identifiers can not be found again")
	}
	for _, target := range []string{c.Target, c.SessionTarget, c.ServerMetrics} {
		if target == "" || c.Owned {
			continue
		}
		if err := load.CheckLoopback(target); err != nil {
			return config, fmt.Errorf("%w: say --i-own-this-target if it is yours to load", err)
		}
	}
	if c.Businesses == "" {
		return config, nil
	}
	text, err := os.ReadFile(c.Businesses)
	if err != nil {
		return config, err
	}
	config.Businesses, err = parseBusinesses(string(text))
	return config, err
}

// parseBusinesses reads NAME:KEY a line, the form of the gateway's own --api-keys; empty lines and # are skipped.
func parseBusinesses(text string) (businesses []load.Business, err error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, key, ok := strings.Cut(line, ":")
		if !ok || name == "" || key == "" {
			return nil, fmt.Errorf("line %d of the businesses is not NAME:KEY", n)
		}
		businesses = append(businesses, load.Business{Name: name, Key: key})
	}
	return businesses, nil
}

// commandLine is what was typed, without the key, and without the places where somebody keeps files: it is published.
func commandLine(args []string) string {
	words := append([]string{"bench"}, args...)
	for i, w := range words {
		if strings.HasPrefix(w, "--key=") {
			words[i] = "--key=…"
		} else if w == "--key" && i+1 < len(words) {
			words[i+1] = "…"
		} else if flag, value, ok := strings.Cut(w, "="); ok && filepath.IsAbs(value) {
			words[i] = flag + "=" + filepath.Base(value)
		} else if filepath.IsAbs(w) {
			words[i] = filepath.Base(w)
		}
	}
	return strings.Join(words, " ")
}

func saveJSON(file string, v any) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
