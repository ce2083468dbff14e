package httpd

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"tollgate/internal/socket"
	"tollgate/pkg/stripe"
)

// A conn is a client's connection as the HTTP library sees it. The library never sees a head that a client wrote: the
// wire reads it into in, and Read gives the library a head of our own making in its place (appendHead), which says no
// more than how long the body is. The handler finds method, target and headers in the original, by the wire's index. So
// there is one reader of heads, and the library's own is only ever given what it can not misread. It also costs less
// than to parse everything twice.
//
//	in    [ head | body, or its beginning | perhaps the next request's head ]
//	      0      headEnd          r →     w
//
// A head that is refused is replaced by a request as well (refusedHead), which the handler answers with the refusal: so
// a refusal takes its turn behind the answers to earlier, pipelined requests.
//
// A body of known length, up to bodyLargeBytes, is not passed through the library either: it is read to its end with its
// head, and the handler finds it in in. Nor is in the connection's own, see buffers.
//
// Read, Write and Close are called by the one goroutine that serves the connection. The watch, another goroutine,
// looks at clock and got and may cut the connection off.
type conn struct {
	net.Conn
	srv *Server
	ip  netip.Addr

	tcp     *socket.Socket             // Conn; nil when that is another kind
	try     func(fd uintptr) (ok bool) // readOrWait
	tried   error                      // of the last try
	wire    wire
	from    *bufferPool // where buf is from
	buf     *[]byte     // nil while nothing is being read
	in      []byte      // *buf
	r, w    int         // in[r:w] has arrived and was not used
	headEnd int         // in[:headEnd] is the head of the request under way
	waiting bool        // the library has a head that the handler has not seen
	body    []byte      // the whole body, when it was read with its head; the library is told that there is none

	refusal *stripe.Error
	midBody bool // the refusal stands in the middle of a request whose head the library has
	told    bool // refusedHead was handed out; nothing more is read

	bodyHeld int64 // bytes of the server's body budget held for the request that is being read

	clock  atomic.Uint64 // phase and the tick at which it began, see mark
	got    atomic.Int64  // body bytes of the request that is being read
	cutOff atomic.Bool   // the watch gave up on the client
}

// refusedHead stands in for a head that was refused.
const refusedHead = "GET / HTTP/1.0\r\n\r\n"

// libraryHeadMax bounds every head that the library is given. Its read buffer must hold one.
const libraryHeadMax = 256

// libraryBufferBytes is that buffer's size.
const libraryBufferBytes = 2 * libraryHeadMax

// errRefused ends a body that was refused, or any Read after a refusal. The reason is conn.refusal.
var errRefused = errors.New("httpd: the request was refused")

// Read implements net.Conn for the library.
func (c *conn) Read(p []byte) (int, error) {
	switch {
	case c.refusal != nil:
		return c.refuse(p)
	case c.wire.state != wireHead:
		return c.readBody(p)
	case c.waiting || len(p) < libraryHeadMax:
		// The library believes to be inside a request that ended for us. That must not be, and must not be served.
		c.refusal, c.midBody = refuseUnreadable, true
		return 0, errRefused
	}
	return c.readHead(p)
}

// readHead reads until a head is whole and gives the library one in its place.
func (c *conn) readHead(p []byte) (int, error) {
	c.endBody()
	c.wire.again()
	c.w = copy(c.in, c.in[c.r:c.w]) // the next head, if some of it came with the last request
	c.r, c.headEnd, c.body = 0, 0, nil
	if c.w == 0 {
		c.giveBack() // of a request that was refused before it was read
	}
	c.waitForHead()
	for {
		if c.w > 0 {
			n, r := c.wire.readHead(c.in[:c.w])
			if r != nil {
				c.refusal = r
				return c.refuse(p)
			}
			if n > 0 {
				c.r, c.headEnd = n, n
				if r := c.holdBody(); r != nil {
					c.refusal, c.midBody = r, true // the library learns of it when it asks for the body
				}
				break
			}
			c.enter(phaseHead)
		}
		if err := c.fill(); err != nil {
			return c.ended(p, true, err)
		}
	}
	c.waiting = true
	if c.wire.state != wireHead && c.refusal == nil {
		c.takeBody()
	}
	if c.wire.state == wireHead {
		c.mark(phaseHandler)
	} else {
		c.got.Store(0)
		c.mark(phaseBody)
	}
	return len(c.appendHead(p[:0])), nil
}

// takeBody reads a body to its end behind its head. It is decoded where it lies, and two copies on the way through the
// library are saved. The library keeps those that it must refuse for their size, ask for, or gather.
func (c *conn) takeBody() {
	size := c.wire.left
	if c.wire.state != wireBody || size > int64(c.srv.cfg.BodyBytesMax) || c.wire.head.expect {
		return
	}
	if size > int64(c.w-c.r) && !c.awaitBody(size) {
		return
	}
	c.body = c.in[c.r : c.r+int(size)]
	c.r += int(size)
	c.wire.readBody(c.body)
}

// awaitBody reads until the body has arrived. When it may not be read here, or ends early, the library gets its head
// and asks for it.
func (c *conn) awaitBody(size int64) bool {
	if size > int64(len(c.in)-c.r) && !c.makeRoom(size) {
		return false
	}
	c.got.Store(int64(c.w - c.r))
	c.mark(phaseBody)
	end := len(c.in)
	if c.from == &c.srv.buffers.large {
		end = c.r + int(size) // what comes behind the body is not to be held in a buffer of this size
	}
	for c.w-c.r < int(size) {
		if err := c.more(end); err != nil {
			c.refusal, c.midBody = refuseUnreadable, true
			if c.cutOff.Load() {
				c.refusal = refuseSlow
			}
			return false
		}
		c.got.Store(int64(c.w - c.r))
	}
	return true
}

// makeRoom takes a large buffer for the body, if there is one and its sender may have it.
func (c *conn) makeRoom(size int64) bool {
	if size > bodyLargeBytes {
		return false
	}
	if c.bodyHeld == 0 { // of smallBodyBytes at most: holdBody has asked for any other
		if c.srv.entitled(c.in[:c.headEnd], &c.wire.head.index) != nil {
			return false // to be refused by the handler, in the order of its checks
		}
		if !c.hold(c.largeHold()) {
			return false
		}
	}
	c.enlarge()
	return true
}

// appendHead appends the head that the library is given for the one that was read.
func (c *conn) appendHead(dst []byte) []byte {
	h := &c.wire.head
	method := "POST"
	switch h.method {
	case methodGet:
		method = "GET"
	case methodHead:
		method = "HEAD"
	}
	dst = append(dst, method...)
	if h.http10 { // answered once and closed, whatever the client says
		dst = append(dst, " / HTTP/1.0\r\n"...)
	} else {
		dst = append(dst, " / HTTP/1.1\r\nHost: a\r\n"...)
	}
	if h.close {
		dst = append(dst, "Connection: close\r\n"...)
	}
	if h.expect {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	switch {
	case h.chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case h.length >= 0 && h.method != methodGet && h.method != methodHead:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, h.length-int64(len(c.body)), 10)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// readBody gives the library the next bytes of the body, and none behind its end.
func (c *conn) readBody(p []byte) (int, error) {
	c.got.Store(c.wire.got)
	c.enter(phaseBody)
	for {
		if c.r == c.w {
			if c.readsThrough(p) {
				n, err := c.Conn.Read(p[:min(int64(len(p)), c.wire.left)])
				if n == 0 && err != nil {
					return c.ended(p, false, err)
				}
				good, _ := c.wire.readBody(p[:n])
				return c.passed(good), nil
			}
			c.r, c.w = c.headEnd, c.headEnd
			if err := c.more(len(c.in)); err != nil {
				return c.ended(p, false, err)
			}
		}
		n := copy(p, c.in[c.r:c.w])
		good, r := c.wire.readBody(p[:n])
		c.r += good
		if r == nil {
			r = c.holdBody()
		}
		if r != nil {
			c.refusal, c.midBody = r, true
		}
		if good > 0 {
			return c.passed(good), nil
		}
		if r != nil {
			return 0, errRefused
		}
	}
}

// readsThrough says whether the next bytes may be read into p without passing through in: those of a body of known
// length, and those of a chunk larger than in has room for.
func (c *conn) readsThrough(p []byte) bool {
	return c.wire.state == wireBody || c.wire.state == wireChunkData && c.wire.left > int64(len(c.in)-c.headEnd)
}

func (c *conn) passed(n int) int {
	if c.wire.state == wireHead {
		c.mark(phaseHandler)
	}
	return n
}

// letGo gives the buffer back when all that is in it was used. The request's head and body end with it, and what was
// held for the body.
func (c *conn) letGo() bool {
	if c.r < c.w || c.wire.state != wireHead {
		return false
	}
	c.endBody()
	c.giveBack()
	return true
}

// current returns the head of the request that the handler is called for, and its body if that came with it: views,
// valid until letGo.
func (c *conn) current() (head []byte, index *headIndex, body []byte) {
	c.waiting = false
	return c.in[:c.headEnd], &c.wire.head.index, c.body
}

// refuse has the refusal answered: in a head's place by the handler, within a body by the library's error path.
func (c *conn) refuse(p []byte) (int, error) {
	c.mark(phaseHandler)
	if c.told || c.midBody || len(p) < len(refusedHead) {
		return 0, errRefused
	}
	c.told = true
	return copy(p, refusedHead), nil
}

// ended turns the end of the stream into what the library shall see.
func (c *conn) ended(p []byte, atHead bool, err error) (int, error) {
	if atHead && (c.w == 0 || !c.cutOff.Load()) {
		return 0, io.EOF // idle, or half a head and gone: nobody is left to answer
	}
	if !c.cutOff.Load() {
		return 0, err
	}
	c.refusal, c.midBody = refuseSlow, !atHead
	return c.refuse(p)
}

// holdBody takes the memory for the body that has begun from the server's budget, if its sender may have some.
func (c *conn) holdBody() *stripe.Error {
	if c.wire.state == wireHead || c.bodyHeld > 0 {
		return nil
	}
	size := c.wire.left
	if c.wire.state != wireBody {
		size = c.wire.got + c.wire.left
	}
	if size <= smallBodyBytes || size > int64(c.srv.cfg.BodyBytesMax) {
		return nil // or it is too large, and the library refuses it before it reads
	}
	if r := c.srv.entitled(c.in[:c.headEnd], &c.wire.head.index); r != nil {
		return r
	}
	bytes := int64(c.srv.cfg.BodyBytesMax)
	if c.wire.state == wireBody && size <= bodyLargeBytes {
		bytes = c.largeHold()
	}
	if !c.hold(bytes) {
		return refuseBodies
	}
	return nil
}

// largeHold is what a body of known length, up to bodyLargeBytes, takes from the budget: the buffer that it is read
// into, and never more than the largest body, which every budget has room for.
func (c *conn) largeHold() int64 {
	return int64(min(c.srv.cfg.BodyBytesMax, c.srv.buffers.large.bytes))
}

// hold takes the memory of a body from the server's budget, if there is so much left.
func (c *conn) hold(bytes int64) bool {
	if c.srv.bodyBytes.Add(bytes) > c.srv.cfg.BodiesBytesMax {
		c.srv.bodyBytes.Add(-bytes)
		return false
	}
	c.bodyHeld = bytes
	return true
}

func (c *conn) endBody() {
	if c.bodyHeld > 0 {
		c.srv.bodyBytes.Add(-c.bodyHeld)
		c.bodyHeld = 0
	}
}

// Write implements net.Conn for the library.
func (c *conn) Write(p []byte) (int, error) {
	c.mark(phaseWrite)
	n, err := c.Conn.Write(p)
	c.mark(phaseHandler)
	return n, err
}

// Close ends the connection. When we stop reading in the middle of what a client sends, a plain close would make the
// kernel reset the connection, and the client would never see why it was refused; so it is given a moment to read.
func (c *conn) Close() error {
	c.endBody()
	if c.refusal != nil || c.wire.state != wireHead {
		c.linger()
	}
	return c.Conn.Close()
}

const (
	lingerMax      = 500 * time.Millisecond
	lingerBytesMax = 4 << 20
)

func (c *conn) linger() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.srv.closing.Load() {
		return
	}
	if c.Conn.SetReadDeadline(time.Now().Add(lingerMax)) != nil {
		return
	}
	if c.buf == nil {
		c.take()
	}
	for read := 0; read < lingerBytesMax; {
		n, err := c.Conn.Read(c.in)
		if err != nil {
			return
		}
		read += n
	}
}

// abort closes the connection at once, whatever it is doing. It may be called by any goroutine: a TLS connection's own
// Close would try to say goodbye first, for seconds.
func (c *conn) abort() {
	nc := c.Conn
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
	}
	_ = nc.Close()
}
