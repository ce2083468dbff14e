package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"tollgate/bench/internal/ledger"
	"tollgate/bench/internal/logs"
	"tollgate/bench/internal/verify"
)

type verifyCommand struct {
	Ledger  string   `required:"" type:"existingfile" help:"Ledger that bench load wrote."`
	Kafka   []string `xor:"log" required:"" help:"Brokers HOST:PORT to read the topic from."`
	Journal string   `xor:"log" required:"" type:"existingdir" help:"Journal or data dir of a gateway, running or not."`
	Topic   string   `default:"tollgate.usage" help:"Topic of the usage records."`
	Out     string   `type:"path" help:"File for the verdict as JSON."`
}

// errUntrue is the verdict that a 200 was not kept.
var errUntrue = errors.New("what was acknowledged and what is in the log do not agree")

// verified is the verdict with how it was found.
type verified struct {
	*verify.Verdict
	Log     logs.Stats `json:"log"`
	Seconds float64    `json:"seconds"`
}

// Run is called by kong.
func (c *verifyCommand) Run(ctx context.Context) error {
	book, err := ledger.Open(c.Ledger)
	if err != nil {
		return err
	}
	v, err := verifyLog(ctx, []*ledger.Ledger{book}, c.Kafka, c.Journal, c.Topic)
	if err != nil {
		return err
	}
	printVerdict(os.Stdout, v)
	if err := saveJSON(c.Out, v); err != nil {
		return err
	}
	if !v.OK() {
		return errUntrue
	}
	return nil
}

// verifyLog reads the topic from brokers, or from a journal when there are none, once for all ledgers. The verdict is
// the sum of theirs.
func verifyLog(ctx context.Context, books []*ledger.Ledger, brokers []string, journal, topic string) (*verified, error) {
	var tallies []*verify.Tally
	for _, b := range books {
		tallies = append(tallies, verify.NewTally(b))
	}
	visit := func(value []byte) {
		for _, t := range tallies {
			if t.Visit(value) {
				return
			}
		}
	}
	begin := time.Now()
	var v verified
	var err error
	if len(brokers) > 0 {
		v.Log, err = logs.Kafka(ctx, brokers, topic, visit)
	} else {
		v.Log, err = logs.Journal(ctx, journal, topic, visit)
	}
	if err != nil {
		return nil, err
	}
	v.Seconds = time.Since(begin).Seconds()
	v.Verdict = &verify.Verdict{}
	for _, t := range tallies {
		v.Add(t.Verdict())
	}
	return &v, nil
}

func printVerdict(out io.Writer, v *verified) {
	n := func(n uint64) string { return thousands(float64(n)) }
	fmt.Fprintf(out, "acknowledged                  %15s\n", n(v.Acked))
	fmt.Fprintf(out, "found of these                %15s\n", n(v.Found))
	fmt.Fprintf(out, "missing                       %15s\n", n(v.Missing))
	for _, id := range v.Examples {
		fmt.Fprintf(out, "  for example %s\n", id)
	}
	fmt.Fprintf(out, "duplicated                    %15s\n", n(v.Duplicated))
	fmt.Fprintf(out, "never acknowledged but found  %15s  (%s of %s refused, %s of %s unanswered)\n",
		n(v.RefusedFound+v.UnknownFound), n(v.RefusedFound), n(v.Refused), n(v.UnknownFound), n(v.Unknown))
	if v.Strange > 0 {
		fmt.Fprintf(out, "never sent but found          %15s\n", n(v.Strange))
	}
	fmt.Fprintf(out, "read %s records in %.2f s: %s records/s\n",
		thousands(float64(v.Log.Records)), v.Seconds, thousands(float64(v.Log.Records)/v.Seconds))
	for _, t := range v.Log.Torn {
		fmt.Fprintln(out, "torn:", t)
	}
}
