package httpd

import (
	"context"
	"unicode/utf8"

	"tollgate/pkg/meterevent"
	"tollgate/pkg/stripe"
	"tollgate/pkg/usage"
)

// usageEvent is GET /v1/tollgate/usage_events/:identifier: where an event is that was answered 200, and what became of it.
// Stripe has no such endpoint. Whether there is a meter does not matter: an event without one has a fate as well.
func (s *Server) usageEvent(x *exchange) *stripe.Error {
	if r := s.openQuery(x); r != nil {
		return r
	}
	if utf8.RuneCount(x.param) > meterevent.IdentifierCharsMax { // no event has one, and another gateway may not take the question
		return stripe.ParamTooLong("identifier", meterevent.IdentifierCharsMax, "characters")
	}
	name, err := x.form.Required("event_name")
	if err == nil {
		_, err = x.form.Text("event_name", meterevent.NameCharsMax)
	}
	if err == nil {
		err = x.form.Unknown()
	}
	if err != nil {
		return syncRefusal(err)
	}
	q := usage.FateQuery{Scope: x.scope(name), Identifier: string(x.param)}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.UsageWaitMax)
	defer cancel()
	fate, err := s.cfg.Usage.Fate(ctx, q)
	if err != nil {
		return noUsage(err)
	}
	if r := x.asOf(fate.AsOfMs); r != nil {
		return r
	}
	if fate.Status == usage.NotFound {
		return stripe.NoSuchUsageEvent(q.Identifier, fate.CancelledBy != nil)
	}
	return x.ok(stripe.AppendUsageEvent(x.answer[:0], &stripe.UsageEvent{
		Identifier: q.Identifier, EventName: q.EventName, Livemode: q.Livemode, Status: string(fate.Status),
		Topic: fate.Topic, Partition: fate.Partition, Offset: fate.Offset, ReceivedMs: fate.ReceivedMs, TimestampMs: fate.TimestampMs,
		Code: fate.Code, Message: fate.Message, Duplicate: recordOf(fate.Duplicate), CancelledBy: recordOf(fate.CancelledBy),
	}))
}

func recordOf(p *usage.Place) *stripe.UsageRecord {
	if p == nil {
		return nil
	}
	return &stripe.UsageRecord{Partition: p.Partition, Offset: p.Offset, ReceivedMs: p.ReceivedMs}
}
