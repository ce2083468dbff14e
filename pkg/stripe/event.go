package stripe

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

const (
	eventPrefix       = "evt_"
	destinationPrefix = "ed_"
)

// Event is a thin event, v2.core.event (Stripe API reference, events v2).
type Event struct {
	ID        string // evt_… or evt_test_…
	Type      string
	CreatedMs int64
	Livemode  bool
	Context   string         // the account on whose behalf it is; empty: null
	Reason    *EventReason   // nil: null
	Related   *RelatedObject // nil: null
	// Data is a JSON object, copied as it stands; nil is {}. A retrieved event always has one: Go clients crash without.
	Data []byte
}

// EventReason is the request that caused an event.
type EventReason struct{ RequestID, IdempotencyKey string }

// RelatedObject is what an event is about. URL is a path, relative to the API's base.
type RelatedObject struct{ ID, Type, URL string }

// AppendEvent appends the event as it is retrieved and listed.
func AppendEvent(dst []byte, e *Event) []byte {
	dst = appendEventHead(dst, e)
	dst = append(dst, `,"changes":null,"data":`...)
	if len(e.Data) == 0 {
		dst = append(dst, `{}`...)
	} else {
		dst = append(dst, e.Data...)
	}
	return append(dst, '}')
}

// AppendNotification appends the event as it is pushed: without data and changes.
func AppendNotification(dst []byte, e *Event) []byte {
	return append(appendEventHead(dst, e), '}')
}

// appendEventHead appends what both forms have, without the brace that closes it.
func appendEventHead(dst []byte, e *Event) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendQuoted(dst, e.ID)
	dst = append(dst, `,"object":"v2.core.event","type":`...)
	dst = appendQuoted(dst, e.Type)
	dst = appendTimeField(dst, "created", e.CreatedMs)
	dst = appendBoolField(dst, "livemode", e.Livemode)
	dst = appendTextOrNull(dst, "context", e.Context)
	dst = append(dst, `,"reason":`...)
	dst = appendEventReason(dst, e.Reason)
	dst = append(dst, `,"related_object":`...)
	return appendRelatedObject(dst, e.Related)
}

// appendEventReason appends both fields of the request, also when they are empty: Python's SDK wants them there.
func appendEventReason(dst []byte, r *EventReason) []byte {
	if r == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, `{"type":"request","request":{"id":`...)
	dst = appendQuoted(dst, r.RequestID)
	dst = append(dst, `,"idempotency_key":`...)
	dst = appendQuoted(dst, r.IdempotencyKey)
	return append(dst, '}', '}')
}

func appendRelatedObject(dst []byte, r *RelatedObject) []byte {
	if r == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, `{"id":`...)
	dst = appendQuoted(dst, r.ID)
	dst = append(dst, `,"type":`...)
	dst = appendQuoted(dst, r.Type)
	dst = append(dst, `,"url":`...)
	dst = appendQuoted(dst, r.URL)
	return append(dst, '}')
}

// AppendEventID appends evt_… or evt_test_… of 128 bits.
func AppendEventID(dst []byte, livemode bool, bits [16]byte) []byte {
	return appendID(dst, eventPrefix, livemode, bits)
}

// AppendDestinationID appends ed_… or ed_test_… of 128 bits.
func AppendDestinationID(dst []byte, livemode bool, bits [16]byte) []byte {
	return appendID(dst, destinationPrefix, livemode, bits)
}

// AppendSignature appends the value of a Stripe-Signature header: t=<unix>,v1=<hex>, with a v1 for each secret, in their
// order. The hex is the HMAC-SHA256 of "<unix>.<body>" under the secret as it is written, whsec_ included. A receiver
// takes a header whose t is at most 300 s old, so that each try needs a fresh one; body must be the bytes that are sent.
func AppendSignature(dst []byte, unixSeconds int64, body []byte, secrets ...string) []byte {
	dst = append(dst, "t="...)
	seconds := len(dst)
	dst = strconv.AppendInt(dst, unixSeconds, 10)
	message := append(dst[seconds:len(dst):len(dst)], '.')
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(message)
		mac.Write(body)
		var sum [sha256.Size]byte
		dst = append(dst, ",v1="...)
		dst = hex.AppendEncode(dst, mac.Sum(sum[:0]))
	}
	return dst
}
