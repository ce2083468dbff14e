package httpd

import (
	"bytes"

	"tollgate/pkg/stripe"
)

// A wire follows the framing of one connection's requests and says how many of the bytes that arrived
// may be handed to the HTTP parser behind it.
//
// It exists because a gateway stands behind proxies, and a proxy and a server that disagree about where
// a request ends let one client speak in another's name (request smuggling). The parser behind it has been
// mended in this respect in nearly every release; the wire accepts so narrow a grammar that no two parsers
// can disagree about what passes it:
//
//	head  = method SP "/"target SP ("HTTP/1.1" | "HTTP/1.0") CRLF *( name ":" value CRLF ) CRLF
//	body  = exactly Content-Length bytes            one Content-Length, 1 to 15 digits, HTTP/1.0 and 1.1
//	      | *( 1*7HEXDIG CRLF data CRLF ) "0" CRLF CRLF    Transfer-Encoding exactly "chunked", HTTP/1.1 only
//	      | nothing                                 neither of the two
//
// Refused are therefore: both headers at once, either of them twice (even when equal), a sign, a space or a
// comma in a length, any other transfer coding, a body on GET or HEAD (the parser would take it for the next
// request), a bare LF or CR as line end, a line that continues the one above, a space before a colon, chunk
// extensions, trailers, and every request target but a path. Bytes inside names and values are left to the
// parser, which refuses control characters and NUL.
//
// A head is passed on whole or not at all; the bytes of a body as they come. The zero value is a connection
// before its first request, once limits are set.
type wire struct {
	limits *wireLimits

	state  wireState
	left   int64 // bytes to come of the body, or of the chunk
	digits int   // of the chunk size read so far
	got    int64 // body bytes of this request so far, framing excluded
	debt   int64 // see chunkCost

	head  head
	heads []headIndex // of the heads that were passed on since the last reset, in order

	midBody bool // the refusal stands inside a body
}

// wireLimits bounds one request.
type wireLimits struct {
	headBytesMax int
	headLinesMax int
}

type wireState uint8

const (
	wireHead      wireState = iota // before or inside a head
	wireBody                       // inside a body of known length
	wireChunkSize                  // at or inside the digits of a chunk's size
	wireChunkLF                    // behind the CR that ends a chunk's size
	wireChunkData                  // inside a chunk
	wireDataCR                     // behind a chunk's data
	wireDataLF
	wireEndCR // behind the last chunk's line: trailers would begin here
	wireEndLF
	wireRefused // nothing more is read from this connection
)

// head is what has been learnt of the head that is being read. offset counts from its first byte.
type head struct {
	offset  int // where the next unread line begins
	lines   int
	hosts   int
	length  int64 // of Content-Length; -1 without one
	chunked bool
	http10  bool
	noBody  bool // GET and HEAD
	index   headIndex
}

const (
	chunkDigitsMax = 7 // 256 MiB: far over any body cap, far below an overflow
	lengthDigits   = 15
	// A chunk is reckoned to cost chunkCost bytes and to earn its own size; a request may owe chunkDebtMax. That
	// lets an encoder flush every token of a small body and stops a megabyte in one-byte chunks, which would cost
	// us far more than its sender.
	chunkCost    = 64
	chunkDebtMax = 4096 * chunkCost
)

// feed examines p, which begins where the last call's good bytes ended, and returns how many of its leading bytes
// may be passed on. With no refusal, the bytes behind good are the beginning of a head that is still incomplete:
// the caller shows them again, with more behind them. With a refusal, they are the offending bytes, and no later
// byte of the connection may be passed on.
func (w *wire) feed(p []byte) (good int, r *stripe.Error) {
	pos := 0
	for pos < len(p) {
		if w.state == wireHead {
			n, r := w.readHead(p[pos:])
			if r != nil {
				w.state = wireRefused
				return good, r
			}
			if n == 0 {
				return good, nil
			}
			pos += n
			good = pos
			continue
		}
		n, r := w.readBody(p[pos:])
		pos += n
		good = pos
		if r != nil {
			w.state, w.midBody = wireRefused, true
			return good, r
		}
	}
	return good, nil
}

// again forgets how far a head was read: its bytes will be shown from its first one.
func (w *wire) again() { w.head = head{} }

// readBody passes over the body bytes at the front of p and returns their number; it stops behind the last byte
// of the request.
func (w *wire) readBody(p []byte) (int, *stripe.Error) {
	pos := 0
	for pos < len(p) && w.state != wireHead {
		if w.state == wireBody || w.state == wireChunkData {
			n := min(w.left, int64(len(p)-pos))
			pos += int(n)
			w.left -= n
			w.got += n
			if w.left > 0 {
				break
			}
			if w.state == wireBody {
				w.state = wireHead
			} else {
				w.state = wireDataCR
			}
			continue
		}
		if r := w.chunkByte(p[pos]); r != nil {
			return pos, r
		}
		pos++
	}
	return pos, nil
}

// chunkByte takes one byte of chunk framing.
func (w *wire) chunkByte(c byte) *stripe.Error {
	switch w.state {
	case wireChunkSize:
		if c == '\r' && w.digits > 0 {
			w.state = wireChunkLF
			return nil
		}
		v, ok := unhex(c)
		if !ok || w.digits == chunkDigitsMax {
			return refuseChunk
		}
		w.left = w.left<<4 | int64(v)
		w.digits++
	case wireChunkLF:
		if c != '\n' {
			return refuseChunk
		}
		return w.chunkBegins()
	case wireDataCR, wireEndCR:
		if c != '\r' {
			if w.state == wireEndCR {
				return refuseTrailer
			}
			return refuseChunk
		}
		w.state++
	case wireDataLF, wireEndLF:
		if c != '\n' {
			return refuseChunk
		}
		if w.state == wireEndLF {
			w.state = wireHead
			return nil
		}
		w.state, w.left, w.digits = wireChunkSize, 0, 0
	}
	return nil
}

// chunkBegins is called behind a chunk's size line.
func (w *wire) chunkBegins() *stripe.Error {
	if w.left == 0 {
		w.state = wireEndCR
		return nil
	}
	w.debt = max(0, w.debt+chunkCost-w.left)
	if w.debt > chunkDebtMax {
		return refuseTinyChunks
	}
	w.state = wireChunkData
	return nil
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

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
			h.index.line = uint32(h.offset)
		case len(line) == 0:
			n := h.offset
			if r := w.bodyBegins(); r != nil {
				return 0, r
			}
			return n, nil
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
	n := bytes.IndexByte(line, ' ')
	if n <= 0 || n+1 >= len(line) {
		return refuseRequestLine
	}
	if line[n+1] != '/' {
		return refuseTarget
	}
	const version = " HTTP/1."
	cut := len(line) - len(version) - 1
	if cut <= n || string(line[cut:len(line)-1]) != version || bytes.IndexByte(line[n+1:cut], ' ') >= 0 {
		return refuseRequestLine
	}
	switch line[len(line)-1] {
	case '1':
	case '0':
		h.http10 = true
	default:
		return refuseRequestLine
	}
	method := line[:n]
	h.noBody = string(method) == "GET" || string(method) == "HEAD"
	return nil
}

// field checks one header line, its line end cut off, which begins at an offset of the head.
func (h *head) field(line []byte, at int) *stripe.Error {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return refuseHeader
	}
	// Also refuses a line that continues the one above: such a line begins with a space or tab, and whatever stands
	// before its colon is no name.
	if line[0] <= ' ' || line[colon-1] <= ' ' {
		return refuseHeader
	}
	name := headerNameOf(line[:colon])
	if name == otherHeader {
		return nil
	}
	from, to := colon+1, len(line)
	for from < to && (line[from] == ' ' || line[from] == '\t') {
		from++
	}
	for from < to && (line[to-1] == ' ' || line[to-1] == '\t') {
		to--
	}
	value := line[from:to]
	switch name {
	case hHost:
		h.hosts++
		if h.hosts > 1 || len(value) == 0 {
			return refuseHost
		}
	case hContentLength:
		return h.contentLength(value)
	case hTransferEncoding:
		return h.transferEncoding(value)
	default:
		h.index.note(name, at+from, at+to)
	}
	return nil
}

func (h *head) contentLength(value []byte) *stripe.Error {
	if h.length >= 0 || h.chunked || len(value) == 0 || len(value) > lengthDigits {
		return refuseLength
	}
	n := int64(0)
	for _, c := range value {
		if c < '0' || c > '9' {
			return refuseLength
		}
		n = n*10 + int64(c-'0')
	}
	if n > 0 && h.noBody {
		return refuseBody
	}
	h.length = n
	return nil
}

func (h *head) transferEncoding(value []byte) *stripe.Error {
	if h.chunked || h.length >= 0 || h.http10 || !foldEqual(value, "chunked") {
		return refuseTransfer
	}
	if h.noBody {
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
	w.heads = append(w.heads, h.index)
	w.head = head{}
	return nil
}
