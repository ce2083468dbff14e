package httpd

import "tollgate/pkg/stripe"

// A wire follows the framing of one connection's requests: it reads their heads, and says where their bodies end.
//
// It exists because a gateway stands behind proxies, and a proxy and a server that disagree about where
// a request ends let one client speak in another's name (request smuggling). The HTTP library behind it has been
// mended in this respect in nearly every release; the wire accepts so narrow a grammar that there is nothing to
// disagree about, and the library is never shown a head that a client wrote (see conn):
//
//	head  = method SP "/"target SP ("HTTP/1.1" | "HTTP/1.0") CRLF *( name ":" value CRLF ) CRLF
//	body  = exactly Content-Length bytes            one Content-Length, 1 to 15 digits, HTTP/1.0 and 1.1
//	      | *( 1*7HEXDIG CRLF data CRLF ) "0" CRLF CRLF    Transfer-Encoding exactly "chunked", HTTP/1.1 only
//	      | nothing                                 neither of the two
//
// Method and names are tokens of RFC 9110; target and values hold no control characters, the tab in a value excepted.
// Refused are therefore, among others: both headers at once, either of them twice (even when equal), a sign, a space or
// a comma in a length, any other transfer coding, a body on GET or HEAD, a bare LF or CR as line end, a line that
// continues the one above, a space before a colon, chunk extensions, trailers, and every request target but a path.
//
// The zero value is a connection before its first request, once limits are set.
type wire struct {
	limits *wireLimits

	state  wireState
	left   int64 // bytes to come of the body, or of the chunk
	digits int   // of the chunk size read so far
	got    int64 // body bytes of this request so far, framing excluded
	debt   int64 // see chunkCost

	head head
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
)

const (
	chunkDigitsMax = 7 // 256 MiB: far over any body cap, far below an overflow
	// A chunk is reckoned to cost chunkCost bytes and to earn its own size; a request may owe chunkDebtMax. That
	// lets an encoder flush every token of a small body and stops a megabyte in one-byte chunks, which would cost
	// us far more than its sender.
	chunkCost    = 64
	chunkDebtMax = 4096 * chunkCost
)

// again makes ready for the next head.
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
		return (c | 0x20) - 'a' + 10, true
	}
	return 0, false
}
