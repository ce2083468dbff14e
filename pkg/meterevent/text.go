package meterevent

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// textForm is what scanText learned about the string it passed.
type textForm uint8

const (
	textASCII   textForm = iota // printable ASCII, nothing escaped: the text is its own value
	textUTF8                    // the same with characters beyond ASCII
	textEscaped                 // has escapes: unescape gives the value
	textBroken                  // not a JSON string
)

const (
	eachByte    = 0x0101010101010101
	eachHighBit = 0x8080808080808080
)

// word is the eight bytes of b from i on. A caller who has just found 0 <= i and i <= len(b)-8, written like this, spares
// the checks.
func word(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i : i+8 : len(b)]) }

// special marks, by their high bits, the bytes of w at which a plain string may end: quotes, backslashes, control
// characters and bytes beyond ASCII. Bytes above the first marked one may be marked wrongly, because a subtraction
// borrows from them; the lowest mark is always right. One subtraction finds quotes and control characters, because
// flipping a bit makes 0x20 of a quote, 0x22 of a space, and leaves the control characters below (after Daniel Lemire).
// The usual "and not w" of each test is left out: it would only clear bytes beyond ASCII, and those are marked anyway.
func special(w uint64) uint64 {
	low := (w ^ eachByte*('"'^' ')) - eachByte*(' '+1)
	backslash := (w ^ eachByte*'\\') - eachByte
	return (low | backslash | w) & eachHighBit
}

// plainEnd returns the first index from i on whose byte is special, or len(b). Eight bytes a step.
func plainEnd(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		if m := special(binary.LittleEndian.Uint64(b[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// scanText passes the string whose first byte behind the quote is at i. end is the index of the closing quote, or, when
// the form is textBroken, of the byte at which it is no JSON string any more.
func scanText(b []byte, i int) (end int, form textForm) {
	// plainEnd's loop again, because a call less for each string is a tenth of the time of an event.
	for ; 0 <= i && i <= len(b)-8; i += 8 {
		if m := special(word(b, i)); m != 0 {
			i += bits.TrailingZeros64(m) >> 3
			if b[i] == '"' {
				return i, textASCII
			}
			break
		}
	}
	return scanTextSlow(b, i)
}

func scanTextSlow(b []byte, i int) (end int, form textForm) {
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			return i, form
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				return i, textBroken
			}
			form = textEscaped
			i += n
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				return i, textBroken
			}
			form = max(form, textUTF8)
			i += n
		case c < ' ':
			return i, textBroken
		default:
			i = plainEnd(b, i)
		}
	}
	return i, textBroken
}

// escapeLen is the length of the escape that b begins with, both halves of a surrogate pair counted; 0 when it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
	default:
		return 0
	}
	if len(b) < 6 {
		return 0
	}
	switch r := hex4(b[2:6]); {
	case r < 0:
		return 0
	case !isSurrogate(r):
		return 6
	case r >= lowSurrogateMin || len(b) < 12 || b[6] != '\\' || b[7] != 'u':
		return 0
	}
	if low := hex4(b[8:12]); low < lowSurrogateMin || !isSurrogate(low) {
		return 0
	}
	return 12
}

const lowSurrogateMin = 0xDC00

func isSurrogate(r rune) bool { return 0xD800 <= r && r <= 0xDFFF }

// hex4 is the value of four hex digits, or -1.
func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// unescape appends the value of a string that scanText found to be textEscaped.
func unescape(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		if text[i] != '\\' {
			end := i
			for end < len(text) && text[end] != '\\' {
				end++
			}
			dst = append(dst, text[i:end]...)
			i = end
			continue
		}
		n := escapeLen(text[i:])
		switch c := text[i+1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hex4(text[i+2:])
			if n == 12 {
				r = 0x10000 + (r-0xD800)<<10 + hex4(text[i+8:]) - lowSurrogateMin
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
		i += n
	}
	return dst
}

// appendQuoted appends text as a JSON string.
func appendQuoted[T string | []byte](dst []byte, text T) []byte {
	return append(appendEscaped(append(dst, '"'), text), '"')
}

// appendEscaped appends text as the inside of a JSON string. It escapes what must be escaped and nothing else.
func appendEscaped[T string | []byte](dst []byte, text T) []byte {
	start := len(dst)
	dst = append(dst, text...)
	if plainEnd(dst, start) == len(dst) {
		return dst
	}
	return appendEscapedSlow(dst[:start], []byte(text))
}

func appendEscapedSlow(dst, text []byte) []byte {
	const hexDigits = "0123456789abcdef"
	for len(text) > 0 {
		switch c := text[0]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(text) // what is not UTF-8 becomes U+FFFD: a record is always JSON
			dst = utf8.AppendRune(dst, r)
			text = text[n:]
			continue
		default:
			dst = append(dst, c)
		}
		text = text[1:]
	}
	return dst
}
