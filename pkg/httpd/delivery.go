package httpd

import (
	"context"
	"errors"

	"tollgate/pkg/control"
	"tollgate/pkg/stripe"
	"tollgate/pkg/thinevent"
)

// What a person asks to be delivered: an event once more, or a ping.

// resendEvent is POST /v2/core/events/:id/resend: one more delivery to the destination that the query names. Stripe has it
// for its own tools only.
func (s *Server) resendEvent(x *exchange) *stripe.Error {
	x.kept = append(x.kept[:0], queryOf(x.text(x.index.target))...) // the head is gone when the body has been read
	body, r := s.openJSON(x)
	if r != nil {
		return r
	}
	destination, err := x.resendParams(body)
	if err != nil {
		return syncRefusal(err)
	}
	e, r := s.readableEvent(x)
	if r != nil {
		return r
	}
	snapshot, r := s.destinationsCaughtUp()
	if r != nil {
		return r
	}
	d, r := x.deliverable(snapshot, destination)
	if r != nil {
		return r
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.EventsWaitMax)
	defer cancel()
	if r := notWritten(s.cfg.Webhooks.Resend(ctx, d, e), stripe.EventsUnavailable); r != nil {
		return r
	}
	return x.ok(appendEvent(x.answer[:0], e))
}

// resendParams reads the query, which was kept, and refuses whatever the body has.
func (x *exchange) resendParams(body *jsonValue) (destination []byte, err error) {
	if err := stripe.ParseForm(&x.form, x.kept); err != nil {
		return nil, err
	}
	if destination, err = x.form.Required("destination"); err != nil {
		return nil, err
	}
	if err := x.form.Unknown(); err != nil {
		return nil, err
	}
	return destination, body.unknown("")
}

// deliverable is a destination that something can be delivered to.
func (x *exchange) deliverable(snapshot *control.Snapshot, id []byte) (*control.Destination, *stripe.Error) {
	d := snapshot.Destination(x.business, x.livemode, string(id))
	switch {
	case d == nil:
		return nil, stripe.NoSuchDestination(id)
	case !d.Enabled:
		return nil, stripe.DestinationDisabled(id)
	}
	return d, nil
}

// pingDestination is POST /v2/core/event_destinations/:id/ping: an event for this destination alone, which is delivered as
// any other. The event's id follows from the Idempotency-Key, so that the same request finds the event that it made.
func (s *Server) pingDestination(x *exchange) *stripe.Error {
	body, r := s.openJSON(x)
	if r != nil {
		return r
	}
	if err := body.unknown(""); err != nil {
		return syncRefusal(err)
	}
	key, r := x.idempotency(body.appendCanonical)
	if r != nil {
		return r
	}
	bits := x.pingBits()
	if key != nil {
		if s.usedForChange(x) {
			return stripe.IdempotencyKeyReused()
		}
		if r := s.usedForSession(x); r != nil {
			return r
		}
		e, r := s.eventOf(x, string(stripe.AppendEventID(nil, x.livemode, bits)))
		if r != nil || e != nil {
			return s.pinged(x, e, r)
		}
	}
	snapshot, r := s.destinationsCaughtUp()
	if r != nil {
		return r
	}
	d, r := x.deliverable(snapshot, x.param)
	if r != nil {
		return r
	}
	reason := &stripe.EventReason{RequestID: string(x.ownID()), IdempotencyKey: string(x.header(hIdempotencyKey))}
	return s.ping(x, thinevent.NewPing(x.business, x.livemode, d.ID, bits, reason, x.receivedMs))
}

// ping stores a ping and answers with it.
func (s *Server) ping(x *exchange, e *thinevent.Event) *stripe.Error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.EventsWaitMax)
	defer cancel()
	if err := s.cfg.Events.Append(ctx, e); err != nil && !errors.Is(err, thinevent.ErrNotIndexed) { // durable is enough
		return notWritten(err, stripe.EventsUnavailable)
	}
	if e.Reason.IdempotencyKey != "" {
		// Of two requests with one key at the same moment, the first to be stored made the event.
		first, err := s.cfg.Events.Get(x.business, x.livemode, e.ID)
		if err == nil && first != nil && first.Reason != nil && first.Reason.RequestID != e.Reason.RequestID {
			return s.pinged(x, first, nil)
		}
	}
	return x.ok(appendEvent(x.answer[:0], e))
}

// pinged answers a request whose Idempotency-Key has made a ping before.
func (s *Server) pinged(x *exchange, e *thinevent.Event, r *stripe.Error) *stripe.Error {
	switch {
	case r != nil:
		return r
	case e.Related == nil || e.Related.ID != string(x.param):
		return stripe.IdempotencyKeyReused()
	}
	x.replayed()
	return x.ok(appendEvent(x.answer[:0], e))
}

// pingBits is what the id of a ping is made of: of the Idempotency-Key, or random. The destination is not in it: a key that
// comes again for another one was used for something else.
func (x *exchange) pingBits() (bits [16]byte) {
	if len(x.header(hIdempotencyKey)) > 0 {
		return x.keyHash("ping")
	}
	putUint64s(&bits, x.random.Uint64(), x.random.Uint64())
	return bits
}
