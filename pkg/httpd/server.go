package httpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/pkg/stripe"
)

// Server answers the Stripe API's metering endpoints on any number of listeners. Make it with New.
type Server struct {
	cfg     Config
	http    *fasthttp.Server
	metrics *serverMetrics
	dice    *dice

	exchanges exchanges
	buffers   buffers
	decoders  *decoders
	inFlight  inFlight

	sessionAnswers sessionAnswers

	tenants  atomic.Pointer[tenants]
	purses   *purses
	sessions *sessionBuckets

	wireLimits wireLimits
	bodyBytes  atomic.Int64 // memory held for bodies that are arriving
	tick       atomic.Int64 // milliseconds since start, as of the watch's last round
	start      time.Time    // by Config.Now
	boot       time.Time    // by the machine
	draining   atomic.Bool
	closing    atomic.Bool

	stopWatch chan struct{}
	stopOnce  sync.Once

	mu        sync.Mutex
	conns     map[*conn]struct{} // guarded by mu, as are the next three
	perIP     map[netip.Addr]int
	listeners map[net.Listener]struct{}
	empty     chan struct{} // closed when closing and conns is empty
}

// New makes a server and starts its watch, which Shutdown stops.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := cfg.Policy.validate(); err != nil {
		return nil, err
	}
	dice, err := newDice(cfg.Random)
	if err != nil {
		return nil, err
	}
	decoders, err := newDecoders(&cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, dice: dice, decoders: decoders,
		inFlight: inFlight{keys: make(map[string]struct{})},
		sessions: newSessionBuckets(cfg.SessionBuckets),

		sessionAnswers: sessionAnswers{byKey: make(map[[16]byte]sessionAnswer)},

		buffers:    newBuffers(cfg.HeadBytesMax),
		wireLimits: wireLimits{headBytesMax: cfg.HeadBytesMax, headLinesMax: headLinesMax},
		start:      cfg.now(),
		boot:       time.Now(),
		stopWatch:  make(chan struct{}),
		conns:      make(map[*conn]struct{}),
		perIP:      make(map[netip.Addr]int),
		listeners:  make(map[net.Listener]struct{}),
		empty:      make(chan struct{}),
	}
	s.metrics = newServerMetrics(cfg.Metrics, s)
	s.purses = &purses{accepted: s.metrics.accepted, byID: make(map[string]*purse)}
	s.tenants.Store(newTenants(cfg.Policy, s.purses))
	s.http = &fasthttp.Server{
		Handler:       s.handle,
		ErrorHandler:  s.unreadable,
		ExpectHandler: s.expect,
		// Timeouts are the watch's: it costs a request nothing, where deadlines cost three timers each.
		// Both buffers are a connection's for its life. The library reads heads of ours, and bodies go past its buffer;
		// an answer that does not fit is two writes.
		ReadBufferSize:               libraryBufferBytes,
		WriteBufferSize:              1 << 10,
		MaxRequestBodySize:           cfg.BodyBytesMax,
		Concurrency:                  cfg.ConnsMax + 1, // never reached: admit counts
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		SecureErrorLogMessage:        true,
		Logger:                       silence{},
	}
	go s.watch()
	return s, nil
}

// headLinesMax is how many lines a head may have.
const headLinesMax = 100

// silence is the library's log: what it would say is in metrics and answers.
type silence struct{}

func (silence) Printf(string, ...any) {}

// SetPolicy replaces limits and spread meters. Requests that are under way finish under the old ones.
func (s *Server) SetPolicy(p *Policy) error {
	if err := p.validate(); err != nil {
		return err
	}
	s.tenants.Store(newTenants(p, s.purses))
	return nil
}

// Serve accepts connections until the listener fails for good or Shutdown closes it; in the latter case it returns
// nil. A TLS listener must offer HTTP/1.1 only. Serve may be called for several listeners at once.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		_ = ln.Close()
		return nil
	}
	s.listeners[ln] = struct{}{}
	s.mu.Unlock()
	pause := time.Duration(0)
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			if pause > 0 {
				s.cfg.Notify(Notice{What: "connections are accepted again"})
				pause = 0
			}
			s.admit(nc)
		case s.closing.Load():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
		default:
			// Out of file descriptors or memory, or a client that was gone before it was accepted: it passes, and a
			// gateway that gives up its listener for it would be the greater fault.
			if pause == 0 {
				s.cfg.Notify(Notice{What: "connections can not be accepted for the moment; are there too few file descriptors?", Err: err})
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			time.Sleep(pause)
		}
	}
}

// admit serves a connection, unless there are too many.
func (s *Server) admit(nc net.Conn) {
	c := s.newConn(nc)
	c.mark(phaseNew)
	if r := s.register(c); r != nil {
		s.metrics.refuse(r)
		s.turnAway(nc, r)
		return
	}
	go s.serve(c)
}

func (s *Server) newConn(nc net.Conn) *conn {
	c := &conn{Conn: nc, srv: s, ip: addressOf(nc)}
	c.wire.limits = &s.wireLimits
	c.bind()
	return c
}

func addressOf(nc net.Conn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (s *Server) register(c *conn) *stripe.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing.Load():
		return stripe.Draining()
	case len(s.conns) >= s.cfg.ConnsMax:
		return refuseConnections
	case s.cfg.ConnsPerIPMax > 0 && s.perIP[c.ip] >= s.cfg.ConnsPerIPMax:
		return refuseConnectionsOfOne
	}
	s.conns[c] = struct{}{}
	s.perIP[c.ip]++
	return nil
}

func (s *Server) unregister(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.perIP[c.ip]--; s.perIP[c.ip] <= 0 {
		delete(s.perIP, c.ip)
	}
	if len(s.conns) == 0 && s.closing.Load() {
		s.closeEmpty()
	}
}

// closeEmpty tells Shutdown that no connection is left. s.mu is held.
func (s *Server) closeEmpty() {
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

// serve runs a connection to its end. The handler recovers by itself; what panics outside of it, in the library, costs
// the connection and not the process.
func (s *Server) serve(c *conn) {
	defer s.unregister(c)
	defer c.giveBack()
	defer c.endBody() // the library closes the connection, but not when it panics
	defer func() {
		if v := recover(); v != nil {
			s.panicked(v)
			c.abort()
		}
	}()
	_ = s.http.ServeConn(c) // its errors are the client's, and counted where they were answered
}

// turnAway answers a connection that is not served. A TLS connection is only closed: the handshake would let a client
// keep the accept loop waiting.
func (s *Server) turnAway(nc net.Conn, r *stripe.Error) {
	if _, encrypted := nc.(*tls.Conn); !encrypted {
		_ = nc.SetWriteDeadline(time.Now().Add(time.Millisecond)) // a fresh socket's buffer takes it at once
		_, _ = nc.Write(appendRawAnswer(nil, r, s.dice.cast()))
	}
	_ = nc.Close()
}

// Drain has every new request answered with 503 and Connection: close, while those under way are answered as usual.
// Connections are still accepted, so that a client is told and not left guessing. There is no way back.
func (s *Server) Drain() { s.draining.Store(true) }

// Shutdown drains, closes the listeners and the idle connections, and waits until every request under way is answered.
// When ctx ends before that, it closes the rest of the connections and returns an error that says how many.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	s.mu.Lock()
	s.closing.Store(true)
	for ln := range s.listeners {
		_ = ln.Close()
	}
	clear(s.listeners)
	if len(s.conns) == 0 {
		s.closeEmpty()
	}
	s.mu.Unlock()
	defer s.stopOnce.Do(func() { close(s.stopWatch) })
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	left := len(s.conns)
	for c := range s.conns {
		c.abort()
	}
	s.mu.Unlock()
	if left == 0 {
		return nil
	}
	return fmt.Errorf("httpd: %d connections were closed in the middle of a request: %w", left, ctx.Err())
}
