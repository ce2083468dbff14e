package httpd

import (
	"bytes"
	"encoding/binary"

	"tollgate/pkg/stripe"
)

// head is what has been learnt of a head. It is whole when readHead said so, and stays until again.
type head struct {
	offset  int // where the next unread line begins, counted from the head's first byte
	lines   int
	hosts   int
	length  int64 // of Content-Length; -1 without one
	chunked bool
	http10  bool
	close   bool // the client wants the connection closed behind the answer
	expect  bool // the client waits for 100 Continue before it sends the body
	method  methodKind
	index   headIndex
}

// methodKind is a method as far as framing goes.
type methodKind uint8

const (
	otherMethod methodKind = iota
	methodPost
	methodGet
	methodHead
)

// lengthDigitsMax keeps a Content-Length far below an overflow, and far over any body cap.
const lengthDigitsMax = 15

// readHead examines the head at the front of p. It returns the head's length once it is complete and within the
// grammar, and 0 while more bytes are needed.
func (w *wire) readHead(p []byte) (int, *stripe.Error) {
	h := &w.head
	limit := min(len(p), w.limits.headBytesMax)
	for {
		i := bytes.IndexByte(p[h.offset:limit], '\n')
		if i < 0 {
			return 0, w.incomplete(p, limit)
		}
		at := h.offset
		line := p[at : at+i]
		h.offset += i + 1
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return 0, refuseLineEnd
		}
		line = line[:len(line)-1]
		h.lines++
		switch {
		case h.lines == 1:
			if r := h.requestLine(line); r != nil {
				return 0, r
			}
		case len(line) == 0:
			return h.offset, w.bodyBegins()
		case h.lines > w.limits.headLinesMax:
			return 0, refuseHeadTooLarge
		default:
			if r := h.field(line, at); r != nil {
				return 0, r
			}
		}
	}
}

// incomplete decides whether a head without its end may still become one.
func (w *wire) incomplete(p []byte, limit int) *stripe.Error {
	if limit == w.limits.headBytesMax {
		return refuseHeadTooLarge
	}
	// A request that is not HTTP at all (a TLS hello, another protocol's greeting) is told so by its first bytes
	// instead of being waited for.
	if w.head.lines == 0 {
		for _, c := range p[:min(limit, 16)] {
			if c == ' ' {
				break
			}
			if c < '!' || c > '~' {
				return refuseRequestLine
			}
		}
	}
	return nil
}

// requestLine checks the first line, its line end cut off.
func (h *head) requestLine(line []byte) *stripe.Error {
	h.length = -1
	n := tokenEnd(line)
	if n == 0 || n+1 >= len(line) || line[n] != ' ' {
		return refuseRequestLine
	}
	if line[n+1] != '/' {
		return refuseTarget
	}
	const version = " HTTP/1."
	cut := len(line) - len(version) - 1
	if cut <= n || string(line[cut:len(line)-1]) != version {
		return refuseRequestLine
	}
	target := line[n+1 : cut]
	if bytes.IndexByte(target, ' ') >= 0 || !plain(target) {
		return refuseRequestLine
	}
	switch line[len(line)-1] {
	case '1':
	case '0':
		h.http10 = true
	default:
		return refuseRequestLine
	}
	switch string(line[:n]) {
	case "POST":
		h.method = methodPost
	case "GET":
		h.method = methodGet
	case "HEAD":
		h.method = methodHead
	}
	h.index.method, h.index.target = span{0, uint32(n)}, span{uint32(n + 1), uint32(cut)}
	return nil
}

// field checks one header line, its line end cut off, which begins at an offset of the head.
func (h *head) field(line []byte, at int) *stripe.Error {
	// Whatever ends the name must be its colon: a space before it, or the space or tab by which a line continues the
	// one above, is not.
	colon := tokenEnd(line)
	if colon == 0 || colon == len(line) || line[colon] != ':' {
		return refuseHeader
	}
	from, to := colon+1, len(line)
	for from < to && (line[from] == ' ' || line[from] == '\t') {
		from++
	}
	for from < to && (line[to-1] == ' ' || line[to-1] == '\t') {
		to--
	}
	value := line[from:to]
	if !plain(value) && !plainButTabs(value) {
		return refuseHeader
	}
	name := headerNameOf(line[:colon])
	switch name {
	case otherHeader:
	case hHost:
		h.hosts++
		if h.hosts > 1 || !isHost(value) {
			return refuseHost
		}
	case hContentLength:
		return h.contentLength(value)
	case hTransferEncoding:
		return h.transferEncoding(value)
	case hConnection:
		h.close = h.close || hasToken(value, "close")
	case hExpect:
		h.expect = !h.http10 && foldEqual(value, "100-continue")
		h.index.note(name, at+from, at+to)
	default:
		h.index.note(name, at+from, at+to)
	}
	return nil
}

func (h *head) contentLength(value []byte) *stripe.Error {
	if h.length >= 0 || h.chunked || len(value) == 0 || len(value) > lengthDigitsMax {
		return refuseLength
	}
	n := int64(0)
	for _, c := range value {
		if c < '0' || c > '9' {
			return refuseLength
		}
		n = n*10 + int64(c-'0')
	}
	if n > 0 && (h.method == methodGet || h.method == methodHead) {
		return refuseBody
	}
	h.length = n
	return nil
}

func (h *head) transferEncoding(value []byte) *stripe.Error {
	if h.chunked || h.length >= 0 || h.http10 || !foldEqual(value, "chunked") {
		return refuseTransfer
	}
	if h.method == methodGet || h.method == methodHead {
		return refuseBody
	}
	h.chunked = true
	return nil
}

// bodyBegins is called behind a head's last line and makes the wire ready for what follows it.
func (w *wire) bodyBegins() *stripe.Error {
	h := &w.head
	if h.hosts == 0 && !h.http10 {
		return refuseHost
	}
	w.got, w.debt = 0, 0
	switch {
	case h.chunked:
		w.state, w.left, w.digits = wireChunkSize, 0, 0
	case h.length > 0:
		w.state, w.left = wireBody, h.length
	}
	return nil
}

// tokenEnd returns how many bytes at the front of b are token characters (RFC 9110, section 5.6.2).
func tokenEnd(b []byte) int {
	for i, c := range b {
		if !isToken[c] {
			return i
		}
	}
	return len(b)
}

const alphanumeric = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

var isToken, isHostByte = tableOf("!#$%&'*+-.^_`|~" + alphanumeric), tableOf("!$%&'()*+,-.:;=[]_~" + alphanumeric)

func tableOf(bytes string) (table [256]bool) {
	for _, c := range []byte(bytes) {
		table[c] = true
	}
	return table
}

// isHost reports whether a Host holds only what a host and a port may (RFC 3986, section 3.2.2), and is not empty.
func isHost(value []byte) bool {
	for _, c := range value {
		if !isHostByte[c] {
			return false
		}
	}
	return len(value) > 0
}

// plain reports whether b holds no control character, the tab included. It reads eight bytes at a time: the high bit of
// each byte of the terms below says whether the byte is under 0x20, or is 0x7f. A borrow may say so of a byte
// that is neither, but only beside one that is.
func plain(b []byte) bool {
	const low, high = 0x0101010101010101, 0x8080808080808080
	bad := uint64(0)
	for ; len(b) >= 8; b = b[8:] {
		v := binary.LittleEndian.Uint64(b)
		d := v ^ 0x7f*low
		bad |= (v-0x20*low)&^v | (d-low)&^d
	}
	if bad&high != 0 {
		return false
	}
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

func plainButTabs(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// hasToken reports whether a list such as Connection's names a token, which is given in lower case.
func hasToken(list []byte, token string) bool {
	for {
		element, rest, more := bytes.Cut(list, []byte{','})
		if foldEqual(trimOWS(element), token) {
			return true
		}
		if !more {
			return false
		}
		list = rest
	}
}
