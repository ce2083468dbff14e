// Package records reads Kafka's record batches v2, as they lie in segment files and in answers to Fetch, and hands out
// the records' values. It is written from Kafka's description of the format and shares no code with the gateway: a
// fault in how the gateway writes batches can not be repeated here.
//
//	 0 base offset i64 │ 8 length i32 (of all behind it) │ 12 leader epoch i32 │ 16 magic i8 │ 17 CRC-32C u32 (of all
//	behind it) │ 21 attributes i16 │ 23 last offset delta i32 │ 27 first and max timestamp i64 │ 43 producer id i64,
//	epoch i16, sequence i32 │ 57 number of records i32 │ 61 records, compressed or not
//
// A Reader is one goroutine's. It knows no compression but lz4 and zstd, which are the gateway's, and no format before
// v2.
//
//	for len(b) > 0 {
//		batch, err := reader.Next(b)
//		err = reader.Values(batch, func(value []byte) { … })
//		b = b[len(batch.Bytes):]
//	}
package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const (
	headerBytes = 61
	lengthEnd   = 12
	// BatchBytesMax bounds what a length field may claim, and what a batch may hold uncompressed.
	BatchBytesMax = 64 << 20
)

var (
	// ErrShort: the bytes end before the batch does. It may be one that is being written, or one that was torn.
	ErrShort = errors.New("the bytes end within a batch")
	// ErrCorrupt: no batch, or one that is not as it was written.
	ErrCorrupt = errors.New("corrupt batch")
)

// Batch is a view into the bytes that Next was given.
type Batch struct {
	Bytes      []byte
	BaseOffset int64
	NextOffset int64
	Records    int
	codec      int16
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Reader holds the decompressors.
type Reader struct {
	zstd  *zstd.Decoder
	lz4   *lz4.Reader
	plain bytes.Buffer
}

// Next checks the batch at the beginning of b: its frame, its header and its CRC.
func (*Reader) Next(b []byte) (Batch, error) {
	if len(b) < lengthEnd {
		return Batch{}, ErrShort
	}
	length := int64(int32(binary.BigEndian.Uint32(b[8:]))) + lengthEnd
	if length < headerBytes || length > BatchBytesMax {
		return Batch{}, fmt.Errorf("%w: length %d", ErrCorrupt, length)
	}
	if int64(len(b)) < length {
		return Batch{}, ErrShort
	}
	b = b[:length]
	if b[16] != 2 {
		return Batch{}, fmt.Errorf("%w: magic %d", ErrCorrupt, b[16])
	}
	if crc32.Checksum(b[21:], castagnoli) != binary.BigEndian.Uint32(b[17:]) {
		return Batch{}, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	batch := Batch{
		Bytes: b, BaseOffset: int64(binary.BigEndian.Uint64(b)), Records: int(int32(binary.BigEndian.Uint32(b[57:]))),
		codec: int16(binary.BigEndian.Uint16(b[21:])) & 7,
	}
	batch.NextOffset = batch.BaseOffset + int64(int32(binary.BigEndian.Uint32(b[23:]))) + 1
	if batch.Records < 0 || batch.NextOffset <= batch.BaseOffset {
		return Batch{}, fmt.Errorf("%w: %d records, offsets %d to %d", ErrCorrupt, batch.Records, batch.BaseOffset, batch.NextOffset)
	}
	return batch, nil
}

// Values calls f with each record's value, nil for null, which is valid during the call.
func (r *Reader) Values(batch Batch, f func(value []byte)) error {
	rest, err := r.plainRecords(batch)
	if err != nil {
		return err
	}
	for i := range batch.Records {
		size, n := binary.Varint(rest)
		if n <= 0 || size < 0 || size > int64(len(rest)-n) {
			return fmt.Errorf("%w: record %d is cut short", ErrCorrupt, i)
		}
		value, err := valueOf(rest[n : n+int(size)])
		if err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		f(value)
		rest = rest[n+int(size):]
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: %d bytes behind the last record", ErrCorrupt, len(rest))
	}
	return nil
}

// valueOf: attributes i8, timestamp delta varlong, offset delta varint, key, value, headers; -1 is the length of null.
func valueOf(record []byte) ([]byte, error) {
	if len(record) < 1 {
		return nil, fmt.Errorf("%w: an empty record", ErrCorrupt)
	}
	rest := record[1:]
	for range 2 {
		_, n := binary.Varint(rest)
		if n <= 0 {
			return nil, fmt.Errorf("%w: a delta", ErrCorrupt)
		}
		rest = rest[n:]
	}
	var field []byte
	for range 2 { // key, value
		size, n := binary.Varint(rest)
		if n <= 0 || size < -1 || size > int64(len(rest)-n) {
			return nil, fmt.Errorf("%w: a key or value", ErrCorrupt)
		}
		if rest, field = rest[n:], nil; size >= 0 {
			field, rest = rest[:size], rest[size:]
		}
	}
	return field, nil
}

func (r *Reader) plainRecords(batch Batch) ([]byte, error) {
	body := batch.Bytes[headerBytes:]
	var err error
	switch batch.codec {
	case 0:
		return body, nil
	case 3:
		if r.lz4 == nil {
			r.lz4 = lz4.NewReader(nil)
		}
		r.lz4.Reset(bytes.NewReader(body))
		err = r.decompress(r.lz4)
	case 4:
		if r.zstd == nil {
			r.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(BatchBytesMax))
		}
		if err == nil {
			err = r.zstd.Reset(bytes.NewReader(body))
		}
		if err == nil {
			err = r.decompress(r.zstd)
		}
	default:
		return nil, fmt.Errorf("%w: compression %d, which no gateway writes", ErrCorrupt, batch.codec)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return r.plain.Bytes(), nil
}

func (r *Reader) decompress(from io.Reader) error {
	r.plain.Reset()
	n, err := io.Copy(&r.plain, io.LimitReader(from, BatchBytesMax+1))
	if err == nil && n > BatchBytesMax {
		err = errors.New("larger than the bound when decompressed")
	}
	return err
}
