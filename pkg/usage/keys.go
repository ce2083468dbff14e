package usage

import "encoding/binary"

// The store's keys. All integers are big-endian, and signed ones have their sign bit flipped, so that the order of keys
// is the order of time.
//
//	┌─────┬───────────────┬───────┬──────────────────────────────────────────┐
//	│ 'p' │ partition u32 │ table │ what the table's rows are ordered by     │
//	└─────┴───────────────┴───────┴──────────────────────────────────────────┘
//	  state     's'
//	  minutes   'm'  day i32, series, minute i32            → total
//	  hours     'h'  period i32, series, hour i32           → total
//	  events    'e'  day i32, series, time i64, offset u64  → value of one event (meters of formula last or with a window)
//	  survivors 'l'  period i32, series, hour i32           → the newest settled event of an hour or window
//	  thinning  't'  hour i32, kind, series, minute i32     → (empty) bucket whose events settle 26 h later
//	  pending   'n'  hour i32, offset u64                   → cancel that has found no event yet
//	  requests  'q'  day i32, identifier hash               → request of a counted event
//	  cancels   'a'  eight days i32, key hash u64           → request of a cancel
//	  refusals  'x'  day i32, offset u64                    → why the record of a request was refused
//	  parts     'o'  subject                                → what was refused of it in the open window
//	  reports   'r'  offset u64, subject                    → a part that was closed at the offset and is to be appended
//
// A series is a meter and a customer: length of the meter's id, id, length of the customer, customer; lengths are
// unsigned varints. A subject is a business, a mode and a meter, or no meter. Time comes first in every table of what is
// kept, so that what is old goes by one deletion of a range.
const (
	tableState     = 's'
	tableMinutes   = 'm'
	tableHours     = 'h'
	tableEvents    = 'e'
	tableSurvivors = 'l'
	tableThinning  = 't'
	tablePending   = 'n'
	tableRequests  = 'q'
	tableCancels   = 'a'
	tableRefusals  = 'x'
	tableParts     = 'o'
	tableReports   = 'r'
)

// tableAt is where a key's table stands; tableKeyBytes is the length of a key up to there.
const (
	tableAt       = 5
	tableKeyBytes = tableAt + 1
)

// keyMeta holds the store's format and seed.
var keyMeta = []byte("meta")

func appendTable(dst []byte, partition int32, table byte) []byte {
	dst = append(dst, 'p')
	dst = binary.BigEndian.AppendUint32(dst, uint32(partition))
	return append(dst, table)
}

func appendI32(dst []byte, n int64) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(int32(n))^1<<31)
}

func appendI64(dst []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(n)^1<<63)
}
func appendU64(dst []byte, n int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(n)) }

func i32At(b []byte) int64 { return int64(int32(binary.BigEndian.Uint32(b) ^ 1<<31)) }
func i64At(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) ^ 1<<63) }
func u64At(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendBytes(dst, s []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// cutBytes reads what appendBytes wrote.
func cutBytes(b []byte) (s, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, false
	}
	return b[used : used+int(n)], b[used+int(n):], true
}

func appendSeries(dst []byte, meterID string, customer []byte) []byte {
	return appendBytes(appendString(dst, meterID), customer)
}

// tableRange is the range of a table's keys whose first integer is below end.
func tableBelow(partition int32, table byte, end int64) (from, to []byte) {
	return appendTable(nil, partition, table), appendI32(appendTable(nil, partition, table), end)
}

// prefixEnd is the first key behind all that begin with prefix.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
