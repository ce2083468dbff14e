package httpd

import (
	"bytes"
	"sync"

	"tollgate/pkg/stripe"
)

// session is POST /v2/billing/meter_event_session. It takes no parameters: SDKs send {}, some nothing.
func (s *Server) session(x *exchange) *stripe.Error {
	key, r := s.authenticate(x)
	if r != nil {
		return r
	}
	reading, body, r := s.read(x)
	if r != nil {
		return r
	}
	if !isEmptyObject(body) {
		r := x.takes(jsonBodies)
		if r == nil {
			r = stripe.InvalidFields("", "The request takes no parameters: its body must be {} or empty")
		}
		s.done(x, reading)
		return r
	}
	s.done(x, reading)
	name, keyed := x.sessionKey()
	if keyed {
		if kept := s.sessionAnswers.find(name, key.ID, x.receivedMs); kept != nil {
			x.replayed()
			return x.ok(append(x.answer[:0], kept...))
		}
		if s.usedForChange(x) {
			return stripe.IdempotencyKeyReused()
		}
	}
	session, token, err := s.cfg.Sessions.Mint(key, x.business)
	if err != nil {
		s.cfg.Notify(Notice{What: "a meter event session could not be opened", Err: err})
		return stripe.Internal()
	}
	x.answer = stripe.AppendSession(x.answer[:0], &stripe.Session{
		Random: session.ID, Token: token, Livemode: session.Livemode,
		CreatedMs: session.CreatedMs, ExpiresMs: session.ExpiresMs,
	})
	if keyed {
		s.sessionAnswers.keep(name, sessionAnswer{by: key.ID, body: bytes.Clone(x.answer), expiresMs: session.ExpiresMs}, x.receivedMs)
	}
	return x.ok(x.answer)
}

func isEmptyObject(body []byte) bool {
	const space = " \t\r\n"
	body = bytes.Trim(body, space)
	if len(body) == 0 {
		return true
	}
	return len(body) >= 2 && body[0] == '{' && body[len(body)-1] == '}' && len(bytes.Trim(body[1:len(body)-1], space)) == 0
}

// sessionKey is what a session is remembered by. false: the request has no Idempotency-Key.
func (x *exchange) sessionKey() (name [16]byte, ok bool) {
	if len(x.header(hIdempotencyKey)) == 0 {
		return name, false
	}
	return x.keyHash("session"), true
}

// sessionAnswersMax bounds what is remembered, in all some 40 MiB; sessions live for 15 minutes, so that is 70 a second.
const sessionAnswersMax = 1 << 16

// sessionAnswers remembers by Idempotency-Key what sessions were answered, as long as they live, the newest
// sessionAnswersMax of them. It is this process's only: elsewhere, or after a restart, the same request opens another
// session, which does no harm, since a session has no effect that could be had twice.
type sessionAnswers struct {
	mu    sync.Mutex
	byKey map[[16]byte]sessionAnswer // guarded by mu, as is the next
	order [][16]byte                 // oldest first
}

type sessionAnswer struct {
	by        [8]byte // the API key that opened it
	body      []byte
	expiresMs int64
}

// find returns the answer that was given to the same API key; nil when there is none. The bytes do not change.
func (a *sessionAnswers) find(name [16]byte, by [8]byte, nowMs int64) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if kept, ok := a.byKey[name]; ok && kept.by == by && nowMs < kept.expiresMs {
		return kept.body
	}
	return nil
}

// has says whether the Idempotency-Key opened a session that lives.
func (a *sessionAnswers) has(name [16]byte, nowMs int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	kept, ok := a.byKey[name]
	return ok && nowMs < kept.expiresMs
}

// keep remembers an answer, unless there is a living one under the key, and forgets those that are of no use any more.
func (a *sessionAnswers) keep(name [16]byte, answer sessionAnswer, nowMs int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.order) > 0 {
		oldest := a.byKey[a.order[0]]
		if len(a.order) < sessionAnswersMax && nowMs < oldest.expiresMs {
			break
		}
		delete(a.byKey, a.order[0])
		a.order = a.order[1:]
	}
	if _, there := a.byKey[name]; there {
		return
	}
	a.byKey[name] = answer
	a.order = append(a.order, name)
}

// usedForSession refuses a request of v2 whose Idempotency-Key has opened a session.
func (s *Server) usedForSession(x *exchange) *stripe.Error {
	if x.version != v2 {
		return nil
	}
	if name, keyed := x.sessionKey(); keyed && s.sessionAnswers.has(name, x.receivedMs) {
		return stripe.IdempotencyKeyReused()
	}
	return nil
}
