package kafkalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

const (
	// fetchVersion is the one version of the Fetch API that we speak: the newest before topic ids and tagged fields,
	// which every broker from Kafka 2.3 on takes.
	fetchVersion = 11
	// answerBytesMax bounds what a broker can make us read: the largest request it can have taken, and some.
	answerBytesMax = 256 << 20
)

// fetchRequest is a Fetch of one partition whose answer stays bytes. kafka-go would decode each record into values of its
// own, unpack without a limit and not look at the CRC; the batches go through recordbatch instead, as the journal's do.
type fetchRequest struct {
	fetch.Request
	clientID string
	id       int32 // correlates the answer
	// buf holds the answer; its capacity is used again.
	buf []byte
	// answer is filled in by RawExchange. It points into buf.
	answer fetchAnswer
}

type fetchAnswer struct {
	code    int16
	next    int64 // the high watermark: the offset after the newest durable record
	oldest  int64
	batches []byte // whole batches, the last one perhaps cut off
}

// Required makes protocol.Conn leave the exchange to RawExchange.
func (r *fetchRequest) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange writes the request and reads the answer.
func (r *fetchRequest) RawExchange(stream io.ReadWriter) (protocol.Message, error) {
	r.id++
	if err := protocol.WriteRequest(stream, fetchVersion, r.id, r.clientID, &r.Request); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(stream, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > answerBytesMax {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, n)
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(stream, r.buf); err != nil {
		return nil, err
	}
	return r, r.parse()
}

// parse reads a Fetch answer of version 11 for one partition:
//
//	correlation id i32 | throttle ms i32 | error i16 | session id i32 | topics i32 = 1
//	  name: i16 length, bytes | partitions i32 = 1
//	    partition i32 | error i16 | high watermark i64 | last stable offset i64 | log start offset i64
//	    aborted transactions i32 (-1: none), each producer id i64, first offset i64
//	    preferred replica i32 | record batches: i32 length, bytes
func (r *fetchRequest) parse() error {
	f := fields{b: r.buf}
	if id := f.int32(); id != r.id {
		return fmt.Errorf("an answer to request %d, want %d", id, r.id)
	}
	f.skip(4)
	r.answer = fetchAnswer{code: f.int16(), next: -1, oldest: -1}
	f.skip(4)
	if r.answer.code != 0 {
		return nil
	}
	if topics := f.int32(); topics != 1 {
		return fmt.Errorf("an answer for %d topics, want 1", topics)
	}
	f.skip(int(f.int16()))
	if partitions := f.int32(); partitions != 1 {
		return fmt.Errorf("an answer for %d partitions, want 1", partitions)
	}
	f.skip(4)
	r.answer.code = f.int16()
	r.answer.next = f.int64()
	f.skip(8)
	r.answer.oldest = f.int64()
	f.skip(int(max(0, f.int32())) * 16)
	f.skip(4)
	r.answer.batches = f.take(int(max(0, f.int32())))
	return f.err
}

// fields reads big-endian fields. After the first one that is not there, all are zero and err is set.
type fields struct {
	b   []byte
	err error
}

var errCutOff = errors.New("the answer ends too early")

func (f *fields) take(n int) []byte {
	if f.err != nil || n < 0 || n > len(f.b) {
		f.err = errCutOff
		return nil
	}
	head := f.b[:n]
	f.b = f.b[n:]
	return head
}

func (f *fields) skip(n int) { f.take(n) }

func (f *fields) int16() int16 {
	if b := f.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (f *fields) int32() int32 {
	if b := f.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (f *fields) int64() int64 {
	if b := f.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}
