package e2e

import (
	"bufio"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/test/e2e/harness"
)

// A developer's loop with the real binary: nothing is set up but the command, and the application verifies what it gets
// with Stripe's SDK.
func TestListenForwardsWhatAnApplicationVerifies(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	hook, elsewhere := harness.NewHook(t), harness.NewHook(t)
	id, _ := webhookTo(t, g, elsewhere)
	var before, ping thinEvent
	mustAsk(t, g, "POST", "/v2/core/event_destinations/"+id+"/ping", "", &before)
	time.Sleep(1100 * time.Millisecond) // the gateway says its time in seconds

	cmd := exec.Command(harness.Binary(t), "listen", "--url", g.URL, "--key", harness.TestKey, "--forward-to", hook.URL)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	next := func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("no further line: %v", lines.Err())
		}
		return lines.Text()
	}
	secret := regexp.MustCompile(`whsec_[0-9a-f]+`).FindString(next())
	mustAsk(t, g, "POST", "/v2/core/event_destinations/"+id+"/ping", "", &ping)
	if line := next(); !strings.Contains(line, ping.ID) || strings.Contains(line, before.ID) {
		t.Errorf("it prints %q, want %s", line, ping.ID)
	}
	if line := next(); !strings.Contains(line, ping.ID+": 200 OK in ") {
		t.Errorf("it prints %q", line)
	}
	got := hook.Received()
	if len(got) != 1 {
		t.Fatalf("%d events were forwarded", len(got))
	}
	n, err := stripeClient(g.URL, harness.TestKey).ParseEventNotification(got[0].Body, got[0].Signature, secret)
	if err != nil || n.GetEventNotification().ID != ping.ID {
		t.Errorf("signed with %s: %+v, %v", secret, n, err)
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGINT: %v", err)
	}
}
