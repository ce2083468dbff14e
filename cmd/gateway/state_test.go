package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheStateIsLookedAtWhileNoGatewayWorksOnIt(t *testing.T) {
	dir := t.TempDir()
	f := func(want int, text string, args ...string) string {
		t.Helper()
		var out strings.Builder
		code := (&Main{Stdout: &out, Stderr: &out}).Run(append([]string{"state"}, args...))
		if code != want || !strings.Contains(out.String(), text) {
			t.Errorf("gateway state %v: exit %d, want %d and %q:\n%s", args, code, want, text, out.String())
		}
		return out.String()
	}
	f(exitFailed, "nothing was counted", "verify", "--data-dir", dir)
	s := serveWith(t, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", dir, "--api-keys", "acct_a:sk_test_1")
	f(exitFailed, "stop the gateway first", "verify", "--data-dir", dir)
	f(exitFailed, "stop the gateway first", "rebuild", "--data-dir", dir)
	_, session := s.post("/v2/billing/meter_event_session", "sk_test_1", "{}")
	if status, body := s.post("/v2/billing/meter_event_stream", session["authentication_token"].(string), oneEvent); status != 200 {
		t.Fatalf("stream: %d %v", status, body)
	}
	if code := s.stop(); code != exitOK {
		t.Fatalf("exit %d:\n%s", code, s.logs.String())
	}
	f(exitOK, "0 differ", "verify", "--data-dir", dir)
	aside := f(exitOK, "moved to "+filepath.Join(dir, "state"), "rebuild", "--data-dir", dir)
	if !strings.Contains(aside, "The index of thin events was moved to "+filepath.Join(dir, "state", "events")) {
		t.Errorf("the index of events is left where it was:\n%s", aside)
	}
	f(exitOK, "There is no state", "rebuild", "--data-dir", dir)
	if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
		t.Fatal(err)
	}
}

func TestStatusIsATextForAPerson(t *testing.T) {
	s := serve(t)
	status, text := s.get("/statusz")
	for end := time.Now().Add(5 * time.Second); !strings.Contains(text, "this gateway delivers") && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		status, text = s.get("/statusz")
	}
	for _, want := range []string{
		"log        the journal in ", "control    ok", "of 1", "events     the index has the topic up to offset 0", "delivery   this gateway delivers",
	} {
		if status != 200 || !strings.Contains(text, want) {
			t.Errorf("no %q in %d\n%s", want, status, text)
		}
	}
}

// get asks the admin listener.
func (s *serving) get(path string) (int, string) {
	s.t.Helper()
	res, err := http.Get(s.admin + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}
