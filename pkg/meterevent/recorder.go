package meterevent

import (
	"bytes"

	"tollgate/internal/invariants"
)

// Recorder writes the keys, those of AppendKey, and the records of one request's events, and keeps what successive
// events have in common: business, mode, time of receipt, mostly the meter, and the day. At 100 events a request that is
// half of the work. The zero value is ready for Begin; it belongs to one goroutine at a time.
//
//	var rec Recorder
//	rec.Begin("acct_1", false, receivedMs)
//	for i := range events {
//		buf := frame.Begin(rec.Key(events[i].Name))
//		frame.End(rec.Append(buf, &events[i]))
//	}
type Recorder struct {
	business   string
	livemode   bool
	receivedMs int64

	key   []byte // "<business>/<mode>/" and the name
	keyN  int    // where the name begins in key; 0 before the first Begin
	head  []byte // the record up to the identifier's text
	headN int    // where the name begins in head; head ends there when no meter is noted
	tail  []byte // from behind the timestamp up to the payload

	day  int64 // of date, counted from 1970
	date [len("2006-01-02T")]byte
}

// Begin starts a request.
func (r *Recorder) Begin(business string, livemode bool, receivedMs int64) {
	if r.keyN == 0 || r.business != business || r.livemode != livemode {
		r.business, r.livemode = business, livemode
		r.head = appendHead(r.head[:0], `{"object":"meter_event","business":`, business, livemode)
		r.head = append(r.head, `,"event_name":`...)
		r.headN = len(r.head)
		r.key = AppendKey(r.key[:0], business, livemode, nil)
		r.keyN = len(r.key)
	}
	r.receivedMs = receivedMs
	r.tail = append(r.tail[:0], `","received":"`...)
	r.tail = r.appendTime(r.tail, receivedMs)
	r.tail = append(r.tail, `","payload":`...)
}

// Key returns the key of the records of a meter, which the next calls of Append are for. It is a view, valid until the
// next call of Key or Begin.
func (r *Recorder) Key(name []byte) []byte {
	if len(r.head) == r.headN || !bytes.Equal(r.key[r.keyN:], name) {
		r.key = append(r.key[:r.keyN], name...)
		r.head = appendQuoted(r.head[:r.headN], name)
		r.head = append(r.head, `,"identifier":"`...)
	}
	return r.key
}

// Append appends the value of an event's usage record, one JSON object:
//
//	{"object":"meter_event","business":…,"livemode":…,"event_name":…,"identifier":…,"timestamp":…,"received":…,"payload":{…}}
//
// An event without timestamp happened when it was received. An event without identifier is the caller's fault: the log
// holds none, see Deriver. Key was called last with the event's name.
func (r *Recorder) Append(dst []byte, e *Event) []byte {
	if len(e.Identifier) == 0 {
		panic("BUG: meterevent: a record of an event without identifier")
	}
	invariants.Check(len(r.head) > r.headN && bytes.Equal(r.key[r.keyN:], e.Name), "meterevent: a record without Key of its meter")
	dst = append(dst, r.head...)
	if &e.Identifier[0] == e.plain {
		dst = append(dst, e.Identifier...)
	} else {
		dst = appendEscaped(dst, e.Identifier)
	}
	dst = append(dst, `","timestamp":"`...)
	if e.HasTimestamp {
		dst = r.appendTime(dst, e.TimestampMs)
	} else {
		dst = r.appendTime(dst, r.receivedMs)
	}
	dst = append(dst, r.tail...)
	dst = append(dst, e.Payload...)
	return append(dst, '}')
}

// appendTime is the function of that name for times that are mostly of one day.
func (r *Recorder) appendTime(dst []byte, ms int64) []byte {
	clock := ms - r.day*msPerDay
	if r.date[0] == 0 || clock < 0 || clock >= msPerDay {
		from := len(dst)
		dst = appendTime(dst, ms)
		copy(r.date[:], dst[from:])
		clock = ((ms % msPerDay) + msPerDay) % msPerDay
		r.day = (ms - clock) / msPerDay
		return dst
	}
	dst = append(dst, r.date[:]...)
	dst = append(dst, "00:00:00.000Z"...)
	b := dst[len(dst)-len("00:00:00.000Z"):]
	c := uint32(clock)
	seconds, milli := c/1000, c%1000
	putPair(b[0:], seconds/3600)
	putPair(b[3:], seconds/60%60)
	putPair(b[6:], seconds%60)
	b[9] += byte(milli / 100)
	putPair(b[10:], milli%100)
	return dst
}
