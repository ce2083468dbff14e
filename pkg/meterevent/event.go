package meterevent

// What one request and one event may hold. Where Stripe publishes no limit the value is ours.
const (
	// EventsMax is the number of events in one stream request (Stripe API reference, meter event stream).
	EventsMax = 100
	// NameCharsMax and IdentifierCharsMax count Unicode code points, as Stripe's "maximum length" of v1 does.
	NameCharsMax       = 100
	IdentifierCharsMax = 100
	// NameBytesMax and IdentifierBytesMax follow from them: a code point takes at most four bytes.
	NameBytesMax       = 4 * NameCharsMax
	IdentifierBytesMax = 4 * IdentifierCharsMax
	// PayloadKeysMax, PayloadKeyBytesMax and PayloadValueBytesMax bound a payload; the bytes are counted decoded.
	PayloadKeysMax       = 50
	PayloadKeyBytesMax   = 100
	PayloadValueBytesMax = 500
)

// Event is one meter event as it arrived. Its slices are views, valid until the next call of the Decoder that made it
// and as long as the body is left alone.
type Event struct {
	// Name is the event_name, decoded: 1 to NameCharsMax code points, none of them a control character.
	Name []byte
	// Identifier is the identifier, decoded; nil when the event has none. It must be set before Recorder.Append.
	Identifier []byte
	// Payload is the payload object as JSON without white space. Escapes stand as they were sent.
	Payload []byte
	// Raw is the event's own bytes in the body, braces included. nil when the event came as a form.
	Raw []byte
	// TimestampMs is the time of the event in Unix milliseconds, 0 unless HasTimestamp.
	TimestampMs  int64
	HasTimestamp bool

	// plain is the first byte of an Identifier that was found to need no escapes, so that nobody looks again. It is of
	// no use once Identifier is set to something else.
	plain *byte
}

// PayloadValue returns the payload's value under a name, decoded. It reads the payload anew on each call, and allocates
// only when the value was sent with escapes.
func (e *Event) PayloadValue(key string) (value []byte, ok bool) {
	b := e.Payload
	for i := 1; i < len(b) && b[i] == '"'; {
		// The text was checked by a Decoder: every member is "name":"value" and a comma or the brace follows.
		nameEnd, nameForm := scanText(b, i+1)
		valueStart := nameEnd + len(`":"`)
		valueEnd, valueForm := scanText(b, valueStart)
		name, value := b[i+1:nameEnd], b[valueStart:valueEnd]
		if nameForm == textEscaped {
			name = unescape(nil, name)
		}
		if string(name) == key {
			if valueForm == textEscaped {
				value = unescape(make([]byte, 0, len(value)), value)
			}
			return value, true
		}
		i = valueEnd + len(`",`)
	}
	return nil, false
}

// AdjustmentType is what an adjustment does.
type AdjustmentType string

// Cancel is the only type there is: the event with the identifier shall not count.
const Cancel AdjustmentType = "cancel"

// Adjustment is a correction of an event sent earlier. Its slices are views like those of an Event.
type Adjustment struct {
	// Name is the event_name of the event to correct; the limits are those of Event.Name.
	Name []byte
	Type AdjustmentType
	// Identifier is cancel.identifier, decoded: the event to cancel. The limits are those of Event.Identifier.
	Identifier []byte
}
