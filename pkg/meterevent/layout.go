package meterevent

// A layout is the text of an event with its values cut out. A program that sends events writes them all alike:
//
//	{"event_name":"…","identifier":"…","payload":{"stripe_customer_id":"…","value":"…"},"timestamp":"…"}
//
// so each event is first compared with the layout of an earlier one, literal by literal, and only its values are looked
// at. Nothing is accepted by a guess that the scanner would refuse or read otherwise: the text between the values is the
// same, byte for byte, as in an event that the scanner accepted, and each value is a string that the scanner's own scanText
// passes, or a time. Whatever else turns up is a miss, and the scanner reads the event from its beginning.
type layout struct {
	// text is the event that was learned from; the literals are views of it.
	text   []byte
	pieces []piece // none: nothing was learned
	// The payload's braces: the literals that they are in, and where in them; the closing one's index is the one behind it.
	openPiece, openAt, closePiece, closeAt int
	// spaced says that there is white space in the payload.
	spaced bool
	// misses counts the events of this request that had to be scanned.
	misses int
}

// piece is a literal and the value behind it.
type piece struct {
	literal []byte
	slot    slot
	// length is that of the value learned from; times have the same one nearly always.
	length int
}

type slot uint8

const (
	slotUnknown    slot = iota // what guess can not read
	slotName                   // strings
	slotIdentifier             //
	slotPayload                // any value of the payload
	slotTime                   //
	slotSeconds                // a timestamp that is a number
	slotEnd                    // the event ends with the literal
)

// layoutBytesMax bounds what a Decoder keeps of an event. Larger ones are left to the scanner.
const layoutBytesMax = 4096

// guessOrScan reads the event that begins at i into ev, which is empty, and returns the index behind it.
func (d *Decoder) guessOrScan(i int, ev *Event) int {
	l := &d.layout
	if len(l.pieces) > 0 {
		if end := d.guess(i, ev); end != failed {
			return end
		}
		*ev = Event{}
	}
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
// the event does not fit.
func (d *Decoder) guess(i int, ev *Event) int {
	l, b, start, payload := &d.layout, d.body, i, 0
	for k := range l.pieces {
		p := &l.pieces[k]
		value := i + len(p.literal)
		if value > len(b) || string(b[i:value]) != string(p.literal) {
			return failed
		}
		if k == l.openPiece {
			payload = i + l.openAt
		}
		if k == l.closePiece {
			ev.Payload = b[payload : i+l.closeAt : i+l.closeAt]
		}
		if i = value; p.slot >= slotTime {
			if i = d.guessTime(value, p, ev); i == failed {
				return failed
			}
			continue
		}
		form := textASCII
		if i, form = scanText(b, value); form >= textEscaped && (form == textBroken || p.slot != slotPayload) {
			return failed
		}
		if !ev.take(p.slot, b[value:i:i]) {
			return failed
		}
	}
	if l.spaced {
		from := len(d.scratch)
		d.scratch = compact(d.scratch, ev.Payload)
		ev.Payload = d.scratch[from:len(d.scratch):len(d.scratch)]
	}
	ev.Raw = b[start:i:i]
	return i
}

// take sets the field for the text of a value. The limits are applied to its bytes in the body, which are no fewer than its
// characters, or its bytes decoded: what fits here fits.
func (e *Event) take(s slot, text []byte) bool {
	switch s {
	case slotPayload:
		return len(text) <= PayloadValueBytesMax
	case slotName:
		e.Name = text
		return 0 < len(text) && len(text) <= NameCharsMax
	}
	if len(text) == 0 || len(text) > IdentifierCharsMax {
		return false
	}
	e.Identifier, e.plain = text, &text[0] // without escapes, or guess would not have come here
	return true
}

// guessTime passes the timestamp that begins at i, or nothing at the end of the event. What parses as a time has no byte
// in it that would end or spoil a string, and the literal behind a number begins with no digit, so neither is scanned.
func (d *Decoder) guessTime(i int, p *piece, ev *Event) int {
	end := i + p.length
	switch {
	case p.slot == slotEnd:
		return i
	case end > len(d.body):
		return failed
	}
	text := d.body[i:end]
	if p.slot == slotTime {
		ev.TimestampMs, ev.HasTimestamp = d.dates.parse(text)
	} else if '1' <= text[0] && text[0] <= '9' { // no zero in front, which JSON forbids
		ev.TimestampMs, ev.HasTimestamp = parseUnixSeconds(text)
	}
	if !ev.HasTimestamp {
		return failed
	}
	return end
}

// learn takes the layout of an event that the scanner accepted. It says no when guess could not read such an event: because
// of its size, or a property that was skipped or whose name has escapes.
func (l *layout) learn(raw []byte) bool {
	l.pieces, l.spaced = l.pieces[:0], false
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
			l.openPiece, l.openAt = len(l.pieces), i-literal
		case c == '}':
			if depth--; depth == 1 {
				l.closePiece, l.closeAt = len(l.pieces), i+1-literal
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
	return l.cut(literal, len(l.text), len(l.text), slotEnd)
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
	l.pieces = append(l.pieces, piece{l.text[literal:value], s, end - value})
	return s != slotUnknown
}
