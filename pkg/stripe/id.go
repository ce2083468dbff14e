package stripe

import "encoding/binary"

// Prefixes of the identifiers that the gateway makes, without the mark of test mode.
const (
	sessionPrefix    = "mtes_"
	adjustmentPrefix = "mtr_event_adj_"
	requestPrefix    = "req_"
)

// idTextBytes is the length of an identifier behind its prefix: two groups of 11 digits, since 62^11 > 2^64.
const idTextBytes = 22

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// appendID appends prefix, "test_" in test mode, and 128 random bits in 22 characters of base 62. The width is fixed
// and every bit counts: two identifiers are equal only when their random bits are.
func appendID(dst []byte, prefix string, livemode bool, random [16]byte) []byte {
	dst = append(dst, prefix...)
	if !livemode {
		dst = append(dst, "test_"...)
	}
	return appendRandom(dst, random)
}

// AppendRequestID appends the value of a Request-Id header, which has no mark of mode: it exists before a key is known.
func AppendRequestID(dst []byte, random [16]byte) []byte {
	dst = append(dst, requestPrefix...)
	return appendRandom(dst, random)
}

func appendRandom(dst []byte, random [16]byte) []byte {
	var text [idTextBytes]byte
	putBase62(text[:idTextBytes/2], binary.BigEndian.Uint64(random[:8]))
	putBase62(text[idTextBytes/2:], binary.BigEndian.Uint64(random[8:]))
	return append(dst, text[:]...)
}

func putBase62(text []byte, n uint64) {
	for i := len(text) - 1; i >= 0; i-- {
		text[i] = base62[n%62]
		n /= 62
	}
}
