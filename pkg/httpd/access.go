package httpd

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"

	"tollgate/pkg/auth"
	"tollgate/pkg/stripe"
)

// authenticate finds the API key, and with it the business, and checks that it may do what the route needs.
func (s *Server) authenticate(x *exchange) (*auth.Key, *stripe.Error) {
	key, err := s.cfg.Sessions.Keys().Authenticate(x.header(hAuthorization))
	if err != nil {
		return nil, s.unauthorized(err)
	}
	x.business, x.livemode = key.Business, key.Livemode
	return key, s.permit(x, key)
}

// verifySession finds the session of a token. The business and the mode are the token's.
func (s *Server) verifySession(x *exchange) *stripe.Error {
	token, err := auth.Credential(x.header(hAuthorization), &x.credential)
	if err != nil {
		return s.unauthorized(err)
	}
	session, err := s.cfg.Sessions.Verify(token, x.receivedMs)
	if err != nil {
		return s.unauthorized(err)
	}
	x.session, x.business, x.livemode = session, session.Business, session.Livemode
	return s.permit(x, session.Key)
}

// entitled says why the sender of a head may not send a large body. Memory for one is held before it has arrived, so who
// shows no credential for an endpoint must not be able to use up the budget of all.
func (s *Server) entitled(head []byte, index *headIndex) *stripe.Error {
	x := s.exchanges.get(s)
	defer s.exchanges.put(x)
	x.head, x.index, x.receivedMs = head, index, s.cfg.now().UnixMilli()
	if x.locate(); x.route == &noRoute {
		return stripe.NotFound(string(x.text(index.method)), string(pathOf(x.text(index.target))))
	}
	if x.route.limit == limitSession {
		return s.verifySession(x)
	}
	_, r := s.authenticate(x)
	return r
}

// permit checks permission and account, and finds the business's limits. A session has the permissions that its key
// has now, not those it had when it was opened.
func (s *Server) permit(x *exchange, key *auth.Key) *stripe.Error {
	if lacks := key.Lacks(x.route.permission); lacks != 0 {
		return stripe.MissingPermission(lacks.String())
	}
	if r := x.actFor(key); r != nil {
		return r
	}
	x.by = key
	x.tenant = s.tenants.Load().of(x.business)
	return nil
}

// actFor has the request act for the account that it names, if the key may. A session is of one account, which is all
// that it can name. Who may be acted for is configured, so the accounts that get this far are few.
func (x *exchange) actFor(key *auth.Key) *stripe.Error {
	account, context := x.header(hStripeAccount), x.header(hStripeContext)
	if len(account) == 0 && len(context) == 0 {
		return nil
	}
	named := account
	if len(context) > 0 {
		named = context
	}
	_, last := accountOf(named)
	if _, other := accountOf(account); len(account) > 0 && !bytes.Equal(last, other) {
		return stripe.AccountsDiffer()
	}
	over, _ := accountOf(named)
	if over != nil && !key.MayActFor(string(over)) {
		return stripe.AccountNotAllowed(string(named))
	}
	switch {
	case string(last) == x.business:
	case x.session != nil || !key.MayActFor(string(last)):
		return stripe.AccountNotAllowed(string(named))
	default:
		x.business = string(last)
	}
	return nil
}

// accountOf is the account that a header names: all of it or, in a path such as acct_x/acct_y, what stands last. over is
// the account above it, nil when there is no path.
func accountOf(named []byte) (over, account []byte) {
	if over, account, path := bytes.Cut(named, []byte{'/'}); path {
		return over, account
	}
	return nil, named
}

// unauthorized gives each reason its answer. Only a token that was good once is called expired: to a client that
// is the sign to open a new session, and with a credential of another kind it would do so for ever.
func (s *Server) unauthorized(err error) *stripe.Error {
	switch {
	case errors.Is(err, auth.ErrNoCredentials):
		return stripe.NoCredentials()
	case errors.Is(err, auth.ErrBadAuthorization):
		return stripe.BadAuthorization()
	case errors.Is(err, auth.ErrTokenAsKey):
		return stripe.TokenAsAPIKey()
	case errors.Is(err, auth.ErrKeyAsToken):
		return stripe.APIKeyAsToken()
	case errors.Is(err, auth.ErrNotAToken):
		return stripe.InvalidSessionToken()
	case errors.Is(err, auth.ErrUnknownSigningKey):
		return stripe.UnknownSigningKey()
	case errors.Is(err, auth.ErrRevoked):
		return stripe.SessionRevoked()
	case errors.Is(err, auth.ErrExpired):
		r := stripe.SessionExpired()
		if s.cfg.SessionExpiredStatus == http.StatusBadRequest {
			r.Status = http.StatusBadRequest
		}
		return r
	}
	return stripe.InvalidAPIKey()
}

// charge takes n events from the buckets that the route draws from: all of them or none.
func (s *Server) charge(x *exchange, n int) *stripe.Error {
	now := x.now.Sub(s.start).Nanoseconds()
	limits, t := &x.tenant.limits, x.tenant
	var own *bucket
	var left int64
	perSecond := 0
	switch x.route.limit {
	case limitSession:
		id := sessionHash(&x.session.ID)
		perSecond = limits.StreamEvents
		b, after, outcome := s.sessions.take(s.nanos, id, now, n, perSecond)
		if outcome == chargeRefused {
			return overLimit("this meter event session", n, perSecond, stripe.ReasonEndpointRate)
		}
		if outcome == chargeNoRoom {
			s.metrics.sessionsUnbounded.Add(1)
		}
		own, left = b, after
	case limitSyncV2, limitSyncV1:
		own, perSecond = &t.syncV2, limits.SyncEvents
		if x.route.limit == limitSyncV1 {
			own = &t.syncV1
		}
		var ok bool
		if left, ok = own.take(now, n, perSecond); !ok {
			return overLimit("this account on this endpoint", n, perSecond, stripe.ReasonEndpointRate)
		}
	}
	if _, ok := t.all.take(now, n, limits.Events); !ok {
		if own != nil {
			own.giveBack(s.nanos, left, n, perSecond)
		}
		return overLimit("this account", n, limits.Events, stripe.ReasonGlobalRate)
	}
	return nil
}

// overLimit refuses n events. A request that has more of them than a full bucket will not pass later either.
func overLimit(scope string, n, perSecond int, reason string) *stripe.Error {
	r := stripe.RateLimited(scope, perSecond, reason)
	if n > perSecond {
		r.ShouldRetry, r.RetryAfterSeconds = stripe.RetryNo, 0
		r.Message = "The request has " + strconv.Itoa(n) + " events, but " + scope + " may send " + strconv.Itoa(perSecond) +
			" a second. Nothing of it was stored; send fewer events in a request."
	}
	return r
}

// nanos is the limits' clock: nanoseconds since start. It does not go back when the wall clock does.
func (s *Server) nanos() int64 {
	return s.cfg.now().Sub(s.start).Nanoseconds()
}
