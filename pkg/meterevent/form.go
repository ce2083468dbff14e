package meterevent

import "unicode/utf8"

// FormEvent is one event as the parameters of a v1 form (Stripe API reference, POST /v1/billing/meter_events), percent
// escapes decoded. nil is absent.
type FormEvent struct {
	Name       []byte     // event_name
	Identifier []byte     // identifier
	Timestamp  []byte     // timestamp: Unix seconds
	Payload    []FormPair // payload[…]; none is absent, since a form can not say {}
}

// FormPair is one parameter payload[Key]=Value.
type FormPair struct{ Key, Value []byte }

// FromForm takes an event from a form, by the limits of the JSON body. Event.Raw is nil. The error is a *FieldError.
func (d *Decoder) FromForm(f FormEvent) (Event, error) {
	d.begin(nil)
	ev := Event{Name: f.Name, Identifier: f.Identifier}
	d.formName(f.Name)
	if f.Identifier != nil {
		d.formText("identifier", f.Identifier, IdentifierCharsMax)
	}
	if f.Timestamp != nil {
		if ev.TimestampMs, ev.HasTimestamp = parseUnixSeconds(f.Timestamp); !ev.HasTimestamp {
			d.refuseFirst("timestamp", "must be Unix seconds in the years 1 to 9999")
		}
	}
	d.formPayload(f.Payload)
	if d.fault != nil {
		return Event{}, d.fault
	}
	ev.Payload = d.scratch
	return ev, nil
}

// FormAdjustment takes an adjustment from the parameters event_name, type and cancel[identifier] of a v1 form, nil being
// absent. The error is a *FieldError.
func (d *Decoder) FormAdjustment(name, kind, identifier []byte) (Adjustment, error) {
	d.begin(nil)
	d.formName(name)
	switch string(kind) {
	case string(Cancel):
	case "":
		d.refuseFirst("type", "is required")
	default:
		d.refuseFirst("type", badAdjustmentType)
	}
	if identifier == nil {
		d.refuseFirst("cancel[identifier]", "is required")
	}
	d.formText("cancel[identifier]", identifier, IdentifierCharsMax)
	if d.fault != nil {
		return Adjustment{}, d.fault
	}
	return Adjustment{Name: name, Type: Cancel, Identifier: identifier}, nil
}

// refuseFirst keeps the first fault of a form.
func (d *Decoder) refuseFirst(path, why string) {
	if d.fault == nil {
		d.refuse(path, why)
	}
}

func (d *Decoder) formName(name []byte) {
	switch {
	case name == nil:
		d.refuseFirst("event_name", "is required")
	case !utf8.Valid(name):
		d.refuseFirst("event_name", formNotUTF8)
	default:
		if why := checkName(name, textEscaped); why != "" {
			d.refuseFirst("event_name", why)
		}
	}
}

func (d *Decoder) formText(path string, text []byte, charsMax int) {
	if !utf8.Valid(text) {
		d.refuseFirst(path, formNotUTF8)
	} else if why := checkLength(text, textUTF8, charsMax); why != "" {
		d.refuseFirst(path, why)
	}
}

const formNotUTF8 = "must be UTF-8"

// formPayload checks the pairs and writes them into d.scratch as the JSON object that a payload is.
func (d *Decoder) formPayload(pairs []FormPair) {
	if len(pairs) == 0 {
		d.refuseFirst("payload", "is required")
	}
	if len(pairs) > PayloadKeysMax {
		d.refuseFirst("payload", payloadTooManyKeys)
	}
	if d.fault != nil {
		return
	}
	d.scratch = append(d.scratch, '{')
	for i, p := range pairs {
		if why := d.formPair(p); why != "" {
			d.refuseFirst(formPath(p.Key), why)
			return
		}
		if i > 0 {
			d.scratch = append(d.scratch, ',')
		}
		d.scratch = appendQuoted(d.scratch, p.Key)
		d.scratch = append(d.scratch, ':')
		d.scratch = appendQuoted(d.scratch, p.Value)
	}
	d.scratch = append(d.scratch, '}')
}

func (d *Decoder) formPair(p FormPair) (why string) {
	switch {
	case !utf8.Valid(p.Key) || !utf8.Valid(p.Value):
		return formNotUTF8
	case len(p.Key) > PayloadKeyBytesMax:
		return payloadKeyTooLong
	case len(p.Value) > PayloadValueBytesMax:
		return payloadValueTooLong
	case d.repeated(0, p.Key):
		return "appears twice"
	}
	return ""
}

func formPath(key []byte) string {
	if plainName(key) {
		return "payload[" + string(key) + "]"
	}
	return "payload[" + quoteForPeople(key) + "]"
}
