package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/test/e2e/harness"
)

func dial(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// The greeting is what a newcomer pastes: its shell lines are run as printed.
func TestThePrintedCurlOpensASessionAndStreamsAnEvent(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		loud(t, "curl is not on the PATH")
	}
	g := harness.Start(t, harness.Options{APIKeys: "-"})
	out := g.Stdout()
	from, to := strings.Index(out, "  TOKEN=$("), strings.Index(out, "The answer is {}")
	if from < 0 || to < from {
		t.Fatalf("no curl lines in:\n%s", out)
	}
	answer, err := exec.Command("bash", "-c", out[from:to]).CombinedOutput()
	if err != nil || strings.TrimSpace(string(answer)) != "{}" {
		t.Fatalf("the pasted lines printed %q (%v)", answer, err)
	}
	if strings.Contains(g.Logs(), "sk_test_") {
		t.Error("the key is in the log")
	}
	g.Kill()
	if again := g.Restart(); again.Stdout() != out {
		t.Errorf("the second start greets otherwise:\n%s", again.Stdout())
	}
	found := harness.DumpJournal(t, g.DataDir)
	if len(found) != 1 || found[0].Business != "acct_default" || found[0].Name != "api_requests" {
		t.Errorf("the journal holds %+v", found)
	}
}

func TestWithoutKeysNobodyElseMayReachTheListener(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{APIKeys: "-", Listen: "0.0.0.0:0", NoWait: true})
	if code := g.Wait(10 * time.Second); code != 2 {
		t.Errorf("exit %d, want 2", code)
	}
	if !strings.Contains(g.Logs(), "no API key is configured") || !strings.Contains(g.Logs(), "GATEWAY_API_KEYS") {
		t.Errorf("it does not say what to do: %s", g.Logs())
	}
}

func TestConfigurationIsReloadedOnSIGHUPAndOnChangeAndABrokenFileIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	with := func(keys ...string) string {
		return fmt.Sprintf("businesses:\n  - id: acct_a\n    keys: [{key: %s}]\n", strings.Join(keys, "}, {key: "))
	}
	put(with("sk_test_one"))
	g := harness.Start(t, harness.Options{APIKeys: "-", Args: []string{"--config", file}})
	status := func(key string) int {
		s, _, _, _ := harness.Post(g.URL+"/v2/billing/meter_event_session", key, "{}")
		return s
	}
	if status("sk_test_one") != 200 || status("sk_test_two") != 401 {
		t.Fatalf("before any reload: %d, %d", status("sk_test_one"), status("sk_test_two"))
	}

	put(with("sk_test_one", "sk_test_two"))
	harness.Eventually(t, 5*time.Second, "a changed file is in force", func() bool { return status("sk_test_two") == 200 })

	put(with("sk_test_two") + "    limts: {}\n")
	g.Signal(syscall.SIGHUP)
	g.WaitLog("reload refused", 5*time.Second)
	if !strings.Contains(g.Logs(), "gateway.yaml:4") || !strings.Contains(g.Logs(), "limts") {
		t.Errorf("line and reason are not in the log: %s", g.Logs())
	}
	if status("sk_test_one") != 200 || status("sk_test_two") != 200 {
		t.Errorf("the old configuration does not stay in force")
	}
	if g.Metric("tollgate_config_reloads_total", `result="refused"`) == 0 {
		t.Error("the refused reload is not counted")
	}

	_, session, _, _ := harness.Post(g.URL+"/v2/billing/meter_event_session", "sk_test_one", "{}")
	put(with("sk_test_two"))
	harness.Eventually(t, 5*time.Second, "a removed key is refused", func() bool { return status("sk_test_one") == 401 })
	token, _ := session["authentication_token"].(string)
	if s, body, _, _ := harness.Post(g.URL+"/v2/billing/meter_event_stream", token, streamBody("x")); s != 401 {
		t.Errorf("a session of the removed key: %d %v", s, body)
	}
}

func streamBody(identifier string) string {
	return fmt.Sprintf(`{"events":[{"event_name":"api_requests","identifier":"%s","payload":{"stripe_customer_id":"cus_1","value":"1"}}]}`, identifier)
}

func TestLimitsAreReloaded(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	put := func(limit int) {
		t.Helper()
		text := fmt.Sprintf("businesses:\n  - id: acct_a\n    keys: [{key: sk_test_one}]\n    limits: {stream_events_per_second: %d}\n", limit)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	g := harness.Start(t, harness.Options{APIKeys: "-", Args: []string{"--config", file}})
	_, session, _, _ := harness.Post(g.URL+"/v2/billing/meter_event_session", "sk_test_one", "{}")
	token, _ := session["authentication_token"].(string)
	burst := func() (status int, h http.Header) {
		for range 3 {
			if status, _, h, _ = harness.Post(g.URL+"/v2/billing/meter_event_stream", token, streamBody("x")); status != 200 {
				return status, h
			}
		}
		return status, h
	}
	if status, h := burst(); status != 429 || h.Get("Stripe-Rate-Limited-Reason") == "" || h.Get("Stripe-Should-Retry") != "true" {
		t.Errorf("over the limit: %d %v", status, h)
	}
	put(1000)
	harness.Eventually(t, 5*time.Second, "the higher limit is in force", func() bool { s, _ := burst(); return s == 200 })
}

func TestTLSListenerServesAndTakesARenewedCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	pool := x509.NewCertPool()
	writeCertificate(t, cert, key, 1, pool)
	g := harness.Start(t, harness.Options{Args: []string{"--tls-cert", cert, "--tls-key", key}})
	serial := func() int64 {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(g.URL, "http://"), &tls.Config{RootCAs: pool, NextProtos: []string{"h2", "http/1.1"}})
		if err != nil {
			t.Logf("handshake: %v", err)
			return 0
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	req, _ := http.NewRequest(http.MethodPost, strings.Replace(g.URL, "http:", "https:", 1)+"/v2/billing/meter_event_session", bytes.NewReader([]byte("{}")))
	req.Header.Set("Authorization", "Bearer "+harness.TestKey)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != 200 || !bytes.Contains(body, []byte("authentication_token")) {
		t.Fatalf("over TLS: %d %s", res.StatusCode, body)
	}
	if serial() != 1 {
		t.Fatalf("serial %d", serial())
	}
	writeCertificate(t, cert, key, 2, pool)
	harness.Eventually(t, 8*time.Second, "the renewed certificate is served", func() bool { return serial() == 2 })
}

func writeCertificate(t *testing.T, certFile, keyFile string, serial int64, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "gateway"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, _ := x509.ParseCertificate(der)
	pool.AddCert(parsed)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAdminListenerAnswersEverythingItPromises(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	sendOne(t, g, "one")
	for path, want := range map[string]string{
		"/livez": "ok", "/readyz": `"ready":true`, "/metrics": "tollgate_ready 1", "/debug/pprof/": "goroutine", "/debug/pprof/cmdline": "serve",
	} {
		res, err := http.Get(g.Admin + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 200 || !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s: %d, no %q in\n%.2000s", path, res.StatusCode, want, body)
		}
	}
	if out, errs, code := harness.Command(t, "health", "--admin-listen", strings.TrimPrefix(g.Admin, "http://")); code != 0 {
		t.Errorf("health of a ready gateway: exit %d\n%s%s", code, out, errs)
	}
	g.Kill()
	if _, errs, code := harness.Command(t, "health", "--admin-listen", strings.TrimPrefix(g.Admin, "http://")); code != 1 || errs == "" {
		t.Errorf("health of a dead gateway: exit %d, %q", code, errs)
	}
}
