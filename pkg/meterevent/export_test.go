package meterevent

// ScanOnly makes a Decoder read every event by the scanner.
func (d *Decoder) ScanOnly() *Decoder {
	d.scanOnly = true
	return d
}

// Misses is how many events of the last request the scanner had to read.
func (d *Decoder) Misses() int { return d.layout.misses }

// ScratchBytes is how much scratch the Decoder holds.
func (d *Decoder) ScratchBytes() int { return cap(d.scratch) }

// AppendRecord is what Recorder.Append does, in one go and without anything kept: the tests hold one against the other.
func AppendRecord(dst []byte, business string, livemode bool, e *Event, receivedMs int64) []byte {
	if len(e.Identifier) == 0 {
		panic("BUG: meterevent: a record of an event without identifier")
	}
	dst = appendHead(dst, `{"object":"meter_event","business":`, business, livemode)
	dst = append(dst, `,"event_name":`...)
	dst = appendQuoted(dst, e.Name)
	dst = append(dst, `,"identifier":`...)
	dst = appendQuoted(dst, e.Identifier)
	timestampMs := receivedMs
	if e.HasTimestamp {
		timestampMs = e.TimestampMs
	}
	dst = append(dst, `,"timestamp":"`...)
	dst = appendTime(dst, timestampMs)
	dst = append(dst, `","received":"`...)
	dst = appendTime(dst, receivedMs)
	dst = append(dst, `","payload":`...)
	dst = append(dst, e.Payload...)
	return append(dst, '}')
}

// ParseTimestamp reads one timestamp, as the Decoder does.
func ParseTimestamp(text []byte) (ms int64, ok bool) {
	var c dateCache
	return c.parse(text)
}

// ParseTimestamps reads one timestamp after the other, as a Decoder does that remembers the ones before, and answers for the
// last one.
func ParseTimestamps(texts ...[]byte) (ms int64, ok bool) {
	var c dateCache
	for _, text := range texts {
		ms, ok = c.parse(text)
	}
	return ms, ok
}

// PlainEnd is the first index from i on at which a plain string may end.
func PlainEnd(text []byte, i int) int { return plainEnd(text, i) }

// AppendTime appends a time as records have it.
func AppendTime(dst []byte, ms int64) []byte { return appendTime(dst, ms) }

// ReadGeneral is Read by the general way alone.
func (p *RecordReader) ReadGeneral(value []byte, r *Record) error {
	p.general.options.Lenient, p.sameHead = true, false
	return p.read(value, r)
}

// ReadFast is Read by the fast way alone.
func (p *RecordReader) ReadFast(value []byte, r *Record) bool {
	p.general.scratch = p.general.scratch[:0]
	return p.fast(value, r)
}

// InWords says whether a Decimal stands in two words.
func (d *Decimal) InWords() bool { return d.big == nil }
