package fakestripe

import (
	"strings"
	"time"
)

// A verdict is what became of one event.
type verdict struct {
	event  *event
	reason string // Counted, Duplicate, or why not
}

// receive judges one event and counts it, or does not. The caller has checked that there is room.
func (s *Stripe) receive(a *account, in *incoming) verdict {
	now := s.now()
	e := s.recall(a, in, now)
	m, reason := a.judge(in, now)
	if reason == "" && !e.countedAt.IsZero() && now.Sub(e.countedAt) < s.cfg.DuplicateWindow {
		reason = Duplicate
	}
	if reason != "" {
		a.counts[reason]++
		if e.counted == 0 {
			e.reason = reason
		}
		return verdict{e, reason}
	}
	a.counts[Counted]++
	if e.counted++; e.counted > 1 {
		a.tally.twice.add(e.identifier)
		e = s.again(a, e)
	}
	e.reason, e.meter, e.countedAt = "", m, now
	e.customer, e.value = m.intern(in.payload[m.CustomerKey]), strings.Clone(in.payload[m.ValueKey])
	if e.at = in.at; e.at.IsZero() {
		e.at = now.Truncate(time.Millisecond)
	}
	e.cancelled = false
	m.cell(e).put(m, e)
	if e.settled = s.cfg.SettleAfter == 0; !e.settled {
		a.settling = append(a.settling, e)
	}
	return verdict{e, Counted}
}

// recall finds what is known of an identifier, or begins to know it, and notes that it was seen.
func (s *Stripe) recall(a *account, in *incoming, now time.Time) *event {
	generated := in.identifier == ""
	if generated {
		in.identifier = s.id("gen", a.Live)
	}
	print := in.fingerprint()
	e := a.events[s.key(in.name, in.identifier)]
	if e == nil {
		name, identifier := in.name, strings.Clone(in.identifier)
		if m := a.byName[name]; m != nil {
			name = m.EventName
		} else {
			name = strings.Clone(name)
		}
		key := s.key(name, identifier)
		e = &event{identifier: identifier, name: name, print: print, first: now, generated: generated}
		a.events[key] = e
		a.order = append(a.order, e)
		s.kept++
	}
	free := !e.countedAt.IsZero() && now.Sub(e.countedAt) >= s.cfg.DuplicateWindow
	switch {
	case e.print != print && free:
		e.print = print // another use of an identifier that was free again
	case e.print != print:
		e.conflict = true
		a.tally.conflicts.add(e.identifier)
	}
	e.seen++
	e.last = now
	return e
}

// again makes room for an identifier that counts once more: the totals hold the earlier event, so it can not be changed.
// What was known of it goes to the new one, which takes its place.
func (s *Stripe) again(a *account, e *event) *event {
	next := *e
	a.events[s.key(e.name, e.identifier)] = &next
	a.order = append(a.order, &next)
	s.kept++
	return &next
}

func (s *Stripe) key(name, identifier string) eventKey {
	if s.cfg.PerMeter {
		return eventKey{identifier, name}
	}
	return eventKey{identifier, ""}
}

// room says whether n events more are kept.
func (s *Stripe) room(n int) bool { return s.kept+n <= s.cfg.EventsMax }

// stream is POST /v2/billing/meter_event_stream.
func (s *Stripe) stream(c *call) *answer {
	events, refused := parseStream(c.body)
	if refused != nil {
		return refused
	}
	a := c.account
	if !s.room(len(events)) {
		return full("events")
	}
	if refused := s.admit(a, &c.session.rate, len(events), s.limits.SessionEvents, v2); refused != nil {
		return refused
	}
	got := ok(struct{}{})
	got.events.sent = len(events)
	if c.partly {
		events = events[:len(events)/2]
	}
	for i := range events {
		switch s.receive(a, &events[i]).reason {
		case Counted:
			got.events.applied++
		case Duplicate:
			got.events.duplicates++
		}
	}
	a.tally.sessionRateMax = max(a.tally.sessionRateMax, c.session.rate.max)
	return got
}

// cancel takes an event out of the totals; Stripe allows it for 24 hours from receipt.
func (s *Stripe) cancel(a *account, name, identifier string) *answer {
	refuse := func(why string) *answer {
		return badParam("invalid_cancel_configuration", "", "The event can not be cancelled: %s.", why)
	}
	if a.byName[name] == nil {
		return badParam(NoMeter, "event_name", "No meter matches this event name.")
	}
	e := a.events[s.key(name, identifier)]
	switch {
	case e == nil || e.counted == 0 || e.name != name:
		return refuse("there is none of this identifier")
	case s.now().Sub(e.countedAt) > cancelWindow:
		return refuse("it was received more than 24 hours ago")
	case e.cancelled && s.cfg.RefuseSecondCancel:
		return refuse("it is cancelled")
	case e.cancelled:
		return nil
	}
	a.counts[Cancelled]++
	e.cancelled = true
	e.meter.cell(e).take(e.meter, e)
	return nil
}

// settle lets summaries see what was received long enough ago.
func (s *Stripe) settle(a *account) {
	until := s.now().Add(-s.cfg.SettleAfter)
	n := 0
	for n < len(a.settling) && !a.settling[n].countedAt.After(until) {
		a.settling[n].settled = true
		n++
	}
	a.settling = a.settling[n:]
}
