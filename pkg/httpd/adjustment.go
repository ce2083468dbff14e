package httpd

import (
	"slices"

	"tollgate/pkg/ingest"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/stripe"
	"tollgate/pkg/usage"
)

// adjustment is POST /v2/billing/meter_event_adjustments and, as a form, POST /v1/billing/meter_event_adjustments.
func (s *Server) adjustment(x *exchange) *stripe.Error {
	reading, adjustment, r := decode(s, x, x.adjustmentOfForm, (*meterevent.Decoder).Adjustment)
	if r != nil {
		return r
	}
	return s.adjust(x, reading, &adjustment)
}

// adjust stores an adjustment. Its event may be anywhere: counted, on its way, or never sent. So it is answered as
// pending, unless it is known to come too late.
func (s *Server) adjust(x *exchange, reading *reading, a *meterevent.Adjustment) *stripe.Error {
	release, r := s.begin(x)
	if r != nil {
		s.done(x, reading)
		return r
	}
	defer release()
	request := x.requestOf(x.adjustmentParams(a))
	frame := s.cfg.Ingest.NewFrame(x.receivedMs)
	x.addAdjustment(reading, frame, a, request)
	answer := stripe.Adjustment{
		Random: x.adjustmentID(), Status: stripe.Pending, CreatedMs: x.receivedMs, Livemode: x.livemode,
	}
	x.kept = append(append(x.kept[:0], a.Name...), a.Identifier...)
	answer.EventName, answer.CancelIdentifier = x.kept[:len(a.Name):len(a.Name)], x.kept[len(a.Name):]
	q := usage.VerdictQuery{Scope: x.scope(a.Name), Identifier: string(a.Identifier), Adjustment: true, Request: request}
	s.done(x, reading)
	v, r := s.submitAndAsk(x, frame, &q)
	if r != nil {
		return r
	}
	switch v.Outcome {
	case usage.OutcomeNew:
	case usage.OutcomeReplay:
		x.replayed()
		answer.CreatedMs = v.ReceivedMs
	case usage.OutcomeKeyReused:
		return stripe.IdempotencyKeyReused()
	case usage.OutcomeRefused:
		return stripe.CancelTooLate(answer.CancelIdentifier)
	default:
		return stripe.VerdictUnknown(q.Identifier)
	}
	if x.version == v1 {
		return x.ok(stripe.AppendV1Adjustment(x.answer[:0], &answer))
	}
	return x.ok(stripe.AppendV2Adjustment(x.answer[:0], &answer))
}

func (x *exchange) adjustmentParams(a *meterevent.Adjustment) []byte {
	if x.version == v1 {
		x.kept = x.form.AppendCanonical(x.kept[:0])
	} else {
		x.kept = appendText(appendText(appendText(x.kept[:0], a.Name), []byte(a.Type)), a.Identifier)
	}
	return x.kept
}

// adjustmentID makes the id of an adjustment out of the Idempotency-Key, so that a replay, on whichever gateway, has the
// same one; without a key it is random.
func (x *exchange) adjustmentID() (id [16]byte) {
	if len(x.header(hIdempotencyKey)) == 0 {
		putUint64s(&id, x.random.Uint64(), x.random.Uint64())
		return id
	}
	return x.keyHash("adjustment")
}

// addAdjustment writes an adjustment's record: into every key of a spread meter, since it names no customer, and each
// key's reader must see it in its place among the events.
func (x *exchange) addAdjustment(r *reading, frame *ingest.Frame, a *meterevent.Adjustment, request meterevent.Request) {
	x.key = meterevent.AppendKey(x.key[:0], x.business, x.livemode, a.Name)
	x.partitions = x.partitions[:0]
	n := x.tenant.spread[string(a.Name)]
	if n <= 1 {
		x.addAdjusted(r, frame, a, request)
		return
	}
	meter := len(x.key)
	for i := range n {
		x.key = meterevent.AppendBucket(x.key[:meter], i)
		x.addAdjusted(r, frame, a, request)
	}
}

func (x *exchange) addAdjusted(r *reading, frame *ingest.Frame, a *meterevent.Adjustment, request meterevent.Request) {
	r.key.Set(x.key)
	frame.End(meterevent.AppendRequestedAdjustmentRecord(frame.Begin(&r.key), x.business, x.livemode, a, x.receivedMs, request))
	if p := frame.Partition(); !slices.Contains(x.partitions, p) {
		x.partitions = append(x.partitions, p)
	}
}
