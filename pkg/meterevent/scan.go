package meterevent

import "encoding/binary"

// The methods here pass one token or one value, beginning at index i of the body, and return the index behind it, or
// failed after they put a fault into d.fault.

// at is the byte at i, and 0 behind the end: no token of JSON begins with it.
func (d *Decoder) at(i int) byte {
	if uint(i) < uint(len(d.body)) {
		return d.body[i]
	}
	return 0
}

// space passes white space. It is small so that it is inlined where there is none, which is nearly everywhere.
func (d *Decoder) space(i int) int {
	if uint(i) < uint(len(d.body)) && d.body[i] <= ' ' {
		return d.spaces(i)
	}
	return i
}

//go:noinline
func (d *Decoder) spaces(start int) int {
	i := start
	for c := d.at(i); c == ' ' || c == '\n' || c == '\r' || c == '\t'; c = d.at(i) {
		i++
	}
	d.blanks += i - start
	return i
}

// open passes the brace of an object.
func (d *Decoder) open(i int, path string) int {
	if d.at(i) != '{' {
		return d.wrongType(path, i, "an object")
	}
	return i + 1
}

// member passes everything in an object up to its next value: comma, name, colon. The name is decoded. A nil name is the
// end of the object, next the index behind it; or a fault.
func (d *Decoder) member(i int, first bool) (name []byte, next int) {
	i = d.space(i)
	if d.at(i) == '}' {
		return nil, i + 1
	}
	if !first {
		if d.at(i) != ',' {
			return nil, d.unexpected(i, "',' or '}' after a property")
		}
		i = d.space(i + 1)
	}
	if d.at(i) != '"' {
		return nil, d.unexpected(i, "a property name")
	}
	name, _, i = d.text(i)
	if i == failed {
		return nil, failed
	}
	i = d.space(i)
	if d.at(i) != ':' {
		return nil, d.unexpected(i, "':' after a property name")
	}
	return name, d.space(i + 1)
}

// text passes the string whose opening quote is at i and decodes it. The text is never nil unless there is a fault.
func (d *Decoder) text(i int) (text []byte, form textForm, next int) {
	end, form := scanText(d.body, i+1)
	switch form {
	case textBroken:
		return nil, form, d.badText(end)
	case textEscaped:
		start := len(d.scratch)
		d.scratch = unescape(d.scratch, d.body[i+1:end])
		return d.scratch[start:len(d.scratch):len(d.scratch)], form, end + 1
	}
	return d.body[i+1 : end : end], form, end + 1
}

// nameSeen is a name that was read, and a number that is nearly always another for another name.
type nameSeen struct {
	mark uint64
	text []byte
}

// repeated says whether a name stands among d.names[base:] already, and adds it when it does not. The search is linear,
// because objects are bounded to a hundred names and an event has two or three; the marks spare it nearly all comparisons
// of texts, without which a body of objects to skip cost ten times as much.
func (d *Decoder) repeated(base int, name []byte) bool {
	mark := markOf(name)
	for i := range d.names[base:] {
		if n := &d.names[base+i]; n.mark == mark && string(n.text) == string(name) {
			return true
		}
	}
	d.names = append(d.names, nameSeen{mark, name})
	return false
}

// markOf is made of a text's length and its first and last eight bytes.
func markOf(text []byte) uint64 {
	n := len(text)
	if n >= 8 {
		return binary.LittleEndian.Uint64(text)*3 ^ binary.LittleEndian.Uint64(text[n-8:]) + uint64(n)
	}
	mark := uint64(n)
	for _, c := range text {
		mark = mark<<8 | uint64(c)
	}
	return mark
}

// literalEnd is the index behind the literal word when it stands at i, otherwise 0.
func literalEnd(b []byte, i int, word string) int {
	if end := i + len(word); end <= len(b) && string(b[i:end]) == word {
		return end
	}
	return 0
}

// scanNumber passes a JSON number; end is 0 when none stands at i.
func scanNumber(b []byte, i int) (end int, integer bool) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	start := i
	if i = digitsEnd(b, i); i == start || b[start] == '0' && i > start+1 {
		return 0, false
	}
	integer = true
	if i < len(b) && b[i] == '.' {
		integer = false
		start = i + 1
		if i = digitsEnd(b, start); i == start {
			return 0, false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		integer = false
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		start = i
		if i = digitsEnd(b, start); i == start {
			return 0, false
		}
	}
	return i, integer
}

func digitsEnd(b []byte, i int) int {
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool { return c-'0' <= 9 }
