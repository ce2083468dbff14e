// Package meterevent knows one meter event: how it arrives as JSON or as a form, what is allowed in it, how it is
// written as a record of the usage log and read back, and how its values are added.
//
// The model: a Decoder reads a request body once, from left to right, and gives back views of it. It accepts what
// RFC 8259 and I-JSON (RFC 7493) call JSON and nothing else, by the same rules as encoding/json/v2: text that is not UTF-8,
// half a surrogate pair, a name given twice, a raw control character, a byte order mark or a byte behind the last brace
// are refused, since two readers of such a text may bill two different values. Names are case-sensitive. The first
// fault refuses the whole request; a FieldError says which field of which event, and why.
//
//	dec := meterevent.NewDecoder(meterevent.Options{})
//	events, err := dec.Stream(body)                      // {"events":[{"event_name":…,"payload":{…}},…]}
//	var rec meterevent.Recorder
//	rec.Begin("acct_1", false, receivedMs)
//	ids := meterevent.NewDeriver("acct_1", false, idempotencyKey, random)
//	for i := range events {
//		ev := &events[i]
//		if ev.Identifier == nil {
//			ev.Identifier = ids.Identifier(buf[:0], i, ev.Raw)
//		}
//		rec.Meter(ev.Name) // whose key is rec.Key()
//		record = rec.Append(record[:0], ev)
//	}
//
// Structure is judged while decoding. What Stripe judges later, and reports by a code, is judged by functions of its own:
// CheckTimestamp and CheckValue return a Reason. The other end of the log does that, and adds:
//
//	var reader meterevent.RecordReader
//	var r meterevent.Record
//	err := reader.Read(value, &r)
//	text, ok := reader.PayloadValue(&r, "value")
//	number, err := meterevent.ParseDecimal(text)         // exact, as is sum.Add(&number)
//
// A Decoder, a Recorder and a RecordReader belong to one goroutine at a time; all functions may be called from any.
// Nothing here allocates in the steady state except an error and its message. This package will not look up meters or customers, remember
// identifiers, or do I/O.
package meterevent
