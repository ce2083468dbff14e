package httpd

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/internal/invariants"
	"tollgate/pkg/auth"
	"tollgate/pkg/stripe"
)

// An exchange is one request and its answer. It comes from a pool and is used by one goroutine; everything in it, and
// everything that points into the request, is dead when the handler returns.
type exchange struct {
	ctx     *fasthttp.RequestCtx
	conn    *conn
	place   *place // nil: no path of ours
	route   *route
	version apiVersion
	head    []byte     // as the client wrote it
	index   *headIndex // where in it things are
	body    []byte     // as the client sent it, compressed perhaps

	inflatedHeld int64 // bytes of the server's body budget held for the decompressed body

	now        time.Time
	receivedMs int64

	// Known once the credentials are verified.
	business string
	livemode bool
	tenant   *tenant
	by       *auth.Key
	session  *auth.Session // nil with an API key

	random *rand.ChaCha8
	key    []byte // of a record of a spread meter, or of an adjustment
	id     []byte // of events that came without
	answer []byte
	form   stripe.Form
	pairs  []stripe.Pair
	param  []byte // the path's parameter, decoded
	kept   []byte // of an event, for its answer

	requestID []byte // of the answer; empty until it is asked for

	partitions []int32 // of the records of a synchronous request, each once

	credential [auth.CredentialBytesMax]byte
	echoed     [idempotencyKeyBytesMax + versionBytesMax]byte // head, after letGo
	echoes     headIndex                                      // index, after letGo
}

// noHeaders is the index of a head that was not read.
var noHeaders headIndex

// exchanges is a pool of them.
type exchanges struct{ pool sync.Pool }

func (p *exchanges) get(s *Server) *exchange {
	if x, ok := p.pool.Get().(*exchange); ok {
		return x
	}
	return &exchange{random: s.dice.cast(), index: &noHeaders}
}

// bufferKeptMax is the largest buffer that an exchange keeps for its next request.
const bufferKeptMax = 32 << 10

// put forgets everything that belongs to a request. Only buffers stay, and no large ones.
func (p *exchanges) put(x *exchange) {
	for _, b := range [...]*[]byte{&x.answer, &x.kept} {
		if cap(*b) > bufferKeptMax {
			*b = nil
		}
	}
	x.form.Shrink(bufferKeptMax)
	if invariants.Enabled {
		invariants.Mangle(x.answer[:cap(x.answer)])
		invariants.Mangle(x.key[:cap(x.key)])
		invariants.Mangle(x.kept[:cap(x.kept)])
	}
	x.ctx, x.conn, x.place, x.route, x.tenant, x.by, x.session, x.business = nil, nil, nil, nil, nil, nil, nil, ""
	x.head, x.index, x.body, x.requestID = nil, &noHeaders, nil, x.requestID[:0]
	p.pool.Put(x)
}

// handle answers one request. It is the library's handler.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	x := s.exchanges.get(s)
	defer s.handled(x)
	x.ctx, x.route, x.version = ctx, &noRoute, v2
	x.now = ctx.Time()
	if s.cfg.Now != nil {
		x.now = s.cfg.Now()
	}
	x.receivedMs = x.now.UnixMilli()
	r := s.decide(x)
	x.writeHead(r)
	if s.draining.Load() {
		ctx.SetConnectionClose() // the client's next request shall find another gateway
	}
	if r != nil {
		s.refuse(x, r)
	} else {
		s.metrics.answered(x.route, http.StatusOK)
	}
	ctx.Request.ReleaseBody(smallBodyBytes) // of a request that was refused before it was read
	s.exchanges.put(x)
}

// handled is deferred by handle: a panic costs one request and its connection. The exchange answers it and is not used
// again.
func (s *Server) handled(x *exchange) {
	v := recover()
	if v == nil {
		return
	}
	s.endInflated(x)
	s.panicked(v)
	x.ctx.Response.Reset()
	r := stripe.Internal()
	r.Close = true
	x.writeHead(r)
	s.refuse(x, r)
}

func (s *Server) panicked(v any) {
	s.metrics.panics.Add(1)
	s.cfg.Notify(Notice{What: "a request made the gateway panic; it was answered 500 if it could be", Err: fmt.Errorf("panic: %v", v), Stack: debug.Stack()})
}

// decide runs the request and returns its refusal, or nil when x.ctx holds the answer's body.
func (s *Server) decide(x *exchange) *stripe.Error {
	c := x.ctx.Conn().(*conn) // admit makes every connection
	if c.told {
		return c.refusal
	}
	x.find(c)
	if x.index.twice != otherHeader {
		return givenTwice(x.index.twice)
	}
	if len(x.header(hIdempotencyKey)) > idempotencyKeyBytesMax {
		return stripe.IdempotencyKeyTooLong(idempotencyKeyBytesMax)
	}
	method := x.text(x.index.method)
	if x.route == &noRoute {
		return stripe.NotFound(string(method), string(pathOf(x.text(x.index.target))))
	}
	if string(method) != x.route.method {
		x.ctx.Response.Header.Set("Allow", x.place.allow)
		return stripe.MethodNotAllowed(string(method), string(pathOf(x.text(x.index.target))), x.place.allow)
	}
	if expect := x.header(hExpect); len(expect) > 0 && !foldEqual(expect, "100-continue") {
		return stripe.ExpectationFailed()
	}
	if s.draining.Load() {
		return stripe.Draining()
	}
	return x.route.serve(s, x)
}

// find looks up the head and the route of the connection's request.
func (x *exchange) find(c *conn) {
	x.conn = c
	x.head, x.index, x.body = c.current()
	if x.body == nil {
		x.body = x.ctx.Request.Body()
	}
	x.locate()
}

// locate looks up the route of the head.
func (x *exchange) locate() {
	target := x.text(x.index.target)
	place, parameter := placeOf(target)
	var ok bool
	if x.param, ok = stripe.AppendUnescaped(x.param[:0], parameter); !ok {
		place = nil
	}
	if x.place = place; place == nil {
		x.route, x.version = &noRoute, versionOf(target)
		return
	}
	x.route = place.route(x.text(x.index.method))
	x.version = x.route.version
}

// letGo ends the use of the request's head and body, but for the headers that the answer repeats: the connection's
// buffer is free while the exchange waits for the log.
func (x *exchange) letGo() {
	echoed := x.echoed[:0]
	x.echoes = noHeaders
	for _, name := range [...]headerName{hIdempotencyKey, hStripeVersion} {
		value := x.header(name)
		if len(value) == 0 || len(value) > cap(echoed)-len(echoed) {
			continue // too long to be repeated
		}
		x.echoes.values[name] = span{uint32(len(echoed)), uint32(len(echoed) + len(value))}
		echoed = append(echoed, value...)
	}
	x.ctx.Request.ReleaseBody(smallBodyBytes) // the library would keep it for the connection's life
	if x.conn.letGo() {
		x.head, x.index, x.body = echoed, &x.echoes, nil
	}
}

// expect decides about a body that was announced by Expect: 100-continue, before it is sent.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	if ctx.Request.Header.ContentLength() <= s.cfg.BodyBytesMax {
		return http.StatusContinue
	}
	s.refuseEarly(ctx, stripe.BodyTooLarge(s.cfg.BodyBytesMax))
	return http.StatusRequestEntityTooLarge
}

// refuseEarly answers a request whose handler was not called, or broke down.
func (s *Server) refuseEarly(ctx *fasthttp.RequestCtx, r *stripe.Error) {
	x := &exchange{ctx: ctx, route: &noRoute, version: v2, index: &noHeaders, random: s.dice.cast()}
	if c := ctx.Conn().(*conn); c.headEnd > 0 && !c.told {
		x.find(c)
	}
	x.writeHead(r)
	s.refuse(x, r)
}

// JSON answers that never change.
var (
	jsonType    = []byte("application/json")
	emptyObject = []byte("{}")

	headerRequestID      = []byte("Request-Id")
	headerIdempotencyKey = []byte("Idempotency-Key")
	headerStripeVersion  = []byte("Stripe-Version")
)

// writeHead writes the headers that every answer has. An SDK takes the Request-Id, and support asks for it.
func (x *exchange) writeHead(r *stripe.Error) {
	h := &x.ctx.Response.Header
	h.SetContentTypeBytes(jsonType)
	h.SetCanonical(headerRequestID, x.ownID())
	if key := x.header(hIdempotencyKey); visible(key, idempotencyKeyBytesMax) {
		h.SetCanonical(headerIdempotencyKey, key)
	}
	if version := x.header(hStripeVersion); visible(version, versionBytesMax) {
		h.SetCanonical(headerStripeVersion, version)
	}
	if r == nil {
		return
	}
	x.ctx.SetStatusCode(r.Status)
	for name, value := range r.Headers {
		h.Set(name, value)
	}
}

// ownID is the Request-Id of the answer, which an event that the request causes names as well.
func (x *exchange) ownID() []byte {
	if len(x.requestID) == 0 {
		x.requestID = appendRequestID(x.requestID, x.random)
	}
	return x.requestID
}

func appendRequestID(dst []byte, random *rand.ChaCha8) []byte {
	var bits [16]byte
	putUint64s(&bits, random.Uint64(), random.Uint64())
	return stripe.AppendRequestID(dst, bits)
}

// refuse writes the envelope and counts.
func (s *Server) refuse(x *exchange, r *stripe.Error) {
	x.ctx.SetBody(x.envelope(r))
	s.metrics.answered(x.route, r.Status)
	s.metrics.refuse(r)
}

func (x *exchange) envelope(r *stripe.Error) []byte {
	x.answer = x.answer[:0]
	if x.version == v1 {
		x.answer = r.AppendV1(x.answer)
	} else {
		x.answer = r.AppendV2(x.answer)
	}
	return x.answer
}

// appendRawAnswer renders a refusal for a connection that the library never sees.
func appendRawAnswer(dst []byte, r *stripe.Error, random *rand.ChaCha8) []byte {
	body := r.AppendV2(nil)
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(r.Status)...)
	dst = append(dst, "\r\nContent-Type: application/json\r\nRequest-Id: "...)
	dst = appendRequestID(dst, random)
	dst = append(dst, "\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	for name, value := range r.Headers {
		dst = append(dst, "\r\n"...)
		dst = append(dst, name...)
		dst = append(dst, ": "...)
		dst = append(dst, value...)
	}
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}
