package meterevent

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/zeebo/xxh3"
)

// Request is a fingerprint of a request to a synchronous endpoint: of its Idempotency-Key, and of its parameters.
// The records of such requests carry it, so that whoever reads the log can tell the repetition of a request, which gets
// the same answer again, from another request under the same key, and from another event under the same identifier.
type Request struct {
	// Key is of the Idempotency-Key, business, mode and endpoint; random without an Idempotency-Key.
	Key uint64
	// Params is of the parameters, business, mode and endpoint.
	Params uint64
}

// requestDigits is the length of a Request in a record, hexadecimal: Key, then Params.
const requestDigits = 32

// What is hashed is fixed for ever, since records outlive versions; golden tests hold it. The seeds keep the hashes of
// one purpose apart from those of another, though they be made of the same bytes.
const (
	requestScopeSeed  = 0x1c9d_5f3a_7b21_e604
	requestKeySeed    = 0x52f0_a8c6_914e_37db
	requestParamsSeed = 0xe3b7_0446_2d98_fa15
	requestIDSeed     = 0x8a61_d27f_c05b_9348
)

// requestStack is what needs no allocation: a head, or a hash before Stripe's 255 bytes of an Idempotency-Key.
const requestStack = 768

// RequestOf returns the fingerprint of a request to an endpoint, which api names: a version and a route, always in the
// same words. An empty idempotencyKey is none. params are the parameters in whatever spelling a repetition repeats.
//
//	scope  = xxh3-128(mode, length of business, business, api)
//	Key    = xxh3-64(scope, Idempotency-Key)
//	Params = xxh3-64(scope, xxh3-128(params))
//
// each with a seed of its own. The hash is chosen for speed; a business can make its own requests collide, and gains
// nothing by it.
func RequestOf(business string, livemode bool, api string, idempotencyKey, params []byte, random Random) Request {
	var buf [requestStack]byte
	scope := xxh3.Hash128Seed(append(appendScope(buf[:0], business, livemode), api...), requestScopeSeed)
	var r Request
	if len(idempotencyKey) == 0 {
		r.Key = random.Uint64()
	} else {
		put128(buf[:16], scope)
		r.Key = xxh3.HashSeed(append(buf[:16], idempotencyKey...), requestKeySeed)
	}
	put128(buf[:16], scope)
	put128(buf[16:32], xxh3.Hash128(params))
	r.Params = xxh3.HashSeed(buf[:32], requestParamsSeed)
	return r
}

// RequestIdentifier appends the identifier, 32 hex digits, of the one event of a synchronous request that came without:
// a hash of business, mode, event name and Idempotency-Key, random without that. Other than a Deriver's it is not made
// of the event's bytes: a caller who uses one key for two bodies is told so there, and can only be told when both have
// one identifier.
//
//	identifier = hex(xxh3-128(mode, length of business, business, length of name, name, Idempotency-Key))
func RequestIdentifier(dst []byte, business string, livemode bool, name, idempotencyKey []byte, random Random) []byte {
	var id [16]byte
	if len(idempotencyKey) == 0 {
		binary.BigEndian.PutUint64(id[0:], random.Uint64())
		binary.BigEndian.PutUint64(id[8:], random.Uint64())
	} else {
		var buf [requestStack]byte
		b := appendScope(buf[:0], business, livemode)
		b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
		b = append(append(b, name...), idempotencyKey...)
		put128(id[:], xxh3.Hash128Seed(b, requestIDSeed))
	}
	return hex.AppendEncode(dst, id[:])
}

// appendScope appends business and mode, in front of anything that may follow.
func appendScope(dst []byte, business string, livemode bool) []byte {
	mode := byte(0)
	if livemode {
		mode = 1
	}
	dst = binary.BigEndian.AppendUint32(append(dst, mode), uint32(len(business)))
	return append(dst, business...)
}

// appendRequest appends the member of a record, behind its last one, and the record's end.
func appendRequest(dst []byte, r Request) []byte {
	var b [requestDigits / 2]byte
	binary.BigEndian.PutUint64(b[0:], r.Key)
	binary.BigEndian.PutUint64(b[8:], r.Params)
	return append(hex.AppendEncode(append(dst, recordRequest...), b[:]), '"', '}')
}

// parseRequest reads 32 lowercase hexadecimal digits.
func parseRequest(text []byte) (r Request, ok bool) {
	if len(text) != requestDigits {
		return r, false
	}
	for i, c := range text {
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return Request{}, false
		}
		if i < requestDigits/2 {
			r.Key = r.Key<<4 | uint64(c)
		} else {
			r.Params = r.Params<<4 | uint64(c)
		}
	}
	return r, true
}
