package httpd

import (
	"errors"

	"tollgate/pkg/meterevent"
	"tollgate/pkg/stripe"
)

// eventOfForm reads the body of POST /v1/billing/meter_events. The event is a view into x.form and the decoder.
func (x *exchange) eventOfForm(d *meterevent.Decoder, body []byte) (meterevent.Event, error) {
	f := &x.form
	if err := stripe.ParseForm(f, body); err != nil {
		return meterevent.Event{}, err
	}
	f.Ignore("expand")
	name, err := f.Required("event_name")
	if err != nil {
		return meterevent.Event{}, err
	}
	identifier, _, err := f.Optional("identifier")
	if err != nil {
		return meterevent.Event{}, err
	}
	// v1 has Unix seconds only; which of them are a time is the event's rule.
	if _, _, err := f.OptionalInteger("timestamp"); err != nil {
		return meterevent.Event{}, err
	}
	timestamp, _, err := f.Optional("timestamp")
	if err != nil {
		return meterevent.Event{}, err
	}
	if x.pairs, err = f.AppendObject(x.pairs[:0], "payload"); err != nil {
		return meterevent.Event{}, err
	}
	if len(x.pairs) == 0 {
		return meterevent.Event{}, stripe.ParamMissing("payload")
	}
	if err := f.Unknown(); err != nil {
		return meterevent.Event{}, err
	}
	payload := make([]meterevent.FormPair, len(x.pairs))
	for i, p := range x.pairs {
		payload[i] = meterevent.FormPair(p)
	}
	event, err := d.FromForm(meterevent.FormEvent{Name: name, Identifier: identifier, Timestamp: timestamp, Payload: payload})
	event.Raw = body // what an identifier is derived from
	return event, err
}

// adjustmentOfForm reads the body of POST /v1/billing/meter_event_adjustments.
func (x *exchange) adjustmentOfForm(d *meterevent.Decoder, body []byte) (meterevent.Adjustment, error) {
	f := &x.form
	if err := stripe.ParseForm(f, body); err != nil {
		return meterevent.Adjustment{}, err
	}
	f.Ignore("expand")
	name, err := f.Required("event_name")
	if err != nil {
		return meterevent.Adjustment{}, err
	}
	kind, err := f.Required("type")
	if err != nil {
		return meterevent.Adjustment{}, err
	}
	identifier, err := f.Required("cancel[identifier]")
	if err != nil {
		return meterevent.Adjustment{}, err
	}
	if err := f.Unknown(); err != nil {
		return meterevent.Adjustment{}, err
	}
	return d.FormAdjustment(name, kind, identifier)
}

// syncRefusal renders what was found in the body of a synchronous endpoint: by the parser of forms, or by the rules of
// events and the parser of JSON.
func syncRefusal(err error) *stripe.Error {
	if r, ok := errors.AsType[*stripe.Error](err); ok {
		return r
	}
	return invalidFields(err)
}
