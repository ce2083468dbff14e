package recordbatch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"
)

// recordBytesExtra bounds what Append puts before a record's body: length (5), attributes (1), timestamp delta (10),
// offset delta (5).
const recordBytesExtra = 5 + 1 + binary.MaxVarintLen64 + 5

// AppendBody appends the part of a record that does not depend on its batch: key length, key, value length, value
// and a count of no headers. A nil key or value is null.
//
// Package ingest writes the same bytes piece by piece into its frames, without a value in one slice to hand over; a test
// there holds the two together. This is the form for everybody else.
func AppendBody(dst, key, value []byte) []byte {
	dst = appendField(dst, key)
	dst = appendField(dst, value)
	return append(dst, 0)
}

func appendField(dst, field []byte) []byte {
	if field == nil {
		return append(dst, 1) // zigzag of -1
	}
	dst = binary.AppendVarint(dst, int64(len(field)))
	return append(dst, field...)
}

// RecordBytesMax is the most that a record with a body of this length adds to a batch.
func RecordBytesMax(bodyLen int) int { return recordBytesExtra + bodyLen }

// Builder assembles one batch in a buffer that the caller gives and gets back. It is ready after Reset.
type Builder struct {
	buf           []byte
	records       int
	baseTimestamp int64
	maxTimestamp  int64
	crc           uint32 // of the records in buf before crcEnd
	crcEnd        int
	sealed        bool
}

// Reset starts an empty batch in buf's capacity; buf's content is given up. A buffer that is large enough for the
// whole batch makes the builder allocate nothing.
func (b *Builder) Reset(buf []byte) {
	var header [HeaderBytes]byte
	*b = Builder{buf: append(buf[:0], header[:]...), crcEnd: HeaderBytes}
}

// Records is the number of records appended since Reset.
func (b *Builder) Records() int { return b.records }

// Len is the length of the batch so far, its header included.
func (b *Builder) Len() int { return len(b.buf) }

// Append adds a record received at timestampMs. The body is AppendBody's; it is copied. The caller keeps the batch
// below its bound by RecordBytesMax, and always below 2 GiB.
func (b *Builder) Append(timestampMs int64, body []byte) {
	if b.sealed || len(b.buf) < HeaderBytes {
		panic("BUG: recordbatch: Append without Reset")
	}
	if b.records == 0 {
		b.baseTimestamp, b.maxTimestamp = timestampMs, timestampMs
	}
	b.maxTimestamp = max(b.maxTimestamp, timestampMs)
	delta, index := timestampMs-b.baseTimestamp, int64(b.records)
	length := 1 + varintBytes(delta) + varintBytes(index) + len(body)
	b.buf = binary.AppendVarint(b.buf, int64(length))
	b.buf = append(b.buf, 0)
	b.buf = binary.AppendVarint(b.buf, delta)
	b.buf = binary.AppendVarint(b.buf, index)
	b.buf = append(b.buf, body...)
	b.records++
	if len(b.buf)-b.crcEnd >= crcStep {
		b.takeCRC()
	}
}

// takeCRC takes the records that have gathered into the CRC.
func (b *Builder) takeCRC() {
	b.crc = crc32.Update(b.crc, castagnoli, b.buf[b.crcEnd:])
	b.crcEnd = len(b.buf)
}

// Seal writes the header and hands the batch over: valid, with base offset 0, leader epoch -1 and no producer. The builder
// must be Reset before it is used again. An empty batch can not be sealed.
func (b *Builder) Seal() []byte {
	if b.sealed || b.records == 0 || len(b.buf) > math.MaxInt32 {
		panic(fmt.Sprintf("BUG: recordbatch: Seal of %d records, %d bytes, sealed %t", b.records, len(b.buf), b.sealed))
	}
	h := b.buf
	SetBase(h, 0, -1)
	binary.BigEndian.PutUint32(h[posLength:], uint32(len(h)-lengthBehind))
	h[posMagic] = magic
	binary.BigEndian.PutUint16(h[posAttributes:], 0)
	binary.BigEndian.PutUint32(h[posLastDelta:], uint32(b.records-1))
	binary.BigEndian.PutUint64(h[posBaseTimestamp:], uint64(b.baseTimestamp))
	binary.BigEndian.PutUint64(h[posMaxTimestamp:], uint64(b.maxTimestamp))
	setProducer(h, NoProducer)
	binary.BigEndian.PutUint32(h[posRecords:], uint32(b.records))
	if b.crcEnd == HeaderBytes {
		setCRC(h) // of few bytes that costs less
	} else {
		b.takeCRC()
		header := crc32.Checksum(h[posAttributes:HeaderBytes], castagnoli)
		binary.BigEndian.PutUint32(h[posCRC:], timesX8(header, len(h)-HeaderBytes)^b.crc)
	}
	b.sealed, b.buf = true, nil
	return h
}

// Gap returns a whole batch, valid, that holds no records and takes the place of so many offsets from base on: what
// Kafka leaves of a batch when compaction has removed all of it. At least one offset.
func Gap(base int64, offsets int32) []byte {
	h := make([]byte, HeaderBytes)
	binary.BigEndian.PutUint32(h[posLength:], HeaderBytes-lengthBehind)
	h[posMagic] = magic
	binary.BigEndian.PutUint32(h[posLastDelta:], uint32(offsets-1))
	binary.BigEndian.PutUint64(h[posBaseTimestamp:], math.MaxUint64) // -1: no timestamp
	binary.BigEndian.PutUint64(h[posMaxTimestamp:], math.MaxUint64)
	SetBase(h, base, -1)
	setProducer(h, NoProducer)
	setCRC(h)
	return h
}

// varintBytes is the length of v as a zigzag varint.
func varintBytes(v int64) int {
	zigzag := uint64(v)<<1 ^ uint64(v>>63)
	return (bits.Len64(zigzag|1) + 6) / 7
}
