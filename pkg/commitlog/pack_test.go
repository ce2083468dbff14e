package commitlog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"tollgate/pkg/recordbatch"
)

// topicOf is a log of which only the bound of its batches is asked.
type topicOf struct {
	Log
	batchBytesMax int
}

func (l topicOf) BatchBytesMax(string) int { return l.batchBytesMax }

// read returns the values of a batch, and says whether it is whole and within a bound.
func read(t *testing.T, b *Batch, bytesMax int) (values []string) {
	t.Helper()
	var s recordbatch.Scanner
	if err := s.Reset(b.Bytes, bytesMax); err != nil || len(b.Bytes) > bytesMax {
		t.Fatalf("a batch of %d bytes, of %d that fit: %v", len(b.Bytes), bytesMax, err)
	}
	for s.Next() {
		if string(s.Record().Key) != "k" {
			t.Errorf("a record with the key %q", s.Record().Key)
		}
		values = append(values, string(s.Record().Value))
	}
	if b.Topic != "topic" || b.Partition != 3 || b.Records != len(values) || s.Err() != nil {
		t.Errorf("a batch of %d records for %s/%d has %d: %v", b.Records, b.Topic, b.Partition, len(values), s.Err())
	}
	return values
}

func TestRecordsArePackedInOrderAsManyAsFit(t *testing.T) {
	const bytesMax = 500
	p := NewPacker(topicOf{batchBytesMax: bytesMax}, "topic", 3)
	if p.Take() != nil {
		t.Error("nothing is a batch")
	}
	dice := rand.New(rand.NewPCG(1, 2))
	var want, got []string
	batches := 0
	take := func() {
		if b := p.Take(); b != nil {
			batches++
			got = append(got, read(t, b, bytesMax)...)
		}
	}
	var body []byte
	for i := range 1000 {
		value := fmt.Sprint(i, strings.Repeat("x", dice.IntN(200)))
		want = append(want, value)
		body = recordbatch.AppendBody(body[:0], []byte("k"), []byte(value))
		if !p.Fits(body) {
			take()
		}
		p.Add(dice.Int64N(1<<40), body)
	}
	take()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Error("other records than those that were added, or in another order")
	}
	if batches > 1000/2 { // the largest record takes less than half of a batch
		t.Errorf("1,000 records in %d batches", batches)
	}
	if body := recordbatch.AppendBody(nil, []byte("k"), make([]byte, bytesMax)); p.Fits(body) {
		t.Error("a record that is larger than a batch fits")
	}
}

func TestOneRecordIsABatch(t *testing.T) {
	if got := read(t, OneRecord("topic", 3, 1, []byte("k"), []byte("v")), 1000); len(got) != 1 || got[0] != "v" {
		t.Errorf("it has %q", got)
	}
	b := OneRecord("topic", 3, 1, []byte("k"), nil)
	if !bytes.HasSuffix(b.Bytes, recordbatch.AppendBody(nil, []byte("k"), nil)) {
		t.Error("a key without a value is not one")
	}
}
