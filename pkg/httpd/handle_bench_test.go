package httpd

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/pkg/ingest"
	"tollgate/pkg/usage"
)

// BenchmarkHandle is the server's own part of a request, without kernel, scheduler and log: a connection in memory that
// always has the next request ready, and an ingester that says yes. Beside it, the bare HTTP library.
//
//	go test -run - -bench Handle ./pkg/httpd
func BenchmarkHandle(b *testing.B) {
	for _, body := range []struct{ name, text string }{
		{"events=1", batchOf(1)},
		{"events=100", batchOf(100)},
		{"events=100/bytes=57k", wideBatchOf(100)}, // more than a small buffer holds
	} {
		h := newHandling(b, body.text)
		b.Run(body.name+"/bare", func(b *testing.B) {
			b.ReportAllocs()
			h.bare(b.N)
		})
		b.Run(body.name+"/tollgate", func(b *testing.B) {
			b.ReportAllocs()
			h.ours(b.N)
		})
	}
}

// handling is one request, and the two servers that answer it as often as it is said.
type handling struct {
	f       *fixture
	library *fasthttp.Server
	request []byte
}

func newHandling(t testing.TB, body string) *handling {
	f := newFixture(t, func(c *Config) {
		c.Policy = &Policy{Default: Limits{Events: limitMax, StreamEvents: limitMax}}
	})
	f.srv.cfg.Ingest = yes{f.ingest.Ingester}
	return &handling{f: f, request: []byte(streamRequest(f.token(testKey), body)), library: &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) {
			ctx.SetContentType("application/json")
			ctx.SetBodyString("{}")
		},
		ReadBufferSize: 16 << 10, NoDefaultServerHeader: true, Logger: silence{},
	}}
}

func (h *handling) bare(requests int) {
	_ = h.library.ServeConn(&endlessConn{request: h.request, left: requests})
}

func (h *handling) ours(requests int) {
	_ = h.f.srv.http.ServeConn(h.f.srv.newConn(&endlessConn{request: h.request, left: requests}))
}

// yes is an Ingester to which everything is durable.
type yes struct{ *ingest.Ingester }

func (yes) Submit(f *ingest.Frame) error {
	f.Release()
	return nil
}

func (yes) SubmitAt(f *ingest.Frame) (ingest.Position, error) {
	p := f.Partition()
	f.Release()
	return ingest.Position{Partition: p}, nil
}

// BenchmarkSynchronous is the same for requests that are answered one by one: an event with its verdict, by an oracle that
// knows it at once, and reads of a meter and of a page of totals.
//
//	go test -run - -bench Synchronous ./pkg/httpd
func BenchmarkSynchronous(b *testing.B) {
	h := newHandling(b, oneEvent)
	_ = h.f.srv.SetPolicy(&Policy{Default: Limits{Events: limitMax, StreamEvents: limitMax, SyncEvents: limitMax}})
	h.f.srv.cfg.Usage = first{h.f.usage}
	h.f.usage.totals = hours(0, 20)
	meter := metersPath + "/" + h.f.control.Snapshot().Named("acct_demo", false, "api_requests").ID
	get := func(path string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + testKey + "\r\n\r\n"
	}
	for _, c := range []struct{ name, request string }{
		{"event", strings.Replace(streamRequest(testKey, oneMeterEvent), streamPath, eventsPath, 1)},
		{"meter", get(meter)},
		{"summaries", get(meter + "/event_summaries?customer=a&start_time=0&end_time=172800&value_grouping_window=hour")},
	} {
		h.request = []byte(c.request)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			h.ours(b.N)
		})
	}
}

// first is a Usage to which every event is the first of its kind.
type first struct{ *oracle }

func (first) Verdict(context.Context, usage.VerdictQuery) (usage.Verdict, error) {
	return usage.Verdict{Outcome: usage.OutcomeNew}, nil
}

// endlessConn is a client that sends its request a number of times, each after the answer to the one before.
type endlessConn struct {
	net.Conn
	request []byte
	sent    int
	left    int
}

func (c *endlessConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.request[c.sent:])
	if c.sent += n; c.sent == len(c.request) {
		c.sent = 0
		c.left--
	}
	return n, nil
}

func (c *endlessConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *endlessConn) Close() error                     { return nil }
func (c *endlessConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *endlessConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *endlessConn) SetDeadline(time.Time) error      { return nil }
func (c *endlessConn) SetReadDeadline(time.Time) error  { return nil }
func (c *endlessConn) SetWriteDeadline(time.Time) error { return nil }
