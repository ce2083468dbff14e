package webhook

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/recordbatch"
	ours "tollgate/pkg/stripe"
	"tollgate/pkg/thinevent"
)

// tried makes one try of one event by HTTP.
func tried(t *testing.T, url string, livemode bool, configure ...func(*Config)) outcome {
	t.Helper()
	cfg := Config{AttemptMax: 20 * time.Second} // a loaded machine takes its time
	for _, f := range configure {
		f(&cfg)
	}
	cfg = cfg.withDefaults()
	a := newAttempts(&cfg)
	defer a.close()
	return a.try(context.Background(), endpoint(url, livemode), notice(livemode))
}

func endpoint(url string, livemode bool) *control.Destination {
	return &control.Destination{
		ID: "ed_1", Business: business, Livemode: livemode, Type: control.WebhookEndpoint, Secret: "whsec_new",
		Settings: control.Settings{URL: url},
	}
}

func notice(livemode bool) *thinevent.Event {
	return &thinevent.Event{Business: business, Event: ours.Event{
		ID: "evt_1", Type: thinevent.TypeErrorReport, CreatedMs: 1772446842118, Livemode: livemode,
		Related: &ours.RelatedObject{ID: "mtr_1", Type: "billing.meter", URL: "/v1/billing/meters/mtr_1"}, Data: []byte(`{"a":1}`),
	}}
}

func TestWhatIsSentIsWhatIsSigned(t *testing.T) {
	type request struct {
		method, host string
		header       http.Header
		body         []byte
	}
	got := make(chan request, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- request{r.Method, r.Host, r.Header, body}
	}))
	defer s.Close()
	now := time.Now()
	cfg := Config{Now: func() time.Time { return now }}.withDefaults()
	a := newAttempts(&cfg)
	defer a.close()
	send := func(d *control.Destination) (request, []string) {
		t.Helper()
		if o := a.try(context.Background(), d, notice(false)); o != ok {
			t.Fatalf("%+v", o)
		}
		r := <-got
		return r, strings.Split(r.header.Get("Stripe-Signature"), ",")
	}
	signed := func(r request, secret string) string {
		m := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(m, "%d.%s", now.Unix(), r.body)
		return "v1=" + hex.EncodeToString(m.Sum(nil))
	}
	d := endpoint(s.URL+"/hook?x=1", false)
	r, parts := send(d)
	if want := ours.AppendNotification(nil, &notice(false).Event); !bytes.Equal(r.body, want) || bytes.Contains(r.body, []byte("data")) {
		t.Errorf("the body is %s, want %s", r.body, want)
	}
	if len(parts) != 2 || parts[0] != "t="+strconv.FormatInt(now.Unix(), 10) || parts[1] != signed(r, "whsec_new") {
		t.Errorf("signed as %v", parts)
	}
	if r.method != "POST" || r.header.Get("Content-Type") != "application/json" || !strings.HasPrefix(r.header.Get("User-Agent"), "tollgate/") ||
		r.header.Get("Accept-Encoding") != "" || r.header.Get("Content-Length") != strconv.Itoa(len(r.body)) {
		t.Errorf("%s with %v", r.method, r.header)
	}
	sdk := stripe.NewClient("sk_test_x")
	if n, err := sdk.ParseEventNotification(r.body, r.header.Get("Stripe-Signature"), "whsec_new"); err != nil {
		t.Errorf("stripe-go refuses it: %v", err)
	} else if _, ok := n.(*stripe.V1BillingMeterErrorReportTriggeredEventNotification); !ok {
		t.Errorf("stripe-go takes it for %T", n)
	}

	// While the secret rolls both sign; then the new one alone. Each try has its own time.
	d.OldSecret, d.OldUntilMs = "whsec_old", now.Add(time.Hour).UnixMilli()
	r, parts = send(d)
	if len(parts) != 3 || parts[1] != signed(r, "whsec_new") || parts[2] != signed(r, "whsec_old") {
		t.Errorf("while it rolls it is signed as %v", parts)
	}
	now = now.Add(time.Hour)
	r, parts = send(d)
	if len(parts) != 2 || parts[0] != "t="+strconv.FormatInt(now.Unix(), 10) || parts[1] != signed(r, "whsec_new") {
		t.Errorf("afterwards it is signed as %v", parts)
	}
}

func TestAny2xxIsDeliveredAndNothingElse(t *testing.T) {
	var others atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { others.Add(1) }))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.Path[1:])
		w.Header().Set("Location", other.URL)
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(code)
	}))
	defer s.Close()
	for code, want := range map[int]outcome{
		200: ok, 201: ok, 202: ok, 204: ok, 299: ok,
		300: {kind: answered, reason: "HTTP 300: redirects are not followed"},
		301: {kind: answered, reason: "HTTP 301: redirects are not followed"},
		302: {kind: answered, reason: "HTTP 302: redirects are not followed"},
		304: {kind: answered, reason: "HTTP 304: redirects are not followed"},
		307: {kind: answered, reason: "HTTP 307: redirects are not followed"},
		400: {kind: answered, reason: "HTTP 400"},
		410: {kind: answered, reason: "HTTP 410"},
		429: {kind: answered, reason: "HTTP 429", retryAfter: 2 * time.Minute},
		500: {kind: answered, reason: "HTTP 500"},
		503: {kind: answered, reason: "HTTP 503", retryAfter: 2 * time.Minute},
		600: {kind: answered, reason: "HTTP 600"},
	} {
		if got := tried(t, s.URL+"/"+strconv.Itoa(code), false); got != want {
			t.Errorf("HTTP %d is %+v, want %+v", code, got, want)
		}
	}
	if n := others.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// raw is a server that does what it likes with each connection, after it has read the request's head.
func raw(t *testing.T, serve func(c *net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					if line, err := r.ReadString('\n'); err != nil || line == "\r\n" {
						break
					}
				}
				serve(c.(*net.TCPConn))
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestWhatEndpointsDoWrongIsAFailureWithAShortReason(t *testing.T) {
	late := "no answer within 500ms"
	drip := func(c *net.TCPConn, text string) {
		for i := range len(text) {
			if _, err := c.Write([]byte{text[i]}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	for name, c := range map[string]struct {
		serve func(c *net.TCPConn)
		want  outcome
	}{
		"hangs":         {func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }, outcome{kind: timedOut, reason: late}},
		"drips a head":  {func(c *net.TCPConn) { drip(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Slow: yes\r\n\r\n") }, outcome{kind: timedOut, reason: late}},
		"closes":        {func(*net.TCPConn) {}, outcome{kind: noConn, reason: "the connection was closed before an answer"}},
		"resets":        {func(c *net.TCPConn) { _ = c.SetLinger(0) }, outcome{kind: noConn, reason: "connection reset"}},
		"half a head":   {func(c *net.TCPConn) { _, _ = c.Write([]byte("HTTP/1.1 200")) }, outcome{kind: noConn, reason: "the connection was closed before an answer"}},
		"no HTTP":       {func(c *net.TCPConn) { _, _ = c.Write([]byte("SSH-2.0-OpenSSH_9.9\r\n\r\n")) }, outcome{kind: badHTTP, reason: "the answer is no HTTP"}},
		"a head of 1 M": {func(c *net.TCPConn) { fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX: %s\r\n\r\n", strings.Repeat("x", 1<<20)) }, outcome{kind: badHTTP, reason: "the answer is no HTTP"}},
		"drips a body": {func(c *net.TCPConn) {
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"))
			drip(c, strings.Repeat("x", 100))
		}, ok},
		"breaks a body": {func(c *net.TCPConn) {
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx"))
			_ = c.SetLinger(0)
		}, ok},
		"says 100 for ever": {func(c *net.TCPConn) {
			for {
				if _, err := c.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
					return
				}
			}
		}, outcome{kind: badHTTP, reason: "the answer is no HTTP"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := raw(t, c.serve)
			at := time.Now()
			got := tried(t, url, false, func(cfg *Config) {
				if c.want.kind == timedOut {
					cfg.AttemptMax = 500 * time.Millisecond
				}
			})
			// A server that closes with our body unread resets, whatever it meant.
			if got != c.want && !(c.want.kind == noConn && got.kind == noConn) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if took := time.Since(at); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestAHugeAnswerIsNotRead(t *testing.T) {
	var sent atomic.Int64
	ended := make(chan struct{})
	url := raw(t, func(c *net.TCPConn) {
		defer close(ended)
		chunk := make([]byte, 64<<10)
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		for {
			n, err := c.Write(chunk)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	if got := tried(t, url, false, func(c *Config) { c.AttemptMax = 20 * time.Second }); got != ok {
		t.Errorf("%+v", got)
	}
	<-ended
	if n := sent.Load(); n > 16<<20 { // what the sockets between hold
		t.Errorf("%d bytes were taken", n)
	}
}

func TestAnAnswerThatSwitchesProtocolsIsAFailureAtOnce(t *testing.T) {
	hangUp := make(chan struct{})
	t.Cleanup(func() { close(hangUp) })
	url := raw(t, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"))
		<-hangUp
	})
	got := make(chan outcome, 1)
	go func() { got <- tried(t, url, false) }()
	select {
	case o := <-got:
		if o.kind != answered || o.reason != "HTTP 101" {
			t.Error(o)
		}
	case <-time.After(30 * time.Second): // no bound of ours ends it
		t.Fatal("the try has not ended")
	}
}

func TestAConnectionThatNobodyTakesIsAFailure(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	_ = l.Close()
	if got := tried(t, url, false); got != (outcome{kind: noConn, reason: "connection refused"}) {
		t.Errorf("%+v", got)
	}
	if got := tried(t, "http://no-such-host.invalid/", false); got.kind != noConn && got.kind != timedOut {
		t.Errorf("a name that does not exist: %+v", got)
	}
}

func TestTLSIsVerified(t *testing.T) {
	var taken atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { taken.Add(1) }))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	if got := tried(t, s.URL, false); got.kind != badTLS || !strings.HasPrefix(got.reason, "TLS: x509: ") || taken.Load() != 0 {
		t.Errorf("a certificate that nobody vouches for: %+v", got)
	}
	trust := func(c *Config) {
		pool := x509.NewCertPool()
		pool.AddCert(s.Certificate())
		c.TLS = &tls.Config{RootCAs: pool}
	}
	if got := tried(t, s.URL, false, trust); got != ok || taken.Load() != 1 {
		t.Errorf("a certificate that is trusted: %+v", got)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if got := tried(t, "https"+strings.TrimPrefix(plain.URL, "http"), false); got != (outcome{kind: badTLS, reason: "TLS: the answer is not TLS"}) {
		t.Errorf("https to a server of plain HTTP: %+v", got)
	}
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	defer old.Close()
	if got := tried(t, old.URL, false, trust); got.kind != badTLS {
		t.Errorf("TLS 1.1: %+v", got)
	}

	// Live mode does not reach loopback, by whatever name, unless it is allowed to.
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		if got := tried(t, "https://"+host+":"+port, true, trust); got.kind != refused || !strings.Contains(got.reason, "loopback") {
			t.Errorf("live mode to %s: %+v", host, got)
		}
	}
	if got := tried(t, plain.URL, true); got.kind != refused || !strings.Contains(got.reason, "https://") {
		t.Errorf("live mode by plain HTTP: %+v", got)
	}
	allow := func(c *Config) { c.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	if got := tried(t, s.URL, true, trust, allow); got != ok || taken.Load() != 2 {
		t.Errorf("live mode to a network that is allowed: %+v", got)
	}
}

func TestNoProxyAndNoCookies(t *testing.T) {
	for _, livemode := range []bool{false, true} {
		cfg := Config{}.withDefaults()
		if newTransport(&cfg, livemode).Proxy != nil {
			t.Error("a proxy is used")
		}
	}
	var cookies []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookies = append(cookies, r.Header.Get("Cookie"))
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
	}))
	defer s.Close()
	cfg := Config{}.withDefaults()
	a := newAttempts(&cfg)
	defer a.close()
	for range 2 {
		a.try(context.Background(), endpoint(s.URL, false), notice(false))
	}
	if len(cookies) != 2 || cookies[1] != "" {
		t.Errorf("cookies: %q", cookies)
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	var conns atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 10_000)) }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	cfg := Config{}.withDefaults()
	a := newAttempts(&cfg)
	defer a.close()
	for range 50 {
		if o := a.try(context.Background(), endpoint(s.URL, false), notice(false)); o != ok {
			t.Fatal(o)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("50 tries made %d connections", n)
	}
}

func TestAReasonIsShortAndWhole(t *testing.T) {
	if got := short(strings.Repeat("ü", 200)); len(got) != errorBytesMax || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	if got := short(strings.Repeat("x", 199) + "ü"); len(got) != 199 {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

func TestATopicGetsTheNotificationAsARecord(t *testing.T) {
	l := &life{memLog: newMemLog(t, "company.events")}
	cfg := Config{Log: l, AttemptMax: time.Second}.withDefaults()
	a := newAttempts(&cfg)
	d := &control.Destination{ID: "ed_1", Business: business, Type: control.KafkaTopic, Topic: "company.events"}
	e, about := notice(false), notice(false)
	about.Related = nil
	for _, e := range []*thinevent.Event{e, about} {
		if o := a.try(context.Background(), d, e); o != ok {
			t.Fatalf("%+v", o)
		}
	}
	want := []recordbatch.Record{
		{Key: []byte("acct_demo/testmode/mtr_1"), Value: ours.AppendNotification(nil, &e.Event)},
		{Key: []byte("acct_demo/testmode/" + e.Type), Value: ours.AppendNotification(nil, &about.Event)},
	}
	got := l.records("company.events")
	for i := range want {
		if len(got) != 2 || !bytes.Equal(got[i].Key, want[i].Key) || !bytes.Equal(got[i].Value, want[i].Value) {
			t.Errorf("record %d is %s %s", i, got[i].Key, got[i].Value)
		}
	}
	for err, want := range map[error]outcome{
		commitlog.ErrRefused:     {kind: noTopic, reason: "the topic refuses the record"},
		commitlog.ErrUnavailable: {kind: noTopic, reason: "the log can not take records now"},
		commitlog.ErrUnknown:     {kind: timedOut, reason: "the log did not say whether the record is in the topic"},
	} {
		l.answer = func(*commitlog.Batch) (bool, error) { return false, fmt.Errorf("made up: %w", err) }
		if o := a.try(context.Background(), d, e); o != want {
			t.Errorf("%v is %+v", err, o)
		}
	}
	d.Topic = "nobody.has"
	if o := a.try(context.Background(), d, e); o != (outcome{kind: noTopic, reason: "no such topic"}) {
		t.Errorf("a topic that does not exist: %+v", o)
	}
}
