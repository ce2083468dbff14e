package kafkalog

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"

	"tollgate/internal/socket"
)

// acksAll: answered when all in-sync replicas have the batch.
const acksAll = -1

// The versions of Produce whose requests all have the form that a produceRequest writes. The first is the oldest that
// takes record batches v2; behind the last one the encoding changes.
const (
	produceVersionMin = 3
	produceVersionMax = 8
)

// A produceRequest sends batches from where they lie, by one writev. kafka-go's encoder copies a request into pages
// first and writes page after page; at some hundred kilobytes a request that copy and its system calls were a
// tenth of all that an event costs. Answers are kafka-go's to read.
//
//	length i32 │ key i16 = 0 │ version i16 │ correlation i32 │ client id string │ transactional id = null i16 │ acks i16 │
//	timeout i32, ms │ topics i32 │ name string │ partitions i32 │ number i32 │ length i32, batch │ number … │ name …
//
// (Kafka protocol guide, Produce, versions 3 to 8.) It is reused, one request after the other, by one goroutine.
type produceRequest struct {
	head  []byte // all but the batches
	cuts  []int  // where in head each batch comes in
	parts [][]byte
	left  net.Buffers // what of parts is not written
}

// encode takes the partitions' batches, those of a topic one behind the other.
func (r *produceRequest) encode(version int16, correlation int32, clientID string, timeout time.Duration, set []*partition) {
	be := binary.BigEndian
	h := be.AppendUint32(r.head[:0], 0) // the length, below
	h = be.AppendUint16(h, uint16(protocol.Produce))
	h = be.AppendUint16(h, uint16(version))
	h = be.AppendUint32(h, uint32(correlation))
	h = appendString(h, clientID)
	h = be.AppendUint16(h, 0xffff) // no transaction
	acks := int16(acksAll)
	h = be.AppendUint16(h, uint16(acks))
	h = be.AppendUint32(h, uint32(timeout.Milliseconds()))
	topicsAt := len(h)
	h = be.AppendUint32(h, 0)

	r.cuts = r.cuts[:0]
	topics, batchBytes := 0, 0
	for len(set) > 0 {
		same := sameTopic(set)
		h = appendString(h, set[0].topic.config.Name)
		h = be.AppendUint32(h, uint32(len(same)))
		for _, p := range same {
			h = be.AppendUint32(h, uint32(p.number))
			h = be.AppendUint32(h, uint32(len(p.wire)))
			r.cuts = append(r.cuts, len(h))
			batchBytes += len(p.wire)
		}
		topics++
		set = set[len(same):]
	}
	be.PutUint32(h[topicsAt:], uint32(topics))
	be.PutUint32(h, uint32(len(h)-4+batchBytes))
	r.head = h
}

// sameTopic is the beginning of set whose partitions are of one topic.
func sameTopic(set []*partition) []*partition {
	n := 1
	for n < len(set) && set[n].topic == set[0].topic {
		n++
	}
	return set[:n]
}

func appendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// writeTo writes what encode made of the same set. When it has returned, nobody reads the batches any more.
func (r *produceRequest) writeTo(w net.Conn, set []*partition) (n int64, err error) {
	r.parts = r.parts[:0]
	from := 0
	for i, p := range set {
		r.parts = append(r.parts, r.head[from:r.cuts[i]], p.wire)
		from = r.cuts[i]
	}
	if s, ok := w.(*socket.Socket); ok {
		n, err = s.WriteBuffers(r.parts)
	} else {
		r.left = r.parts
		n, err = r.left.WriteTo(w)
		r.left = nil
	}
	clear(r.parts)
	return n, err
}

// produce sends the partitions' batches and waits for the answer, as roundTrip does for other requests.
func (c *conn) produce(r *produceRequest, set []*partition, timeout time.Duration) (answer *produce.Response, written bool, err error) {
	c.correlation++
	// The broker gives up before we do, so that we hear REQUEST_TIMED_OUT and keep the connection.
	r.encode(c.produceVersion, c.correlation, c.clientID, timeout*3/4, set)
	c.raw.SetDeadline(time.Now().Add(timeout))
	n, err := r.writeTo(c.counting.Conn, set)
	c.counting.written += n
	if err == nil {
		answer, err = c.readProduced()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", c.address, err)
	}
	return answer, n > 0, err
}

func (c *conn) readProduced() (*produce.Response, error) {
	correlation, message, err := protocol.ReadResponse(c.kafka, protocol.Produce, c.produceVersion)
	if err != nil {
		return nil, err
	}
	if correlation != c.correlation {
		return nil, fmt.Errorf("the broker answered request %d when asked %d", correlation, c.correlation)
	}
	answer, ok := message.(*produce.Response)
	if !ok {
		return nil, fmt.Errorf("the broker answered Produce by %T", message)
	}
	return answer, nil
}
