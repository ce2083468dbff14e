// Command bench measures a gateway from outside and holds it to its word: it sends load by HTTP, keeps a ledger of what
// was acknowledged, and looks the events up in the log afterwards. It imports nothing of the gateway's own code, so
// that a fault there can not hide here.
//
//	go run ./bench load --target http://127.0.0.1:8080 --key sk_test_… --rate 100000 --ledger /tmp/ledger
//	go run ./bench verify --ledger /tmp/ledger --journal data
//	go run ./bench run business-100k
//	go run ./bench compare --out compare.json
//	go run ./bench report result.json --out result.html
//	go run ./bench tables --check
//
// --help explains the flags. Exit codes: 0 good; 1 not: a load that could not run, an acknowledged event that is not in
// the log, a scenario or a comparison whose limits do not hold, a table that is not what its result says; 2 command
// line refused.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type cli struct {
	Load    loadCommand    `cmd:"" help:"Send load and measure how it is answered."`
	Verify  verifyCommand  `cmd:"" help:"Look up in the log what a load was told is there."`
	Run     runCommand     `cmd:"" help:"Play scenarios: gateway, broker, loads, faults, limits, and the truth at the end."`
	Compare compareCommand `cmd:"" help:"Measure the gateway beside other programs that do the same, in turns."`
	Report  reportCommand  `cmd:"" help:"A result as an HTML page that opens without a network."`
	Tables  tablesCommand  `cmd:"" help:"Write the documents' tables from the results that are kept beside them."`
}

// errRefused is a command line that asks for something that is not done.
var errRefused = errors.New("refused")

func main() {
	var c cli
	parsed := kong.Parse(&c, kong.Name("bench"), kong.Description("Load, and the truth of every 200."),
		kong.UsageOnError(), kong.Exit(func(code int) {
			if code != 0 {
				code = 2
			}
			os.Exit(code)
		}))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	switch err := parsed.Run(); {
	case err == nil:
	case errors.Is(err, errRefused):
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
