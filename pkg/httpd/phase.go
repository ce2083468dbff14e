package httpd

// phase is what a connection waits for. The watch gives each phase its time.
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

// mark begins a phase.
func (c *conn) mark(p phase) {
	c.clock.Store(uint64(p)<<phaseShift | uint64(c.srv.tick.Load()))
}

// enter begins a phase, unless it goes on already: a byte now and then buys no time.
func (c *conn) enter(p phase) {
	if c.phase() != p {
		c.mark(p)
	}
}

// waitForHead notes that the next request is waited for, part of which may be here.
func (c *conn) waitForHead() {
	switch {
	case c.w > 0:
		c.mark(phaseHead)
	case c.phase() != phaseNew:
		c.mark(phaseIdle)
	}
}

func (c *conn) phase() phase { return phase(c.clock.Load() >> phaseShift) }

// since returns the phase and the milliseconds it has lasted.
func (c *conn) since(tick int64) (phase, int64) {
	v := c.clock.Load()
	return phase(v >> phaseShift), tick - int64(v&(1<<phaseShift-1))
}
