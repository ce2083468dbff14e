package httpd

import (
	"errors"
	"math/rand/v2"

	"tollgate/pkg/ingest"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/stripe"
)

// stream is POST /v2/billing/meter_event_stream, the hot path: it allocates nothing. Events are judged by their
// structure alone; what is wrong with their meter, customer, value or time is reported later.
func (s *Server) stream(x *exchange) *stripe.Error {
	if r := x.takes(jsonBodies); r != nil {
		return r
	}
	if r := s.verifySession(x); r != nil {
		return r
	}
	reading, body, r := s.read(x)
	if r != nil {
		return r
	}
	events, err := reading.events.Stream(body)
	if err == nil {
		r = s.charge(x, len(events))
	} else {
		r = invalidFields(err)
	}
	if r != nil {
		s.done(x, reading)
		return r
	}
	frame := s.cfg.Ingest.NewFrame(x.receivedMs)
	x.identify(events)
	reading.records.Begin(x.business, x.livemode, x.receivedMs)
	for i := range events {
		x.addEvent(reading, frame, &events[i])
	}
	s.done(x, reading)
	if r := s.submit(x, frame, len(events)); r != nil {
		return r
	}
	x.ctx.Response.SetBodyRaw(emptyObject)
	return nil
}

func invalidFields(err error) *stripe.Error {
	if fault, ok := errors.AsType[*meterevent.FieldError](err); ok {
		return stripe.InvalidFields(fault.Path, fault.Reason)
	}
	return stripe.InvalidFields("", err.Error())
}

// identify gives identifiers to the events that came without (D9).
func (x *exchange) identify(events []meterevent.Event) {
	var ids meterevent.Deriver
	begun := false
	for i := range events {
		if events[i].Identifier != nil {
			continue
		}
		if !begun {
			ids = meterevent.NewDeriver(x.business, x.livemode, x.header(hIdempotencyKey), x.random)
			x.id, begun = x.id[:0], true
		}
		from := len(x.id)
		x.id = ids.Identifier(x.id, i, events[i].Raw)
		// x.id may move while it grows; what earlier events point at stays as it was.
		events[i].Identifier = x.id[from:len(x.id):len(x.id)]
	}
}

var _ meterevent.Random = (*rand.ChaCha8)(nil)

// customerKey is where a payload names its customer, unless its meter says otherwise. Meters are not known here.
const customerKey = "stripe_customer_id"

// valueKey is the same for the value.
const valueKey = "value"

// addEvent writes an event's record into the frame. The reading's records have begun.
func (x *exchange) addEvent(r *reading, frame *ingest.Frame, e *meterevent.Event) {
	place, known := r.records.Meter(e.Name)
	key := &r.keys[place]
	if !known {
		key.Set(r.records.Key())
	}
	if len(x.tenant.spread) > 0 {
		if n := x.tenant.spread[string(e.Name)]; n > 1 {
			customer, _ := e.PayloadValue(customerKey)
			x.key = meterevent.AppendBucket(append(x.key[:0], r.records.Key()...), ingest.Bucket(customer, n))
			key = &r.key
			key.Set(x.key)
		}
	}
	frame.End(r.records.Append(frame.Begin(key), e))
}

// addAdjustment writes an adjustment's record: into every key of a spread meter, since it names no customer, and each
// key's reader must see it in its place among the events.
func (x *exchange) addAdjustment(r *reading, frame *ingest.Frame, a *meterevent.Adjustment) {
	x.key = meterevent.AppendKey(x.key[:0], x.business, x.livemode, a.Name)
	n := x.tenant.spread[string(a.Name)]
	if n <= 1 {
		x.addAdjusted(r, frame, a)
		return
	}
	meter := len(x.key)
	for i := range n {
		x.key = meterevent.AppendBucket(x.key[:meter], i)
		x.addAdjusted(r, frame, a)
	}
}

func (x *exchange) addAdjusted(r *reading, frame *ingest.Frame, a *meterevent.Adjustment) {
	r.key.Set(x.key)
	frame.End(meterevent.AppendAdjustmentRecord(frame.Begin(&r.key), x.business, x.livemode, a, x.receivedMs))
}

// submit waits until the frame is durable and accounts for its events.
func (s *Server) submit(x *exchange, frame *ingest.Frame, events int) *stripe.Error {
	err := s.cfg.Ingest.Submit(frame)
	s.metrics.acknowledged(x)
	if err != nil {
		return notStored(err)
	}
	s.metrics.events.Add(uint64(events))
	x.tenant.accepted.Add(uint64(events))
	return nil
}

// notStored says what an ingester's error promises, and no more (G1).
func notStored(err error) *stripe.Error {
	switch {
	case errors.Is(err, ingest.ErrFull):
		return stripe.Overloaded()
	case errors.Is(err, ingest.ErrDraining):
		return stripe.Draining()
	case errors.Is(err, ingest.ErrTimeout):
		return stripe.Unavailable("The gateway did not get to the request in time.")
	case errors.Is(err, ingest.ErrTooLarge):
		return stripe.TooLargeForLog()
	case errors.Is(err, ingest.ErrUnknown):
		return stripe.OutcomeUnknown()
	case errors.Is(err, ingest.ErrUnavailable):
		return stripe.Unavailable("The log behind the gateway can not take events now; the gateway's /readyz says why.")
	case errors.Is(err, ingest.ErrRefused):
		return stripe.LogRefused()
	}
	return stripe.OutcomeUnknown()
}
