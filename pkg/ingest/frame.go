package ingest

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A frame in its ring, little-endian:
//
//	offset  bytes  field
//	     0      8  ticket          generation << 32 | slot
//	     8      8  received        ms since 1970, the timestamp of all its records (D8)
//	    16      4  records         how many follow
//	    20      …  records, one after the other:
//	               4  partition
//	               4  body length
//	               …  body         as recordbatch.AppendBody makes it, ready for a batch
const (
	frameTicketAt    = 0
	frameReceivedAt  = 8
	frameRecordsAt   = 16
	frameHeaderBytes = 20

	recordHeaderBytes = 8

	// valueVarintBytes is what Begin leaves free for the value's length before it knows it: right for values of 64 to
	// 8,191 bytes. For others End moves the value.
	valueVarintBytes = 2

	frameBytesStart = 8 << 10
	// framePooledBytesMax: larger frames are left to the garbage collector instead of the pool.
	framePooledBytesMax = 256 << 10
)

// Frame is one request's records on their way. Get one from NewFrame; it is for one goroutine, and gone after Submit
// or Release.
type Frame struct {
	g     *Ingester
	topic *topic // nil: the log did not know the topic when the frame was begun
	buf   []byte

	records  int
	bodyMax  int // length of the longest body
	recordAt int // where the record begun last starts
	valueAt  int // where its value starts; 0 when no record is open
}

func newFrame(g *Ingester) *Frame {
	return &Frame{g: g, buf: make([]byte, frameHeaderBytes, frameBytesStart)}
}

func (f *Frame) reset(t *topic, receivedMs int64) {
	*f = Frame{g: f.g, topic: t, buf: f.buf[:frameHeaderBytes]}
	binary.LittleEndian.PutUint64(f.buf[frameReceivedAt:], uint64(receivedMs))
}

// Begin starts a record with this key, in the key's partition, and returns the buffer to append the value to. Nothing of
// the key is kept.
func (f *Frame) Begin(key *Key) []byte {
	if key.topic != f.topic && f.topic != nil {
		key.settle(f.topic)
	}
	f.recordAt = len(f.buf)
	buf := append(f.buf, key.head...)
	f.valueAt = len(buf)
	return buf
}

// End ends the record. buf is what Begin returned, with the value appended.
func (f *Frame) End(buf []byte) {
	if f.valueAt == 0 || len(buf) < f.valueAt {
		panic(fmt.Sprintf("BUG: ingest: End of a record with a buffer of %d bytes, value from %d", len(buf), f.valueAt))
	}
	buf = putValueLength(buf, f.valueAt)
	buf = append(buf, 0) // no headers
	body := len(buf) - f.recordAt - recordHeaderBytes
	binary.LittleEndian.PutUint32(buf[f.recordAt+4:], uint32(body))
	f.bodyMax = max(f.bodyMax, body)
	f.records++
	f.valueAt = 0
	f.buf = buf
}

// putValueLength writes the length of the value, which reaches from valueAt to the end, before it. A varint must be as
// short as it can be (Kafka's readers accept others, byte for byte comparison does not), so a value that is not in the
// usual range is moved.
func putValueLength(buf []byte, valueAt int) []byte {
	n := len(buf) - valueAt
	width := varintBytes(n)
	lengthAt := valueAt - valueVarintBytes
	switch {
	case width > valueVarintBytes:
		var more [binary.MaxVarintLen64]byte
		buf = append(buf, more[:width-valueVarintBytes]...)
		copy(buf[lengthAt+width:], buf[valueAt:valueAt+n])
	case width < valueVarintBytes:
		copy(buf[lengthAt+width:], buf[valueAt:])
		buf = buf[:lengthAt+width+n]
	}
	binary.PutVarint(buf[lengthAt:], int64(n))
	return buf
}

// varintBytes is the length of n ≥ 0 as a zigzag varint.
func varintBytes(n int) int { return (bits.Len64(uint64(n)<<1|1) + 6) / 7 }

// Records is the number of records ended.
func (f *Frame) Records() int { return f.records }

// Partition is where the record ended last goes; -1 while the log does not know the topic, and of an empty frame.
func (f *Frame) Partition() int32 {
	if f.topic == nil || f.records == 0 {
		return -1
	}
	return int32(binary.LittleEndian.Uint32(f.buf[f.recordAt:]))
}

// Release gives back a frame that will not be submitted.
func (f *Frame) Release() {
	if cap(f.buf) <= framePooledBytesMax {
		f.g.frames.Put(f)
	}
}

// view is a frame as the drainer finds it in a ring.
type view []byte

func (v view) ticket() uint64    { return binary.LittleEndian.Uint64(v[frameTicketAt:]) }
func (v view) receivedMs() int64 { return int64(binary.LittleEndian.Uint64(v[frameReceivedAt:])) }
func (v view) records() int      { return int(binary.LittleEndian.Uint32(v[frameRecordsAt:])) }

// record returns the record at offset at, frameHeaderBytes for the first one, and the offset of the next.
func (v view) record(at int) (partition int, body []byte, next int) {
	partition = int(binary.LittleEndian.Uint32(v[at:]))
	n := int(binary.LittleEndian.Uint32(v[at+4:]))
	at += recordHeaderBytes
	return partition, v[at : at+n], at + n
}
