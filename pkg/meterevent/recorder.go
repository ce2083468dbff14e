package meterevent

import (
	"bytes"

	"tollgate/internal/invariants"
)

// MetersKept is how many meters a Recorder remembers.
const (
	MetersKept = 1 << placeBits
	placeBits  = 6
)

// Recorder writes the keys, those of AppendKey, and the records of one request's events, and keeps what they have in
// common: business, mode, the meters, time of receipt, the second. At 100 events a request that is half of the work.
// Meters are remembered from one request to the next of the same business, MetersKept of them, and found by their
// names. The zero value is ready for Begin; it belongs to one goroutine at a time.
//
//	var rec Recorder
//	rec.Begin("acct_1", false, receivedMs)
//	for i := range events {
//		place, known := rec.Meter(events[i].Name)
//		if !known {
//			keys[place].Set(rec.Key()) // the caller's own memory of its MetersKept last keys
//		}
//		frame.End(rec.Append(frame.Begin(&keys[place]), &events[i]))
//	}
type Recorder struct {
	business string
	livemode bool
	begun    bool

	prefix []byte // a record up to the meter's name
	meters [MetersKept]meter
	meter  *meter // of the records that follow
	key    []byte // Key's

	receivedMs  int64
	middle      [len(middle)]byte // what stands between identifier and payload
	day, second int64             // of the timestamp in middle, counted from 1970
}

// middle of a record, in which the times are to be written.
const (
	middle     = `","timestamp":"0000-00-00T00:00:00.000Z","received":"0000-00-00T00:00:00.000Z","payload":`
	clockBytes = len("0000-00-00T00:00:00.000Z")
	clockAt    = len(`","timestamp":"`)
	receivedAt = clockAt + clockBytes + len(`","received":"`)
)

// meter is one that was met. Its name is not empty unless the place is free.
type meter struct {
	name []byte
	head []byte // a record up to the identifier's text
}

// Begin starts a request.
func (r *Recorder) Begin(business string, livemode bool, receivedMs int64) {
	if !r.begun || r.business != business || r.livemode != livemode {
		r.business, r.livemode, r.begun = business, livemode, true
		r.prefix = appendHead(r.prefix[:0], `{"object":"meter_event","business":`, business, livemode)
		r.prefix = append(r.prefix, `,"event_name":`...)
		for i := range r.meters {
			r.meters[i].name = r.meters[i].name[:0]
		}
	}
	if r.middle[0] == 0 {
		copy(r.middle[:], middle)
		r.setDay(receivedMs)
	}
	r.meter, r.receivedMs = nil, receivedMs
	r.setTime(receivedMs)
	copy(r.middle[receivedAt:], r.middle[clockAt:clockAt+clockBytes])
}

// Meter chooses the meter of the records that follow, and returns which of MetersKept places it has. known is false
// when another meter, or none, was in this place until now.
func (r *Recorder) Meter(name []byte) (place int, known bool) {
	place = placeOf(name)
	m := &r.meters[place]
	r.meter = m
	if bytes.Equal(m.name, name) && len(name) > 0 {
		return place, true
	}
	m.name = append(m.name[:0], name...)
	m.head = appendQuoted(append(m.head[:0], r.prefix...), name)
	m.head = append(m.head, `,"identifier":"`...)
	return place, false
}

// placeOf spreads names evenly: names of one program are alike but for a few characters.
func placeOf(name []byte) int {
	return int(markOf(name) * 0x9e3779b97f4a7c15 >> (64 - placeBits))
}

// Key returns the key of the records of the meter. It is a view, valid until the next call of Key.
func (r *Recorder) Key() []byte {
	r.key = AppendKey(r.key[:0], r.business, r.livemode, r.meter.name)
	return r.key
}

// Append appends the value of an event's usage record, one JSON object:
//
//	{"object":"meter_event","business":…,"livemode":…,"event_name":…,"identifier":…,"timestamp":…,"received":…,"payload":{…}}
//
// An event without timestamp happened when it was received. An event without identifier is the caller's fault: the log
// holds none, see Deriver. Meter was called last with the event's name.
func (r *Recorder) Append(dst []byte, e *Event) []byte {
	if len(e.Identifier) == 0 {
		panic("BUG: meterevent: a record of an event without identifier")
	}
	invariants.Check(bytes.Equal(r.meter.name, e.Name), "meterevent: a record of another meter")
	dst = append(dst, r.meter.head...)
	if &e.Identifier[0] == e.plain {
		dst = append(dst, e.Identifier...)
	} else {
		dst = appendEscaped(dst, e.Identifier)
	}
	if e.HasTimestamp {
		r.setTime(e.TimestampMs)
	} else {
		r.setTime(r.receivedMs)
	}
	dst = append(dst, r.middle[:]...)
	dst = append(dst, e.Payload...)
	return append(dst, '}')
}

// AppendRequested is Append for the event of a synchronous request: the record has one more member, the last,
// "request":"<32 hex digits>".
func (r *Recorder) AppendRequested(dst []byte, e *Event, request Request) []byte {
	dst = r.Append(dst, e)
	return appendRequest(dst[:len(dst)-1], request)
}

// setTime writes the timestamp into middle. Times are mostly of one second, or at least of one day.
func (r *Recorder) setTime(ms int64) {
	milli := ms - r.second*1000
	if milli < 0 || milli >= 1000 {
		milli = r.setSecond(ms)
	}
	clock := r.middle[clockAt : clockAt+clockBytes]
	clock[20] = byte('0' + milli/100)
	putPair(clock[21:], uint32(milli%100))
}

// setSecond writes all but the milliseconds, and returns these.
func (r *Recorder) setSecond(ms int64) (milli int64) {
	inDay := ms - r.day*msPerDay
	if inDay < 0 || inDay >= msPerDay {
		inDay = r.setDay(ms)
	}
	seconds := uint32(inDay / 1000)
	r.second = r.day*(msPerDay/1000) + int64(seconds)
	clock := r.middle[clockAt : clockAt+clockBytes]
	putPair(clock[11:], seconds/3600)
	putPair(clock[14:], seconds/60%60)
	putPair(clock[17:], seconds%60)
	return inDay % 1000
}

// setDay writes the whole time, and returns the milliseconds since midnight.
func (r *Recorder) setDay(ms int64) (inDay int64) {
	appendTime(r.middle[clockAt:clockAt:clockAt+clockBytes], ms)
	inDay = ((ms % msPerDay) + msPerDay) % msPerDay
	r.day = (ms - inDay) / msPerDay
	r.second = r.day*(msPerDay/1000) + inDay/1000
	return inDay
}
