package meterevent

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/zeebo/xxh3"
)

// Random is where identifiers come from that can not be derived: any rand.Source of math/rand/v2, a ChaCha8 seeded by
// crypto/rand for instance. It is called from the goroutine that calls Deriver.Identifier.
type Random interface{ Uint64() uint64 }

// Deriver gives identifiers to the events of one request that came without (D9): a hash of business, mode,
// Idempotency-Key, the event's index and its bytes. A request sent again by an SDK or a transport, with the same key,
// gets the same identifiers and so counts once; two events of one request never share one; a caller who wrongly uses
// one key for two different bodies loses nothing, because the bytes differ. Without Idempotency-Key the identifiers
// are random.
//
// The hash is XXH3-128, chosen for speed. It is no defence against a business that wants its own events to collide.
// What is hashed is fixed for ever, since replays cross restarts and upgrades; a golden test holds it:
//
//	head       = xxh3(version, mode, length of business, business, Idempotency-Key)
//	identifier = hex(xxh3(head, index, xxh3(raw)))
//
// Every part but the last has a fixed length or its length in front, so that no two requests make the same bytes.
type Deriver struct {
	head    xxh3.Uint128
	derived bool
	random  Random
}

const deriverVersion = 1

// identifierHeadStack is a head that needs no allocation: business and an Idempotency-Key of Stripe's 255 bytes.
const identifierHeadStack = 512

// NewDeriver returns the Deriver for one request. An empty idempotencyKey is none.
func NewDeriver(business string, livemode bool, idempotencyKey []byte, random Random) Deriver {
	if len(idempotencyKey) == 0 {
		return Deriver{random: random}
	}
	var buf [identifierHeadStack]byte
	mode := byte(0)
	if livemode {
		mode = 1
	}
	b := append(buf[:0], deriverVersion, mode)
	b = binary.BigEndian.AppendUint32(b, uint32(len(business)))
	b = append(b, business...)
	b = append(b, idempotencyKey...)
	return Deriver{head: xxh3.Hash128(b), derived: true, random: random}
}

// Identifier appends the identifier, 32 hex digits, of the event at an index of the request and with these bytes.
func (d *Deriver) Identifier(dst []byte, index int, raw []byte) []byte {
	var b [16]byte
	if d.derived {
		var in [40]byte
		put128(in[0:], d.head)
		binary.BigEndian.PutUint64(in[16:], uint64(index))
		put128(in[24:], xxh3.Hash128(raw))
		put128(b[:], xxh3.Hash128(in[:]))
	} else {
		binary.BigEndian.PutUint64(b[0:], d.random.Uint64())
		binary.BigEndian.PutUint64(b[8:], d.random.Uint64())
	}
	return hex.AppendEncode(dst, b[:])
}

func put128(b []byte, u xxh3.Uint128) {
	binary.BigEndian.PutUint64(b, u.Hi)
	binary.BigEndian.PutUint64(b[8:], u.Lo)
}
