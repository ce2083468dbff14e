package httpd

import (
	"bytes"

	"tollgate/pkg/stripe"
)

// idempotencyKeyBytesMax is Stripe's limit; SDKs refuse longer keys themselves.
const idempotencyKeyBytesMax = 255

// versionBytesMax bounds a Stripe-Version that is echoed, such as 2026-07-29.dahlia; previews append more.
const versionBytesMax = 128

// headers is what the handlers want to know of a request's headers: views into the raw head, without the white space
// around them. nil is absent.
type headers struct {
	authorization   []byte
	contentType     []byte
	contentEncoding []byte
	idempotencyKey  []byte
	stripeVersion   []byte
	stripeAccount   []byte
	stripeContext   []byte
	expect          []byte
}

// parse reads the raw head, which has passed the wire: every line has a name, a colon and CR LF. Names are compared
// in any case. A header of these that comes twice is refused: two parties may disagree about which one counts.
func (h *headers) parse(raw []byte) *stripe.Error {
	*h = headers{}
	for len(raw) > 0 {
		end := bytes.IndexByte(raw, '\n')
		if end < 1 {
			return nil
		}
		line := raw[:end-1]
		raw = raw[end+1:]
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return nil // the empty line
		}
		field, name := h.field(line[:colon])
		if field == nil {
			continue
		}
		if *field != nil {
			r := stripe.BadRequest("The header " + name + " must not be given twice.")
			r.Close = true
			return r
		}
		*field = trimOWS(line[colon+1:])
	}
	return nil
}

// field returns where the header of a name goes, nil for a name that does not matter. The length and a letter decide
// almost always.
func (h *headers) field(name []byte) (*[]byte, string) {
	switch len(name) {
	case len("expect"):
		if foldEqual(name, "expect") {
			return &h.expect, "Expect"
		}
	case len("content-type"):
		if foldEqual(name, "content-type") {
			return &h.contentType, "Content-Type"
		}
	case len("authorization"):
		if foldEqual(name, "authorization") {
			return &h.authorization, "Authorization"
		}
	case len("stripe-version"): // as long as stripe-account and stripe-context
		switch {
		case foldEqual(name, "stripe-version"):
			return &h.stripeVersion, "Stripe-Version"
		case foldEqual(name, "stripe-account"):
			return &h.stripeAccount, "Stripe-Account"
		case foldEqual(name, "stripe-context"):
			return &h.stripeContext, "Stripe-Context"
		}
	case len("idempotency-key"):
		if foldEqual(name, "idempotency-key") {
			return &h.idempotencyKey, "Idempotency-Key"
		}
	case len("content-encoding"):
		if foldEqual(name, "content-encoding") {
			return &h.contentEncoding, "Content-Encoding"
		}
	}
	return nil, ""
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
