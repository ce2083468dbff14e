package stripe

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// Bounds of a v1 form. The largest legitimate one is a meter event: 50 payload entries of 100-byte keys and 500-byte
// values, each byte percent-encoded, which is some 90 KiB.
const (
	FormBytesMax     = 128 << 10
	FormPairsMax     = 128
	FormNameBytesMax = 256 // a parameter's name with its brackets, decoded
	FormDepthMax     = 4   // a[b][c][d]: the name before the brackets counts as one
)

// Form is a parsed application/x-www-form-urlencoded body. The zero value is ready for ParseForm and may be parsed into
// again and again; after the first few requests that allocates nothing.
//
// Names are kept in bracket form with literal brackets ("payload[value]"), values decoded, in the order of the body.
// Each access marks what it read; after the last one Unknown refuses what nobody asked for.
//
// Slices that a Form returns are views into it: valid until the next ParseForm.
type Form struct {
	pairs []formPair
	text  []byte // all names and values, decoded, one after the other
}

// formPair is one parameter. Offsets and not slices, because text may move while it grows.
type formPair struct {
	name, value [2]int32 // from, to in text
	used        bool
}

// ParseForm parses body into dst, replacing what dst held. The error is always an *Error.
//
// It refuses what would be read differently by another parser: a percent sign without two hex digits, bytes that are
// not UTF-8, NUL, an empty name, brackets that do not pair. A plus sign is a space; empty pairs, as in "a=1&&b=2",
// are skipped. Whether a name may occur twice is for the typed access to say.
func ParseForm(dst *Form, body []byte) error {
	dst.pairs, dst.text = dst.pairs[:0], dst.text[:0]
	if len(body) > FormBytesMax {
		return BodyTooLarge(FormBytesMax)
	}
	for rest := body; len(rest) > 0; {
		var pair []byte
		pair, rest, _ = bytes.Cut(rest, ampersand)
		if len(pair) == 0 {
			continue
		}
		if err := dst.add(pair); err != nil {
			return err
		}
	}
	return nil
}

// Shrink lets go of what the form holds when that is more than bytesMax of text.
func (f *Form) Shrink(bytesMax int) {
	if cap(f.text) > bytesMax {
		*f = Form{}
	}
}

var ampersand, equals = []byte{'&'}, []byte{'='}

func (f *Form) add(raw []byte) error {
	if len(f.pairs) == FormPairsMax {
		return paramRefused("", "", "The form has more than "+strconv.Itoa(FormPairsMax)+" parameters.")
	}
	rawName, rawValue, _ := bytes.Cut(raw, equals)
	var p formPair
	var ok bool
	if p.name, ok = f.decode(rawName); !ok {
		return paramRefused("", "", "The name of parameter "+strconv.Itoa(len(f.pairs)+1)+" of the form, '"+clip(rawName)+"', is "+badText)
	}
	name := f.view(p.name)
	if reason := checkName(name); reason != "" {
		return paramRefused("", "", "The name of parameter "+strconv.Itoa(len(f.pairs)+1)+" of the form, '"+clip(name)+"', "+reason)
	}
	if p.value, ok = f.decode(rawValue); !ok {
		return paramRefused("", clip(name), "The value of "+clip(name)+" is "+badText)
	}
	f.pairs = append(f.pairs, p)
	return nil
}

const badText = "not valid: it must be percent-encoded UTF-8 without NUL."

// decode appends raw, decoded, to f.text and returns where it is.
func (f *Form) decode(raw []byte) (at [2]int32, ok bool) {
	from := len(f.text)
	f.text, ok = unescape(f.text, raw, ' ')
	return [2]int32{int32(from), int32(len(f.text))}, ok
}

// AppendUnescaped appends a part of a path with its percent escapes undone; ok is false when it is not percent-encoded
// UTF-8 without NUL. Other than in a form, a plus sign is one.
func AppendUnescaped(dst, part []byte) (text []byte, ok bool) {
	return unescape(dst, part, '+')
}

// unescape appends raw with its percent escapes undone and plus in the place of plus signs.
func unescape(dst, raw []byte, plus byte) (text []byte, ok bool) {
	from := len(dst)
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch c {
		case '+':
			c = plus
		case '%':
			if i+2 >= len(raw) {
				return dst, false
			}
			high, low := unhex(raw[i+1]), unhex(raw[i+2])
			if high > 15 || low > 15 {
				return dst, false
			}
			c = high<<4 | low
			i += 2
		}
		if c == 0 {
			return dst, false
		}
		dst = append(dst, c)
	}
	return dst, utf8.Valid(dst[from:])
}

// unhex is the value of a hex digit, 255 for any other byte.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// checkName says what is wrong with a decoded name: "" or the end of a sentence. The grammar is
// head ( "[" key "]" )*, where head and key hold no brackets, head is not empty, and only the last key may be.
func checkName(name []byte) string {
	if len(name) > FormNameBytesMax {
		return "is longer than " + strconv.Itoa(FormNameBytesMax) + " bytes."
	}
	head := bytes.IndexAny(name, "[]")
	if head < 0 {
		head = len(name)
	}
	if head == 0 {
		return "is empty before its first bracket."
	}
	depth := 1
	for rest := name[head:]; len(rest) > 0; depth++ {
		end := bytes.IndexAny(rest[1:], "[]") + 1
		if rest[0] != '[' || end == 0 || rest[end] != ']' {
			return "has brackets that do not pair, as in a[b][c]."
		}
		if end == 1 && len(rest) > 2 {
			return "has empty brackets that are not its last."
		}
		rest = rest[end+1:]
	}
	if depth > FormDepthMax {
		return "is nested deeper than " + strconv.Itoa(FormDepthMax) + " levels."
	}
	return ""
}

func (f *Form) view(at [2]int32) []byte {
	return f.text[at[0]:at[1]:at[1]]
}
