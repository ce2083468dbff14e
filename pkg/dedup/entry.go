package dedup

import "math"

// ID is a 128-bit keyed hash of an identifier in its scope. It has to be uniform in all its bits: its order is the order
// on disk, and its bits are those of the filters.
type ID [2]uint64

// Entry is where an ID was seen.
type Entry struct {
	Offset int64
	TimeMs int64 // the clock at Insert, rounded down to the minute
	Kind   uint8 // the caller's, below 16
}

// slot is an entry in the table and on disk. Meta is 0 in an empty one:
//
//	63       62..59   58..39                          38..0
//	1        kind     minutes after the base's         offset after the base's
type slot struct {
	id   ID
	meta uint64
}

const (
	slotBytes = 24

	offsetBits = 39
	minuteBits = 20
	kindShift  = offsetBits + minuteBits
	used       = 1 << 63
	kindMax    = 15
)

// base is what the offsets and minutes of slots are counted from.
type base struct{ offset, minute int64 }

// fits tells whether an offset and a minute can be packed: half a trillion offsets and two years from the base on.
func (b base) fits(offset, minute int64) bool {
	return uint64(offset-b.offset) < 1<<offsetBits && uint64(minute-b.minute) < 1<<minuteBits
}

func (b base) pack(offset, minute int64, kind uint8) uint64 {
	return used | uint64(kind)<<kindShift | uint64(minute-b.minute)<<offsetBits | uint64(offset-b.offset)
}

func (b base) offsetOf(meta uint64) int64 { return b.offset + int64(meta&(1<<offsetBits-1)) }

func (b base) minuteOf(meta uint64) int64 {
	return b.minute + int64(meta>>offsetBits&(1<<minuteBits-1))
}

func kindOf(meta uint64) uint8 { return uint8(meta >> kindShift & kindMax) }

// query is one question, and what was found so far.
type query struct {
	id     ID
	offset int64 // entries at it are the question itself; those behind it do not count
	since  int64 // the first minute that counts

	entry Entry // the newest that counts
	found bool
	self  bool // there is an entry at offset
}

// anyOffset is the offset of a question that is no record's.
const anyOffset = math.MaxInt64

// see takes an entry of the same ID into account.
func (q *query) see(b base, meta uint64) {
	offset, minute := b.offsetOf(meta), b.minuteOf(meta)
	switch {
	case offset == q.offset:
		q.self = true
	case offset > q.offset || minute < q.since:
	case !q.found || offset > q.entry.Offset:
		q.entry, q.found = Entry{Offset: offset, TimeMs: minute * minuteMs, Kind: kindOf(meta)}, true
	}
}
