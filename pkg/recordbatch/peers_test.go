package recordbatch_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tollgate/pkg/recordbatch"
)

// The peers here are franz-go's generated codec of Kafka's protocol, and the compression libraries' own frame
// readers and writers: a second opinion on each byte, in both directions.

func value(i int) []byte { return fmt.Appendf(nil, `{"object":"meter_event","n":%d}`, i) }

func ours(t *testing.T, n int, codec recordbatch.Codec) []byte {
	t.Helper()
	var b recordbatch.Builder
	b.Reset(nil)
	for i := range n {
		b.Append(1000+int64(i%7), recordbatch.AppendBody(nil, []byte("key"), value(i)))
	}
	batch, err := recordbatch.Compress(nil, b.Seal(), codec)
	if err != nil {
		t.Fatal(err)
	}
	recordbatch.Stamp(batch, recordbatch.Producer{ID: 42, Epoch: 3, Sequence: 17})
	recordbatch.SetBase(batch, 500, 9)
	return batch
}

func TestTheirCodecReadsOurBatches(t *testing.T) {
	const n = 3000
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.LZ4, recordbatch.Zstd} {
		batch := ours(t, n, codec)
		var theirs kmsg.RecordBatch
		if err := theirs.ReadFrom(batch); err != nil {
			t.Fatal(err)
		}
		if theirs.FirstOffset != 500 || theirs.Length != int32(len(batch)-12) || theirs.PartitionLeaderEpoch != 9 || theirs.Magic != 2 ||
			theirs.Attributes != int16(codec) || theirs.LastOffsetDelta != n-1 || theirs.FirstTimestamp != 1000 || theirs.MaxTimestamp != 1006 ||
			theirs.ProducerID != 42 || theirs.ProducerEpoch != 3 || theirs.FirstSequence != 17 || theirs.NumRecords != n {
			t.Fatalf("%v: they read %+v", codec, theirs)
		}
		if crc := crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)); uint32(theirs.CRC) != crc {
			t.Fatalf("%v: CRC %08x, want %08x", codec, uint32(theirs.CRC), crc)
		}
		rest := expand(t, codec, theirs.Records)
		for i := range n {
			var r kmsg.Record
			length := kmsgLength(t, rest)
			if err := r.ReadFrom(rest[:length]); err != nil {
				t.Fatalf("%v: record %d: %v", codec, i, err)
			}
			rest = rest[length:]
			if string(r.Key) != "key" || !bytes.Equal(r.Value, value(i)) || r.OffsetDelta != int32(i) || r.TimestampDelta64 != int64(i%7) || len(r.Headers) != 0 {
				t.Fatalf("%v: record %d: %+v", codec, i, r)
			}
		}
		if len(rest) != 0 {
			t.Fatalf("%v: %d bytes behind the last record", codec, len(rest))
		}
	}
}

// kmsgLength is the length of the record at the start of b, its length field included.
func kmsgLength(t *testing.T, b []byte) int {
	t.Helper()
	var length, shift uint
	for i, c := range b {
		length |= uint(c&0x7f) << shift
		if c < 0x80 {
			return i + 1 + int(length>>1)
		}
		shift += 7
	}
	t.Fatal("no length")
	return 0
}

func expand(t *testing.T, codec recordbatch.Codec, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var err error
	switch codec {
	case recordbatch.LZ4:
		_, err = out.ReadFrom(lz4.NewReader(bytes.NewReader(b)))
	case recordbatch.Zstd:
		var d *zstd.Decoder
		if d, err = zstd.NewReader(bytes.NewReader(b)); err == nil {
			defer d.Close()
			_, err = out.ReadFrom(d)
		}
	default:
		return b
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// theirs builds a batch with their codec, with headers, compressed by the libraries' stream writers, whose frames
// have linked blocks, checksums and no content size.
func theirs(t *testing.T, n int, codec recordbatch.Codec) []byte {
	t.Helper()
	var records []byte
	for i := range n {
		r := kmsg.Record{
			TimestampDelta64: int64(-i), OffsetDelta: int32(i), Key: []byte("key"), Value: value(i),
			Headers: []kmsg.Header{{Key: "a", Value: []byte("b")}, {Key: fmt.Sprint(i)}},
		}
		for r.Length = 0; ; { // the length is of what follows it
			b := r.AppendTo(nil)
			length := int32(len(b) - len(kmsgVarint(r.Length)))
			if length == r.Length {
				records = append(records, b...)
				break
			}
			r.Length = length
		}
	}
	var out bytes.Buffer
	var err error
	switch codec {
	case recordbatch.LZ4:
		w := lz4.NewWriter(&out)
		if err = w.Apply(lz4.ChecksumOption(true), lz4.BlockChecksumOption(true), lz4.BlockSizeOption(lz4.Block256Kb)); err == nil {
			_, err = w.Write(records)
		}
		if err == nil {
			err = w.Close()
		}
	case recordbatch.Zstd:
		var w *zstd.Encoder
		if w, err = zstd.NewWriter(&out, zstd.WithEncoderLevel(zstd.SpeedBestCompression)); err == nil {
			_, err = w.Write(records)
		}
		if err == nil {
			err = w.Close()
		}
	default:
		out.Write(records)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := kmsg.RecordBatch{
		FirstOffset: 77, PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(codec), LastOffsetDelta: int32(n - 1),
		FirstTimestamp: 5000, MaxTimestamp: 5000, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(n),
		Records: out.Bytes(),
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	raw := b.AppendTo(nil)
	b.CRC = int32(crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

func kmsgVarint(v int32) []byte {
	u := uint32(v)<<1 ^ uint32(v>>31)
	var b []byte
	for ; u >= 0x80; u >>= 7 {
		b = append(b, byte(u)|0x80)
	}
	return append(b, byte(u))
}

func TestWeReadTheirBatches(t *testing.T) {
	const n = 20_000 // more than one block
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.LZ4, recordbatch.Zstd} {
		batch := theirs(t, n, codec)
		if _, err := recordbatch.Verify(batch); err != nil {
			t.Fatalf("%v: %v", codec, err)
		}
		var s recordbatch.Scanner
		if err := s.Reset(batch, 16<<20); err != nil {
			t.Fatalf("%v: %v", codec, err)
		}
		i := 0
		for ; s.Next(); i++ {
			r := s.Record()
			if r.Offset != 77+int64(i) || r.TimestampMs != 5000-int64(i) || string(r.Key) != "key" || !bytes.Equal(r.Value, value(i)) {
				t.Fatalf("%v: record %d: %+v", codec, i, r)
			}
			h := r.Headers
			if len(h) != 2 || string(h[0].Key) != "a" || string(h[0].Value) != "b" || string(h[1].Key) != fmt.Sprint(i) || len(h[1].Value) != 0 {
				t.Fatalf("%v: record %d: headers %q", codec, i, h)
			}
		}
		if s.Err() != nil || i != n {
			t.Fatalf("%v: %d records, %v", codec, i, s.Err())
		}
	}
}
