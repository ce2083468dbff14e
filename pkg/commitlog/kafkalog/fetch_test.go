package kafkalog

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// fetched is an answer of version 11 with some batches' bytes.
func fetched(id int32, batches []byte) []byte {
	var b []byte
	i16 := func(v int16) { b = binary.BigEndian.AppendUint16(b, uint16(v)) }
	i32 := func(v int32) { b = binary.BigEndian.AppendUint32(b, uint32(v)) }
	i64 := func(v int64) { b = binary.BigEndian.AppendUint64(b, uint64(v)) }
	i32(id)
	i32(0) // throttle
	i16(0) // error
	i32(0) // session
	i32(1) // topics
	i16(5) // name
	b = append(b, "usage"...)
	i32(1)  // partitions
	i32(3)  // partition
	i16(0)  // error
	i64(42) // high watermark
	i64(42) // last stable offset
	i64(7)  // log start
	i32(1)  // aborted transactions
	i64(1)
	i64(2)
	i32(-1) // preferred replica
	i32(int32(len(batches)))
	return append(b, batches...)
}

func TestFetchAnswerIsRead(t *testing.T) {
	r := fetchRequest{id: 9, buf: fetched(9, []byte("batches"))}
	if err := r.parse(); err != nil {
		t.Fatal(err)
	}
	if a := r.answer; a.code != 0 || a.next != 42 || a.oldest != 7 || string(a.batches) != "batches" {
		t.Errorf("answer: %+v", a)
	}
	for n := range len(r.buf) {
		short := fetchRequest{id: 9, buf: r.buf[:n]}
		if short.parse() == nil {
			t.Errorf("an answer cut off after %d bytes of %d is taken", n, len(r.buf))
		}
	}
}

// Whatever a broker sends, the batches are a part of it.
func FuzzFetchAnswer(f *testing.F) {
	f.Add(fetched(1, []byte("batches")))
	f.Add(fetched(1, nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, answer []byte) {
		r := fetchRequest{id: 1, buf: answer}
		if err := r.parse(); err == nil && !bytes.Contains(answer, r.answer.batches) {
			t.Errorf("batches %x are not in the answer", r.answer.batches)
		}
	})
}
