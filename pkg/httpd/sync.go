package httpd

import (
	"context"
	"encoding/binary"
	"errors"

	"tollgate/pkg/control"
	"tollgate/pkg/ingest"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/stripe"
	"tollgate/pkg/usage"
)

// open begins a request of a synchronous endpoint: the kind of its body, its key, then the body, which done ends.
func (s *Server) open(x *exchange) (*reading, []byte, *stripe.Error) {
	want := jsonBodies
	if x.version == v1 {
		want = formBodies
	}
	if len(x.body) > 0 { // of what kind an empty one is, is curl's business
		if r := x.takes(want); r != nil {
			return nil, nil, r
		}
	}
	if _, r := s.authenticate(x); r != nil {
		return nil, nil, r
	}
	return s.read(x)
}

// decode begins a request of a synchronous endpoint by open, and reads what its body says, as a form on v1 and as JSON on
// v2: a view into the reading, until done.
func decode[T any](s *Server, x *exchange, form, json func(*meterevent.Decoder, []byte) (T, error)) (*reading, T, *stripe.Error) {
	reading, body, r := s.open(x)
	if r != nil {
		var none T
		return nil, none, r
	}
	read := json
	if x.version == v1 {
		read = form
	}
	what, err := read(reading.events, body)
	if err != nil {
		s.done(x, reading)
		return nil, what, syncRefusal(err)
	}
	return reading, what, nil
}

// meterEvent is POST /v2/billing/meter_events: one event, judged before it is stored and again, with what came before it,
// at its place in the log (D18). POST /v1/billing/meter_events is the same as a form.
func (s *Server) meterEvent(x *exchange) *stripe.Error {
	reading, event, r := decode(s, x, x.eventOfForm, (*meterevent.Decoder).One)
	if r != nil {
		return r
	}
	return s.oneEvent(x, reading, &event)
}

// oneEvent stores an event of a synchronous endpoint and answers as its verdict is.
func (s *Server) oneEvent(x *exchange, reading *reading, event *meterevent.Event) *stripe.Error {
	release, r := s.begin(x)
	if r != nil {
		s.done(x, reading)
		return r
	}
	defer release()
	meter, refusal := s.judge(x, event)
	if refusal != nil && (meter == nil || len(x.header(hIdempotencyKey)) == 0) {
		s.done(x, reading)
		return refusal
	}
	request := x.requestOf(x.eventParams(event))
	if event.Identifier == nil {
		x.id = meterevent.RequestIdentifier(x.id[:0], x.business, x.livemode, event.Name, x.header(hIdempotencyKey), x.random)
		event.Identifier = x.id
	}
	frame := s.cfg.Ingest.NewFrame(x.receivedMs)
	reading.records.Begin(x.business, x.livemode, x.receivedMs)
	key := x.keyOf(reading, event, meter)
	frame.End(reading.records.AppendRequested(frame.Begin(key), event, request))
	x.partitions = append(x.partitions[:0], frame.Partition())
	answer := x.keep(event)
	q := usage.VerdictQuery{Scope: x.scope(event.Name), Identifier: string(event.Identifier), Request: request}
	s.done(x, reading)
	var v usage.Verdict
	if refusal != nil {
		frame.Release()
		if v = s.earlier(x, &q); v.Outcome != usage.OutcomeReplay {
			return refusal
		}
	} else if v, r = s.submitAndAsk(x, frame, &q); r != nil {
		return r
	}
	switch v.Outcome {
	case usage.OutcomeNew:
	case usage.OutcomeReplay:
		x.replayed()
		answer.CreatedMs, answer.TimestampMs = v.ReceivedMs, v.TimestampMs
	case usage.OutcomeKeyReused:
		return stripe.IdempotencyKeyReused()
	case usage.OutcomeDuplicate:
		return stripe.DuplicateMeterEvent(answer.Identifier)
	case usage.OutcomeRefused:
		return x.refusedEvent(v, answer.EventName)
	default:
		return stripe.VerdictUnknown(q.Identifier)
	}
	if x.version == v1 {
		return x.ok(stripe.AppendV1MeterEvent(x.answer[:0], &answer))
	}
	return x.ok(stripe.AppendV2MeterEvent(x.answer[:0], &answer))
}

// earlier is the verdict on a request that came before, if it was the same one: an event that was taken once has its 200
// again, also when its meter was put to sleep or its time has run out since. Nothing is stored, and nothing is said when
// that can not be found out: the refusal is true as well.
func (s *Server) earlier(x *exchange, q *usage.VerdictQuery) usage.Verdict {
	if x.partitions[0] < 0 {
		return usage.Verdict{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.UsageWaitMax)
	defer cancel()
	before := *q
	before.Partition, before.Offset = x.partitions[0], -1
	v, err := s.cfg.Usage.Verdict(ctx, before)
	if err != nil {
		return usage.Verdict{}
	}
	return v
}

// begin is what every synchronous request that writes usage begins with: its Idempotency-Key must not be at work elsewhere,
// nor have been used for something else. A caller that was not refused calls release when the request is decided.
func (s *Server) begin(x *exchange) (release func(), r *stripe.Error) {
	if s.usedForChange(x) {
		return nil, stripe.IdempotencyKeyReused()
	}
	if x.version == v1 {
		return s.inFlight.hold(x)
	}
	return func() {}, s.usedForSession(x)
}

// keep copies what the answer repeats of an event: head and body are gone when the answer is written.
func (x *exchange) keep(e *meterevent.Event) stripe.MeterEvent {
	x.kept = append(append(append(x.kept[:0], e.Name...), e.Identifier...), e.Payload...)
	name, identifier := len(e.Name), len(e.Name)+len(e.Identifier)
	answer := stripe.MeterEvent{
		EventName: x.kept[:name:name], Identifier: x.kept[name:identifier:identifier], Payload: x.kept[identifier:],
		CreatedMs: x.receivedMs, TimestampMs: x.receivedMs, Livemode: x.livemode,
	}
	if e.HasTimestamp {
		answer.TimestampMs = e.TimestampMs
	}
	return answer
}

func (x *exchange) scope(name []byte) usage.Scope {
	return usage.Scope{Business: x.business, Livemode: x.livemode, EventName: string(name)}
}

// eventParams is an event in one spelling: what two requests have in common exactly when they say the same. It is a view
// into x.kept.
func (x *exchange) eventParams(e *meterevent.Event) []byte {
	p := x.kept[:0]
	if x.version == v1 {
		p = x.form.AppendCanonical(p)
		x.kept = p
		return p
	}
	p = appendText(p, e.Name)
	has := byte(0)
	if e.Identifier != nil {
		has |= 1
	}
	if e.HasTimestamp {
		has |= 2
	}
	p = appendText(append(p, has), e.Identifier)
	p = binary.BigEndian.AppendUint64(p, uint64(e.TimestampMs))
	p = append(p, e.Payload...)
	x.kept = p
	return p
}

func appendText(dst, text []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

// requestOf is the fingerprint that the request's record carries.
func (x *exchange) requestOf(params []byte) meterevent.Request {
	return meterevent.RequestOf(x.business, x.livemode, x.route.path, x.header(hIdempotencyKey), params, x.random)
}

// submitAndAsk stores the one record of the frame, or one in each of x.partitions, and asks for their verdict. That it
// can be asked is looked at first: what is stored and can not be answered for is the worse answer.
func (s *Server) submitAndAsk(x *exchange, frame *ingest.Frame, q *usage.VerdictQuery) (usage.Verdict, *stripe.Error) {
	for _, p := range x.partitions {
		if p < 0 {
			continue // the log does not know its topic: Submit will say so
		}
		if err := s.cfg.Usage.Available(p); err != nil {
			frame.Release()
			return usage.Verdict{}, stripe.OwnerAway()
		}
	}
	if r := s.charge(x, 1); r != nil {
		frame.Release()
		return usage.Verdict{}, r
	}
	position, r := s.submitAt(x, frame, 1)
	if r != nil {
		return usage.Verdict{}, r
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.UsageWaitMax)
	defer cancel()
	ask := func(p int32) (usage.Verdict, error) {
		q := *q
		q.Partition, q.Offset = p, -1
		if p == position.Partition {
			q.Offset = position.Offset
		}
		return s.cfg.Usage.Verdict(ctx, q)
	}
	verdict, err := askAll(x.partitions, ask)
	if err != nil {
		return verdict, stripe.VerdictUnknown(q.Identifier)
	}
	return verdict, nil
}

// askAll asks about all partitions at once, and returns the gravest verdict, or an error if there was one. Almost always
// there is one partition, which this goroutine asks about.
func askAll(partitions []int32, ask func(p int32) (usage.Verdict, error)) (usage.Verdict, error) {
	type answer struct {
		verdict usage.Verdict
		err     error
	}
	others := make(chan answer, len(partitions))
	for _, p := range partitions[1:] {
		go func() {
			v, err := ask(p)
			others <- answer{v, err}
		}()
	}
	verdict, err := ask(partitions[0])
	for range partitions[1:] {
		a := <-others
		verdict, err = graver(verdict, a.verdict), errors.Join(err, a.err)
	}
	return verdict, err
}

// graver is the verdict on a request whose records are in several partitions: one that was refused anywhere was refused,
// and one that was stored anywhere before is a repetition.
func graver(a, b usage.Verdict) usage.Verdict {
	rank := func(v usage.Verdict) int {
		switch v.Outcome {
		case usage.OutcomeNew:
			return 0
		case usage.OutcomeReplay:
			return 1
		case usage.OutcomeDuplicate:
			return 2
		case usage.OutcomeRefused:
			return 3
		case usage.OutcomeKeyReused:
			return 4
		}
		return 5
	}
	switch ra, rb := rank(a), rank(b); {
	case ra > rb:
		return a
	case ra == rb && a.Outcome == usage.OutcomeReplay && a.ReceivedMs < b.ReceivedMs:
		return a
	}
	return b
}

// judge checks what a synchronous endpoint promises to check, in the order and by the rules of the worker, which judges
// again: as of the time of receipt. The first fault is the answer.
func (s *Server) judge(x *exchange, e *meterevent.Event) (*control.Meter, *stripe.Error) {
	m, r := x.meterOf(s.cfg.Control.Snapshot(), e.Name)
	if r != nil {
		// Another gateway may have answered for the meter a moment ago. That is asked for only before a refusal: an event
		// that passes is judged again where everything is known.
		snapshot, away := s.caughtUp()
		if away != nil {
			return nil, away
		}
		if m, r = x.meterOf(snapshot, e.Name); r != nil {
			return m, r
		}
	}
	if customer, _ := e.PayloadValue(m.CustomerKey); len(customer) == 0 {
		return nil, stripe.PayloadNoCustomer(m.CustomerKey, x.payloadParam(m.CustomerKey))
	}
	if m.Formula != control.Count {
		if r := x.judgeValue(m.ValueKey, e); r != nil {
			return nil, r
		}
	}
	if e.HasTimestamp {
		return m, x.timestampRefusal(meterevent.CheckTimestamp(e.TimestampMs, x.receivedMs))
	}
	return m, nil
}

// meterOf is the meter of an event name, if it counts what is received now.
func (x *exchange) meterOf(snapshot *control.Snapshot, name []byte) (*control.Meter, *stripe.Error) {
	m := snapshot.Named(x.business, x.livemode, string(name))
	switch {
	case m == nil || !m.ExistedAt(x.receivedMs):
		return nil, stripe.NoMeter(name)
	case !m.ActiveAt(x.receivedMs):
		return m, stripe.ArchivedMeter(name)
	}
	return m, nil
}

func (x *exchange) judgeValue(key string, e *meterevent.Event) *stripe.Error {
	value, ok := e.PayloadValue(key)
	if !ok {
		return stripe.PayloadNoValue(key, x.payloadParam(key))
	}
	switch meterevent.CheckValue(value) {
	case meterevent.InvalidValue:
		return stripe.PayloadInvalidValue(value, x.payloadParam(key))
	case meterevent.ValueTooManyDigits:
		r := stripe.PayloadInvalidValue(value, x.payloadParam(key))
		r.CodeV2 = string(meterevent.ValueTooManyDigits)
		return r
	}
	return nil
}

func (x *exchange) timestampRefusal(reason meterevent.Reason) *stripe.Error {
	switch reason {
	case meterevent.TimestampTooFarInPast:
		return stripe.TimestampTooOld(meterevent.OldestUnix(x.receivedMs))
	case meterevent.TimestampInFuture:
		return stripe.TimestampInFuture(meterevent.NewestUnix(x.receivedMs))
	}
	return nil
}

// refusedEvent renders a refusal of the worker's. Other than by a change of the meter between our judgement and its, it
// does not come to that.
func (x *exchange) refusedEvent(v usage.Verdict, name []byte) *stripe.Error {
	switch v.Code {
	case "no_meter":
		return stripe.NoMeter(name)
	case "archived_meter":
		return stripe.ArchivedMeter(name)
	}
	if r := x.timestampRefusal(meterevent.Reason(v.Code)); r != nil {
		return r
	}
	code := v.Code
	switch code {
	case "meter_event_no_customer_defined":
		code = "payload_no_customer_defined"
	case "meter_event_value_not_found":
		code = "payload_no_value_defined"
	case string(meterevent.InvalidValue):
		code = "payload_invalid_value"
	}
	return stripe.EventRefused(code, v.Message)
}

// payloadParam names a payload's key in the way of the API that was called.
func (x *exchange) payloadParam(key string) string {
	if x.version == v1 {
		return "payload[" + key + "]"
	}
	return "payload." + key
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
