package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
)

func newTestBatch(t *testing.T, size int) *batch {
	t.Helper()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	b, err := newBatch(3, []string{"meter_0001", "meter_0005"}, size, kafka.ProducerSession{ProducerID: 4711, ProducerEpoch: 2}, now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestARenewedBatchHasTheCRCOfAWalkOverIt(t *testing.T) {
	b := newTestBatch(t, 4096)
	for _, sequence := range []int32{0, 1, b.records, 1 << 20, math.MaxInt32 - 1, math.MaxInt32} {
		b.sequence = sequence
		b.renew()
		got := binary.BigEndian.Uint32(b.bytes[crcAt:])
		if in := int32(binary.BigEndian.Uint32(b.bytes[sequenceAt:])); in != sequence {
			t.Fatalf("sequence %d is %d in the batch", sequence, in)
		}
		if want := b.checksum(uint32(sequence)); got != want {
			t.Errorf("sequence %d: CRC %08x, want %08x", sequence, got, want)
		}
	}
}

func TestSequenceNumbersGoOnAfterTheLargest(t *testing.T) {
	for _, c := range [][3]int32{{0, 5, 5}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 2, 5, 2}} {
		if got := following(c[0], c[1]); got != c[2] {
			t.Errorf("after %d records from %d on: %d, want %d", c[1], c[0], got, c[2])
		}
	}
}

// kafka-go's reader is the second opinion on the framing: it knows nothing of ours.
func TestTheRequestIsOneThatABrokerReads(t *testing.T) {
	const size = 10_000
	one, two := newTestBatch(t, size), newTestBatch(t, size)
	two.partition = 7
	if n := len(one.bytes); n < size || n > size+size/10 {
		t.Errorf("a batch of %d bytes, where about %d are wanted", n, size)
	}
	s := newSender(nil, "usage", []*batch{one, two})
	for _, b := range s.batches {
		b.renew()
	}
	version, _, client, message, err := protocol.ReadRequest(bytes.NewReader(s.request))
	if err != nil {
		t.Fatal(err)
	}
	q, ok := message.(*produce.Request)
	if !ok || version != produceVersion || client != "floor" || q.Acks != -1 || len(q.Topics) != 1 || q.Topics[0].Topic != "usage" || len(q.Topics[0].Partitions) != 2 {
		t.Fatalf("version %d, client %s, %+v", version, client, message)
	}
	for i, p := range q.Topics[0].Partitions {
		if p.Partition != s.batches[i].partition {
			t.Errorf("partition %d, want %d", p.Partition, s.batches[i].partition)
		}
		n := 0
		for ; ; n++ {
			r, err := p.RecordSet.Records.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			checkRecord(t, r)
		}
		if n != int(s.batches[i].records) {
			t.Errorf("%d records, want %d", n, s.batches[i].records)
		}
	}
}

func TestTheLibrarySendsTheBatchAsItIsRenewed(t *testing.T) {
	b := newTestBatch(t, 4096)
	length := len(b.bytes)
	set := newLibrary("127.0.0.1:9", "usage", []*batch{b}).lines[0].set
	b.sequence = 17
	b.renew()
	if n := binary.BigEndian.Uint32(set); int(n) != length || len(set) != 4+length {
		t.Errorf("a record set of %d bytes says %d, and the batch has %d", len(set), n, length)
	}
	if !bytes.Equal(set[4:], b.bytes) || binary.BigEndian.Uint32(set[4+sequenceAt:]) != 17 {
		t.Error("the record set does not hold the batch that was renewed")
	}
}

func TestTheLibraryEndsAtTheFirstError(t *testing.T) {
	one, two := newTestBatch(t, 4096), newTestBatch(t, 4096)
	l := newLibrary("127.0.0.1:9", "usage", []*batch{one, two}) // nobody listens there
	l.client.Timeout = time.Second
	if records, bytes, err := l.sendFor(time.Hour); err == nil || records != 0 || bytes != 0 {
		t.Errorf("%d records, %d bytes, %v", records, bytes, err)
	}
}

func checkRecord(t *testing.T, r *protocol.Record) {
	t.Helper()
	key, errKey := protocol.ReadAll(r.Key)
	value, errValue := protocol.ReadAll(r.Value)
	if err := errors.Join(errKey, errValue); err != nil {
		t.Fatal(err)
	}
	var v struct {
		Name string `json:"event_name"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		t.Fatalf("%v: %s", err, value)
	}
	if want := business + "/testmode/" + v.Name; string(key) != want {
		t.Errorf("key %s, want %s", key, want)
	}
	if !strings.Contains(string(value), `"identifier":"tgb-00000000-0000-`) {
		t.Errorf("no identifier as it is searched for in %s", value)
	}
}

func TestOnlyAnAnswerThatAcknowledgesAllIsTaken(t *testing.T) {
	answer := func(codes ...uint16) []byte {
		a := binary.BigEndian.AppendUint32(nil, 9)
		a = binary.BigEndian.AppendUint32(a, 1)
		a = appendString(a, "usage")
		a = binary.BigEndian.AppendUint32(a, uint32(len(codes)))
		for i, code := range codes {
			a = binary.BigEndian.AppendUint32(a, uint32(i))
			a = binary.BigEndian.AppendUint16(a, code)
			a = append(a, make([]byte, 24)...)
		}
		return append(a, 0, 0, 0, 0)
	}
	if err := checkAnswer(answer(0, 0), 9, "usage", 2); err != nil {
		t.Error(err)
	}
	if err := checkAnswer(answer(0, uint16(kafka.NotLeaderForPartition)), 9, "usage", 2); !errors.Is(err, kafka.NotLeaderForPartition) {
		t.Errorf("a partition that was not taken: %v", err)
	}
	for name, a := range map[string][]byte{"another request": answer(0, 0), "fewer partitions": answer(0), "nothing": nil} {
		correlation := uint32(9)
		if name == "another request" {
			correlation = 10
		}
		if err := checkAnswer(a, correlation, "usage", 2); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
