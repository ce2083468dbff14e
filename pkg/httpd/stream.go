package httpd

import (
	"errors"
	"math/rand/v2"

	"tollgate/pkg/control"
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
	var meters *control.Snapshot
	events, err := reading.events.Stream(body)
	if err != nil {
		r = invalidFields(err)
	} else if meters, r = s.spreadMeters(x, events); r == nil {
		r = s.charge(x, len(events))
	}
	if r != nil {
		s.done(x, reading)
		return r
	}
	frame := s.cfg.Ingest.NewFrame(x.receivedMs)
	x.identify(events)
	reading.records.Begin(x.business, x.livemode, x.receivedMs)
	for i := range events {
		x.addEvent(reading, frame, &events[i], meters)
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

// spreadMeters has the meters of all events that are spread, for their customer keys. One that is not known here may have
// been made on another gateway, or this one has just started: then an event would go elsewhere than its repetition, and
// both would count. So the meters are brought up to date first. nil: no meter of the business is spread.
func (s *Server) spreadMeters(x *exchange, events []meterevent.Event) (*control.Snapshot, *stripe.Error) {
	if len(x.tenant.spread) == 0 {
		return nil, nil
	}
	meters := s.cfg.Control.Snapshot()
	for i := range events {
		e := &events[i]
		if x.tenant.spread[string(e.Name)] > 1 && meters.Named(x.business, x.livemode, string(e.Name)) == nil {
			return s.caughtUp()
		}
	}
	return meters, nil
}

// addEvent writes an event's record into the frame. The reading's records have begun.
func (x *exchange) addEvent(r *reading, frame *ingest.Frame, e *meterevent.Event, meters *control.Snapshot) {
	var meter *control.Meter
	if meters != nil && x.tenant.spread[string(e.Name)] > 1 {
		meter = meters.Named(x.business, x.livemode, string(e.Name))
	}
	frame.End(r.records.Append(frame.Begin(x.keyOf(r, e, meter)), e))
}

// keyOf is the key of an event's record, which is to be appended next: its meter's or, of a spread meter, that of its
// customer's bucket. The meter itself is looked at for a spread one only; nil is one that does not exist.
func (x *exchange) keyOf(r *reading, e *meterevent.Event, meter *control.Meter) *ingest.Key {
	place, known := r.records.Meter(e.Name)
	key := &r.keys[place]
	if !known {
		key.Set(r.records.Key())
	}
	if len(x.tenant.spread) == 0 {
		return key
	}
	n := x.tenant.spread[string(e.Name)]
	if n <= 1 {
		return key
	}
	customerKey := defaultCustomerKey
	if meter != nil {
		customerKey = meter.CustomerKey
	}
	customer, _ := e.PayloadValue(customerKey)
	x.key = meterevent.AppendBucket(append(x.key[:0], r.records.Key()...), ingest.Bucket(customer, n))
	r.key.Set(x.key)
	return &r.key
}

// submit waits until the frame is durable and accounts for its events.
func (s *Server) submit(x *exchange, frame *ingest.Frame, events int) *stripe.Error {
	return s.submitted(x, s.cfg.Ingest.Submit(frame), events)
}

// submitAt is submit, and tells where the frame's last record is.
func (s *Server) submitAt(x *exchange, frame *ingest.Frame, events int) (ingest.Position, *stripe.Error) {
	position, err := s.cfg.Ingest.SubmitAt(frame)
	return position, s.submitted(x, err, events)
}

func (s *Server) submitted(x *exchange, err error, events int) *stripe.Error {
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
