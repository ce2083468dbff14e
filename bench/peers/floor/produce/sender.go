package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
)

// Version 7 is the last but one that has no tagged fields, and Kafka has taken it since 2.1.
const (
	produceKey     = 0
	produceVersion = 7
	answerBytesMax = 1 << 16
)

// A sender is a connection with its request: everything around the batches, and the batches in place, so that a send is
// one write. Two connections with half of the partitions each cost half as much again a record, 0.08 µs for 0.05 µs, and
// were between a seventh slower and three times as fast: on two cores that is the broker's to decide.
//
//	size 4 | key 2 | version 2 | correlation 4 | client id | transactional id | acks 2 | timeout 4 |
//	topics 4 | name | partitions 4 { partition 4 | bytes 4 | batch }…
type sender struct {
	conn    net.Conn
	batches []*batch
	request []byte
	answer  []byte
	topic   string

	correlation    uint32
	records, bytes int64 // acknowledged
}

const correlationAt = 8

func newSender(conn net.Conn, topic string, batches []*batch) *sender {
	s := &sender{conn: conn, batches: batches, topic: topic, answer: make([]byte, answerBytesMax)}
	q := binary.BigEndian.AppendUint32(nil, 0)
	q = binary.BigEndian.AppendUint16(q, produceKey)
	q = binary.BigEndian.AppendUint16(q, produceVersion)
	q = binary.BigEndian.AppendUint32(q, 0)
	q = appendString(q, "floor")
	q = binary.BigEndian.AppendUint16(q, 0xffff) // no transaction
	q = binary.BigEndian.AppendUint16(q, 0xffff) // acks=all
	q = binary.BigEndian.AppendUint32(q, uint32(answerMax.Milliseconds()))
	q = binary.BigEndian.AppendUint32(q, 1)
	q = appendString(q, topic)
	q = binary.BigEndian.AppendUint32(q, uint32(len(batches)))
	at := make([]int, len(batches))
	for i, b := range batches {
		q = binary.BigEndian.AppendUint32(q, uint32(b.partition))
		q = binary.BigEndian.AppendUint32(q, uint32(len(b.bytes)))
		at[i] = len(q)
		q = append(q, b.bytes...)
	}
	for i, b := range batches { // from now on they live in the request
		b.bytes = q[at[i]:][:len(b.bytes)]
	}
	binary.BigEndian.PutUint32(q, uint32(len(q)-4))
	s.request = q
	return s
}

func appendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// sendFor sends until the time is over, and ends at once when a batch is not taken. At a rate, in records a second, each
// request waits for its time; 0 is no rate.
func (s *sender) sendFor(d time.Duration, rate float64) error {
	begin := time.Now()
	end := begin.Add(d)
	if err := s.conn.SetDeadline(end.Add(answerMax)); err != nil {
		return err
	}
	for time.Now().Before(end) {
		if rate > 0 {
			time.Sleep(time.Until(begin.Add(time.Duration(float64(s.records) / rate * float64(time.Second)))))
		}
		if err := s.send(); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) send() error {
	s.correlation++
	binary.BigEndian.PutUint32(s.request[correlationAt:], s.correlation)
	for _, b := range s.batches {
		b.renew()
	}
	if _, err := s.conn.Write(s.request); err != nil {
		return err
	}
	answer, err := s.read()
	if err != nil {
		return err
	}
	if err := checkAnswer(answer, s.correlation, s.topic, len(s.batches)); err != nil {
		return err
	}
	for _, b := range s.batches {
		s.records += int64(b.records)
		s.bytes += int64(len(b.bytes))
	}
	return nil
}

func (s *sender) read() ([]byte, error) {
	if _, err := io.ReadFull(s.conn, s.answer[:4]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(s.answer)
	if n > answerBytesMax {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	_, err := io.ReadFull(s.conn, s.answer[:n])
	return s.answer[:n], err
}

// checkAnswer refuses whatever is not the acknowledgement of all partitions.
//
//	correlation 4 | topics 4 | name | partitions 4 { partition 4 | error 2 | baseOffset 8 | logAppendTime 8 |
//	logStartOffset 8 }… | throttle 4
func checkAnswer(a []byte, correlation uint32, topic string, partitions int) error {
	const partitionBytes = 30
	at := 4 + 4 + 2 + len(topic) + 4
	if len(a) != at+partitions*partitionBytes+4 || binary.BigEndian.Uint32(a) != correlation {
		return fmt.Errorf("an answer of %d bytes that is not the one to request %d", len(a), correlation)
	}
	for ; at < len(a)-4; at += partitionBytes {
		if code := binary.BigEndian.Uint16(a[at+4:]); code != 0 {
			return fmt.Errorf("partition %d: %w", binary.BigEndian.Uint32(a[at:]), kafka.Error(int16(code)))
		}
	}
	return nil
}
