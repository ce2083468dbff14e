package fakestripe

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Endpoint names what a request is for.
type Endpoint string

// The endpoints, as faults and the log of requests name them. Unknown is every other path.
const (
	Session       Endpoint = "session"
	Stream        Endpoint = "stream"
	Events        Endpoint = "events"
	Adjustments   Endpoint = "adjustments"
	EventsV1      Endpoint = "events_v1"
	AdjustmentsV1 Endpoint = "adjustments_v1"
	Meters        Endpoint = "meters"
	Summaries     Endpoint = "summaries"
	Unknown       Endpoint = "unknown"
)

// call is one request on its way.
type call struct {
	endpoint Endpoint
	version  version
	method   string
	path     string
	meter    string // id in the path
	verb     string // behind the id
	query    url.Values
	header   http.Header
	body     []byte
	account  *account
	session  *session
	partly   bool // a fault lets the first half of the events through
	at       time.Time
	fault    Fault
}

// errGone: the client left while the request hung.
var errGone = errors.New("fakestripe: the client is gone")

// route finds the endpoint of a path.
func route(r *http.Request) *call {
	c := &call{endpoint: Unknown, version: v1, method: r.Method, path: r.URL.Path, query: r.URL.Query(), header: r.Header}
	if strings.HasPrefix(c.path, "/v2/") {
		c.version = v2
	}
	switch c.path {
	case "/v2/billing/meter_event_session":
		c.endpoint = Session
	case "/v2/billing/meter_event_stream":
		c.endpoint = Stream
	case "/v2/billing/meter_events":
		c.endpoint = Events
	case "/v2/billing/meter_event_adjustments":
		c.endpoint = Adjustments
	case "/v1/billing/meter_events":
		c.endpoint = EventsV1
	case "/v1/billing/meter_event_adjustments":
		c.endpoint = AdjustmentsV1
	case "/v1/billing/meters":
		c.endpoint = Meters
	}
	if rest, ok := strings.CutPrefix(c.path, "/v1/billing/meters/"); ok {
		c.meter, c.verb, _ = strings.Cut(rest, "/")
		switch c.verb {
		case "", "deactivate", "reactivate":
			c.endpoint = Meters
		case "event_summaries":
			c.endpoint = Summaries
		}
	}
	return c
}

// exchange takes a request through all stations; an error means that there is nobody to answer.
func (s *Stripe) exchange(ctx context.Context, r *http.Request) (*answer, error) {
	c := route(r)
	s.mu.Lock()
	c.at = s.now()
	refused := s.authenticate(c)
	business := ""
	if c.account != nil {
		business = c.account.Business
		if busy := s.enter(c.account, c.version); busy != nil {
			s.log.add(c, busy)
			s.mu.Unlock()
			return busy, nil
		}
		defer s.leave(c.account)
	}
	c.fault = s.strike(c.endpoint, business)
	s.mu.Unlock()

	if c.fault.Kind == ResetBeforeReading {
		return s.done(c, &answer{cut: true, code: string(ResetBeforeReading)}), nil
	}
	var err error
	if c.body, err = io.ReadAll(io.LimitReader(r.Body, bodyBytesMax+1)); err != nil {
		return s.done(c, &answer{cut: true, code: "read"}), nil
	}
	if got := c.fault.Kind.before(c.version); got != nil {
		return s.done(c, got), nil
	}
	switch c.fault.Kind {
	case HangBefore:
		err = s.wait(ctx, c.fault.For)
	case Late:
		s.applyLater(c, refused)
		err = s.wait(ctx, c.fault.For)
		return s.done(c, &answer{cut: true, code: string(Late)}), err
	}
	if err != nil {
		s.done(c, &answer{cut: true, code: "gone"})
		return nil, err
	}
	got := s.apply(c, refused)
	switch c.fault.Kind {
	case HangAfter, Slow:
		err = s.wait(ctx, c.fault.For)
	}
	if s.cfg.Latency > 0 && err == nil {
		err = s.wait(ctx, s.cfg.Latency)
	}
	return got, err
}

func (s *Stripe) leave(a *account) {
	s.mu.Lock()
	a.inFlight--
	s.mu.Unlock()
}

// done writes the request into the log.
func (s *Stripe) done(c *call, a *answer) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.add(c, a)
	return a
}

// wait for d, or until Release, or until the client has gone. A d of 0 has no end of its own.
func (s *Stripe) wait(ctx context.Context, d time.Duration) error {
	s.mu.Lock()
	released := s.released
	s.mu.Unlock()
	var end <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		end = t.C
	}
	select {
	case <-end:
	case <-released:
	case <-ctx.Done():
		return errors.Join(errGone, ctx.Err())
	}
	return nil
}

// applyLater applies a request when nobody waits for it any more: an answer that never came, from a server that was not
// dead.
func (s *Stripe) applyLater(c *call, refused *answer) {
	s.mu.Lock()
	s.late++
	s.mu.Unlock()
	time.AfterFunc(c.fault.For, func() {
		s.apply(c, refused)
		s.mu.Lock()
		s.late--
		s.mu.Unlock()
	})
}

// apply does what the request asks for, whole and at once, and gives the answer that the fault leaves of it.
func (s *Stripe) apply(c *call, refused *answer) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.partly = c.fault.Kind == ResetPartly || c.fault.Kind == ErrorPartly
	if c.fault.Kind == ExpireSession && c.session != nil {
		c.session.expires = time.Time{}
		refused = sessionExpired()
	}
	var got *answer
	switch {
	case len(c.body) > bodyBytesMax:
		got = failed(http.StatusRequestEntityTooLarge, failure{Code: "request_too_large", Message: "The body is too large."})
	case refused != nil:
		got = refused
	default:
		got = s.replayed(c, s.dispatch)
	}
	got = c.fault.Kind.after(got)
	s.log.add(c, got)
	return got
}

func (s *Stripe) dispatch(c *call) *answer {
	post := c.method == http.MethodPost
	switch {
	case c.endpoint == Session && post:
		return s.openSession(c)
	case c.endpoint == Stream && post:
		return s.stream(c)
	case c.endpoint == Events && post:
		return s.eventV2(c)
	case c.endpoint == EventsV1 && post:
		return s.eventV1(c)
	case c.endpoint == Adjustments && post:
		return s.adjustV2(c)
	case c.endpoint == AdjustmentsV1 && post:
		return s.adjustV1(c)
	case c.endpoint == Meters:
		return s.meters(c)
	case c.endpoint == Summaries && c.method == http.MethodGet:
		return s.summaries(c)
	}
	return notFound(c)
}

func notFound(c *call) *answer {
	f := failure{Message: "Unrecognized request URL (" + c.method + ": " + c.path + ")."}
	if c.version == v2 {
		f.Code = "not_found"
	}
	return failed(http.StatusNotFound, f)
}

// credential is the key or token of a request: Bearer, or the user's name of Basic.
func credential(h http.Header) string {
	scheme, rest, _ := strings.Cut(h.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return rest
	case strings.EqualFold(scheme, "Basic"):
		plain, _ := base64.StdEncoding.DecodeString(rest)
		name, _, _ := strings.Cut(string(plain), ":")
		return name
	}
	return ""
}
