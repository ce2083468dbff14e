package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/test/e2e/harness"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// tmpfs mounts a small file system for the test, which takes root.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0700"); err != nil {
		loud(t, "mounting a tmpfs takes root: "+err.Error())
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestAFullDiskIsAnsweredWith503AndLeftWhenSpaceReturns(t *testing.T) {
	t.Parallel()
	dir := tmpfs(t, "24m")
	ballast := filepath.Join(dir, "ballast")
	g := harness.Start(t, harness.Options{
		DataDir: filepath.Join(dir, "data"),
		Args:    []string{"--config", writeConfig(t, "journal: {segment_bytes: 4194304, reserve_bytes: 4194304}\n")},
	})
	harness.EnsureMeter(t, g.URL, harness.TestKey, "m")
	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 4})
	time.Sleep(300 * time.Millisecond)
	// Others fill the disk to the last byte.
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 64<<10)
	for {
		if _, err := f.Write(chunk); err != nil {
			break
		}
	}
	f.Close()
	harness.Eventually(t, 15*time.Second, "readyz says that the disk is full", func() bool {
		status, body := g.Readyz()
		return status == 503 && strings.Contains(body, "bytes")
	})
	status, body, _, err := harness.Post(g.URL+"/v2/billing/meter_events", harness.TestKey,
		`{"event_name":"m","identifier":"refused","payload":{"stripe_customer_id":"c","value":"1"}}`)
	if err != nil || status != 503 || body["error"] == nil {
		t.Errorf("on a full disk: %d %v %v", status, body, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	g.WaitReady(15 * time.Second)
	sendOne(t, g, "after-the-flood")
	ledger := load.Stop()
	ledger.Besides = append(ledger.Besides, "after-the-flood")
	if code, _ := g.Term(); code != 0 {
		t.Errorf("exit %d", code)
	}
	ledger.Check(t, slices.Values(harness.DumpJournal(t, g.DataDir)), false)
}

func TestAFailedFsyncIsNeverAcknowledgedAndTheJournalGoesOn(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("strace"); err != nil {
		loud(t, "strace is not on the PATH")
	}
	if out, err := exec.Command("strace", "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		loud(t, fmt.Sprintf("strace may not trace here: %v: %s", err, out))
	}
	g := harness.Start(t, harness.Options{
		Wrap: []string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync:error=EIO:when=40+60"},
	})
	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 6, Pause: 5 * time.Millisecond})
	harness.Eventually(t, 30*time.Second, "an fsync fails", func() bool { return strings.Contains(g.Logs(), "file is not written any more") })
	time.Sleep(2 * time.Second)
	ledger := load.Stop()
	needAcked(t, ledger, 100)
	g.Kill()
	ledger.Check(t, slices.Values(harness.DumpJournal(t, g.DataDir)), true)
	after := harness.Start(t, harness.Options{DataDir: g.DataDir})
	sendOne(t, after, "after-the-fault")
}
