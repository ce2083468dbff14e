// Command gateway takes usage from applications with the Stripe SDKs they already have and answers when the events
// are durable: in Kafka, or in its own journal when no Kafka is configured.
//
// It is one process and one order of rooms, built top down and closed bottom up:
//
//	data dir lock → log (journal | kafkalog) → control → thinevent → forward → usage → webhook → fleet → ingest → auth → httpd → admin
//
// Here, and only here, is configuration read, are lines logged, signals taken and files of keys written. Main is an
// object so that a test can run the whole program in its own process:
//
//	m := &Main{Stdout: &out, Stderr: &logs}
//	code := m.Run([]string{"serve", "--listen", "127.0.0.1:0", "--data-dir", t.TempDir()})
//
// It will not interpret events, answer HTTP on the public listener, or decide when something is durable.
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the Makefile: -ldflags "-X main.version=…".
var version = "dev"

// Exit codes. Scripts may rely on them.
const (
	exitOK     = 0
	exitFailed = 1 // it ran and failed: a fault of disk or network, a drain that did not finish in time
	exitUsage  = 2 // it did not run: flags or configuration are wrong
	exitForced = 3 // a second signal cut the drain short
	// Commands that ask a running gateway have codes of their own: exitNotFound, exitUnknown.
)

// Main is one run of the program.
type Main struct {
	Stdout, Stderr io.Writer
	// Signals are SIGTERM, SIGINT (drain, the second one quits) and SIGHUP (reload). Run's caller owns it; nil: none.
	Signals <-chan os.Signal
}

func main() {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	m := &Main{Stdout: os.Stdout, Stderr: os.Stderr, Signals: signals}
	os.Exit(m.Run(os.Args[1:]))
}

// commandLine is the grammar of the command line, for kong.
type commandLine struct {
	Serve       serveCommand       `cmd:"" help:"Run the gateway."`
	CheckConfig checkConfigCommand `cmd:"" help:"Check the configuration, print it without secrets, and exit."`
	Journal     journalCommand     `cmd:"" help:"Look at or repair the embedded journal."`
	State       stateCommand       `cmd:"" help:"Check or rebuild what the gateway has counted."`
	Fate        fateCommand        `cmd:"" help:"Ask a running gateway what became of an event."`
	Events      eventsCommand      `cmd:"" help:"List thin events of a running gateway, or have one delivered again."`
	Listen      listenCommand      `cmd:"" help:"Print thin events of a running gateway as they come, and forward them: a developer's loop."`
	Forward     forwardCommand     `cmd:"" help:"Look at what could not be brought to Stripe, or send it again."`
	Drain       drainCommand       `cmd:"" help:"Wait until everything received before a time is at Stripe or set aside: what to run before invoices close."`
	Reconcile   reconcileCommand   `cmd:"" help:"Compare what a running gateway has counted with what Stripe has, by meter and customer."`
	Health      healthCommand      `cmd:"" help:"Ask a running gateway whether it is ready; for container health checks."`
	Version     versionCommand     `cmd:"" help:"Print the version and exit."`
}

// Run parses args, runs the command and returns the exit code. It may be called more than once in a process, also
// at the same time with different data dirs.
func (m *Main) Run(args []string) int {
	var cli commandLine
	exit := -1
	parser, err := kong.New(&cli,
		kong.Name("gateway"),
		kong.Description("tollgate: a Stripe-compatible usage-ingestion gateway."),
		kong.Writers(m.Stdout, m.Stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Help(printHelp),
	)
	if err != nil {
		panic(fmt.Sprintf("BUG: the command line's grammar: %v", err))
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if exit >= 0 { // --help has printed
		return exit
	}
	if err != nil {
		fmt.Fprintf(m.Stderr, "gateway: %v; see %s --help\n", err, commandOf(err))
		return exitUsage
	}
	onLine := map[string]bool{}
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			onLine[p.Flag.Name] = true
		}
	}
	if err := ctx.Run(m, onLine); err != nil {
		fmt.Fprintf(m.Stderr, "gateway: %v\n", err)
		return exitCode(err)
	}
	return exitOK
}

type versionCommand struct{}

func (versionCommand) Run(m *Main) error {
	fmt.Fprintf(m.Stdout, "tollgate gateway %s\n", version)
	return nil
}
