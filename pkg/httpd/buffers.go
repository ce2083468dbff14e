package httpd

import (
	"errors"
	"sync"
	"syscall"

	"tollgate/internal/invariants"
	"tollgate/internal/socket"
)

// Connections do not own what they read into: a buffer is taken when bytes have arrived, and given back when the request
// was decoded, before its answer is waited for. So the memory for requests follows what arrives at the same moment and
// not who is connected. It is for memory alone: the CPU of a request was the same with a buffer each.
//
//	small   [ longest head | bodyRoom ]        for everybody
//	large   [ longest head | bodyLargeBytes ]  for a body that does not fit, within the budget of bodies
type buffers struct{ small, large bufferPool }

func newBuffers(headBytesMax int) buffers {
	return buffers{small: bufferPool{bytes: headBytesMax + bodyRoom}, large: bufferPool{bytes: headBytesMax + bodyLargeBytes}}
}

const (
	// bodyRoom is what a small buffer has behind the longest head, for the framing of chunks.
	bodyRoom = 4 << 10
	// bodyLargeBytes is the largest body that is read to where it is decoded; 100 events of 600 bytes fit. A larger one
	// is gathered by the library.
	bodyLargeBytes = 64 << 10
)

// bufferPool is a pool of buffers of one size.
type bufferPool struct {
	bytes int
	pool  sync.Pool
}

func (p *bufferPool) get() *[]byte {
	if buf, ok := p.pool.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, p.bytes)
	return &buf
}

func (p *bufferPool) put(buf *[]byte) {
	invariants.Mangle(*buf)
	p.pool.Put(buf)
}

// take gives the connection a small buffer.
func (c *conn) take() {
	c.from = &c.srv.buffers.small
	c.buf = c.from.get()
	c.in = *c.buf
}

// giveBack ends the connection's use of its buffer, and every view of the request in it.
func (c *conn) giveBack() {
	if c.buf == nil {
		return
	}
	c.from.put(c.buf)
	c.from, c.buf, c.in, c.body = nil, nil, nil, nil
	c.r, c.w, c.headEnd = 0, 0, 0
}

// enlarge moves what has arrived to a large buffer. The last request's leftovers can not be longer than a small buffer,
// so a large one holds nothing but the request that it was taken for.
func (c *conn) enlarge() {
	from, buf := &c.srv.buffers.large, c.srv.buffers.large.get()
	copy(*buf, c.in[:c.w])
	c.from.put(c.buf)
	c.from, c.buf, c.in = from, buf, *buf
}

// bind prepares a plain TCP connection for reading without a buffer. What is wrapped around one, TLS above all, reads in its
// own way and holds a buffer while it waits.
func (c *conn) bind() {
	if s := socket.Of(c.Conn); s != nil {
		c.Conn, c.tcp = s, s
		c.try = c.readOrWait // bound once: a closure a read would be an allocation
	}
}

// fill waits for bytes and appends them to in[:w]. While a socket waits for a request's first bytes it holds no
// buffer.
func (c *conn) fill() error {
	if c.buf == nil && c.tcp != nil {
		if err := c.tcp.Await(c.try); err != nil {
			return err // its deadline, or it was closed
		}
		return c.tried
	}
	if c.buf == nil {
		c.take()
	}
	return c.more(len(c.in))
}

// more appends what arrives next to in[:w], up to an end.
func (c *conn) more(end int) error {
	n, err := c.Conn.Read(c.in[c.w:end])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

// readOrWait is what the runtime's poller calls, on the connection's own goroutine, until it returns true; false has it
// wait for the socket. It is net.Conn's Read with a buffer that is only kept when there is something in it.
func (c *conn) readOrWait(fd uintptr) bool {
	c.take()
	if c.w, c.tried = socket.Read(fd, c.in); c.tried == nil {
		return true
	}
	c.giveBack()
	return !errors.Is(c.tried, syscall.EAGAIN)
}
