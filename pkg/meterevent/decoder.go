package meterevent

import "tollgate/internal/invariants"

// Options choose how a Decoder judges what Stripe leaves open.
type Options struct {
	// CoerceNumbers takes payload values that are JSON integers as their text: {"value":5} is {"value":"5"}.
	// Stripe's schema forbids it; its Node and Python SDKs send it when the caller does. Off: refused.
	CoerceNumbers bool
	// Lenient skips properties that we do not know, whose values must still be strict JSON. Off: refused, since
	// dropping a billing field in silence is worse.
	Lenient bool
}

// Decoder reads request bodies. It may be used again and again by one goroutine at a time; what a call returns is valid
// until the next call, and as long as the body is left alone.
type Decoder struct {
	options Options

	body  []byte
	fault *FieldError
	// index is the event being read, for paths; -1 when the request is about one event.
	index int
	// blanks counts the bytes of white space skipped so far. A payload during which it stands still is compact already.
	blanks int
	// names holds the names of the objects being read that are compared with each other, the innermost object's last.
	names []nameSeen
	// scratch takes decoded texts and compacted payloads. When it grows, views into the old array stay what they were.
	scratch []byte
	events  []Event
	dates   dateCache
	layout  layout
	// scanOnly turns guessing off, for tests and benchmarks that compare the two ways.
	scanOnly bool
}

// scratchKeepBytes is the most scratch that a Decoder keeps between calls; a giant is left to the collector.
const scratchKeepBytes = 256 << 10

// NewDecoder returns a Decoder.
func NewDecoder(o Options) *Decoder {
	return &Decoder{options: o}
}

// Stream reads the body of a meter event stream request, {"events":[…]} with 1 to EventsMax events. The error is
// a *FieldError; with one, nothing of the request may be used.
func (d *Decoder) Stream(body []byte) ([]Event, error) {
	d.begin(body)
	if i := d.stream(); i != failed {
		d.end(i)
	}
	if d.fault != nil {
		return nil, d.fault
	}
	return d.events, nil
}

// One reads a body that is one event. The error is a *FieldError.
func (d *Decoder) One(body []byte) (Event, error) {
	d.begin(body)
	var ev Event
	if i := d.guessOrScan(d.space(0), &ev); i != failed {
		d.end(i)
	}
	if d.fault != nil {
		return Event{}, d.fault
	}
	return ev, nil
}

// Adjustment reads a body that is one adjustment, {"event_name":…,"type":"cancel","cancel":{"identifier":…}}. The error
// is a *FieldError.
func (d *Decoder) Adjustment(body []byte) (Adjustment, error) {
	d.begin(body)
	var a Adjustment
	if i := d.adjustment(&a); i != failed {
		d.end(i)
	}
	if d.fault != nil {
		return Adjustment{}, d.fault
	}
	return a, nil
}

func (d *Decoder) begin(body []byte) {
	invariants.Mangle(d.scratch[:cap(d.scratch)])
	d.body, d.fault, d.index, d.blanks, d.layout.misses = body, nil, -1, 0, 0
	d.names, d.events, d.scratch = d.names[:0], d.events[:0], d.scratch[:0]
	if cap(d.scratch) > scratchKeepBytes {
		d.scratch = nil
	}
}

// end refuses anything but white space from i on.
func (d *Decoder) end(i int) {
	if i = d.space(i); i < len(d.body) {
		d.unexpected(i, "nothing more")
	}
}

// stream reads the object around the events and returns the index behind it.
func (d *Decoder) stream() int {
	i := d.open(d.space(0), PathBody)
	seen := false
	var name []byte
	for first := true; i != failed; first = false {
		if name, i = d.member(i, first); name == nil {
			break
		}
		switch {
		case string(name) != "events":
			i = d.unknown(i, "", 0, name)
		case seen:
			i = d.refuse("events", "appears twice")
		default:
			seen = true
			i = d.eventArray(i)
			d.index = -1
		}
	}
	if i != failed && !seen {
		return d.refuse("events", "is required")
	}
	return i
}

// eventArray reads the array of events that begins at i.
func (d *Decoder) eventArray(i int) int {
	if d.at(i) != '[' {
		return d.wrongType("events", i, "an array")
	}
	i = d.space(i + 1)
	if d.at(i) == ']' {
		return d.refuse("events", "must not be empty")
	}
	for {
		if len(d.events) == EventsMax {
			return d.refuse("events", "must not hold more than 100 events")
		}
		d.index = len(d.events)
		if d.index < cap(d.events) { // what it held is of no use to anybody and need not be emptied
			d.events = d.events[:d.index+1]
		} else {
			d.events = append(d.events, Event{})
		}
		if i = d.guessOrScan(i, &d.events[d.index]); i == failed {
			return failed
		}
		var more bool
		if i, more = d.behind(i, "an event"); !more {
			return i
		}
	}
}

// behind passes what follows an element of an array: a comma, behind which there is more, or the array's end.
func (d *Decoder) behind(i int, element string) (next int, more bool) {
	i = d.space(i)
	switch {
	case d.at(i) == ',':
		return d.space(i + 1), true
	case d.at(i) == ']':
		return i + 1, false
	}
	return d.unexpected(i, "',' or ']' after "+element), false
}
