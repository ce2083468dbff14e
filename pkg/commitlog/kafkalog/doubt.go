package kafkalog

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go/protocol/initproducerid"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// DoubtError is the outcome of a batch that may be in Kafka, with what is needed to find out: sent again with the same
// producer by AppendAs, before anything else of the partition, it is in Kafka once. It wraps commitlog.ErrUnknown.
type DoubtError struct {
	Producer recordbatch.Producer
	// Lost: the broker was asked again and does not agree with the sequence. One batch of a partition is on its way at a
	// time, so the broker's log ends before this batch, or the broker has forgotten the producer.
	Lost bool
	Why  error
}

func (e *DoubtError) Error() string {
	return fmt.Sprintf("%v: an attempt of producer %d, epoch %d, sequence %d was not answered, and then: %v",
		commitlog.ErrUnknown, e.Producer.ID, e.Producer.Epoch, e.Producer.Sequence, e.Why)
}

// Unwrap implements errors.Is.
func (e *DoubtError) Unwrap() []error { return []error{commitlog.ErrUnknown, e.Why} }

// handBack makes a verdict final that leaves a batch of a stalled partition in doubt, and gives doubt its name. Log.mu is
// held.
func (p *partition) handBack(v verdict) verdict {
	switch {
	case v.final && v.lost:
		v.err = &DoubtError{Producer: p.producer, Lost: true, Why: v.err}
	case !v.final && v.doubt && p.stalled != nil:
		v = verdict{final: true, err: &DoubtError{Producer: p.producer, Why: v.err}, refresh: v.refresh}
		p.replaceProducer() // the next batch must not take this one's sequence
	}
	return v
}

// AppendAs appends a batch under a producer that the caller has noted down before, as one that may have been sent already,
// by this process or an earlier one. The partition must have nothing on its way, else the batch comes back with
// ErrUnavailable. What is appended behind it goes on with the same producer.
func (l *Log) AppendAs(b *commitlog.Batch, producer recordbatch.Producer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
	p, err := l.admit(b)
	if err == nil && (len(p.queue) > 0 || p.flying != nil) {
		err = fmt.Errorf("%w: %s-%d has another batch on its way", commitlog.ErrUnavailable, b.Topic, b.Partition)
	}
	if err != nil {
		l.complete(b, err)
		return
	}
	p.push(b, time.Now())
	p.producer, p.doubt, p.wire, p.stamped = producer, true, nil, false
	l.offer(p)
}

// NewProducer asks a broker for a producer id, with sequence 0.
func (l *Log) NewProducer(ctx context.Context) (recordbatch.Producer, error) {
	var last error
	for _, address := range l.addresses() {
		c, err := l.dialer.connect(ctx, address)
		if err != nil {
			last = err
			continue
		}
		answer, _, err := c.roundTrip(new(initproducerid.Request), l.config.RequestTimeout)
		c.close()
		if err != nil {
			last = err
			continue
		}
		id := answer.(*initproducerid.Response)
		if id.ErrorCode == 0 {
			return recordbatch.Producer{ID: id.ProducerID, Epoch: id.ProducerEpoch}, nil
		}
		last = describe(id.ErrorCode, "")
	}
	return recordbatch.NoProducer, fmt.Errorf("%w: asking for a producer id: %w", commitlog.ErrUnavailable, last)
}
