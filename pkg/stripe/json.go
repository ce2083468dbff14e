package stripe

import "unicode/utf8"

const hexDigits = "0123456789abcdef"

// appendQuoted appends text as a JSON string, quotes included. Quotes, backslashes and control characters are
// escaped; each byte that is not part of valid UTF-8 becomes U+FFFD, because a body with broken UTF-8 is refused by
// every strict parser, and the client would never learn why it was refused.
//
// Nothing else is escaped: answers are application/json, never embedded in HTML or evaluated as script.
func appendQuoted[T string | []byte](dst []byte, text T) []byte {
	dst = append(dst, '"')
	start := 0 // text[start:i] needs no escape and is not yet appended
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			size := runeBytes(text[i:])
			if size > 0 {
				i += size
				continue
			}
			dst = append(dst, text[start:i]...)
			dst = append(dst, "\uFFFD"...)
		} else {
			dst = append(dst, text[start:i]...)
			dst = appendEscape(dst, c)
		}
		i++
		start = i
	}
	dst = append(dst, text[start:]...)
	return append(dst, '"')
}

// appendEscape appends the escape of an ASCII byte that may not stand in a JSON string by itself.
func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// runeBytes is the length of the valid UTF-8 sequence at the start of text, 0 when there is none.
func runeBytes[T string | []byte](text T) int {
	var head [utf8.UTFMax]byte
	n := copy(head[:], text)
	r, size := utf8.DecodeRune(head[:n])
	if r == utf8.RuneError && size <= 1 {
		return 0
	}
	return size
}

// clipBytesMax bounds how much of a client's text a message repeats: enough to recognise it, too little to turn our
// answers into an amplifier.
const clipBytesMax = 100

// clip is text cut to clipBytesMax bytes, at a rune's edge, with an ellipsis where something is missing.
func clip[T string | []byte](text T) string {
	if len(text) <= clipBytesMax {
		return string(text)
	}
	cut := clipBytesMax
	for cut > clipBytesMax-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return string(text[:cut]) + "…"
}
