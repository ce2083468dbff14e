package kafkalog_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/kafkalog"
	"tollgate/pkg/commitlog/logtest"
)

// The rules of outcome.go once more, as outcomes that a caller sees: when a broker answers the first attempt so, and when
// the first attempt was written and its answer lost, and a broker answers the second attempt so. In every case the batch
// is in the log at most once, in the log if its outcome says so, and the next batch lands behind it.
func TestEveryBrokerAnswerHasItsOutcome(t *testing.T) {
	const (
		durable     = ""
		unknown     = "unknown"
		unavailable = "unavailable"
		refused     = "refused"
	)
	for _, row := range []struct {
		code           int16
		fresh, inDoubt string // the outcome
		producer       bool   // a new producer id is asked for
	}{
		{-1, durable, durable, false},
		{2, refused, unknown, false},
		{3, durable, durable, false},
		{5, durable, durable, false},
		{6, durable, durable, false},
		{7, durable, durable, false},
		{8, durable, durable, false},
		{9, durable, durable, false},
		{10, refused, unknown, false},
		{13, durable, durable, false},
		{14, durable, durable, false},
		{15, durable, durable, false},
		{16, durable, durable, false},
		{17, refused, unknown, false},
		{18, refused, unknown, false},
		{19, durable, durable, false},
		{20, durable, durable, false},
		{21, refused, unknown, false},
		{29, unavailable, unknown, false},
		{31, unavailable, unknown, false},
		{32, refused, unknown, false},
		{35, unavailable, unknown, false},
		{42, refused, unknown, false},
		{43, refused, unknown, false},
		{44, unavailable, unknown, false},
		{45, durable, unknown, true},
		{46, durable, durable, true},
		{47, durable, unknown, true},
		{49, durable, unknown, true},
		{51, durable, durable, false},
		{53, unavailable, unknown, false},
		{56, durable, durable, false},
		{58, unavailable, unknown, false},
		{59, durable, unknown, true},
		{72, durable, durable, false},
		{74, durable, durable, false},
		{75, durable, durable, false},
		{76, refused, unknown, false},
		{87, refused, unknown, false},
		{89, durable, durable, false},
		{90, durable, unknown, true},
		{100, durable, durable, false},
		{103, durable, durable, false},
		{999, durable, durable, false}, // not invented yet
	} {
		check := func(name, want string, doubt, wantProducer bool) {
			t.Run(fmt.Sprintf("%d/%s", row.code, name), func(t *testing.T) {
				t.Parallel()
				s := newAnswering(t)
				append1(t, s.log, 0, "before")
				s.hurt(row.code, doubt)
				b := append1(t, s.log, 0, "hurt")
				switch want {
				case durable:
					if b.Err != nil {
						t.Fatalf("outcome: %v, want none", b.Err)
					}
				default:
					outcome := map[string]error{unknown: commitlog.ErrUnknown, unavailable: commitlog.ErrUnavailable, refused: commitlog.ErrRefused}[want]
					if !errors.Is(b.Err, outcome) {
						t.Fatalf("outcome: %v, want %v", b.Err, outcome)
					}
				}
				until(t, func() bool { return append1(t, s.log, 0, "after").Err == nil }, func() string { return fmt.Sprint(s.log.Ready()) })

				// What the partition holds: the batch once when it was ever written, else not at all.
				written := want == durable || doubt
				values := []string{"before"}
				if written {
					values = append(values, "hurt")
				}
				values = append(values, "after")
				got := logtest.Read(t, s.log, usage, 0, 0, len(values))
				if !slices.Equal(got, values) {
					t.Errorf("the log holds %q, want %q", got, values)
				}
				if _, next, _ := s.log.Bounds(t.Context(), usage, 0); next != int64(len(values)) {
					t.Errorf("the log holds %d records, want %d", next, len(values))
				}
				if got := s.producers.Load() > 2; got != wantProducer { // one to look, one for the partition
					t.Errorf("asked for %d producer ids; want a new one: %v", s.producers.Load(), wantProducer)
				}
			})
		}
		check("first attempt", row.fresh, false, row.producer)
		// With a batch in doubt, a final answer leaves the broker's sequence unknown, so that a new producer follows.
		check("after a lost answer", row.inDoubt, true, row.inDoubt == unknown)
	}
}

// answering is a fake whose answers a test chooses.
type answering struct {
	cluster   *kfake.Cluster
	wire      *wire
	log       *kafkalog.Log
	producers atomic.Int32
}

func newAnswering(t *testing.T) *answering {
	s := &answering{cluster: fake(t), wire: newWire()}
	s.cluster.ControlKey(kmsg.InitProducerID.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		s.producers.Add(1)
		return nil, nil, false
	})
	s.log = openReady(t, s.cluster.ListenAddrs(), func(c *kafkalog.Config) { c.Dial = s.wire.dial })
	return s
}

// hurt makes the next produce request come to the code. With doubt, that is the one after the next: the next one is
// written, and its answer lost.
func (s *answering) hurt(code int16, doubt bool) {
	refuse := func(request kmsg.Request) (kmsg.Response, error, bool) {
		return answerAll(request.(*kmsg.ProduceRequest), code), nil, true
	}
	if !doubt {
		s.cluster.ControlKey(kmsg.Produce.Int16(), refuse)
		return
	}
	s.wire.set(func() {
		s.wire.produce = func() answer {
			s.wire.produce = nil
			return loseAnswer
		}
	})
	s.cluster.ControlKey(kmsg.Produce.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		s.cluster.DropControl()
		s.cluster.ControlKey(kmsg.Produce.Int16(), refuse)
		return nil, nil, false
	})
}

// answerAll answers every partition of a request with one code.
func answerAll(request *kmsg.ProduceRequest, code int16) *kmsg.ProduceResponse {
	response := request.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range request.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = topic.Topic
		for _, partition := range topic.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.BaseOffset = partition.Partition, code, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		response.Topics = append(response.Topics, rt)
	}
	return response
}
