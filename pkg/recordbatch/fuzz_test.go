package recordbatch

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzBatch feeds any bytes to everything that parses. Nothing may panic, errors are of the announced kinds, the cap on
// decompressed bytes holds, and what verifies is rejected once a byte that the CRC covers is another.
func FuzzBatch(f *testing.F) {
	plain := build(samples(1, 5))
	f.Add(plain, uint16(0))
	for _, codec := range []Codec{LZ4, Zstd} {
		b, err := Compress(nil, plain, codec)
		if err != nil {
			f.Fatal(err)
		}
		Stamp(b, NoProducer)
		f.Add(b, uint16(99))
	}
	f.Add(Gap(5, 5), uint16(7))
	f.Fuzz(func(t *testing.T, b []byte, position uint16) {
		const most = 64 << 10
		h, err := ParseHeader(b)
		wantKnown(t, err)
		if err != nil {
			return
		}
		var s Scanner
		wantKnown(t, s.Reset(b, most))
		n := int32(0)
		for s.Next() {
			if o := s.Record().Offset; o < h.BaseOffset || o >= h.NextOffset() {
				t.Fatalf("offset %d of a batch from %d to %d", o, h.BaseOffset, h.NextOffset())
			}
			n++
		}
		wantKnown(t, s.Err())
		if len(s.scratch) > most+1 || cap(s.scratch) > most+1 {
			t.Fatalf("%d bytes for a cap of %d", cap(s.scratch), most)
		}
		if s.Err() == nil && n != h.Records {
			t.Fatalf("%d records, the header says %d", n, h.Records)
		}
		if _, err := Verify(b); err == nil {
			flipped := bytes.Clone(b[:h.Length])
			flipped[posCRC+int(position)%(len(flipped)-posCRC)] ^= 1 << (position % 8)
			if _, err := Verify(flipped); err == nil {
				t.Fatal("a flipped bit is not noticed")
			}
		}
	})
}

func wantKnown(t *testing.T, err error) {
	t.Helper()
	corrupt := new(CorruptError)
	if err != nil && !errors.Is(err, ErrShort) && !errors.Is(err, ErrTooLarge) && !errors.As(err, &corrupt) {
		t.Fatalf("an error of no announced kind: %v", err)
	}
}

// FuzzRoundTrip builds a batch from any fields and reads it back, through each codec.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), int64(1), uint8(3))
	f.Add([]byte(nil), []byte{}, int64(-1), uint8(255))
	f.Fuzz(func(t *testing.T, key, value []byte, step int64, n uint8) {
		var want []sample
		for i := range int64(n) + 1 {
			want = append(want, sample{i * step, key[:min(len(key), int(i))], value})
		}
		for _, codec := range []Codec{None, LZ4, Zstd} {
			batch, err := Compress(nil, build(want), codec)
			if err != nil {
				t.Fatal(err)
			}
			Stamp(batch, NoProducer)
			if _, err := Verify(batch); err != nil {
				t.Fatal(err)
			}
			got, err := scan(batch, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want { // a fuzzed slice of no bytes may be nil or not
				if want[i].key == nil {
					got[i].Key = nil
				}
				if want[i].value == nil {
					got[i].Value = nil
				}
			}
			wantRecords(t, got, want, 0)
		}
	})
}
