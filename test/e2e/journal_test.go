package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	kafkatest "tollgate/test/kafka"

	"tollgate/test/e2e/harness"
)

// segments are the journal's files, oldest first.
func segments(t *testing.T, dataDir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dataDir, "journal", "tollgate.usage-0", "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no segments in %s: %v", dataDir, err)
	}
	return files
}

func sendOne(t *testing.T, g *harness.Gateway, identifier string) {
	t.Helper()
	harness.EnsureMeter(t, g.URL, harness.TestKey, "api_requests")
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		status, body, _, err := harness.Post(g.URL+"/v2/billing/meter_events", harness.TestKey,
			fmt.Sprintf(`{"event_name":"api_requests","identifier":"%s","payload":{"stripe_customer_id":"cus_1","value":"25"}}`, identifier))
		switch {
		case err == nil && status == 200:
			return
		case err == nil && status == 503 && time.Now().Before(end): // a worker on Kafka joins its group in some seconds
		default:
			t.Fatalf("%s: %d %v %v", identifier, status, body, err)
		}
	}
}

func TestKafkasOwnToolReadsASegmentOfTheJournal(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	before := time.Now()
	sendOne(t, g, "id-of-the-segment")
	if code, _ := g.Term(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	out := kafkatest.Tool(t, "dump", "--print-data-log", "--files", segments(t, g.DataDir)[0])
	for _, want := range []string{
		"baseOffset: 0", "isvalid: true", "key: acct_e2e/testmode/api_requests",
		`payload: {"object":"meter_event","business":"acct_e2e","livemode":false,"event_name":"api_requests","identifier":"id-of-the-segment","timestamp":"`,
		`"payload":{"stripe_customer_id":"cus_1","value":"25"}`,
		fmt.Sprintf("CreateTime: %d", before.UnixMilli()/100_000), // the record's time is the time of receipt
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in what DumpLogSegments prints:\n%s", want, out)
		}
	}
}

func TestKillOfTheGatewayLosesNothingAcknowledgedByTheJournal(t *testing.T) {
	g := harness.Start(t, harness.Options{})
	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 12, Pause: time.Millisecond})
	n := rounds(20)
	for range n {
		time.Sleep(time.Duration(50+rand.IntN(250)) * time.Millisecond)
		g.Kill()
		g = g.Restart()
	}
	ledger := load.Stop()
	if code, took := g.Term(); code != 0 {
		t.Fatalf("the last drain: exit %d after %s", code, took)
	}
	if ledger.Acked() < n*20 {
		t.Fatalf("only %d events were acknowledged in %d rounds: %v", ledger.Acked(), n, ledger.Other)
	}
	// Each event is sent once and the journal is the only writer: an event twice would be ours.
	ledger.Check(t, slices.Values(harness.DumpJournal(t, g.DataDir)), true)
	if out, errs, code := harness.Command(t, "journal", "verify", "--data-dir", g.DataDir); code != 0 {
		t.Fatalf("verify after %d kills: exit %d\n%s%s", n, code, out, errs)
	}
}

func TestDrainUnderLoadAnswersAndKeepsWhatItAnswered(t *testing.T) {
	g := harness.Start(t, harness.Options{})
	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 16})
	time.Sleep(500 * time.Millisecond)
	code, took := g.Term()
	ledger := load.Stop()
	if code != 0 || took > 10*time.Second {
		t.Errorf("exit %d after %s, promised are 0 within 10 s", code, took)
	}
	if ledger.Acked() == 0 {
		t.Fatalf("nothing was acknowledged: %v", ledger.Other)
	}
	for kind := range ledger.Other {
		if kind == "EOF" || strings.Contains(kind, "reset") {
			t.Errorf("a request was left without an answer: %v", ledger.Other)
		}
	}
	ledger.Check(t, slices.Values(harness.DumpJournal(t, g.DataDir)), true)
	for _, line := range []string{`"message":"draining"`, `"message":"drained"`} {
		if !strings.Contains(g.Logs(), line) {
			t.Errorf("no %s in the log", line)
		}
	}
}

func TestASecondSignalQuitsAtOnce(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	// A request whose body never ends holds the drain up.
	conn := dial(t, g.URL)
	fmt.Fprintf(conn, "POST /v2/billing/meter_event_session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", harness.TestKey)
	time.Sleep(200 * time.Millisecond)
	g.Signal(syscall.SIGTERM)
	g.WaitLog("draining", 5*time.Second)
	if status, body := g.Readyz(); status != 503 || !strings.Contains(body, "draining") {
		t.Errorf("readyz while draining: %d %s", status, body)
	}
	start := time.Now()
	g.Signal(syscall.SIGTERM)
	if code := g.Wait(3 * time.Second); code != 3 || time.Since(start) > 2*time.Second {
		t.Errorf("exit %d after %s, want 3 at once", code, time.Since(start))
	}
}

func TestADrainHeldUpByAClientEndsWithinTenSeconds(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	sendOne(t, g, "kept")
	conn := dial(t, g.URL)
	fmt.Fprintf(conn, "POST /v2/billing/meter_event_session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", harness.TestKey)
	time.Sleep(200 * time.Millisecond)
	if code, took := g.Term(); code != 0 || took > 10*time.Second {
		t.Errorf("exit %d after %s", code, took)
	}
	if found := harness.DumpJournal(t, g.DataDir); len(found) != 1 || found[0].Identifier != "kept" {
		t.Errorf("the journal holds %v", found)
	}
}

func TestASecondGatewayOnTheSameDataDirIsRefused(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	second := harness.Start(t, harness.Options{DataDir: g.DataDir, NoWait: true})
	if code := second.Wait(10 * time.Second); code != 1 {
		t.Errorf("exit %d, want 1", code)
	}
	for _, want := range []string{g.DataDir, fmt.Sprint(g.PID()), "--data-dir"} {
		if !strings.Contains(second.Logs(), want) {
			t.Errorf("no %q in: %s", want, second.Logs())
		}
	}
	if out, errs, code := harness.Command(t, "journal", "repair", "--data-dir", g.DataDir); code == 0 || !strings.Contains(errs, "lock") {
		t.Errorf("repair under a running gateway: exit %d\n%s%s", code, out, errs)
	}
	sendOne(t, g, "still-served")
}

func TestARottenSegmentIsRefusedAndRepaired(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	for i := range 20 {
		sendOne(t, g, fmt.Sprintf("id-%02d", i))
	}
	if code, _ := g.Term(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	file := segments(t, g.DataDir)[0]
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(text), "id-10")
	if at < 0 {
		t.Fatal("id-10 is not in the segment")
	}
	text[at] ^= 0xff
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}

	again := harness.Start(t, withNoWait(g.Options))
	if code := again.Wait(10 * time.Second); code != 1 {
		t.Errorf("a gateway on a rotten segment: exit %d, want 1", code)
	}
	for _, want := range []string{file, "gateway journal repair"} {
		if !strings.Contains(again.Logs(), want) {
			t.Errorf("no %q in: %s", want, again.Logs())
		}
	}
	if out, errs, code := harness.Command(t, "journal", "verify", "--data-dir", g.DataDir); code != 1 || !strings.Contains(out+errs, file) {
		t.Errorf("verify: exit %d\n%s%s", code, out, errs)
	}
	if out, errs, code := harness.Command(t, "journal", "repair", "--data-dir", g.DataDir); code != 0 {
		t.Fatalf("repair: exit %d\n%s%s", code, out, errs)
	}
	again = g.Restart()
	sendOne(t, again, "after-repair")
	if code, _ := again.Term(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	found := map[string]bool{}
	for _, e := range harness.DumpJournal(t, g.DataDir) {
		found[e.Identifier] = true
	}
	for i := range 20 {
		if id := fmt.Sprintf("id-%02d", i); !found[id] && i != 10 {
			t.Errorf("%s was intact and is gone", id)
		}
	}
	if !found["after-repair"] || found["id-10"] {
		t.Errorf("after the repair the journal holds %v", found)
	}
}

func withNoWait(o harness.Options) harness.Options {
	o.NoWait = true
	return o
}
