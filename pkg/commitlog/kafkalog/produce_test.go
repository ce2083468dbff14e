package kafkalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// twoTopics are partitions as a lane takes them: those of a topic one behind the other.
func twoTopics() []*partition {
	a, b := &topic{config: TopicConfig{Name: "a"}}, &topic{config: TopicConfig{Name: "b"}}
	set := []*partition{
		{topic: a, number: 0, wire: []byte("the first batch")},
		{topic: b, number: 3, wire: []byte("another topic's batch, which is longer")},
		{topic: a, number: 2, wire: []byte("x")},
	}
	slices.SortStableFunc(set, byTopic)
	return set
}

// talking is a connection that speaks the newest version on w.
func talking(w net.Conn) *conn {
	c := &conn{raw: w, counting: &countingConn{Conn: w}, address: "broker:9092", clientID: "me", produceVersion: produceVersionMax, correlation: 41}
	c.kafka = protocol.NewConn(c.counting, c.clientID)
	return c
}

// shortConn takes so many bytes and breaks.
type shortConn struct {
	net.Conn
	left int
	took bytes.Buffer
}

var errBroken = errors.New("broken")

func (s *shortConn) SetDeadline(time.Time) error { return nil }

func (s *shortConn) Write(b []byte) (int, error) {
	if n := min(s.left, len(b)); n < len(b) {
		s.left = 0
		s.took.Write(b[:n])
		return n, errBroken
	}
	s.left -= len(b)
	return s.took.Write(b)
}

func TestARequestOfSeveralTopicsIsOneThatABrokerReads(t *testing.T) {
	set := twoTopics()
	var r produceRequest // one for all, as a lane has one
	for version := int16(produceVersionMin); version <= produceVersionMax; version++ {
		want := kmsg.NewProduceRequest()
		want.Version, want.Acks, want.TimeoutMillis = version, -1, 1500
		want.Topics = []kmsg.ProduceRequestTopic{
			{Topic: "a", Partitions: []kmsg.ProduceRequestTopicPartition{
				{Partition: 0, Records: []byte("the first batch")}, {Partition: 2, Records: []byte("x")},
			}},
			{Topic: "b", Partitions: []kmsg.ProduceRequestTopicPartition{
				{Partition: 3, Records: []byte("another topic's batch, which is longer")},
			}},
		}
		sent := shortConn{left: 1 << 20}
		r.encode(version, 7, "me", 1500*time.Millisecond, set)
		n, err := r.writeTo(&sent, set)
		frame := sent.took.Bytes()
		if err != nil || n != int64(len(frame)) {
			t.Fatalf("version %d: %d of %d bytes are said to be written, %v", version, n, len(frame), err)
		}
		head := binary.BigEndian.AppendUint16(nil, 0) // Produce
		head = binary.BigEndian.AppendUint16(head, uint16(version))
		head = append(head, 0, 0, 0, 7, 0, 2, 'm', 'e')
		if length := binary.BigEndian.Uint32(frame); int(length) != len(frame)-4 || !bytes.HasPrefix(frame[4:], head) {
			t.Fatalf("version %d: length %d of %d bytes, head %x and not %x", version, length, len(frame), frame[4:4+len(head)], head)
		}
		body := frame[4+len(head):]
		got := kmsg.NewProduceRequest()
		got.Version = version
		if err := got.ReadFrom(body); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: %+v and not %+v, %v", version, got, want, err)
		}
		if again := got.AppendTo(nil); !bytes.Equal(again, body) {
			t.Errorf("version %d: what was read are %d of %d bytes", version, len(again), len(body))
		}
	}
}

func TestAnAnswerToAnotherRequestIsNoAnswer(t *testing.T) {
	for off, wrong := range map[int32]bool{0: false, 1: true} {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		theirs.SetDeadline(time.Now().Add(10 * time.Second))
		broker := make(chan error, 1)
		go func() {
			length := make([]byte, 4)
			_, err := io.ReadFull(theirs, length)
			request := make([]byte, binary.BigEndian.Uint32(length))
			if err == nil {
				_, err = io.ReadFull(theirs, request)
			}
			if err == nil {
				correlation := int32(binary.BigEndian.Uint32(request[4:]))
				err = protocol.WriteResponse(theirs, produceVersionMax, correlation+off, &produce.Response{
					Topics: []produce.ResponseTopic{{Topic: "a", Partitions: []produce.ResponsePartition{{BaseOffset: 5}}}},
				})
			}
			broker <- err
		}()
		answer, written, err := talking(ours).produce(new(produceRequest), twoTopics(), 10*time.Second)
		if told := <-broker; told != nil {
			t.Fatal(told)
		}
		switch {
		case !written:
			t.Error("a request that was answered is said not to be written")
		case wrong && (err == nil || answer != nil || !strings.Contains(err.Error(), "request 43 when asked 42")):
			t.Errorf("another request's answer was taken: %+v, %v", answer, err)
		case !wrong && (err != nil || answer.Topics[0].Partitions[0].BaseOffset != 5):
			t.Errorf("the answer was not taken: %+v, %v", answer, err)
		}
	}
}

func TestAWriteThatBreaksInABatchMayHaveBeenHeard(t *testing.T) {
	set := twoTopics()
	var r produceRequest
	r.encode(produceVersionMax, 42, "me", time.Second, set)
	whole := len(r.head)
	for _, p := range set {
		whole += len(p.wire)
	}
	for n := range whole {
		broken := &shortConn{left: n}
		c := talking(broken)
		if answer, written, err := c.produce(&r, set, time.Second); !errors.Is(err, errBroken) || answer != nil || written != (n > 0) {
			t.Errorf("after %d of %d bytes: written %v, %+v, %v", n, whole, written, answer, err)
		}
		if c.counting.written != int64(n) || broken.took.Len() != n {
			t.Errorf("%d bytes were counted and %d taken of %d", c.counting.written, broken.took.Len(), n)
		}
	}
}
