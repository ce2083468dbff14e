package fakestripe

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
)

// ServeHTTP answers over a real connection. To close one without an answer it takes it from the server.
func (s *Stripe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := s.exchange(r.Context(), r)
	if err != nil {
		panic(http.ErrAbortHandler) // nobody is there
	}
	if a.cut && a.status == 0 {
		reset(w)
		return
	}
	a.head(w.Header(), r)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	if a.cut {
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(a.body)
}

// reset closes a connection as a process that was killed does: with RST, where it is TCP.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// head sets what SDKs look at. The stream has no Request-Id.
func (a *answer) head(h http.Header, r *http.Request) {
	h.Set("Content-Type", "application/json")
	if a.html {
		h.Set("Content-Type", "text/html")
	}
	for _, name := range []string{"Idempotency-Key", "Stripe-Version"} {
		if v := r.Header.Get(name); v != "" {
			h.Set(name, v)
		}
	}
	if r.URL.Path != "/v2/billing/meter_event_stream" {
		h.Set("Request-Id", "req_fake")
	}
	for name, v := range a.header {
		h.Set(name, v)
	}
}

// Transport reaches the fake without a socket, in the caller's goroutine. Host and scheme do not matter. A connection
// that is closed is ECONNRESET; a client whose context ends gets that context's error.
func (s *Stripe) Transport() http.RoundTripper { return transport{s} }

type transport struct{ s *Stripe }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	at := r.Clone(r.Context()) // a RoundTripper must not change the request
	if at.Body == nil {
		at.Body = http.NoBody
	}
	defer at.Body.Close()
	a, err := t.s.exchange(r.Context(), at)
	if err != nil {
		return nil, context.Cause(r.Context())
	}
	if a.cut && a.status == 0 {
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	var body io.Reader = bytes.NewReader(a.body)
	if a.cut {
		body = io.MultiReader(bytes.NewReader(a.body[:len(a.body)/2]), broken{})
	}
	got := &http.Response{
		Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header),
		Body: io.NopCloser(body), ContentLength: int64(len(a.body)), Request: r,
	}
	a.head(got.Header, r)
	return got, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Pipe is a listener in memory, for clients that dial and for bubbles of testing/synctest: make it inside, give it to an
// http.Server with the fake as its handler, and dial with Dial.
type Pipe struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewPipe returns one that is open.
func NewPipe() *Pipe { return &Pipe{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Dial connects; once the pipe is closed it is refused.
func (p *Pipe) Dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: syscall.ECONNREFUSED}
	}
}

// Accept waits for the next Dial.
func (p *Pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and refuses those who dial.
func (p *Pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is a name that nobody can dial.
func (p *Pipe) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
