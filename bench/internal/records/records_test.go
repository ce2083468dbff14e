package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"testing"

	"tollgate/bench/internal/records/recordstest"
)

func TestTheValuesOfABatchAreWhatAnotherWriterPutThere(t *testing.T) {
	for _, codec := range []int8{recordstest.None, recordstest.LZ4, recordstest.Zstd} {
		b := recordstest.Batch(70, codec, "one", "", "three")
		var r Reader
		for range 2 { // the second time with what the first has left in the reader
			batch, err := r.Next(append(b[:len(b):len(b)], "more"...))
			if err != nil || batch.BaseOffset != 70 || batch.NextOffset != 73 || batch.Records != 3 || len(batch.Bytes) != len(b) {
				t.Fatalf("codec %d: %+v, %v", codec, batch, err)
			}
			got := ""
			if err := r.Values(batch, func(v []byte) { got += fmt.Sprintf("%q ", v) }); err != nil || got != `"one" "" "three" ` {
				t.Errorf("codec %d: %s, %v", codec, got, err)
			}
		}
	}
}

func TestNoChangedByteGoesUnnoticed(t *testing.T) {
	b := recordstest.Batch(0, recordstest.None, "one", "two")
	var r Reader
	for i := range b {
		if _, err := r.Next(b[:i]); !errors.Is(err, ErrShort) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
		if i < 8 || i >= 12 && i < 16 {
			continue // base offset and leader epoch, which a broker writes
		}
		b[i] ^= 0x20
		if batch, err := r.Next(b); err == nil {
			t.Errorf("byte %d changed: %+v", i, batch)
		}
		b[i] ^= 0x20
	}
}

func FuzzABatchNeverBreaksTheReader(f *testing.F) {
	f.Add(recordstest.Batch(0, recordstest.None, "one", "two"), true)
	f.Add(recordstest.Batch(0, recordstest.Zstd, "one", "two"), true)
	f.Add(recordstest.Batch(0, recordstest.LZ4, "one", "two"), false)
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if mend && len(b) > headerBytes { // let the fuzzer behind the checks
			binary.BigEndian.PutUint32(b[8:], uint32(len(b)-lengthEnd))
			b[16] = 2
			binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
		}
		var r Reader
		batch, err := r.Next(b)
		if err != nil {
			return
		}
		n := 0
		if err := r.Values(batch, func([]byte) { n++ }); err == nil && n != batch.Records {
			t.Errorf("%d records of %d", n, batch.Records)
		}
	})
}

func BenchmarkValues(b *testing.B) {
	value := fmt.Sprintf(`{"object":"meter_event","identifier":"tgb-5f3a01c9-002a-00000004d2","pad":"%0100d"}`, 1)
	values := make([]string, 1000)
	for i := range values {
		values[i] = value
	}
	batch := recordstest.Batch(0, recordstest.None, values...)
	var r Reader
	for b.Loop() {
		one, err := r.Next(batch)
		if err == nil {
			err = r.Values(one, func([]byte) {})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}
