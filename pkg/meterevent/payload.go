package meterevent

import "strconv"

// payload reads the payload object that begins at i. What it returns is the body's own bytes when they hold no
// white space and no coerced number, otherwise a copy without them.
func (d *Decoder) payload(i int) (payload []byte, next int) {
	if d.at(i) != '{' {
		return nil, d.wrongType(d.path("payload"), i, "an object")
	}
	start, base, blanks, numbers := i, len(d.names), d.blanks, 0
	i++
	var name []byte
	for first := true; i != failed; first = false {
		if name, i = d.member(i, first); name == nil {
			break
		}
		if d.at(i) != '"' {
			numbers++
		}
		i = d.payloadValue(i, base, name)
	}
	if i == failed {
		return nil, failed
	}
	d.names = d.names[:base]
	if d.blanks == blanks && numbers == 0 {
		return d.body[start:i:i], i
	}
	start, d.scratch = len(d.scratch), compact(d.scratch, d.body[start:i])
	return d.scratch[start:len(d.scratch):len(d.scratch)], i
}

// payloadValue judges a name of the payload and the value that begins at i.
func (d *Decoder) payloadValue(i, base int, name []byte) int {
	switch {
	case d.repeated(base, name):
		return d.refuse(d.payloadPath(name), "appears twice")
	case len(d.names)-base > PayloadKeysMax:
		return d.refuse(d.path("payload"), payloadTooManyKeys)
	case len(name) > PayloadKeyBytesMax:
		return d.refuse(d.payloadPath(name), payloadKeyTooLong)
	}
	if d.at(i) == '"' {
		end, form := scanText(d.body, i+1)
		switch {
		case form == textBroken:
			return d.badText(end)
		case end-i-1 > PayloadValueBytesMax && d.valueTooLong(i+1, end, form):
			return d.refuse(d.payloadPath(name), payloadValueTooLong)
		}
		return end + 1
	}
	end, integer := 0, false
	if d.options.CoerceNumbers {
		end, integer = scanNumber(d.body, i)
	}
	switch {
	case end == 0:
		return d.wrongType(d.payloadPath(name), i, "a string")
	case !integer:
		return d.refuse(d.payloadPath(name), "must be a string or an integer, got a number with a fraction or an exponent")
	case end-i > PayloadValueBytesMax:
		return d.refuse(d.payloadPath(name), payloadValueTooLong)
	}
	return end
}

var (
	payloadTooManyKeys  = "must not have more than " + strconv.Itoa(PayloadKeysMax) + " keys"
	payloadKeyTooLong   = "must not have a name longer than " + strconv.Itoa(PayloadKeyBytesMax) + " bytes"
	payloadValueTooLong = "must not be longer than " + strconv.Itoa(PayloadValueBytesMax) + " bytes"
)

func (d *Decoder) payloadPath(name []byte) string { return child(d.path("payload"), name) }

// valueTooLong decides by the decoded length of a value whose text in the body is too long.
func (d *Decoder) valueTooLong(start, end int, form textForm) bool {
	if form != textEscaped {
		return true
	}
	kept := len(d.scratch)
	d.scratch = unescape(d.scratch, d.body[start:end])
	decoded := len(d.scratch) - kept
	d.scratch = d.scratch[:kept]
	return decoded > PayloadValueBytesMax
}

// compact appends a payload that was read without fault, leaving out white space and quoting numbers.
func compact(dst, payload []byte) []byte {
	for i := 0; i < len(payload); {
		switch c := payload[i]; c {
		case ' ', '\n', '\r', '\t':
			i++
		case '"':
			end, _ := scanText(payload, i+1)
			dst = append(dst, payload[i:end+1]...)
			i = end + 1
		case '{', '}', ':', ',':
			dst = append(dst, c)
			i++
		default:
			end, _ := scanNumber(payload, i)
			dst = append(dst, '"')
			dst = append(dst, payload[i:end]...)
			dst = append(dst, '"')
			i = end
		}
	}
	return dst
}
