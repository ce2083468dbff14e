package meterevent

import (
	"bytes"

	"tollgate/internal/invariants"
)

// Record is a usage record read back. Its slices are views, valid until the next call of the RecordReader that made it
// and as long as the record's value is left alone.
type Record struct {
	Adjustment bool
	Business   []byte
	Livemode   bool
	EventName  []byte // decoded, as is the Identifier
	Identifier []byte // of the event, or of the event to cancel
	// TimestampMs is when the event happened, ReceivedMs when the gateway took it; Unix milliseconds. An adjustment has
	// no TimestampMs.
	TimestampMs int64
	ReceivedMs  int64
	// Payload is the payload object as JSON without white space; nil in an adjustment.
	Payload []byte
	// Request is of records of synchronous endpoints: what tells a repetition from another request.
	HasRequest bool
	Request    Request
	// SameScope says that Business, Livemode and EventName are those of the record read just before, so that what was
	// looked up for it can be used again. It may be false though they are.
	SameScope bool
}

// RecordReader reads the values of usage records, as Recorder and AppendAdjustmentRecord write them, and as any other
// client of Kafka may write them by docs/schema/usage.schema.json: members in any order, white space, escapes, members
// that the schema does not know. It is as strict as a Decoder about what JSON is, and about the limits of an event.
//
// What our Recorder wrote is compared with its own literals, and only the values are looked at. Whatever does not fit
// is read anew from its beginning by the general way, which alone refuses. The zero value is ready; it belongs to one
// goroutine at a time, and allocates nothing in the steady state but errors.
type RecordReader struct {
	// head is a record up to the identifier's text, of the record read last by the fast way or some time before: records
	// that follow each other are often of one meter. The places of its values hold in every record that begins with it.
	head                      []byte
	businessEnd               int
	nameStart, nameEnd        int
	livemode                  bool
	sameHead                  bool // the record read last began with head
	received                  [clockBytes]byte
	receivedMs                int64
	timestamps, receivedDates dateCache

	members []payloadMember // of the payload read last
	general Decoder         // its scratch takes what is decoded on either way
	ready   bool
}

// payloadMember is a member of a payload, or what is left of one that stood in its place before: the literal, its name
// with what is around it, "name":", or nothing when it was read by the general way. The value is a view, and has its
// escapes still, if it has any.
type payloadMember struct {
	literal []byte
	name    []byte
	mark    uint64 // markOf the name
	value   []byte
	escaped bool
}

// The literals of a record as a Recorder writes it.
const (
	recordOpen     = `{"object":"meter_event","business":"`
	recordLive     = `","livemode":true,"event_name":"`
	recordTest     = `","livemode":false,"event_name":"`
	recordID       = `","identifier":"`
	recordTime     = `","timestamp":"`
	recordReceived = `","received":"`
	recordPayload  = `","payload":{`
	recordRequest  = `,"request":"`
)

// businessBytesMax is how long a business may be, by the schema.
const businessBytesMax = 64

// Read parses the value of a usage record into r. The error is a *FieldError that says what is wrong with it.
func (p *RecordReader) Read(value []byte, r *Record) error {
	if !p.ready {
		p.general.options.Lenient, p.ready = true, true
	}
	d := &p.general
	invariants.Mangle(d.scratch[:cap(d.scratch)])
	if d.scratch = d.scratch[:0]; cap(d.scratch) > scratchKeepBytes {
		d.scratch = nil
	}
	if p.fast(value, r) {
		return nil
	}
	p.sameHead = false
	return p.read(value, r)
}

// fast reads a record that is laid out as a Recorder does it. Otherwise it says no, and r may hold anything.
func (p *RecordReader) fast(b []byte, r *Record) bool {
	same := p.sameHead
	if len(p.head) == 0 || len(b) < len(p.head) || string(b[:len(p.head)]) != string(p.head) {
		if !p.newHead(b) {
			return false
		}
		same = false
	}
	i := len(p.head)
	end, form := scanText(b, i)
	if form == textBroken {
		return false
	}
	identifier := p.decoded(b[i:end:end], form)
	if len(identifier)-1 >= IdentifierCharsMax && checkLength(identifier, form, IdentifierCharsMax) != "" || len(identifier) == 0 {
		return false
	}
	// Between the identifier and the payload everything has its place.
	const (
		receivedFrom = len(recordTime) + clockBytes
		timesBytes   = receivedFrom + len(recordReceived) + clockBytes + len(recordPayload)
	)
	if end > len(b)-timesBytes {
		return false
	}
	times := b[end : end+timesBytes : end+timesBytes]
	timestamp, received := times[len(recordTime):receivedFrom], times[receivedFrom+len(recordReceived):timesBytes-len(recordPayload)]
	if string(times[:len(recordTime)]) != recordTime ||
		string(times[receivedFrom:receivedFrom+len(recordReceived)]) != recordReceived ||
		string(times[timesBytes-len(recordPayload):]) != recordPayload {
		return false
	}
	if string(received) != string(p.received[:]) || received[0] == 0 { // which it is before the first record
		ms, ok := recordMs(&p.receivedDates, received)
		if !ok {
			return false
		}
		p.receivedMs = ms
		copy(p.received[:], received)
	}
	timestampMs, ok := p.receivedMs, true
	if string(timestamp) != string(p.received[:]) {
		if timestampMs, ok = recordMs(&p.timestamps, timestamp); !ok {
			return false
		}
	}
	i = end + timesBytes
	if end = p.payload(b, i); end == failed {
		return false
	}
	request, hasRequest, ok := recordEnd(b[end:])
	if !ok {
		return false
	}
	p.sameHead = true
	// Each field by itself: the whole at once would be written twice.
	r.Adjustment, r.Livemode, r.SameScope, r.HasRequest, r.Request = false, p.livemode, same, hasRequest, request
	r.Business, r.EventName = b[len(recordOpen):p.businessEnd:p.businessEnd], b[p.nameStart:p.nameEnd:p.nameEnd]
	r.Identifier, r.Payload = identifier, b[i-1:end:end]
	r.TimestampMs, r.ReceivedMs = timestampMs, p.receivedMs
	return true
}

// newHead reads a record up to its identifier and keeps that.
func (p *RecordReader) newHead(b []byte) bool {
	p.head = p.head[:0]
	if len(b) < len(recordOpen) || string(b[:len(recordOpen)]) != recordOpen {
		return false
	}
	end, form := scanText(b, len(recordOpen))
	if form != textASCII || checkBusiness(b[len(recordOpen):end]) != "" {
		return false
	}
	p.businessEnd = end
	switch rest := b[end:]; {
	case bytes.HasPrefix(rest, []byte(recordTest)):
		p.livemode, p.nameStart = false, end+len(recordTest)
	case bytes.HasPrefix(rest, []byte(recordLive)):
		p.livemode, p.nameStart = true, end+len(recordLive)
	default:
		return false
	}
	// A name with escapes is left to the general way: the head would have to keep it decoded.
	p.nameEnd, form = scanText(b, p.nameStart)
	if form > textUTF8 || checkName(b[p.nameStart:p.nameEnd], form) != "" || !bytes.HasPrefix(b[p.nameEnd:], []byte(recordID)) {
		return false
	}
	p.head = append(p.head, b[:p.nameEnd+len(recordID)]...)
	return true
}

// decoded is the value of a string that scanText passed.
func (p *RecordReader) decoded(text []byte, form textForm) []byte {
	if form != textEscaped {
		return text
	}
	d := &p.general
	start := len(d.scratch)
	d.scratch = unescape(d.scratch, text)
	return d.scratch[start:len(d.scratch):len(d.scratch)]
}

// recordMs reads a time as records have it: a dateCache takes other spellings too, of which this leaves one.
func recordMs(c *dateCache, text []byte) (ms int64, ok bool) {
	if len(text) != clockBytes || text[10] != 'T' || text[19] != '.' || text[23] != 'Z' {
		return 0, false
	}
	return c.parse(text)
}

// recordEnd reads what follows the payload in a record.
func recordEnd(b []byte) (request Request, has, ok bool) {
	if len(b) == 1 {
		return request, false, b[0] == '}'
	}
	const textAt, textEnd = len(recordRequest), len(recordRequest) + requestDigits
	if len(b) != textEnd+2 || string(b[:textAt]) != recordRequest || b[textEnd] != '"' || b[textEnd+1] != '}' {
		return request, false, false
	}
	request, ok = parseRequest(b[textAt:textEnd])
	return request, ok, ok
}

// payload passes the payload whose first byte behind the brace is at i, by the Decoder's rules, notes its members, and
// returns the index behind it, or failed. Names with escapes are left to the general way.
//
// The payloads of a meter mostly have the same names in the same order, so each name is first compared with the one that
// stood in its place before. As long as they agree, no name can be there twice.
func (p *RecordReader) payload(b []byte, i int) int {
	p.members = p.members[:0]
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	for k := 0; ; k++ {
		if k == PayloadKeysMax {
			return failed
		}
		if k == cap(p.members) {
			p.members = append(p.members, payloadMember{})
		}
		p.members = p.members[:k+1]
		m := &p.members[k]
		start := i + len(m.literal)
		if len(m.literal) == 0 || start > len(b) || string(b[i:start]) != string(m.literal) {
			if start = p.newMember(b, i); start == failed {
				return failed
			}
		}
		end, form := scanText(b, start)
		if form == textBroken || end-start > PayloadValueBytesMax && p.tooLong(b[start:end], form) {
			return failed
		}
		m.value, m.escaped = b[start:end:end], form == textEscaped
		if i = end + 1; i >= len(b) {
			return failed
		}
		if b[i] == '}' {
			return i + 1
		}
		if b[i] != ',' {
			return failed
		}
		i++
	}
}

// newMember reads the name that begins at i, and all up to the value's first byte, as the last of the members. The
// members behind it are forgotten: they were compared with the name that stood here, not with this one.
func (p *RecordReader) newMember(b []byte, i int) (value int) {
	k := len(p.members) - 1
	p.forget(k)
	if i >= len(b) || b[i] != '"' {
		return failed
	}
	end, form := scanText(b, i+1)
	value = end + len(`":"`)
	if form > textUTF8 || value > len(b) || string(b[end:value]) != `":"` || end-i-1 > PayloadKeyBytesMax {
		return failed
	}
	name := b[i+1 : end]
	mark := markOf(name)
	for n := range p.members[:k] {
		if m := &p.members[n]; m.mark == mark && string(m.name) == string(name) {
			return failed
		}
	}
	m := &p.members[k]
	m.literal = append(m.literal, b[i:value]...)
	m.name, m.mark = m.literal[1:len(m.literal)-len(`":"`)], mark
	return value
}

// forget empties the literals from k on; behind an empty one there are only empty ones.
func (p *RecordReader) forget(k int) {
	kept := p.members[:cap(p.members)]
	for ; k < len(kept) && len(kept[k].literal) > 0; k++ {
		kept[k].literal = kept[k].literal[:0]
	}
}

// tooLong decides by the decoded length of a value whose text is too long.
func (p *RecordReader) tooLong(text []byte, form textForm) bool {
	if form != textEscaped {
		return true
	}
	kept := len(p.general.scratch)
	decoded := len(p.decoded(text, form))
	p.general.scratch = p.general.scratch[:kept]
	return decoded > PayloadValueBytesMax
}

// PayloadValue is the value under a name in the payload of r, decoded. r is what Read filled last; an adjustment has no
// payload. The value is a view like those of the Record.
func (p *RecordReader) PayloadValue(r *Record, name string) (value []byte, ok bool) {
	if len(r.Payload) == 0 {
		return nil, false
	}
	for i := range p.members {
		m := &p.members[i]
		if string(m.name) != name {
			continue
		}
		if m.escaped {
			return p.decoded(m.value, textEscaped), true
		}
		return m.value, true
	}
	return nil, false
}
