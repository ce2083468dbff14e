package httpd

import (
	"bytes"
	"encoding/binary"

	"tollgate/pkg/meterevent"
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
	session, token, err := s.cfg.Sessions.Mint(key)
	if err != nil {
		s.cfg.Notify(Notice{What: "a meter event session could not be opened", Err: err})
		return stripe.Internal()
	}
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

// open begins a request of a synchronous endpoint: the kind of its body, its key, then the body, which done ends.
func (s *Server) open(x *exchange) (*reading, []byte, *stripe.Error) {
	want := jsonBodies
	if x.version == v1 {
		want = formBodies
	}
	if r := x.takes(want); r != nil {
		return nil, nil, r
	}
	if _, r := s.authenticate(x); r != nil {
		return nil, nil, r
	}
	return s.read(x)
}

// meterEvent is POST /v2/billing/meter_events: one event, judged before it is answered. POST /v1/billing/meter_events is
// the same as a form.
func (s *Server) meterEvent(x *exchange) *stripe.Error {
	reading, body, r := s.open(x)
	if r != nil {
		return r
	}
	var event meterevent.Event
	var err error
	if x.version == v1 {
		event, err = x.eventOfForm(reading.events, body)
	} else {
		event, err = reading.events.One(body)
	}
	if err != nil {
		s.done(x, reading)
		return syncRefusal(err)
	}
	return s.oneEvent(x, reading, &event)
}

// oneEvent stores an event of a synchronous endpoint and answers with it. The answer is written before the reading is
// done, since the event points into it.
func (s *Server) oneEvent(x *exchange, reading *reading, event *meterevent.Event) *stripe.Error {
	r := x.judge(event)
	if r == nil {
		r = s.charge(x, 1)
	}
	if r != nil {
		s.done(x, reading)
		return r
	}
	one := [1]meterevent.Event{*event}
	x.identify(one[:])
	frame := s.cfg.Ingest.NewFrame(x.receivedMs)
	reading.records.Begin(x.business, x.livemode, x.receivedMs)
	x.addEvent(reading, frame, &one[0])
	answer := stripe.MeterEvent{
		EventName: one[0].Name, Identifier: one[0].Identifier, Payload: one[0].Payload,
		CreatedMs: x.receivedMs, TimestampMs: x.receivedMs, Livemode: x.livemode,
	}
	if event.HasTimestamp {
		answer.TimestampMs = event.TimestampMs
	}
	if x.version == v1 {
		x.answer = stripe.AppendV1MeterEvent(x.answer[:0], &answer)
	} else {
		x.answer = stripe.AppendV2MeterEvent(x.answer[:0], &answer)
	}
	s.done(x, reading)
	if r := s.submit(x, frame, 1); r != nil {
		return r
	}
	return x.ok(x.answer)
}

// judge checks what a synchronous endpoint promises to check. Meters are not known here, so customer and value are
// judged under their default keys, and only where they are there: a meter may name other keys, or need no value. The
// first fault is the answer: customer, value, time, the order that the stream's error reports are to have.
func (x *exchange) judge(e *meterevent.Event) *stripe.Error {
	if customer, ok := e.PayloadValue(customerKey); ok && len(customer) == 0 {
		return stripe.PayloadNoCustomer(customerKey, x.payloadParam(customerKey))
	}
	if value, ok := e.PayloadValue(valueKey); ok {
		switch meterevent.CheckValue(value) {
		case meterevent.InvalidValue:
			return stripe.PayloadInvalidValue(value, x.payloadParam(valueKey))
		case meterevent.ValueTooManyDigits:
			r := stripe.PayloadInvalidValue(value, x.payloadParam(valueKey))
			r.CodeV2 = string(meterevent.ValueTooManyDigits)
			return r
		}
	}
	if e.HasTimestamp {
		switch meterevent.CheckTimestamp(e.TimestampMs, x.receivedMs) {
		case meterevent.TimestampTooFarInPast:
			return stripe.TimestampTooOld(ceilSeconds(x.receivedMs - meterevent.TimestampPastMaxMs))
		case meterevent.TimestampInFuture:
			return stripe.TimestampInFuture((x.receivedMs + meterevent.TimestampFutureMaxMs) / 1000)
		}
	}
	return nil
}

func ceilSeconds(ms int64) int64 { return (ms + 999) / 1000 }

// payloadParam is how the API that was called names a payload entry.
func (x *exchange) payloadParam(key string) string {
	if x.version == v1 {
		return "payload[" + key + "]"
	}
	return "payload." + key
}

// adjustment is POST /v2/billing/meter_event_adjustments, and /v1/billing/meter_event_adjustments as a form.
func (s *Server) adjustment(x *exchange) *stripe.Error {
	reading, body, r := s.open(x)
	if r != nil {
		return r
	}
	var adjustment meterevent.Adjustment
	var err error
	if x.version == v1 {
		adjustment, err = x.adjustmentOfForm(reading.events, body)
	} else {
		adjustment, err = reading.events.Adjustment(body)
	}
	if err != nil {
		s.done(x, reading)
		return syncRefusal(err)
	}
	return s.adjust(x, reading, &adjustment)
}

// adjust stores an adjustment. Whether there is an event to cancel is decided where the meter's events are read in
// order, so it is pending here.
func (s *Server) adjust(x *exchange, reading *reading, a *meterevent.Adjustment) *stripe.Error {
	if r := s.charge(x, 1); r != nil {
		s.done(x, reading)
		return r
	}
	frame := s.cfg.Ingest.NewFrame(x.receivedMs)
	x.addAdjustment(reading, frame, a)
	answer := stripe.Adjustment{
		EventName: a.Name, CancelIdentifier: a.Identifier, Status: stripe.Pending,
		CreatedMs: x.receivedMs, Livemode: x.livemode,
	}
	putUint64s(&answer.Random, x.random.Uint64(), x.random.Uint64())
	if x.version == v1 {
		x.answer = stripe.AppendV1Adjustment(x.answer[:0], &answer)
	} else {
		x.answer = stripe.AppendV2Adjustment(x.answer[:0], &answer)
	}
	s.done(x, reading)
	if r := s.submit(x, frame, 1); r != nil {
		return r
	}
	return x.ok(x.answer)
}

// ok sets the body of a 200.
func (x *exchange) ok(body []byte) *stripe.Error {
	x.answer = body
	x.ctx.SetBody(body)
	return nil
}

func putUint64s(dst *[16]byte, a, b uint64) {
	binary.BigEndian.PutUint64(dst[:8], a)
	binary.BigEndian.PutUint64(dst[8:], b)
}

func sessionHash(id *[16]byte) uint64 { return binary.BigEndian.Uint64(id[:8]) }
