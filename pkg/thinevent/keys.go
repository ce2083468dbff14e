package thinevent

import (
	"encoding/binary"
	"errors"
)

// The index's keys. All integers are big-endian with their sign bit flipped, so that the order of keys is the order of
// numbers; texts have their length in front, an unsigned varint, so that no text is the beginning of another.
//
//	┌───────┬──────────────────────────────────────────┐
//	│ table │ what the table's rows are ordered by     │
//	└───────┴──────────────────────────────────────────┘
//	  state    's'                                                            → progress of the index
//	  events   'e'  offset i64                                                → event, see row.go
//	  ids      'i'  id                                                        → offset i64
//	  lists    'l'  business, mode u8, object, type, created i64, offset i64  → (empty)
//	  expiry   'x'  created i64, offset i64                                   → (empty)
//	  newest   'n'  created i64                                               → offset i64 of the first event created then,
//	                                                                            where none before it in the topic is as new
//
// An event is in up to four lists: with and without its related object, with and without its type; the empty text stands
// for any. So every question is answered by one walk a type, whatever it filters by, and reads nothing that it will not
// show. Expiry leads the sweep to what is too old. Newest answers since which offset events are as new as a time: it
// rises along the topic, while creations themselves come a little out of order.
const (
	tableState  = 's'
	tableEvents = 'e'
	tableIDs    = 'i'
	tableLists  = 'l'
	tableExpiry = 'x'
	tableNewest = 'n'
)

// positionBytes is the length of a position, the end of the keys of lists and of expiry.
const positionBytes = 16

var (
	keyMeta  = []byte("meta") // the index's format
	keyState = []byte{tableState}
)

// errRow: a row does not say what rows say.
var errRow = errors.New("a row is not readable")

func appendI64(dst []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(n)^1<<63)
}

func i64At(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) ^ 1<<63) }

func appendPosition(dst []byte, p Position) []byte {
	return appendI64(appendI64(dst, p.CreatedMs), p.Offset)
}

// positionAt reads the position at the end of a key.
func positionAt(key []byte) (Position, error) {
	if len(key) < positionBytes {
		return Position{}, errRow
	}
	end := key[len(key)-positionBytes:]
	return Position{i64At(end), i64At(end[8:])}, nil
}

func keyEvent(offset int64) []byte { return appendI64([]byte{tableEvents}, offset) }

func keyID(id string) []byte { return append([]byte{tableIDs}, id...) }

func keyExpiry(p Position) []byte { return appendPosition([]byte{tableExpiry}, p) }

func keyNewest(createdMs int64) []byte { return appendI64([]byte{tableNewest}, createdMs) }

// appendList appends the beginning of the keys of a list, which a position follows.
func appendList(dst []byte, business string, livemode bool, object, eventType string) []byte {
	dst = appendText(append(dst, tableLists), business)
	mode := byte(0)
	if livemode {
		mode = 1
	}
	dst = append(dst, mode)
	return appendText(appendText(dst, object), eventType)
}

// eachList calls f with the key of an event in each list that it is in. The key is valid during the call.
func eachList(e *Event, f func(key []byte) error) error {
	objects := []string{""}
	if e.Related != nil && e.Related.ID != "" {
		objects = append(objects, e.Related.ID)
	}
	var key []byte
	for _, object := range objects {
		for _, eventType := range []string{"", e.Type} {
			key = appendPosition(appendList(key[:0], e.Business, e.Livemode, object, eventType), e.position())
			if err := f(key); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Event) position() Position { return Position{e.CreatedMs, e.Offset} }

// less says whether a position is older than another.
func (p Position) less(q Position) bool {
	if p.CreatedMs != q.CreatedMs {
		return p.CreatedMs < q.CreatedMs
	}
	return p.Offset < q.Offset
}

// behind is the next position after one.
func (p Position) behind() Position { return Position{p.CreatedMs, p.Offset + 1} }
