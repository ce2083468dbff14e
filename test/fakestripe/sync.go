package fakestripe

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// eventV2 is POST /v2/billing/meter_events.
func (s *Stripe) eventV2(c *call) *answer {
	o, err := parseObject(c.body)
	if err != nil {
		return invalidFields("", "The body is not a JSON object: %v.", err)
	}
	in, refused := parseEvent(o, "")
	if refused != nil {
		return refused
	}
	e, refused := s.one(c, &in, &c.account.rateV2)
	if refused != nil {
		return refused
	}
	return one(ok(map[string]any{
		"object": "v2.billing.meter_event", "created": iso(e.countedAt), "event_name": e.name, "identifier": e.identifier,
		"livemode": c.account.Live, "payload": in.payload, "timestamp": iso(e.at),
	}))
}

// eventV1 is POST /v1/billing/meter_events.
func (s *Stripe) eventV1(c *call) *answer {
	in, refused := parseForm(c.body)
	if refused != nil {
		return refused
	}
	e, refused := s.one(c, &in, &c.account.rateV1)
	if refused != nil {
		return refused
	}
	return one(ok(map[string]any{
		"object": "billing.meter_event", "created": e.countedAt.Unix(), "event_name": e.name, "identifier": e.identifier,
		"livemode": c.account.Live, "payload": in.payload, "timestamp": e.at.Unix(),
	}))
}

func one(a *answer) *answer {
	a.events = tallyOfRequest{sent: 1, applied: 1}
	return a
}

// one takes the event of a synchronous endpoint, or refuses it aloud.
func (s *Stripe) one(c *call, in *incoming, way *window) (*event, *answer) {
	if !s.room(1) {
		return nil, full("events")
	}
	if refused := s.admit(c.account, way, 1, s.limits.SyncEvents, c.version); refused != nil {
		return nil, refused
	}
	got := s.receive(c.account, in)
	if got.reason == Counted {
		return got.event, nil
	}
	a := s.refusal(c, in, got.reason)
	a.events.sent = 1
	if got.reason == Duplicate {
		a.events.duplicates = 1
	}
	return nil, a
}

// synchronous are the names that the synchronous endpoints have for the reasons of the stream.
var synchronous = map[string]struct{ code, param, message string }{
	NoMeter:       {"no_meter", "event_name", "No meter matches this event name."},
	Archived:      {"archived_meter", "event_name", "The meter for this event is inactive."},
	NoCustomer:    {"payload_no_customer_defined", "payload", "The payload has no customer."},
	NoValue:       {"payload_no_value_defined", "payload", "The payload has no value."},
	InvalidValue:  {"payload_invalid_value", "payload", "The value is not a usable number."},
	TooManyDigits: {TooManyDigits, "payload", "The value has more than 15 digits."},
	TooOld:        {TooOld, "timestamp", "The timestamp is more than 35 days old."},
	InFuture:      {InFuture, "timestamp", "The timestamp is more than 5 minutes ahead."},
	Duplicate:     {"duplicate_meter_event", "identifier", "This identifier was used in the last 24 hours."},
}

func (s *Stripe) refusal(c *call, in *incoming, reason string) *answer {
	r := synchronous[reason]
	if c.version == v1 {
		switch reason { // sentences that programs look for
		case Duplicate:
			return badParam("", "", "An event already exists with identifier %s.", in.identifier)
		case TooOld:
			return badParam(r.code, r.param, "The event timestamp cannot be more than 35 days in past. Expected a timestamp greater than or equal to %d.", s.now().Add(-pastMax).Unix())
		}
	}
	return badParam(r.code, r.param, "%s", r.message)
}

// parseForm reads v1's one event.
func parseForm(body []byte) (in incoming, refused *answer) {
	form, refused := formOf(body, "event_name", "identifier", "timestamp", "payload[")
	if refused != nil {
		return in, refused
	}
	in.name, in.identifier = form.Get("event_name"), form.Get("identifier")
	switch {
	case in.name == "":
		return in, missing("event_name")
	case len(in.name) > nameBytesMax:
		return in, badParam("parameter_invalid_string", "event_name", "event_name has at most %d characters.", nameBytesMax)
	case len(in.identifier) > nameBytesMax:
		return in, badParam("parameter_invalid_string", "identifier", "identifier has at most %d characters.", nameBytesMax)
	}
	if text := form.Get("timestamp"); text != "" {
		var fine bool
		if in.at, fine = parseUnix(text); !fine {
			return in, badParam("parameter_invalid_integer", "timestamp", "Invalid integer: %s", text)
		}
	}
	in.payload = make(map[string]string)
	for name, values := range form {
		if key, ok := strings.CutPrefix(name, "payload["); ok {
			in.payload[strings.TrimSuffix(key, "]")] = values[0]
		}
	}
	if len(in.payload) == 0 {
		return in, missing("payload")
	}
	if tooLarge(in.payload) {
		return in, badParam("parameter_invalid_string", "payload", "payload has too many keys, or one that is too long.")
	}
	return in, nil
}

func missing(param string) *answer {
	return badParam("parameter_missing", param, "Missing required param: %s.", param)
}

// formOf decodes a form and refuses fields beside the known ones; a name that ends in [ stands for all of its keys.
func formOf(body []byte, known ...string) (url.Values, *answer) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badParam("", "", "The body is no form: %v", err)
	}
	for name, values := range form {
		bracket := strings.IndexByte(name, '[') + 1
		if name == "expand" || strings.HasPrefix(name, "expand[") || slices.Contains(known, name) ||
			bracket > 0 && strings.HasSuffix(name, "]") && slices.Contains(known, name[:bracket]) {
			if len(values) == 1 || strings.HasPrefix(name, "expand") {
				continue
			}
		}
		return nil, badParam("parameter_unknown", name, "Received unknown parameter: %s", name)
	}
	return form, nil
}

// adjustV2 is POST /v2/billing/meter_event_adjustments.
func (s *Stripe) adjustV2(c *call) *answer {
	o, err := parseObject(c.body)
	if err != nil {
		return invalidFields("", "The body is not a JSON object: %v.", err)
	}
	name, _ := o.get("event_name").(string)
	cancel, _ := o.get("cancel").(object)
	identifier, _ := cancel.get("identifier").(string)
	switch {
	case name == "":
		return invalidFields("event_name", "event_name must be a string.")
	case o.get("type") != "cancel":
		return invalidFields("type", "type must be cancel.")
	case identifier == "" || len(cancel) != 1 || len(o) != 3:
		return invalidFields("cancel.identifier", "cancel.identifier must be a string, and nothing may stand beside it.")
	}
	if refused := s.adjust(c, name, identifier); refused != nil {
		return refused
	}
	return ok(map[string]any{
		"object": "v2.billing.meter_event_adjustment", "id": s.id("mtr_event_adj", c.account.Live), "created": iso(s.now().Truncate(time.Millisecond)),
		"event_name": name, "type": "cancel", "cancel": map[string]string{"identifier": identifier}, "status": "pending",
		"livemode": c.account.Live,
	})
}

// adjustV1 is POST /v1/billing/meter_event_adjustments.
func (s *Stripe) adjustV1(c *call) *answer {
	form, refused := formOf(c.body, "event_name", "type", "cancel[identifier]")
	if refused != nil {
		return refused
	}
	for _, param := range []string{"event_name", "type", "cancel[identifier]"} {
		if form.Get(param) == "" {
			return missing(param)
		}
	}
	if form.Get("type") != "cancel" {
		return badParam("", "type", "Invalid type: must be cancel")
	}
	name, identifier := form.Get("event_name"), form.Get("cancel[identifier]")
	if refused := s.adjust(c, name, identifier); refused != nil {
		return refused
	}
	return ok(map[string]any{
		"object": "billing.meter_event_adjustment", "cancel": map[string]string{"identifier": identifier},
		"event_name": name, "livemode": c.account.Live, "status": "pending", "type": "cancel",
	})
}

func (s *Stripe) adjust(c *call, name, identifier string) *answer {
	if refused := s.admitCall(c.account, c.version); refused != nil {
		return refused
	}
	if refused := s.cancel(c.account, name, identifier); refused != nil {
		c.account.counts[fmt.Sprintf("cancel_%s", refused.code)]++
		return refused
	}
	return nil
}
