package httpd

import (
	"bytes"
	"context"
	"sync"

	"tollgate/pkg/auth"
	"tollgate/pkg/opened"
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
	if !keyed {
		session, token, r := s.mint(x, key)
		if r != nil {
			return r
		}
		return x.opened(session, token)
	}
	if kept := s.sessionAnswers.find(name, key.ID, x.receivedMs); kept != nil {
		x.replayed()
		return x.ok(append(x.answer[:0], kept...))
	}
	asked := opened.Session{Business: x.business, Livemode: x.livemode, Key: name, APIKey: key.ID}
	if earlier, ok := s.cfg.Opened.Find(asked, x.receivedMs); ok {
		return s.openedBefore(x, earlier)
	}
	if s.usedForChange(x) {
		return stripe.IdempotencyKeyReused()
	}
	session, token, r := s.mint(x, key)
	if r != nil {
		return r
	}
	first, shared := s.share(name, session)
	switch {
	case !shared:
		return s.openedHere(x, name, session, token)
	case first.ID != session.ID:
		return s.openedBefore(x, first)
	}
	return x.opened(session, token)
}

func (s *Server) mint(x *exchange, key *auth.Key) (*auth.Session, []byte, *stripe.Error) {
	session, token, err := s.cfg.Sessions.Mint(key, x.business)
	if err != nil {
		s.cfg.Notify(Notice{What: "a meter event session could not be opened", Err: err})
		return nil, nil, stripe.Internal()
	}
	return &session, token, nil
}

// share has all gateways know what the request's Idempotency-Key opened, and returns the session that it opened first. A
// session must open although the log is away, for clients open one every 15 minutes: false is that this gateway alone knows.
func (s *Server) share(name [16]byte, session *auth.Session) (first opened.Session, shared bool) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.SessionWaitMax)
	defer cancel()
	first, err := s.cfg.Opened.Open(ctx, opened.Session{
		Business: session.Business, Livemode: session.Livemode, Key: name, APIKey: session.KeyID,
		ID: session.ID, SigningKey: session.SigningKey, CreatedMs: session.CreatedMs, ExpiresMs: session.ExpiresMs,
	})
	if err != nil {
		s.metrics.unshared(err)
		return first, false
	}
	return first, true
}

// openedBefore answers with the session that the request's Idempotency-Key opened earlier, here or elsewhere.
func (s *Server) openedBefore(x *exchange, o opened.Session) *stripe.Error {
	x.replayed()
	session := &auth.Session{
		ID: o.ID, Business: o.Business, Livemode: o.Livemode, KeyID: o.APIKey,
		CreatedMs: o.CreatedMs, ExpiresMs: o.ExpiresMs, SigningKey: o.SigningKey,
	}
	return x.opened(session, s.cfg.Sessions.Token(session))
}

// openedHere answers with a session that this gateway alone will know, or with the one that it has answered meanwhile.
func (s *Server) openedHere(x *exchange, name [16]byte, session *auth.Session, token []byte) *stripe.Error {
	_ = x.opened(session, token)
	kept := s.sessionAnswers.keep(name, sessionAnswer{by: session.KeyID, body: bytes.Clone(x.answer), expiresMs: session.ExpiresMs}, x.receivedMs)
	if kept != nil {
		x.replayed()
		return x.ok(append(x.answer[:0], kept...))
	}
	return nil
}

// opened answers with a session.
func (x *exchange) opened(session *auth.Session, token []byte) *stripe.Error {
	return x.ok(stripe.AppendSession(x.answer[:0], &stripe.Session{
		Random: session.ID, Token: token, Livemode: session.Livemode,
		CreatedMs: session.CreatedMs, ExpiresMs: session.ExpiresMs,
	}))
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

// sessionAnswers remembers by Idempotency-Key what sessions were answered that the other gateways may not know, as long as
// they live, the newest sessionAnswersMax of them. Elsewhere, or after a restart, the same request may open another session,
// which does no harm, since a session has no effect that could be had twice.
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

// keep remembers an answer, unless there is a living one under the key, which it returns if the same API key has had it. It
// forgets those that are of no use any more.
func (a *sessionAnswers) keep(name [16]byte, answer sessionAnswer, nowMs int64) (earlier []byte) {
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
	kept, there := a.byKey[name]
	switch {
	case there && nowMs >= kept.expiresMs: // in order already
		a.byKey[name] = answer
		return nil
	case there && kept.by == answer.by:
		return kept.body
	case there:
		return nil
	}
	a.byKey[name] = answer
	a.order = append(a.order, name)
	return nil
}

// usedForSession refuses a request of v2 whose Idempotency-Key has opened a session, as far as this gateway has read.
func (s *Server) usedForSession(x *exchange) *stripe.Error {
	if x.version != v2 {
		return nil
	}
	name, keyed := x.sessionKey()
	if keyed && (s.sessionAnswers.has(name, x.receivedMs) || s.cfg.Opened.Used(name, x.receivedMs)) {
		return stripe.IdempotencyKeyReused()
	}
	return nil
}
