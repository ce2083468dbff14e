package logs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tollgate/bench/internal/records"
)

// Kafka reads a topic up to where its partitions end now. Requests and answers are franz-go's, which the gateway does
// not use; the batches in the answers are read here, as a consumer would take longer over them than a broker over
// sending them. A broker that is away or elects leaders is waited for, until the context ends.
func Kafka(ctx context.Context, brokers []string, topic string, visit func(value []byte)) (Stats, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ClientID("tollgate-bench"))
	if err != nil {
		return Stats{}, err
	}
	defer client.Close()
	var parts []int32
	err = insist(ctx, func() error {
		t, err := describe(ctx, client, topic)
		parts = parts[:0]
		for _, p := range t.Partitions {
			parts = append(parts, p.Partition)
		}
		return err
	})
	if err != nil {
		return Stats{}, fmt.Errorf("%s: %w", topic, err)
	}
	var c counters
	err = each(ctx, parts, func(ctx context.Context, partition int32) error {
		r := partitionReader{c: &c, client: client, topic: topic, partition: partition, visit: visit}
		if err := r.read(ctx); err != nil {
			return fmt.Errorf("%s-%d: offset %d: %w", topic, partition, r.next, err)
		}
		return nil
	})
	return c.stats(len(parts)), err
}

// pause between attempts at a broker that is not ready.
const pause = 200 * time.Millisecond

// errAgain is wrapped by what may be otherwise in a moment.
var errAgain = errors.New("not now")

// insist repeats what failed with errAgain.
func insist(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil || !errors.Is(err, errAgain) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// brokerError sorts an answer's error code.
func brokerError(code int16) error {
	err := kerr.ErrorForCode(code)
	if err != nil && kerr.IsRetriable(err) {
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	return err
}

func describe(ctx context.Context, client *kgo.Client, topic string) (t kmsg.MetadataResponseTopic, err error) {
	q := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = &topic
	q.Topics = append(q.Topics, one)
	a, err := q.RequestWith(ctx, client)
	if err != nil {
		return t, fmt.Errorf("%w: %w", errAgain, err)
	}
	if len(a.Topics) != 1 {
		return t, errAgain
	}
	return a.Topics[0], brokerError(a.Topics[0].ErrorCode)
}

// A partitionReader is one goroutine's.
type partitionReader struct {
	c         *counters
	client    *kgo.Client
	topic     string
	partition int32
	visit     func([]byte)

	id         [16]byte
	leader     int32
	next, end  int64
	positioned bool
	reader     records.Reader
}

func (r *partitionReader) read(ctx context.Context) error {
	if err := insist(ctx, func() error { return r.locate(ctx) }); err != nil {
		return err
	}
	for r.next < r.end {
		err := insist(ctx, func() error {
			err := r.fetch(ctx)
			if errors.Is(err, errAgain) {
				if moved := r.locate(ctx); moved != nil {
					return moved
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// locate asks who leads the partition and, the first time, where it begins and ends.
func (r *partitionReader) locate(ctx context.Context) error {
	t, err := describe(ctx, r.client, r.topic)
	if err != nil {
		return err
	}
	r.id, r.leader = t.TopicID, -1
	for _, p := range t.Partitions {
		if p.Partition == r.partition && p.ErrorCode == 0 {
			r.leader = p.Leader
		}
	}
	if r.leader < 0 {
		return fmt.Errorf("%w: no leader", errAgain)
	}
	if r.positioned {
		return nil
	}
	const earliest, latest = -2, -1
	if r.next, err = r.offset(ctx, earliest); err != nil {
		return err
	}
	if r.end, err = r.offset(ctx, latest); err != nil {
		return err
	}
	r.positioned = true
	return nil
}

func (r *partitionReader) offset(ctx context.Context, timestamp int64) (int64, error) {
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = r.partition, timestamp
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic, t.Partitions = r.topic, append(t.Partitions, p)
	q := kmsg.NewPtrListOffsetsRequest()
	q.Topics = append(q.Topics, t)
	a, err := q.RequestWith(ctx, r.client.Broker(int(r.leader)))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errAgain, err)
	}
	if len(a.Topics) != 1 || len(a.Topics[0].Partitions) != 1 {
		return 0, errors.New("an answer for other partitions than asked for")
	}
	return a.Topics[0].Partitions[0].Offset, brokerError(a.Topics[0].Partitions[0].ErrorCode)
}

func (r *partitionReader) fetch(ctx context.Context) error {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = r.partition, r.next, chunkBytes
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID, t.Partitions = r.topic, r.id, append(t.Partitions, p)
	q := kmsg.NewPtrFetchRequest()
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes = 500, 1, chunkBytes
	q.Topics = append(q.Topics, t)
	a, err := q.RequestWith(ctx, r.client.Broker(int(r.leader)))
	if err != nil {
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	if err := brokerError(a.ErrorCode); err != nil {
		return err
	}
	if len(a.Topics) != 1 || len(a.Topics[0].Partitions) != 1 {
		return fmt.Errorf("%w: an answer for other partitions than asked for", errAgain)
	}
	got := a.Topics[0].Partitions[0]
	if err := brokerError(got.ErrorCode); err != nil {
		return err
	}
	before := r.next
	if err := r.take(got.RecordBatches); err != nil {
		return err
	}
	if r.next == before {
		return fmt.Errorf("%w: nothing came", errAgain)
	}
	return nil
}

// take reads the batches of an answer, whose last one a broker may cut short.
func (r *partitionReader) take(b []byte) error {
	for len(b) > 0 && r.next < r.end {
		batch, err := r.reader.Next(b)
		if errors.Is(err, records.ErrShort) {
			return nil
		}
		if err == nil && batch.BaseOffset != r.next {
			err = fmt.Errorf("%w: base offset %d where %d is due", records.ErrCorrupt, batch.BaseOffset, r.next)
		}
		if err == nil {
			err = r.reader.Values(batch, r.visit)
		}
		if err != nil {
			return err
		}
		r.c.records.Add(int64(batch.Records))
		r.c.bytes.Add(int64(len(batch.Bytes)))
		r.next = batch.NextOffset
		b = b[len(batch.Bytes):]
	}
	return nil
}
