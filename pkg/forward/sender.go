package forward

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stripe/stripe-go/v85"
)

// sender sends what is of one business, for all of its lanes.
type sender struct {
	cfg    *Config
	counts *counts
	scope  scope
	own    Business
	http   *http.Client // without a timeout of its own
	api    *stripe.Client
	pace   *pace
	slots  chan struct{} // one for each request in flight

	opening chan struct{} // holds one while a session is opened, so that the others wait for it

	mu      sync.Mutex
	token   string // guarded by mu, as is expires
	expires time.Time

	inFlight, dead atomic.Int64
	trouble        atomic.Pointer[string] // why Stripe takes nothing; nil: it does
}

// apiVersion is what the stream is spoken in; the official client sends its own.
const (
	apiVersion     = stripe.APIVersion
	answerBytesMax = 1 << 20
	requestBytes   = 512 << 10
	// sessionMargin is how long before its end a session is replaced.
	sessionMargin = time.Minute
)

// connsMax bounds the connections that are kept while nothing is sent.
const connsMax = 1024

// ownTransport changes a transport so that it keeps a connection for each request that may be in flight. It speaks
// HTTP/1.1: with the one connection of HTTP/2, bodies that Stripe does not read for one business would use up what all
// others may send.
func ownTransport(t *http.Transport, inFlight int) *http.Transport {
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.MaxIdleConns, t.MaxIdleConnsPerHost = min(inFlight, connsMax), min(inFlight, connsMax)
	t.WriteBufferSize = 32 << 10 // a request at once
	return t
}

func newSender(cfg *Config, c *counts, business string, own Business) *sender {
	s := &sender{
		cfg: cfg, counts: c, scope: scope{business, Livemode(own.StripeKey)}, own: own,
		http: &http.Client{Transport: cfg.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		pace: newPace(own.EventsPerSecond, cfg.Now), slots: make(chan struct{}, cfg.InFlight), opening: make(chan struct{}, 1),
	}
	timed := *s.http
	timed.Timeout = cfg.RequestTimeout
	s.api = stripe.NewClient(own.StripeKey, stripe.WithBackends(stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		URL: stripe.String(own.APIBase), HTTPClient: &timed, MaxNetworkRetries: stripe.Int64(0), EnableTelemetry: stripe.Bool(false),
		LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
	})))
	return s
}

// try is how something has been tried so far.
type try struct {
	first    time.Time // nothing was tried before
	mayBe    bool      // it may be at Stripe although nobody said so
	attempts int
}

// setAside is a parcel that is not sent on, and why.
type setAside struct {
	parcel *parcel
	answer *answer // Stripe's; nil: there is only a reason
	reason string
}

// deliver sends one request's parcels until the outcome of each is known. An error means that ctx has ended.
func (s *sender) deliver(ctx context.Context, parcels []parcel, t try, aside func(setAside)) error {
	for len(parcels) > 0 {
		now := s.cfg.Now()
		if parcels = s.sift(parcels, now, &t, aside); len(parcels) == 0 {
			break
		}
		// The session is opened before, or all who wait for it would leave at once.
		to := s.endpoint(parcels)
		token, a := s.ready(ctx, to)
		if a == nil {
			if err := s.enter(ctx, len(parcels)); err != nil {
				return err
			}
			a = s.attempt(ctx, to, token, parcels)
			s.leave()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		pause := s.backoff(t.attempts)
		t.attempts++
		got := mean(to, a)
		s.counts.answers[got].Add(1)
		s.note(got, a)
		switch got {
		case delivered:
			s.counts.delivered(parcels)
			return nil
		case refused, tooLarge:
			if len(parcels) == 1 {
				aside(setAside{&parcels[0], a, reasonRefused})
				return nil
			}
			half := len(parcels) / 2
			if err := s.deliver(ctx, parcels[:half], t, aside); err != nil {
				return err
			}
			parcels, t.attempts = parcels[half:], 0
			continue
		case expired:
			s.forget(token)
			if t.attempts < 3 {
				continue
			}
		case slowDown:
			pause = max(pause, a.retryAfter())
			s.pace.slow(pause)
		case undetermined:
			t.mayBe = true
		case blocked:
			s.forget(token)
			pause = max(pause, s.cfg.BackoffMax/4)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *sender) endpoint(parcels []parcel) endpoint {
	switch {
	case parcels[0].cancel:
		return toAdjustments
	case s.cfg.Mode == V1:
		return toV1
	}
	return toStream
}

// sift sets aside what must not be sent now.
func (s *sender) sift(parcels []parcel, now time.Time, t *try, aside func(setAside)) []parcel {
	late := t.mayBe && now.Sub(t.first) > s.cfg.ResendMax
	oldest := now.Add(-s.cfg.AgeMax).UnixMilli()
	kept := parcels
	copied := false
	for i := range parcels {
		p := &parcels[i]
		reason := p.reason
		switch {
		case reason != "":
		case !p.cancel && p.timestampMs < oldest:
			reason = reasonTooOld
		case late && !p.cancel: // a cancel again is harmless
			reason = reasonUnknown
		}
		if reason == "" {
			if copied {
				kept = append(kept, *p)
			}
			continue
		}
		if !copied {
			kept, copied = append(make([]parcel, 0, len(parcels)), parcels[:i]...), true
		}
		aside(setAside{p, nil, reason})
	}
	return kept
}

func (s *sender) enter(ctx context.Context, n int) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.pace.wait(ctx, n); err != nil {
		<-s.slots
		return err
	}
	s.inFlight.Add(int64(n))
	return nil
}

func (s *sender) leave() { <-s.slots }

// ready returns the session's token where one is needed, or the answer that there is none.
func (s *sender) ready(ctx context.Context, to endpoint) (token string, a *answer) {
	if to != toStream {
		return "", nil
	}
	if token = s.current(s.cfg.Now()); token != "" {
		return token, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	return s.session(ctx)
}

// attempt makes one request. Whatever does not end in a whole answer is one with err.
func (s *sender) attempt(ctx context.Context, to endpoint, token string, parcels []parcel) *answer {
	defer s.inFlight.Add(-int64(len(parcels)))
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	switch to {
	case toAdjustments:
		return s.cancelOne(ctx, &parcels[0])
	case toV1:
		form, err := formOf(&parcels[0])
		if err != nil {
			return &answer{status: http.StatusBadRequest, valid: true, message: "the payload can not be written as a form: " + err.Error()}
		}
		return s.post(ctx, s.own.APIBase+"/v1/billing/meter_events", "application/x-www-form-urlencoded", s.own.StripeKey, []byte(form), s.randomName())
	}
	size := 16
	for i := range parcels {
		size += parcels[i].bytes()
	}
	body := appendStream(make([]byte, 0, size), parcels)
	return s.post(ctx, s.own.MeterEventsBase+"/v2/billing/meter_event_stream", "application/json", token, body, "")
}

// randomName is that of a writer of cursors, or an Idempotency-Key, for each try another: the answer that v1 has saved for a
// key may be a 500.
func (s *sender) randomName() string {
	var b [16]byte
	s.cfg.Random(b[:])
	return hex.EncodeToString(b[:])
}

func (s *sender) post(ctx context.Context, url, contentType, key string, body []byte, idempotencyKey string) *answer {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return &answer{err: err}
	}
	r.GetBody = nil // the transport must not send it a second time by itself
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Stripe-Version", apiVersion)
	if idempotencyKey != "" {
		r.Header.Set("Idempotency-Key", idempotencyKey)
	}
	resp, err := s.http.Do(r)
	if err != nil {
		return &answer{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return &answer{err: err}
	}
	a := &answer{status: resp.StatusCode, header: resp.Header}
	a.read(text)
	return a
}

// cancelOne sends an adjustment under a key that follows from it, so that one that was made is not made again.
func (s *sender) cancelOne(ctx context.Context, p *parcel) *answer {
	params := &stripe.V2BillingMeterEventAdjustmentCreateParams{
		EventName: stripe.String(p.name), Type: stripe.String("cancel"),
		Cancel: &stripe.V2BillingMeterEventAdjustmentCreateCancelParams{Identifier: stripe.String(p.identifier)},
	}
	params.IdempotencyKey = stripe.String(fmt.Sprintf("cancel_%x", hashOf(s.scope.String(), p.name, p.identifier, fmt.Sprint(p.offset))))
	_, err := s.api.V2BillingMeterEventAdjustments.Create(ctx, params)
	return answerOf(err)
}

// session returns a token, or the answer that there is none.
func (s *sender) session(ctx context.Context) (string, *answer) {
	select {
	case s.opening <- struct{}{}:
	case <-ctx.Done():
		return "", &answer{status: http.StatusConflict, valid: true, message: "no session: another request waits for one"}
	}
	defer func() { <-s.opening }()
	now := s.cfg.Now()
	if token := s.current(now); token != "" {
		return token, nil
	}
	opened, err := s.api.V2BillingMeterEventSessions.Create(ctx, &stripe.V2BillingMeterEventSessionCreateParams{})
	if err != nil {
		a := answerOf(err)
		if a.err != nil || mean(toStream, a) == undetermined || a.status == http.StatusBadRequest {
			// No event was sent: nothing is unknown.
			return "", &answer{status: http.StatusConflict, valid: true, header: a.header, message: "no session: " + err.Error()}
		}
		return "", a
	}
	if opened.AuthenticationToken == "" {
		return "", &answer{status: http.StatusConflict, valid: true, message: "no session: the answer has no token"}
	}
	// By this clock, from now on: Stripe's may differ.
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token, s.expires = opened.AuthenticationToken, now.Add(max(2*sessionMargin, opened.ExpiresAt.Sub(opened.Created)))
	s.counts.sessions.Add(1)
	return s.token, nil
}

// current is the session's token while it is good for long enough.
func (s *sender) current(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.expires.Sub(now); left > sessionMargin && left < time.Hour {
		return s.token
	}
	return ""
}

// forget drops a token that was not taken.
func (s *sender) forget(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		s.token = ""
	}
}

// note keeps what a person asks for: why nothing goes on.
func (s *sender) note(got meaning, a *answer) {
	before := s.trouble.Load()
	switch got {
	case delivered, refused:
		if before != nil && s.trouble.CompareAndSwap(before, nil) {
			s.cfg.Notify(Notice{What: GoesOn, Business: s.scope.String()})
		}
	case blocked, undetermined, again, slowDown:
		text := a.describe()
		s.trouble.Store(&text)
		if got == blocked && (before == nil || *before != text) {
			s.cfg.Notify(Notice{What: Blocked, Business: s.scope.String(), Detail: text})
		}
	}
}

// describe says what came back, without anything secret in it.
func (a *answer) describe() string {
	if a.err != nil {
		var timeout interface{ Timeout() bool }
		if errors.As(a.err, &timeout) && timeout.Timeout() {
			return "no answer in time"
		}
		return "no answer: " + firstLine(a.err.Error())
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", a.status, a.code, firstLine(a.message)))
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s[:min(len(s), 300)]
}

// backoff is the pause before the try behind so many.
func (s *sender) backoff(attempts int) time.Duration {
	d := s.cfg.pause(attempts)
	var b [1]byte
	s.cfg.Random(b[:])
	return d/2 + d/2*time.Duration(b[0])/255
}
