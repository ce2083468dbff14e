package fakestripe

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// incoming is one event as it was sent. Its strings are views into the request; what is kept of it is copied.
type incoming struct {
	name, identifier string
	payload          map[string]string
	at               time.Time // zero: when it was received
}

// parseStream checks the structure of a stream's body: one fault refuses the whole request.
func parseStream(body []byte) ([]incoming, *answer) {
	o, err := parseObject(body)
	if err != nil {
		return nil, invalidFields("", "The body is not a JSON object: %v.", err)
	}
	list, ok := o.get("events").([]any)
	if !ok {
		return nil, invalidFields("events", "events must be an array.")
	}
	if len(o) > 1 {
		return nil, invalidFields("", "There is a field beside events.")
	}
	if len(list) == 0 || len(list) > eventsPerRequest {
		return nil, invalidFields("events", "events must have 1 to %d elements and has %d.", eventsPerRequest, len(list))
	}
	events := make([]incoming, 0, len(list))
	for i, element := range list {
		path := "events[" + strconv.Itoa(i) + "]"
		fields, ok := element.(object)
		if !ok {
			return nil, invalidFields(path, "%s must be an object.", path)
		}
		e, refused := parseEvent(fields, path+".")
		if refused != nil {
			return nil, refused
		}
		events = append(events, e)
	}
	return events, nil
}

func parseEvent(fields object, path string) (e incoming, refused *answer) {
	var ok bool
	if e.name, ok = fields.get("event_name").(string); !ok || e.name == "" || len(e.name) > nameBytesMax {
		return e, invalidFields(path+"event_name", "%sevent_name must be a string of 1 to %d bytes.", path, nameBytesMax)
	}
	for _, f := range fields {
		var bad string
		switch v := f.value; f.name {
		case "event_name":
		case "identifier":
			if e.identifier, ok = v.(string); !ok || e.identifier == "" || len(e.identifier) > nameBytesMax {
				bad = fmt.Sprintf("must be a string of 1 to %d bytes", nameBytesMax)
			}
		case "timestamp":
			if e.at, ok = parseTime(v); !ok {
				bad = "must be a time in RFC 3339 or unix seconds"
			}
		case "payload":
			if refused = e.fill(v, path+"payload"); refused != nil {
				return e, refused
			}
		default:
			bad = "is not a field of an event"
		}
		if bad != "" {
			return e, invalidFields(path+f.name, "%s%s %s.", path, f.name, bad)
		}
	}
	if e.payload == nil {
		return e, invalidFields(path+"payload", "%spayload must be an object.", path)
	}
	return e, nil
}

func (e *incoming) fill(v any, path string) *answer {
	o, ok := v.(object)
	if !ok {
		return invalidFields(path, "%s must be an object.", path)
	}
	e.payload = make(map[string]string, len(o))
	for _, f := range o {
		if e.payload[f.name], ok = f.value.(string); !ok {
			return invalidFields(path+"."+f.name, "%s.%s must be a string.", path, f.name)
		}
	}
	if tooLarge(e.payload) {
		return invalidFields(path, "%s has too many keys, or one that is too long.", path)
	}
	return nil
}

func tooLarge(payload map[string]string) bool {
	for key, v := range payload {
		if len(key) > payloadKeyMax || len(v) > payloadValueMax {
			return true
		}
	}
	return len(payload) > payloadKeysMax
}

// parseTime takes every spelling that SDKs send: RFC 3339 with any offset, unix seconds, and those as a string.
func parseTime(v any) (time.Time, bool) {
	switch v := v.(type) {
	case json.Number:
		return parseUnix(v.String())
	case string:
		if t, ok := parseUnix(v); ok {
			return t, true
		}
		t, err := time.Parse(time.RFC3339Nano, v)
		if t.IsZero() {
			t = time.Unix(0, 0) // as old, and not the absence of a time
		}
		return t.UTC().Truncate(time.Millisecond), err == nil
	}
	return time.Time{}, false
}

const unixMax = 253402300799 // the end of the year 9999

func parseUnix(text string) (time.Time, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || text[0] == '+' || n < 0 || n > unixMax {
		return time.Time{}, false
	}
	return time.Unix(n, 0).UTC(), true
}

// iso is a time as v2 answers it.
func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
