package httpd

import "time"

// watchEvery is how often the watch looks at every connection, and by how much a timeout may be late. A round over
// 10,000 connections takes well under a millisecond.
const watchEvery = 100 * time.Millisecond

// watch runs until Shutdown is done. It keeps the tick that connections note their phases by, and cuts off the clients
// that are too slow: a timeout costs a request a few stores that way, where a deadline costs a timer and a time call each.
func (s *Server) watch() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.stopWatch:
			return
		case <-ticker.C:
		}
		tick := time.Since(s.boot).Milliseconds()
		s.tick.Store(tick)
		s.mu.Lock()
		for c := range s.conns {
			if p, late := c.late(tick); late {
				s.cut(c, p)
			}
		}
		s.mu.Unlock()
	}
}

// cut gives up on a client: the read or write that waits for it fails.
func (s *Server) cut(c *conn, p phase) {
	if c.cutOff.Swap(true) {
		return
	}
	if p >= phaseHead {
		s.metrics.cutOff.Add(1)
	}
	if p == phaseWrite {
		c.abort()
		return
	}
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// late says whether the client has had its time.
func (c *conn) late(tick int64) (phase, bool) {
	cfg := &c.srv.cfg
	p, ms := c.since(tick)
	limit := time.Duration(0)
	switch p {
	case phaseNew, phaseIdle:
		if c.srv.closing.Load() {
			return p, true
		}
		limit = cfg.IdleTimeout
		if p == phaseNew {
			limit = cfg.HeadTimeout
		}
	case phaseHead:
		limit = cfg.HeadTimeout
	case phaseBody:
		limit = cfg.BodyTimeout + time.Duration(c.got.Load())*time.Second/time.Duration(cfg.BodyRateMin)
	case phaseWrite:
		limit = cfg.WriteTimeout
	default:
		return p, false
	}
	return p, ms > limit.Milliseconds()
}
