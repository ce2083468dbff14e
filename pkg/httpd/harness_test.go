package httpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/pkg/auth"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/ingest"
	"tollgate/pkg/opened"
	"tollgate/pkg/recordbatch"
	"tollgate/pkg/webhook"
)

// Credentials of the tests.
const (
	testKey       = "sk_test_123"
	liveKey       = "sk_live_456"
	otherKey      = "sk_test_other"
	thirdKey      = "sk_test_third"
	eventsOnlyKey = "rk_test_events"
	readerKey     = "rk_test_reader" // of meters and events
	idleKey       = "rk_test_nothing"
	platformKey   = "sk_test_platform" // acts for acct_demo and acct_third as well
)

// memoryLog is the least commitlog.Log: every batch is durable at once. It keeps the records when keep is set.
type memoryLog struct {
	keep       bool
	partitions int

	mu      sync.Mutex
	records []storedRecord
}

// storedRecord is a record and where it was appended.
type storedRecord struct {
	recordbatch.Record
	partition int32
}

func (l *memoryLog) Append(set []*commitlog.Batch) {
	for _, b := range set {
		if l.keep {
			l.scan(b)
		}
		b.Err = nil
		b.Done(b)
	}
}

func (l *memoryLog) scan(batch *commitlog.Batch) {
	var s recordbatch.Scanner
	if err := s.Reset(batch.Bytes, 1<<20); err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for s.Next() {
		r := s.Record()
		r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
		l.records = append(l.records, storedRecord{r, batch.Partition})
	}
}

func (l *memoryLog) Partitions(string) int    { return l.partitions }
func (l *memoryLog) BatchBytesMax(string) int { return 1 << 20 }
func (l *memoryLog) Bounds(context.Context, string, int32) (int64, int64, error) {
	return 0, 0, nil
}

func (l *memoryLog) NewReader(string, int32, int64) (commitlog.Reader, error) {
	return nil, commitlog.ErrUnavailable
}
func (l *memoryLog) Group(string, string) commitlog.Group { return nil }
func (l *memoryLog) Ready() error                         { return nil }
func (l *memoryLog) Close(context.Context) error          { return nil }

// scripted is an Ingester whose answers a test can choose.
type scripted struct {
	*ingest.Ingester
	err   atomic.Pointer[error]
	panic atomic.Bool                   // Submit does
	early atomic.Bool                   // NewFrame panics
	hold  atomic.Pointer[chan struct{}] // Submit waits for it
	held  atomic.Int32                  // how many have begun to wait
}

func (f *scripted) fail(err error) { f.err.Store(&err) }

func (f *scripted) NewFrame(receivedMs int64) *ingest.Frame {
	if f.early.Load() {
		panic("a fault before the body was done with")
	}
	return f.Ingester.NewFrame(receivedMs)
}

func (f *scripted) Submit(frame *ingest.Frame) error {
	_, err := f.SubmitAt(frame)
	return err
}

func (f *scripted) SubmitAt(frame *ingest.Frame) (ingest.Position, error) {
	if f.panic.Load() {
		panic("a fault of the handler's")
	}
	if hold := f.hold.Load(); hold != nil {
		f.held.Add(1)
		<-*hold
	}
	if err := f.err.Load(); err != nil && *err != nil {
		frame.Release()
		return ingest.Position{Partition: -1, Offset: -1}, *err
	}
	return f.Ingester.SubmitAt(frame)
}

// fixture is a running server.
type fixture struct {
	t        testing.TB
	srv      *Server
	log      *memoryLog
	ingest   *scripted
	control  *steered
	usage    *oracle
	events   *shelf
	webhooks *postbox
	sessions *auth.Sessions
	signing  *auth.SigningKeys
	addr     string
	notices  chan Notice
}

func newFixture(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, log: &memoryLog{keep: true, partitions: 4}, notices: make(chan Notice, 100)}
	keys, err := auth.NewKeys([]auth.KeySpec{
		{Business: "acct_demo", Secret: testKey},
		{Business: "acct_demo", Secret: liveKey},
		{Business: "acct_other", Secret: otherKey},
		{Business: "acct_third", Secret: thirdKey},
		{Business: "acct_demo", Secret: eventsOnlyKey, Permissions: []string{"billing_meter_event_write"}},
		{Business: "acct_demo", Secret: readerKey, Permissions: []string{"billing_meter_read", "billing_meter_event_read"}},
		{Business: "acct_demo", Secret: idleKey},
		{Business: "acct_platform", Secret: platformKey, Accounts: []string{"acct_demo", "acct_third"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.signing, err = auth.NewSigningKeys(rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Notify: func(n Notice) {
		select {
		case f.notices <- n:
		default:
		}
	}}
	if change != nil {
		change(&cfg)
	}
	if f.sessions, err = auth.NewSessions(auth.SessionConfig{Now: cfg.Now}, keys, f.signing); err != nil {
		t.Fatal(err)
	}
	g, err := ingest.New(ingest.Config{Log: f.log, Topic: "tollgate.usage", PauseMin: 0})
	if err != nil {
		t.Fatal(err)
	}
	f.ingest = &scripted{Ingester: g}
	f.openControl(cfg.Now)
	if cfg.Opened == nil {
		cfg.Opened = openOpened(t, newControlLog(), cfg.Now)
	}
	f.usage, f.events, f.webhooks = &oracle{}, &shelf{}, &postbox{states: map[string]webhook.State{}}
	cfg.Sessions, cfg.Ingest, cfg.Control, cfg.Usage, cfg.Events, cfg.Webhooks = f.sessions, f.ingest, f.control, f.usage, f.events, f.webhooks
	if f.srv, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	f.addr = f.listen(nil)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := f.srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		_ = g.Drain(ctx)
	})
	return f
}

// openControl starts a control plane, in which the demo business has the meter of the tests' events in both modes.
func (f *fixture) openControl(now func() time.Time) {
	f.t.Helper()
	c, err := control.Open(control.Config{Log: newControlLog(), Topic: "tollgate.control", Now: now})
	if err != nil {
		f.t.Fatal(err)
	}
	f.control = &steered{Control: c}
	f.t.Cleanup(func() { _ = c.Close(context.Background()) })
	for _, livemode := range []bool{false, true} {
		f.control.meter(f.t, "acct_demo", livemode, control.NewMeter{EventName: "api_requests"})
	}
}

// openOpened starts a fold of the sessions topic, and waits until it is loaded.
func openOpened(t testing.TB, log commitlog.Log, now func() time.Time) *opened.Opened {
	t.Helper()
	o, err := opened.Open(opened.Config{Log: log, Topic: "tollgate.sessions", Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close(context.Background()) })
	for end := time.Now().Add(10 * time.Second); o.Ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(o.Ready())
		}
	}
	return o
}

// listen serves one more listener on the loopback, through wrap if given, and returns its address.
func (f *fixture) listen(wrap func(net.Listener) net.Listener) string {
	f.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	addr := ln.Addr().String()
	if wrap != nil {
		ln = wrap(ln)
	}
	go func() {
		if err := f.srv.Serve(ln); err != nil {
			f.t.Error(err)
		}
	}()
	return addr
}

func (f *fixture) token(key string) string {
	f.t.Helper()
	k, err := f.sessions.Keys().Authenticate([]byte("Bearer " + key))
	if err != nil {
		f.t.Fatal(err)
	}
	_, token, err := f.sessions.Mint(k, k.Business)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(token)
}

// records returns what is in the log and forgets it.
func (f *fixture) records() []storedRecord {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	r := f.log.records
	f.log.records = nil
	return r
}

// answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
	close  bool
}

// failure is the error object of an envelope.
type failure struct{ Type, Code, Message, Param string }

// failure checks that the answer is an envelope and returns its error.
func (a *answer) failure(t testing.TB) failure {
	t.Helper()
	var e struct{ Error *failure }
	dec := json.NewDecoder(strings.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Error == nil || e.Error.Message == "" || e.Error.Type == "" {
		t.Fatalf("no error envelope in %d %q: %v", a.status, a.body, err)
	}
	return *e.Error
}

// call is one request by net/http.
type call struct {
	method, path, key, body string
	contentType             string // "-": none; "": what the API version takes
	header                  map[string]string
}

func (f *fixture) do(c call) *answer {
	f.t.Helper()
	a, err := f.try(c)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

func (f *fixture) try(c call) (*answer, error) {
	method := c.method
	if method == "" {
		method = "POST"
	}
	req, err := http.NewRequest(method, "http://"+f.addr+c.path, strings.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	if c.body == "" {
		req.Body = http.NoBody
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	switch {
	case c.contentType == "" && strings.HasPrefix(c.path, "/v1/"):
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	case c.contentType == "":
		req.Header.Set("Content-Type", "application/json")
	case c.contentType != "-":
		req.Header.Set("Content-Type", c.contentType)
	}
	for k, v := range c.header {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	return readAnswer(resp)
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: 10 * time.Second}

func readAnswer(resp *http.Response) (*answer, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: string(body), close: resp.Close}, nil
}

// raw sends bytes over a socket of its own, closes its sending side, and returns all answers until the server closes.
func (f *fixture) raw(request string) []*answer {
	f.t.Helper()
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(8 * time.Second))
	go func() {
		_, _ = io.WriteString(nc, request) // the server may close before it has read all
		_ = nc.(*net.TCPConn).CloseWrite()
	}()
	return readAnswers(f.t, nc)
}

func readAnswers(t testing.TB, nc net.Conn) []*answer {
	t.Helper()
	var answers []*answer
	br := bufio.NewReader(nc)
	for {
		if _, err := br.Peek(1); err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Fatal("the server neither answered nor closed the connection")
			}
			return answers
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("answer %d is no HTTP: %v", len(answers)+1, err)
		}
		a, err := readAnswer(resp)
		if err != nil {
			t.Fatalf("answer %d: %v", len(answers)+1, err)
		}
		if a.header.Get("Content-Type") != "application/json" || !json.Valid([]byte(a.body)) || a.body[0] != '{' {
			t.Errorf("answer %d is not a JSON object: %v %q", len(answers)+1, a.header, a.body)
		}
		answers = append(answers, a)
	}
}

// oneEvent is the smallest stream body.
const oneEvent = `{"events":[{"event_name":"api_requests","identifier":"id_1","payload":{"stripe_customer_id":"cus_1","value":"25"}}]}`
