package meterevent

import "math/bits"

// A layout is the text of an event with its values cut out. A program that sends events writes them all alike:
//
//	{"event_name":"…","identifier":"…","payload":{"stripe_customer_id":"…","value":"…"},"timestamp":"…"}
//
// so each event is first compared with the layout of an earlier one, literal by literal, and only its values are looked
// at. Nothing is accepted by a guess that the scanner would refuse or read otherwise: the text between the values is the
// same, byte for byte, as in an event that the scanner accepted, and each value is a string without a byte that special
// marks, or one that the scanner's own scanText passes, or a time. Whatever else turns up is a miss, and the scanner reads
// the event from its beginning.
type layout struct {
	// text is the event that was learned from; the literals are views of it.
	text   []byte
	pieces []piece // none: nothing was learned
	// The pieces whose values are the name, the identifier and the time; failed when there is none.
	name, identifier, time int
	// The payload's braces: the pieces in whose literals they are, and how far the opening one, and the byte behind the closing
	// one, are from the literal's end. While learning, the distances are from the text's beginning.
	openPiece, openAt, closePiece, closeAt int
	// spaced says that there is white space in the payload.
	spaced bool
	// misses counts the events of this request that had to be scanned.
	misses int
}

// piece is a literal and the value behind it. fit looks at the text around the place where they meet, through a window:
//
//	…","identifier":"req_1","payload…
//	  [ head ][ tail ][      ]
//	    8 B     8 B  ^  8 B
//	                 value
type piece struct {
	literal []byte // at most literalBytesMax; a longer one is several pieces, all but the last without a value
	// The literal's last two words, as far as it has them; the masks leave out what is in front of it.
	head, headMask, tail, tailMask uint64

	slot slot
	// length is that of the value learned from: times have the same one nearly always. 0 where nothing is to be passed.
	length int
	// A string has bytesMin bytes, and bytesMore more at most.
	bytesMin, bytesMore int
	// value is where the value of the event begins that was read last.
	value int
}

const (
	literalBytesMax = 16
	windowBytes     = literalBytesMax + 8
)

type slot uint8

const (
	slotUnknown    slot = iota // what guess can not read
	slotName                   // strings
	slotIdentifier             //
	slotPayload                // any value of the payload
	slotTime                   //
	slotSeconds                // a timestamp that is a number
	slotNone                   // nothing: the literal goes on in the next piece, or the event ends with it
)

// layoutBytesMax bounds what a Decoder keeps of an event. Larger ones are left to the scanner.
const layoutBytesMax = 4096

// guessOrScan reads the event that begins at i into ev, whatever ev holds, and returns the index behind it.
func (d *Decoder) guessOrScan(i int, ev *Event) int {
	l := &d.layout
	if len(l.pieces) > 0 {
		if end := d.guess(i, ev); end != failed {
			return end
		}
	}
	*ev = Event{}
	if i = d.event(i, ev); i == failed || d.scanOnly {
		return i
	}
	// Learning costs half of a scan. It follows the first, second, fourth, eighth… miss of a request, so that a request
	// whose events are all different pays for seven layouts.
	if l.misses++; l.misses&(l.misses-1) == 0 && !l.learn(ev.Raw) {
		l.pieces = l.pieces[:0]
	}
	return i
}

// guess reads the event that begins at i by the layout and returns the index behind it, or failed, without a fault, when
// the event does not fit; then ev may hold anything. Otherwise all of it is set, at once: an empty one would be written twice.
func (d *Decoder) guess(start int, ev *Event) int {
	l, b := &d.layout, d.body
	i := fit(l.pieces, b, start)
	if i == failed {
		return failed
	}
	ev.TimestampMs, ev.HasTimestamp = 0, false
	if l.time != failed && !d.guessTime(&l.pieces[l.time], ev) {
		return failed
	}
	var identifier []byte
	var plain *byte
	if l.identifier != failed {
		identifier = l.valueIn(b, l.identifier)
		plain = &identifier[0] // without escapes, or fit would not have passed it
	}
	end := l.pieces[l.closePiece].value - l.closeAt
	payload := b[l.pieces[l.openPiece].value-l.openAt : end : end]
	if l.spaced {
		from := len(d.scratch)
		d.scratch = compact(d.scratch, payload)
		payload = d.scratch[from:len(d.scratch):len(d.scratch)]
	}
	ev.Name, ev.Identifier, ev.Payload, ev.Raw, ev.plain = l.valueIn(b, l.name), identifier, payload, b[start:i:i], plain
	return i
}

// fit passes the event that begins at i of b, notes in the pieces where its values are, and returns the index behind it, or
// failed. Times are not looked at yet.
//
// This is where the time of a request of many events goes. The conditions are written so that the compiler sees that no
// index needs a check of its own (go build -gcflags=-d=ssa/check_bce), and the literals are compared as words because
// comparing short texts is a call each. Guessing that a value is as long as the one before, so that the processor need not
// wait for the one to look at the next, gained nothing.
func fit(pieces []piece, b []byte, i int) int {
	b = b[:len(b):len(b)]
	for k := range pieces {
		p := &pieces[k]
		start := i
		i += len(p.literal)
		from := i - literalBytesMax
		if from < 0 || from > len(b)-windowBytes {
			if i = p.fitAtEdge(b, start); i == failed {
				return failed
			}
			continue
		}
		window := b[from : from+windowBytes : from+windowBytes]
		if (word(window, 0)^p.head)&p.headMask|(word(window, 8)^p.tail)&p.tailMask != 0 {
			return failed
		}
		p.value = i
		if p.slot >= slotTime {
			i += p.length // perhaps beyond the body, which the next piece sees
			continue
		}
		end := i
		mark := special(word(window, literalBytesMax))
		for mark == 0 {
			if end += 8; end < 0 || end > len(b)-8 {
				mark = 1 // no word is left: what is there begins at once
				break
			}
			mark = special(word(b, end))
		}
		end += bits.TrailingZeros64(mark) >> 3
		if end < 0 || end >= len(b) || b[end] != '"' {
			if end = p.passText(b, end); end == failed {
				return failed
			}
		}
		if n := end - i; uint(n-p.bytesMin) > uint(p.bytesMore) {
			return failed
		}
		i = end
	}
	return i
}

// fitAtEdge is fit for one piece, at the beginning or the end of a body, where a window reaches out of it.
func (p *piece) fitAtEdge(b []byte, i int) int {
	value := i + len(p.literal)
	if value > len(b) || string(b[i:value]) != string(p.literal) {
		return failed
	}
	p.value = value
	if p.slot >= slotTime {
		if value += p.length; value > len(b) {
			return failed
		}
		return value
	}
	end := p.passText(b, value)
	if end == failed || uint(end-value-p.bytesMin) > uint(p.bytesMore) {
		return failed
	}
	return end
}

// passText passes what is left, from i on, of any string that may be the piece's value. The limits are applied to the bytes
// of the body, which are no fewer than the characters, or the bytes decoded: what fits there fits.
func (p *piece) passText(b []byte, i int) int {
	end, form := scanText(b, i)
	if form == textBroken || form == textEscaped && p.slot != slotPayload {
		return failed
	}
	return end
}

// guessTime reads the timestamp that fit passed by. What parses as a time has no byte in it that would end or spoil a
// string, and the literal behind a number begins with no digit, so neither is scanned.
func (d *Decoder) guessTime(p *piece, ev *Event) (ok bool) {
	text := d.body[p.value : p.value+p.length]
	if p.slot == slotTime {
		ev.TimestampMs, ev.HasTimestamp = d.dates.parse(text)
	} else if '1' <= text[0] && text[0] <= '9' { // no zero in front, which JSON forbids
		ev.TimestampMs, ev.HasTimestamp = parseUnixSeconds(text)
	}
	return ev.HasTimestamp
}

// valueIn is the value of a piece in the event that fit passed last. It ends where the next literal begins.
func (l *layout) valueIn(b []byte, k int) []byte {
	next := &l.pieces[k+1]
	end := next.value - len(next.literal)
	return b[l.pieces[k].value:end:end]
}

// learn takes the layout of an event that the scanner accepted. It says no when guess could not read such an event: because
// of its size, or a property that was skipped or whose name has escapes.
func (l *layout) learn(raw []byte) bool {
	l.pieces, l.spaced = l.pieces[:0], false
	l.name, l.identifier, l.time = failed, failed, failed
	l.openPiece, l.openAt, l.closePiece, l.closeAt = failed, failed, failed, failed
	if len(raw) > layoutBytesMax {
		return false
	}
	l.text = append(l.text[:0], raw...)
	literal, depth, property, inValue := 0, 0, 0, false
	for i := 0; i < len(l.text); i++ {
		switch c := l.text[i]; {
		case c == ':', c == ',':
			inValue = c == ':'
		case c == ' ', c == '\t', c == '\n', c == '\r':
			l.spaced = l.spaced || depth == 2
		case c == '{' && depth == 0:
			depth = 1
		case c == '{' && property == seenPayload:
			depth, inValue = 2, false
			l.openAt = i
		case c == '}':
			if depth--; depth == 1 {
				l.closeAt = i + 1
			}
		case c == '"' && !inValue:
			end, _ := scanText(l.text, i+1)
			if depth == 1 {
				property = eventProperty(l.text[i+1 : end])
			}
			i = end
		case c == 'n' && property&(seenIdentifier|seenTimestamp) != 0:
			i += len("null") - 1
		default:
			s, from, to := l.value(i, property)
			if !l.cut(literal, from, to, s) {
				return false
			}
			if literal, i = to, to; s == slotSeconds {
				i-- // a number has no closing quote to pass
			}
		}
	}
	return l.cut(literal, len(l.text), len(l.text), slotNone)
}

// value says what guess can make of the value that begins at i, and where its bytes are, without quotes.
func (l *layout) value(i, property int) (s slot, from, to int) {
	if l.text[i] != '"' {
		if end, integer := scanNumber(l.text, i); integer && property == seenTimestamp {
			return slotSeconds, i, end
		}
		return slotUnknown, i, i
	}
	end, _ := scanText(l.text, i+1)
	switch property {
	case seenName:
		s = slotName
	case seenIdentifier:
		s = slotIdentifier
	case seenTimestamp:
		s = slotTime
	case seenPayload:
		s = slotPayload
	}
	return s, i + 1, end
}

// cut adds the literal that begins at an index of the text and the value that follows it.
func (l *layout) cut(literal, value, end int, s slot) bool {
	for ; value-literal > literalBytesMax; literal += literalBytesMax {
		l.add(literal, literal+literalBytesMax, piece{slot: slotNone})
	}
	p := piece{slot: s, length: end - value}
	switch s {
	case slotName:
		l.name, p.bytesMin, p.bytesMore = len(l.pieces), 1, NameCharsMax-1
	case slotIdentifier:
		l.identifier, p.bytesMin, p.bytesMore = len(l.pieces), 1, IdentifierCharsMax-1
	case slotPayload:
		p.bytesMore = PayloadValueBytesMax
	case slotTime, slotSeconds:
		l.time = len(l.pieces)
	}
	l.add(literal, value, p)
	return s != slotUnknown
}

// add adds a piece with the literal between two indices of the text.
func (l *layout) add(literal, value int, p piece) {
	if l.openPiece == failed && literal <= l.openAt && l.openAt < value {
		l.openPiece, l.openAt = len(l.pieces), value-l.openAt
	}
	if l.closePiece == failed && literal < l.closeAt && l.closeAt <= value {
		l.closePiece, l.closeAt = len(l.pieces), value-l.closeAt
	}
	p.literal = l.text[literal:value]
	// The literal's bytes at the end of two words, and in front of them what the masks leave out.
	var text, mask [literalBytesMax]byte
	from := literalBytesMax - len(p.literal)
	copy(text[from:], p.literal)
	for i := from; i < literalBytesMax; i++ {
		mask[i] = 0xff
	}
	p.head, p.headMask = word(text[:], 0), word(mask[:], 0)
	p.tail, p.tailMask = word(text[:], 8), word(mask[:], 8)
	l.pieces = append(l.pieces, p)
}
