package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tollgate/bench/internal/ledger"
	"tollgate/bench/internal/stage"
)

// binary is the gateway under test: GATEWAY_BIN, or the working copy's.
var binary string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && tiny(os.Args[1]) {
		return
	}
	dir, err := os.MkdirTemp("", "tollgate-bench-test-")
	if err == nil {
		os.Setenv("TMPDIR", dir) // tests do not wait for what is being timed, and time nothing
		if binary = os.Getenv("GATEWAY_BIN"); binary == "" {
			binary, err = stage.BuildGateway(context.Background(), dir)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func TestALoadOnTheRealGatewayIsFoundInItsJournal(t *testing.T) {
	dir := t.TempDir()
	config := map[string]any{"businesses": []any{map[string]any{"id": "acct_test", "keys": []any{map[string]any{"key": "sk_test_smoke"}}}}}
	g, err := stage.StartGateway(context.Background(), stage.GatewayConfig{Binary: binary, Dir: dir, Config: config})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	l := loadCommand{
		Target: g.URL, Key: "sk_test_smoke", Rate: 20_000, Batch: 20, Connections: 8, Sessions: 4, Duration: 2 * time.Second,
		Meters: 5, Customers: 100, Skew: "zipf", Identifiers: "on", ServerPID: g.PID(),
		Ledger: filepath.Join(dir, "ledger"), Out: filepath.Join(dir, "result.json"),
	}
	if err := l.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(l.Out)
	if err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if r.Report.Failed != 0 || r.Report.Events < 20_000 || r.Report.Server == nil || r.Report.Server.CPUSeconds == 0 {
		t.Errorf("%s", text)
	}

	reportOf(t, l.Out, "bench", "server")

	// Once while the gateway runs, and once after kill -9.
	v := verifyCommand{Ledger: l.Ledger, Journal: g.DataDir, Topic: "tollgate.usage"}
	if err := v.Run(context.Background()); err != nil {
		t.Error(err)
	}
	g.Kill()
	if err := v.Run(context.Background()); err != nil {
		t.Error(err)
	}

	book, err := ledger.Open(l.Ledger)
	if err != nil {
		t.Fatal(err)
	}
	book.Lanes[0].Add(ledger.Acked, 1) // a promise that was never given
	v.Ledger = filepath.Join(dir, "lie")
	if err := book.Save(v.Ledger); err != nil {
		t.Fatal(err)
	}
	if err := v.Run(context.Background()); !errors.Is(err, errUntrue) {
		t.Errorf("an event that is not in the log: %v", err)
	}
}

func TestAForeignTargetIsRefusedUnlessItIsOwned(t *testing.T) {
	l := loadCommand{Target: "http://" + "192.0.2.1", Key: "k"}
	if err := l.Run(context.Background()); !errors.Is(err, errRefused) {
		t.Errorf("%v", err)
	}
	l.Owned = true
	if _, err := l.config(); err != nil {
		t.Errorf("%v", err)
	}
}

func TestBusinessesAreNamesAndKeys(t *testing.T) {
	got, err := parseBusinesses("# two\nacct_a:sk_test_1\n\n acct_b:sk_live_2 \n")
	if err != nil || len(got) != 2 || got[1].Name != "acct_b" || got[1].Key != "sk_live_2" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"acct_a", "acct_a:", ":sk_test_1"} {
		if _, err := parseBusinesses(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
