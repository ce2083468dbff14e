package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tollgate/bench/internal/ledger"
	"tollgate/test/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestALoadOnTheRealGatewayIsFoundInItsJournal(t *testing.T) {
	g := harness.Start(t, harness.Options{})
	dir := t.TempDir()
	l := loadCommand{
		Target: g.URL, Key: harness.TestKey, Rate: 20_000, Batch: 20, Connections: 8, Sessions: 4, Duration: 2 * time.Second,
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
