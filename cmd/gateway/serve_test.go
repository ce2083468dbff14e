package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tollgate/internal/vfs"
)

// serving is Main in this process, for what the race detector should see; test/e2e runs the real binary.
type serving struct {
	t       *testing.T
	signals chan os.Signal
	exit    chan int
	logs    lockedBuffer
	out     lockedBuffer
	url     string
	admin   string
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func serve(t *testing.T, args ...string) *serving {
	t.Helper()
	return serveWith(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", t.TempDir()}, args...)...)
}

func serveWith(t *testing.T, args ...string) *serving {
	t.Helper()
	s := &serving{t: t, signals: make(chan os.Signal, 4), exit: make(chan int, 1)}
	m := &Main{Stdout: &s.out, Stderr: &s.logs, Signals: s.signals}
	go func() { s.exit <- m.Run(args) }()
	t.Cleanup(func() {
		if s.exit != nil {
			s.stop()
		}
	})
	s.await("serving")
	for line := range strings.Lines(s.logs.String()) {
		var l struct {
			Addr  string `json:"addr"`
			Admin string `json:"admin_addr"`
		}
		if json.Unmarshal([]byte(line), &l) == nil && l.Addr != "" {
			s.url, s.admin = "http://"+l.Addr, "http://"+l.Admin
		}
	}
	return s
}

// await waits for a line of the log.
func (s *serving) await(message string) {
	s.t.Helper()
	s.awaitIn(&s.logs, `"message":"`+message+`"`)
}

func (s *serving) awaitIn(printed *lockedBuffer, text string) {
	s.t.Helper()
	for range 500 {
		if strings.Contains(printed.String(), text) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatalf("no %q in 10 s:\n%s\n%s", text, printed.String(), s.logs.String())
}

func (s *serving) stop() int {
	s.t.Helper()
	s.signals <- syscall.SIGTERM
	select {
	case code := <-s.exit:
		s.exit = nil
		return code
	case <-time.After(15 * time.Second):
		s.t.Fatal("no exit within 15 s of SIGTERM")
		return 0
	}
}

func (s *serving) post(path, bearer, body string) (int, map[string]any) {
	s.t.Helper()
	return s.ask(http.MethodPost, path, bearer, body)
}

func (s *serving) ask(method, path, bearer, body string) (int, map[string]any) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		s.t.Fatalf("%s: %q is no JSON object", path, text)
	}
	return res.StatusCode, v
}

func TestAGatewayThatCountsNothingTakesEventsAndSaysWhyItGivesNoVerdict(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	write(t, file, "businesses: [{id: acct_a, keys: [{key: sk_test_1}]}]\nusage: {disabled: true}\n")
	s := serve(t, "--config", file)
	_, session := s.post("/v2/billing/meter_event_session", "sk_test_1", "{}")
	token, _ := session["authentication_token"].(string)
	if status, body := s.post("/v2/billing/meter_event_stream", token, oneEvent); status != 200 || len(body) != 0 {
		t.Errorf("stream: %d %v", status, body)
	}
	res, err := http.Get(s.admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("readyz: %s", res.Status)
	}
	res, err = http.Get(s.admin + "/statusz")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(text), errDisabled.Error()) {
		t.Errorf("statusz, %v:\n%s", err, text)
	}
	// It keeps the index all the same, and answers questions about thin events.
	if status, body := s.ask("GET", "/v2/core/events", "sk_test_1", ""); status != 200 || len(body["data"].([]any)) != 0 {
		t.Errorf("events: %d %v", status, body)
	}
	if files, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*", "state")); len(files) > 0 {
		t.Errorf("it has a state: %v", files)
	}
}

const oneEvent = `{"events":[{"event_name":"api_requests","payload":{"stripe_customer_id":"cus_1","value":"25"}}]}`

func TestServeTakesEventsReloadsAndDrains(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	write(t, file, "businesses: [{id: acct_a, keys: [{key: sk_test_1}]}]\n")
	s := serve(t, "--config", file)
	status, session := s.post("/v2/billing/meter_event_session", "sk_test_1", "{}")
	token, _ := session["authentication_token"].(string)
	if status != 200 || token == "" {
		t.Fatalf("session: %d %v", status, session)
	}
	done := make(chan struct{})
	go func() { // events keep coming while keys are swapped
		defer close(done)
		for range 200 {
			if status, body := s.post("/v2/billing/meter_event_stream", token, oneEvent); status != 200 || len(body) != 0 {
				t.Errorf("stream: %d %v", status, body)
				return
			}
		}
	}()
	write(t, file, "businesses: [{id: acct_a, keys: [{key: sk_test_1}, {key: sk_test_2}], limits: {events_per_second: 50000}}]\ndata_dir: elsewhere\n")
	s.signals <- syscall.SIGHUP
	s.await("reloaded")
	if status, _ := s.post("/v2/billing/meter_event_session", "sk_test_2", "{}"); status != 200 {
		t.Errorf("the new key: %d", status)
	}
	write(t, file, "businesses: [{id: acct_a, keys: [{key: nonsense}]}]\n")
	s.signals <- syscall.SIGHUP
	s.await("reload refused")
	<-done
	if code := s.stop(); code != exitOK {
		t.Errorf("exit %d:\n%s", code, s.logs.String())
	}
	if s.out.String() != "" {
		t.Errorf("a gateway with keys greets: %s", s.out.String())
	}
	for _, secret := range []string{"sk_test_1", "nonsense", token} {
		if strings.Contains(s.logs.String(), secret) {
			t.Errorf("%q is in the log:\n%s", secret, s.logs.String())
		}
	}
}

func TestSettingsThatNeedARestartAreNamedWhenTheyChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	write(t, file, "businesses: [{id: acct_a, keys: [{key: sk_test_1}]}]\n")
	s := serve(t, "--config", file)
	write(t, file, "businesses: [{id: acct_a, keys: [{key: sk_test_1}]}]\nlenient: true\nkafka: {partitions: 3}\n")
	s.await("these keys changed and need a restart") // by looking at the file, without a signal
	if !strings.Contains(s.logs.String(), `"keys":["lenient","kafka"]`) {
		t.Errorf("the keys are not named:\n%s", s.logs.String())
	}
}

// The file's listen is not in force before a restart, so it can not make the loss of all keys harmless.
func TestAReloadNeverLeavesAPublicListenerWithADefaultKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	write(t, file, "listen: 0.0.0.0:0\nbusinesses: [{id: acct_a, keys: [{key: sk_test_1}]}]\n")
	t.Setenv("GATEWAY_LISTEN", "")
	s := serveWith(t, "serve", "--config", file, "--admin-listen", "127.0.0.1:0", "--data-dir", t.TempDir())
	write(t, file, "listen: 127.0.0.1:0\n")
	s.await("reload refused")
	if !strings.Contains(s.logs.String(), "no API key is configured") {
		t.Errorf("another reason was given:\n%s", s.logs.String())
	}
}

func TestTheNameOfTheDataDirSurvivesAPowerCut(t *testing.T) {
	for seed := range uint64(100) {
		disk := vfs.NewMem(seed)
		if err := makeDir(disk, "/var/lib/tollgate/data"); err != nil {
			t.Fatal(err)
		}
		if _, err := disk.Crash().ReadDir("/var/lib/tollgate/data"); err != nil {
			t.Fatalf("seed %d: after a power cut: %v", seed, err)
		}
	}
}

func TestGatewayWithoutKeysMakesOneAndGreets(t *testing.T) {
	s := serve(t)
	s.awaitIn(&s.out, "stripe-python") // it is printed behind the line that serve has waited for
	_, rest, _ := strings.Cut(s.out.String(), "(")
	_, rest, _ = strings.Cut(rest, "):\n  ")
	key, _, _ := strings.Cut(rest, "\n")
	if status, body := s.post("/v2/billing/meter_event_session", key, "{}"); status != 200 || !strings.HasPrefix(key, "sk_test_") {
		t.Fatalf("the printed key %q: %d %v", key, status, body)
	}
}

func TestAnAddressInUseIsRefusedWithItsRemedy(t *testing.T) {
	s := serve(t)
	var out lockedBuffer
	code := (&Main{Stdout: &out, Stderr: &out}).Run([]string{
		"serve", "--listen", strings.TrimPrefix(s.url, "http://"), "--admin-listen", "127.0.0.1:0", "--data-dir", t.TempDir(),
	})
	if code != exitFailed || !strings.Contains(out.String(), "--listen") || !strings.Contains(out.String(), "in use") {
		t.Errorf("exit %d: %s", code, out.String())
	}
}
