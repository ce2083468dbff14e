// Command serve is the fake Stripe as a process of its own, for tests that kill and restart what speaks to it. It keeps
// everything in memory: /fake/restart stands for its own restart.
//
//	go run ./test/fakestripe/serve --listen 127.0.0.1:0 --key sk_test_x=acct_demo --meter acct_demo/api_requests/sum
//
// The first line it prints is the address it listens on, as a URL.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"tollgate/test/fakestripe"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

type options struct {
	listen string
	seed   uint64
	cfg    fakestripe.Config
	meters []string
}

func parse(args []string) (options, error) {
	o := options{cfg: fakestripe.Config{Keys: make(map[string]string)}}
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "address to listen on")
	f.Func("key", "a secret key, or key=business; the business is acct_demo otherwise; may be given again", func(v string) error {
		key, business, given := strings.Cut(v, "=")
		if !given {
			business = "acct_demo"
		}
		o.cfg.Keys[key] = business
		return nil
	})
	f.Func("meter", "business/event_name/formula, or only business/event_name; a test mode meter; may be given again", func(v string) error {
		if !strings.Contains(v, "/") {
			return errors.New("it wants business/event_name")
		}
		o.meters = append(o.meters, v)
		return nil
	})
	f.DurationVar(&o.cfg.SessionTTL, "session-ttl", 0, "how long a session lives; 0 is 15m")
	f.DurationVar(&o.cfg.SettleAfter, "settle-after", 0, "how long summaries lag behind")
	f.DurationVar(&o.cfg.Latency, "latency", 0, "how long every answer takes")
	f.BoolVar(&o.cfg.PerMeter, "per-meter", false, "identifiers are unique in their meter, not in the account")
	f.IntVar(&o.cfg.Limits.BusinessEvents, "business-events", 0, "events a second of an account; 0 is 100000, negative no limit")
	f.IntVar(&o.cfg.Limits.SessionEvents, "session-events", 0, "events a second of a session; 0 is 10000, negative no limit")
	f.IntVar(&o.cfg.Limits.SyncEvents, "sync-events", 0, "events a second of the synchronous endpoints; 0 is 1000")
	f.IntVar(&o.cfg.Limits.Calls, "calls", 0, "other calls a second of an account; 0 is 100")
	f.IntVar(&o.cfg.EventsMax, "events-max", 0, "identifiers kept; 0 is 2 million")
	f.Uint64Var(&o.seed, "seed", 1, "of faults that have a chance")
	return o, f.Parse(args)
}

// run serves until the context ends. Connections are cut then: who speaks to Stripe must bear that.
func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	o.cfg.Random = rand.New(rand.NewPCG(o.seed, 1))
	fake := fakestripe.New(o.cfg)
	for _, text := range o.meters {
		parts := append(strings.Split(text, "/"), "")
		if _, err := fake.CreateMeter(fakestripe.Account{Business: parts[0]}, fakestripe.Meter{EventName: parts[1], Formula: parts[2]}); err != nil {
			return err
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/", fake)
	mux.Handle("/fake/", fake.Admin())
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "http://"+l.Addr().String())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
