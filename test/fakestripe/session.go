package fakestripe

import (
	"net/http"
	"time"
)

// session is what a token stands for. Stripe.mu guards it.
type session struct {
	id, token string
	account   Account
	expires   time.Time
	rate      window
}

// authenticate finds out whose request it is: by a token on the stream, by a key elsewhere.
func (s *Stripe) authenticate(c *call) *answer {
	secret := credential(c.header)
	if c.endpoint == Stream {
		c.session = s.sessions[secret]
		if c.session == nil {
			return badKey(c.version)
		}
		c.account = s.of(c.session.account)
		if s.now().After(c.session.expires.Add(s.cfg.SessionGrace)) {
			return sessionExpired()
		}
	} else {
		a, ok := s.keys[secret]
		if !ok {
			return badKey(c.version)
		}
		c.account = s.of(a)
	}
	for _, name := range []string{"Stripe-Account", "Stripe-Context"} {
		if v := c.header.Get(name); v != "" && v != c.account.Business {
			return failed(http.StatusForbidden, failure{Code: "insufficient_permissions", Message: "The key does not act for " + v + "."})
		}
	}
	return nil
}

// openSession is POST /v2/billing/meter_event_session.
func (s *Stripe) openSession(c *call) *answer {
	if refused := s.admitCall(c.account, c.version); refused != nil {
		return refused
	}
	if len(c.body) > 0 {
		if o, err := parseObject(c.body); err != nil || len(o) > 0 {
			return invalidFields("", "A session has no parameters.")
		}
	}
	now := s.now().Truncate(time.Millisecond)
	s.sweep(now)
	if len(s.sessions) >= sessionsMax {
		return full("sessions")
	}
	n := &session{
		id: s.id("mtes", c.account.Live), token: s.id("token", c.account.Live),
		account: c.account.Account, expires: now.Add(s.cfg.SessionTTL),
	}
	s.sessions[n.token] = n
	c.account.tally.sessions++
	return ok(map[string]any{
		"object": "v2.billing.meter_event_session", "id": n.id, "authentication_token": n.token,
		"created": iso(now), "expires_at": iso(n.expires), "livemode": c.account.Live,
	})
}

// sweep forgets sessions a day after their end: until then their tokens are answered as expired, not as unknown.
func (s *Stripe) sweep(now time.Time) {
	if len(s.sessions) < sessionsMax {
		return
	}
	for token, each := range s.sessions {
		if now.Sub(each.expires) > 24*time.Hour {
			delete(s.sessions, token)
		}
	}
}
