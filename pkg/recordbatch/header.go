package recordbatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// HeaderBytes is the length of a batch's header; see the table in the package comment.
const HeaderBytes = 61

const (
	posBaseOffset    = 0
	posLength        = 8
	posLeaderEpoch   = 12
	posMagic         = 16
	posCRC           = 17
	posAttributes    = 21
	posLastDelta     = 23
	posBaseTimestamp = 27
	posMaxTimestamp  = 35
	posProducerID    = 43
	posProducerEpoch = 51
	posSequence      = 53
	posRecords       = 57

	magic = 2
	// lengthBehind is what the length field does not count: the base offset and itself.
	lengthBehind = 12

	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrControl       = 0x20

	// recordBytesMin is the smallest record: seven fields of one byte each.
	recordBytesMin = 7
)

// ErrShort says that the bytes end before the batch does.
var ErrShort = errors.New("the batch is longer than the bytes given")

// ErrTooLarge says that a compressed batch expands to more bytes than the caller allows.
var ErrTooLarge = errors.New("the batch decompresses to more bytes than allowed")

// CorruptError says that the bytes are not a record batch that this package understands.
type CorruptError struct{ Reason string }

func (e *CorruptError) Error() string { return "corrupt record batch: " + e.Reason }

func corrupt(format string, args ...any) error {
	return &CorruptError{Reason: fmt.Sprintf(format, args...)}
}

// Producer is what makes a broker recognise a batch that it has already taken (KIP-98).
type Producer struct {
	ID       int64
	Epoch    int16
	Sequence int32 // of the batch's first record
}

// NoProducer marks a batch of no idempotent producer.
var NoProducer = Producer{ID: -1, Epoch: -1, Sequence: -1}

// Header is a batch's header, decoded.
type Header struct {
	BaseOffset      int64
	Length          int32 // the whole batch in bytes, this header included
	LeaderEpoch     int32
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestamp   int64 // ms
	MaxTimestamp    int64 // ms
	Producer        Producer
	Records         int32
}

// Codec is the codec that the records are compressed with; it may be one that this package can not read.
func (h Header) Codec() Codec { return Codec(h.Attributes & attrCodec) }

// NextOffset is the offset behind the batch's last record.
func (h Header) NextOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) + 1 }

// Control tells whether the batch holds a transaction's markers instead of records.
func (h Header) Control() bool { return h.Attributes&attrControl != 0 }

// ParseHeader decodes the header at the start of b and checks its framing only: magic, length and counts that can
// be true. The CRC is not looked at.
//
// The error is ErrShort when b ends before the batch does; the Header is complete even so when b holds HeaderBytes or
// more, which is how to learn how much to read. Every other fault is a *CorruptError.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderBytes {
		return Header{}, ErrShort
	}
	if b[posMagic] != magic {
		return Header{}, corrupt("magic is %d, not %d", b[posMagic], magic)
	}
	length := int32(binary.BigEndian.Uint32(b[posLength:]))
	if length < HeaderBytes-lengthBehind || length > math.MaxInt32-lengthBehind {
		return Header{}, corrupt("length field is %d", length)
	}
	h := Header{
		BaseOffset:      int64(binary.BigEndian.Uint64(b[posBaseOffset:])),
		Length:          length + lengthBehind,
		LeaderEpoch:     int32(binary.BigEndian.Uint32(b[posLeaderEpoch:])),
		CRC:             binary.BigEndian.Uint32(b[posCRC:]),
		Attributes:      int16(binary.BigEndian.Uint16(b[posAttributes:])),
		LastOffsetDelta: int32(binary.BigEndian.Uint32(b[posLastDelta:])),
		BaseTimestamp:   int64(binary.BigEndian.Uint64(b[posBaseTimestamp:])),
		MaxTimestamp:    int64(binary.BigEndian.Uint64(b[posMaxTimestamp:])),
		Producer: Producer{
			ID:       int64(binary.BigEndian.Uint64(b[posProducerID:])),
			Epoch:    int16(binary.BigEndian.Uint16(b[posProducerEpoch:])),
			Sequence: int32(binary.BigEndian.Uint32(b[posSequence:])),
		},
		Records: int32(binary.BigEndian.Uint32(b[posRecords:])),
	}
	if err := h.check(); err != nil {
		return Header{}, err
	}
	if len(b) < int(h.Length) {
		return h, ErrShort
	}
	return h, nil
}

// check finds numbers that contradict each other. A compacted batch may hold fewer records than its offsets span.
func (h *Header) check() error {
	switch {
	case h.BaseOffset < 0 || h.BaseOffset > math.MaxInt64-math.MaxInt32-1:
		return corrupt("base offset is %d", h.BaseOffset)
	case h.LastOffsetDelta < 0:
		return corrupt("last offset delta is %d", h.LastOffsetDelta)
	case h.Records < 0 || int64(h.Records) > int64(h.LastOffsetDelta)+1:
		return corrupt("%d records up to offset delta %d", h.Records, h.LastOffsetDelta)
	case h.Codec() > Zstd:
		return corrupt("codec %d does not exist", h.Codec())
	case h.Codec() == None && int64(h.Records)*recordBytesMin > int64(h.Length)-HeaderBytes:
		return corrupt("%d records in %d bytes", h.Records, h.Length-HeaderBytes)
	}
	return nil
}

// Verify decodes the header at the start of batch and checks framing and CRC. Bytes behind the batch are ignored.
// The records themselves are not parsed: a batch whose CRC is right is what its writer wrote.
func Verify(batch []byte) (Header, error) {
	h, err := ParseHeader(batch)
	if err != nil {
		return h, err
	}
	if crc := crc32.Checksum(batch[posAttributes:h.Length], castagnoli); crc != h.CRC {
		return h, corrupt("CRC is %08x, the bytes give %08x", h.CRC, crc)
	}
	return h, nil
}

// Stamp gives a batch another producer. Its CRC is right before and after: what the new fields change of it is known
// without reading the records again.
func Stamp(batch []byte, p Producer) {
	before := crc32.Checksum(batch[posAttributes:HeaderBytes], castagnoli)
	setProducer(batch, p)
	after := crc32.Checksum(batch[posAttributes:HeaderBytes], castagnoli)
	if before != after {
		crc := binary.BigEndian.Uint32(batch[posCRC:]) ^ timesX8(before^after, len(batch)-HeaderBytes)
		binary.BigEndian.PutUint32(batch[posCRC:], crc)
	}
}

func setProducer(batch []byte, p Producer) {
	binary.BigEndian.PutUint64(batch[posProducerID:], uint64(p.ID))
	binary.BigEndian.PutUint16(batch[posProducerEpoch:], uint16(p.Epoch))
	binary.BigEndian.PutUint32(batch[posSequence:], uint32(p.Sequence))
}

// SetBase writes where the batch lies in its partition. Both fields are outside the CRC, so the batch stays
// valid and the same bytes may be given other offsets later.
func SetBase(batch []byte, offset int64, leaderEpoch int32) {
	binary.BigEndian.PutUint64(batch[posBaseOffset:], uint64(offset))
	binary.BigEndian.PutUint32(batch[posLeaderEpoch:], uint32(leaderEpoch))
}
