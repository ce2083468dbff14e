package httpd

import (
	"bytes"

	"tollgate/pkg/stripe"
)

// idempotencyKeyBytesMax is Stripe's limit; SDKs refuse longer keys themselves.
const idempotencyKeyBytesMax = 255

// versionBytesMax bounds a Stripe-Version that is echoed, such as 2026-07-29.dahlia; previews append more.
const versionBytesMax = 128

// headerName is a header that somebody here wants to know of.
type headerName uint8

const (
	otherHeader headerName = iota
	hHost
	hContentLength
	hTransferEncoding
	hAuthorization
	hContentType
	hContentEncoding
	hIdempotencyKey
	hStripeVersion
	hStripeAccount
	hStripeContext
	hExpect
	hConnection
	headerNames
)

var headerTexts = [headerNames]string{
	hHost: "host", hContentLength: "content-length", hTransferEncoding: "transfer-encoding", hAuthorization: "authorization",
	hContentType: "content-type", hContentEncoding: "content-encoding", hIdempotencyKey: "idempotency-key",
	hStripeVersion: "stripe-version", hStripeAccount: "stripe-account", hStripeContext: "stripe-context", hExpect: "expect",
	hConnection: "connection",
}

// headerNameOf knows a name in any case. Its length decides almost always.
func headerNameOf(name []byte) headerName {
	candidate := otherHeader
	switch len(name) {
	case 4:
		candidate = hHost
	case 6:
		candidate = hExpect
	case 10:
		candidate = hConnection
	case 12:
		candidate = hContentType
	case 13:
		candidate = hAuthorization
	case 14:
		switch name[len("stripe-")] | 0x20 {
		case 'v':
			candidate = hStripeVersion
		case 'a':
			candidate = hStripeAccount
		case 'c':
			candidate = hStripeContext
		default:
			candidate = hContentLength
		}
	case 15:
		candidate = hIdempotencyKey
	case 16:
		candidate = hContentEncoding
	case 17:
		candidate = hTransferEncoding
	}
	if foldEqual(name, headerTexts[candidate]) {
		return candidate
	}
	return otherHeader
}

// A headIndex says where in a head things are. The wire makes it while it reads the head, so that nobody has to search
// for headers again.
type headIndex struct {
	method, target span
	values         [headerNames]span
	twice          headerName // a header that came twice, or otherHeader
}

// span is a part of a head; a value's is without the white space around it. to is 0 where there is none.
type span struct{ from, to uint32 }

func (h *headIndex) note(name headerName, from, to int) {
	if h.values[name].to != 0 {
		h.twice = name
	}
	h.values[name] = span{uint32(from), uint32(to)}
}

func (x *exchange) text(s span) []byte { return x.head[s.from:s.to] }

// header returns a header's value: a view, nil when it is absent.
func (x *exchange) header(name headerName) []byte {
	v := x.index.values[name]
	if v.to == 0 {
		return nil
	}
	return x.head[v.from:v.to]
}

// givenTwice refuses a head that gives one of the headers above twice: two parties may disagree about which one counts.
func givenTwice(name headerName) *stripe.Error {
	return stripe.Malformed("The header " + headerTexts[name] + " must not be given twice.")
}

// visible reports whether a header's value may be echoed: printable ASCII, not too long.
func visible(value []byte, bytesMax int) bool {
	if len(value) == 0 || len(value) > bytesMax {
		return false
	}
	for _, c := range value {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// mediaType returns what stands before a Content-Type's parameters.
func mediaType(contentType []byte) []byte {
	if i := bytes.IndexByte(contentType, ';'); i >= 0 {
		contentType = contentType[:i]
	}
	return trimOWS(contentType)
}

// foldEqual reports whether b is lower, letters of either case taken as equal. lower is lower-case ASCII.
func foldEqual(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// trimOWS cuts the spaces and tabs that may stand around a header's value.
func trimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
