package meterevent

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// PathBody is the Path of a FieldError about the request body as a whole.
const PathBody = "body"

// FieldError refuses a request: the field at fault and why.
type FieldError struct {
	// Path is the field, "events[3].payload.value", or "payload[value]" in a form; PathBody for the body as a whole.
	Path string
	// Reason continues the sentence: "must be a string, got a number".
	Reason string
}

// Error is one sentence: path, reason and a full stop.
func (e *FieldError) Error() string { return e.Path + " " + e.Reason + "." }

// failed is the position that a reading method returns once it has put the fault into Decoder.fault.
const failed = -1

// syntax says that the body is not JSON. Offsets count bytes from 0.
func (d *Decoder) syntax(at int, why string) int {
	d.fault = &FieldError{PathBody, "is not valid JSON at byte " + strconv.Itoa(at) + ": " + why}
	return failed
}

// unexpected is syntax for a byte, or the end, where something else must stand.
func (d *Decoder) unexpected(at int, wanted string) int {
	return d.syntax(at, "expected "+wanted+", got "+describeByte(d.body, at))
}

// badText is syntax for the string that scanText gave up on, at the byte where it did.
func (d *Decoder) badText(at int) int {
	return d.syntax(at, describeBadText(d.body, at))
}

// refuse says that a field is not what it must be.
func (d *Decoder) refuse(path, why string) int {
	d.fault = &FieldError{path, why}
	return failed
}

// wrongType refuses the value that begins at i, naming what stands there; when nothing that stands there is JSON, it is
// the syntax that is refused.
func (d *Decoder) wrongType(path string, i int, wanted string) int {
	got := ""
	switch {
	case i >= len(d.body):
	case d.body[i] == '"':
		got = "a string"
	case d.body[i] == '{':
		got = "an object"
	case d.body[i] == '[':
		got = "an array"
	case literalEnd(d.body, i, "null") > 0:
		got = "null"
	case literalEnd(d.body, i, "true") > 0, literalEnd(d.body, i, "false") > 0:
		got = "a boolean"
	default:
		if end, _ := scanNumber(d.body, i); end > 0 {
			got = "a number"
		}
	}
	if got == "" {
		return d.unexpected(i, "a value")
	}
	return d.refuse(path, "must be "+wanted+", got "+got)
}

// eventPath names the event being read; it is empty when the request is about one.
func (d *Decoder) eventPath() string {
	if d.index < 0 {
		return ""
	}
	return "events[" + strconv.Itoa(d.index) + "]"
}

// path names a property of the event being read.
func (d *Decoder) path(property string) string {
	if d.index < 0 {
		return property
	}
	return d.eventPath() + "." + property
}

// pathTextBytesMax bounds how much of a sender's own text is repeated in a path.
const pathTextBytesMax = 64

// child extends a path by a name that the sender chose: ".name" where that reads well, otherwise ["name"] quoted and cut.
func child(path string, name []byte) string {
	switch {
	case !plainName(name):
		return path + "[" + quoteForPeople(name) + "]"
	case path == "":
		return string(name)
	}
	return path + "." + string(name)
}

func plainName(name []byte) bool {
	for _, c := range name {
		if c != '_' && c != '-' && !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return len(name) > 0 && len(name) <= pathTextBytesMax
}

func quoteForPeople(text []byte) string {
	if len(text) <= pathTextBytesMax {
		return strconv.Quote(string(text))
	}
	cut := pathTextBytesMax
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strconv.Quote(string(text[:cut]) + "…")
}

func describeByte(b []byte, at int) string {
	switch {
	case at >= len(b):
		return "the end of the body"
	case at == 0 && len(b) >= 3 && string(b[:3]) == "\xef\xbb\xbf":
		return "a byte order mark"
	case b[at] > ' ' && b[at] < 0x7f:
		return "'" + string(b[at]) + "'"
	}
	return fmt.Sprintf("byte 0x%02X", b[at])
}

// describeBadText says what is wrong at the byte where scanText stopped.
func describeBadText(b []byte, at int) string {
	switch {
	case at >= len(b):
		return "the string has no end"
	case b[at] < ' ':
		return fmt.Sprintf("control character 0x%02X must be escaped in a string", b[at])
	case b[at] >= utf8.RuneSelf:
		return fmt.Sprintf("byte 0x%02X is not UTF-8 here", b[at])
	case at+6 <= len(b) && isSurrogate(hex4(b[at+2:at+6])) && b[at+1] == 'u':
		return "escape " + string(b[at:at+6]) + " is half a surrogate pair"
	}
	return "a backslash must begin an escape: one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t, or \\u and four hex digits"
}
