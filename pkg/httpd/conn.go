package httpd

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"tollgate/pkg/stripe"
)

// A conn is a client's connection as the HTTP parser sees it: every byte has passed the wire, and a head arrives
// whole. Where a head is refused, the parser is shown a request of our own instead (refusedHead), which the handler
// answers with the refusal: so a refusal takes its turn behind the answers to earlier, pipelined requests.
//
// Read, Write and Close are called by the one goroutine that serves the connection. The watch, another goroutine,
// looks at clock and got and may cut the connection off.
type conn struct {
	net.Conn
	srv *Server

	wire    wire
	served  int    // how many of wire.heads the handler has had
	carry   []byte // the beginning of a pipelined head, for the next Read; nil when there is none
	ip      netip.Addr
	refusal *stripe.Error
	midBody bool // the refusal stands in the middle of a request whose head the parser has
	told    bool // refusedHead was handed out; nothing more is read

	bodyHeld int64 // bytes of the server's body budget held for the request that is being read

	clock  atomic.Uint64 // phase and the tick at which it began, see mark
	got    atomic.Int64  // body bytes of the request that is being read
	cutOff atomic.Bool   // the watch gave up on the client
}

// The phases of a connection. The watch gives each its time.
type phase uint8

const (
	phaseNew     phase = iota // nothing has arrived yet
	phaseIdle                 // nothing of the next request has arrived
	phaseHead                 // part of a head has arrived
	phaseBody                 // waiting for more of a body
	phaseHandler              // the request is ours: its time is bounded by the ingester
	phaseWrite                // the client does not take our answer
)

const phaseShift = 56

// refusedHead stands in for a head that was refused. The handler never trusts it: it looks at conn.refusal first.
const refusedHead = "GET /refused HTTP/1.0\r\n\r\n"

// errRefused ends a body that was refused, or any Read after a refusal. The reason is conn.refusal.
var errRefused = errors.New("httpd: the request was refused")

func (c *conn) mark(p phase) {
	c.clock.Store(uint64(p)<<phaseShift | uint64(c.srv.tick.Load()))
}

func (c *conn) phase() phase { return phase(c.clock.Load() >> phaseShift) }

// since returns the phase and the milliseconds it has lasted.
func (c *conn) since(tick int64) (phase, int64) {
	v := c.clock.Load()
	return phase(v >> phaseShift), tick - int64(v&(1<<phaseShift-1))
}

// Read implements net.Conn for the parser. p must have room for a whole head, or be behind one.
func (c *conn) Read(p []byte) (int, error) {
	if c.refusal != nil {
		return c.refuse(p)
	}
	atHead := c.wire.state == wireHead
	n := 0
	if atHead {
		if len(p) < c.wire.limits.headBytesMax {
			// The parser believes to be inside a request that ended for us. That must not be, and must not be served.
			c.refusal, c.midBody = refuseUnreadable, true
			return 0, errRefused
		}
		// The parser asks for a head when it has used up everything before.
		c.wire.heads, c.served = c.wire.heads[:0], 0
		c.endBody()
		n = copy(p, c.carry)
		c.carry = c.carry[:0]
	}
	c.waitFor(atHead, n)
	for {
		m, err := c.Conn.Read(p[n:])
		n += m
		if m > 0 {
			good, r := c.wire.feed(p[:n])
			if good > 0 || r != nil {
				return c.pass(p, n, good, r)
			}
		}
		if err != nil {
			return c.ended(p, atHead, n, err)
		}
		if c.phase() != phaseHead {
			c.mark(phaseHead)
		}
	}
}

// waitFor notes what the client is waited for. A phase that goes on keeps its beginning: a byte now and then buys no
// time.
func (c *conn) waitFor(atHead bool, carried int) {
	now := c.phase()
	switch {
	case !atHead:
		c.got.Store(c.wire.got)
		if now != phaseBody {
			c.mark(phaseBody)
		}
	case carried > 0:
		c.mark(phaseHead)
	case now != phaseNew:
		c.mark(phaseIdle)
	}
}

// pass hands the good bytes of p[:n] to the parser, and keeps the rest for the next Read.
func (c *conn) pass(p []byte, n, good int, r *stripe.Error) (int, error) {
	if r == nil {
		r = c.holdBody()
	}
	if r != nil {
		c.refusal, c.midBody = r, c.wire.midBody || r == refuseBodies
	}
	if good == 0 {
		return c.refuse(p)
	}
	if r == nil && good < n {
		c.carry = append(c.carry, p[good:n]...)
		c.wire.again()
	}
	if c.wire.state == wireHead || c.phase() != phaseBody {
		c.mark(phaseHandler)
	}
	return good, nil
}

// refuse has the refusal answered: in a head's place by the handler, within a body by the parser's error path.
func (c *conn) refuse(p []byte) (int, error) {
	c.mark(phaseHandler)
	if c.told || c.midBody || len(p) < len(refusedHead) {
		return 0, errRefused
	}
	c.told = true
	return copy(p, refusedHead), nil
}

// ended turns the end of the stream into what the parser shall see.
func (c *conn) ended(p []byte, atHead bool, n int, err error) (int, error) {
	if atHead && (n == 0 || !c.cutOff.Load()) {
		return 0, io.EOF // idle, or half a head and gone: nobody is left to answer
	}
	if !c.cutOff.Load() {
		return 0, err
	}
	c.refusal, c.midBody = refuseSlow, !atHead
	return c.refuse(p)
}

// holdBody takes the memory for the body that has begun from the server's budget.
func (c *conn) holdBody() *stripe.Error {
	if c.wire.state == wireHead || c.bodyHeld > 0 {
		return nil
	}
	size := c.wire.left
	if c.wire.state != wireBody {
		size = c.wire.got + c.wire.left
	}
	if size <= smallBodyBytes {
		return nil
	}
	hold := int64(c.srv.cfg.BodyBytesMax)
	if c.srv.bodyBytes.Add(hold) > c.srv.cfg.BodiesBytesMax {
		c.srv.bodyBytes.Add(-hold)
		return refuseBodies
	}
	c.bodyHeld = hold
	return nil
}

func (c *conn) endBody() {
	if c.bodyHeld > 0 {
		c.srv.bodyBytes.Add(-c.bodyHeld)
		c.bodyHeld = 0
	}
}

// nextHead returns the index of the head that the handler is called for.
func (c *conn) nextHead() *headIndex {
	h := &c.wire.heads[c.served]
	c.served++
	return h
}

// Write implements net.Conn for the parser.
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
	var buf [4096]byte
	for read := 0; read < lingerBytesMax; {
		n, err := c.Conn.Read(buf[:])
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
