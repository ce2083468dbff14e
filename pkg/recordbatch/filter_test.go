package recordbatch

import (
	"bytes"
	"fmt"
	"testing"
)

func TestFilterKeepsOffsetsTimesAndBytesOfWhatIsLeft(t *testing.T) {
	var b Builder
	b.Reset(nil)
	for i := range 10 {
		b.Append(int64(1000+i), AppendBody(nil, fmt.Append(nil, "key", i), bytes.Repeat([]byte("v"), 100*i)))
	}
	batch := b.Seal()
	SetBase(batch, 500, 0)
	Stamp(batch, Producer{ID: 7, Epoch: 1, Sequence: 3})
	packed, err := Compress(nil, batch, Zstd)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]byte{"plain": batch, "compressed": packed} {
		Stamp(in, Producer{ID: 7, Epoch: 1, Sequence: 3})
		before := bytes.Clone(in)
		var s Scanner
		out, left, err := s.Filter([]byte("before"), in, 1<<20, func(r Record) bool { return r.Offset%3 == 1 })
		if err != nil || left != 3 || string(out[:6]) != "before" || !bytes.Equal(in, before) {
			t.Fatalf("%s: %d left, %v", name, left, err)
		}
		h, err := Verify(out[6:])
		if err != nil || h.BaseOffset != 500 || h.NextOffset() != 510 || h.Records != 3 || h.Codec() != None ||
			h.BaseTimestamp != 1000 || h.MaxTimestamp != 1008 || h.Producer != NoProducer || int(h.Length) != len(out)-6 {
			t.Fatalf("%s: %+v, %v", name, h, err)
		}
		if err := s.Reset(out[6:], 0); err != nil {
			t.Fatal(err)
		}
		var offsets []int64
		for s.Next() {
			r := s.Record()
			i := r.Offset - 500
			if string(r.Key) != fmt.Sprint("key", i) || len(r.Value) != int(100*i) || r.TimestampMs != 1000+i {
				t.Errorf("%s: %+v", name, r)
			}
			offsets = append(offsets, r.Offset)
		}
		if s.Err() != nil || fmt.Sprint(offsets) != "[502 505 508]" {
			t.Errorf("%s: %v, %v", name, offsets, s.Err())
		}
	}
	var s Scanner
	if out, left, err := s.Filter(nil, batch, 0, func(Record) bool { return false }); len(out) != 0 || left != 0 || err != nil {
		t.Errorf("nothing kept: %d bytes, %d, %v", len(out), left, err)
	}
	batch[len(batch)-1]++ // the count of headers of the last record
	if out, _, err := s.Filter(nil, batch, 0, func(Record) bool { return true }); err == nil || len(out) != 0 {
		t.Errorf("a damaged batch: %d bytes, %v", len(out), err)
	}
}
