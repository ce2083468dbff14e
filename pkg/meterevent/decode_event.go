package meterevent

import (
	"cmp"
	"strconv"
	"unicode/utf8"
)

// The properties of an event, as bits of what was seen.
const (
	seenName = 1 << iota
	seenIdentifier
	seenTimestamp
	seenPayload
)

// event reads the event that begins at i into ev and returns the index behind it.
func (d *Decoder) event(i int, ev *Event) int {
	start, base := i, len(d.names)
	if d.at(i) != '{' {
		return d.wrongType(cmp.Or(d.eventPath(), PathBody), i, "an object")
	}
	i++
	seen := 0
	var name []byte
	for first := true; i != failed; first = false {
		if name, i = d.member(i, first); name == nil {
			break
		}
		bit := eventProperty(name)
		if seen&bit != 0 {
			return d.refuse(d.path(string(name)), "appears twice")
		}
		seen |= bit
		switch bit {
		case seenName:
			ev.Name, i = d.eventName(i)
		case seenIdentifier:
			ev.Identifier, i = d.optionalIdentifier(i)
		case seenTimestamp:
			i = d.timestamp(i, ev)
		case seenPayload:
			ev.Payload, i = d.payload(i)
		default:
			i = d.unknown(i, d.eventPath(), base, name)
		}
	}
	switch {
	case i == failed:
		return failed
	case seen&seenName == 0:
		return d.refuse(d.path("event_name"), "is required")
	case seen&seenPayload == 0:
		return d.refuse(d.path("payload"), "is required")
	}
	d.names = d.names[:base]
	ev.Raw = d.body[start:i:i]
	return i
}

func eventProperty(name []byte) int {
	switch string(name) {
	case "event_name":
		return seenName
	case "identifier":
		return seenIdentifier
	case "timestamp":
		return seenTimestamp
	case "payload":
		return seenPayload
	}
	return 0
}

// eventName reads the string at i as an event name.
func (d *Decoder) eventName(i int) (name []byte, next int) {
	if d.at(i) != '"' {
		return nil, d.wrongType(d.path("event_name"), i, "a string")
	}
	name, form, next := d.text(i)
	if next == failed {
		return nil, failed
	}
	if why := checkName(name, form); why != "" {
		return nil, d.refuse(d.path("event_name"), why)
	}
	return name, next
}

// optionalIdentifier reads the string at i as an event's identifier. null is none: Stripe's SDKs for Python, Ruby and PHP
// send null for an argument that the caller set to None or nil.
func (d *Decoder) optionalIdentifier(i int) (identifier []byte, next int) {
	if end := literalEnd(d.body, i, "null"); end > 0 {
		return nil, end
	}
	return d.identifier(i, "identifier")
}

// identifier reads the string at i as an identifier.
func (d *Decoder) identifier(i int, property string) (identifier []byte, next int) {
	if d.at(i) != '"' {
		return nil, d.wrongType(d.path(property), i, "a string")
	}
	identifier, form, next := d.text(i)
	if next == failed {
		return nil, failed
	}
	if why := checkLength(identifier, form, IdentifierCharsMax); why != "" {
		return nil, d.refuse(d.path(property), why)
	}
	return identifier, next
}

// timestamp reads the value at i as the time of an event. null is none, as with the identifier.
func (d *Decoder) timestamp(i int, ev *Event) int {
	if end := literalEnd(d.body, i, "null"); end > 0 {
		return end
	}
	if d.at(i) == '"' {
		text, _, next := d.text(i)
		if next == failed {
			return failed
		}
		if ev.TimestampMs, ev.HasTimestamp = d.dates.parse(text); !ev.HasTimestamp {
			return d.refuse(d.path("timestamp"), badTimestamp)
		}
		return next
	}
	end, integer := scanNumber(d.body, i)
	if end == 0 {
		return d.wrongType(d.path("timestamp"), i, "a string or an integer")
	}
	if !integer {
		return d.refuse(d.path("timestamp"), "must be an integer when it is a number")
	}
	if ev.TimestampMs, ev.HasTimestamp = parseUnixSeconds(d.body[i:end]); !ev.HasTimestamp {
		return d.refuse(d.path("timestamp"), badTimestamp)
	}
	return end
}

const badTimestamp = "must be an RFC 3339 time with an offset, or Unix seconds, in the years 1 to 9999"

// checkName says what is wrong with an event name, or "". Its control characters are refused because the name becomes
// part of the key of a log record, which people and tools print a line each. A slash is left alone, though "a/1" may
// then share a key with bucket 1 of "a": the record itself tells them apart.
func checkName(name []byte, form textForm) string {
	if form == textEscaped {
		for _, c := range name {
			if c < ' ' {
				return "must not contain control characters"
			}
		}
	}
	return checkLength(name, form, NameCharsMax)
}

func checkLength(text []byte, form textForm, charsMax int) string {
	switch {
	case len(text) == 0:
		return "must not be empty"
	case len(text) <= charsMax:
		return ""
	case form == textASCII || utf8.RuneCount(text) > charsMax:
		return "must not be longer than " + strconv.Itoa(charsMax) + " characters"
	}
	return ""
}
