package harness

import (
	"context"
	"encoding/json"
	"iter"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ReadTopic reads all of a topic with another client than the gateway's, each partition in offset order. It reads while
// it is ranged over, each time anew, so that a topic of any size fits into memory.
func ReadTopic(tb testing.TB, brokers []string, topic string) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		tb.Helper()
		readTopic(tb, brokers, topic, yield)
	}
}

func readTopic(tb testing.TB, brokers []string, topic string, yield func(Event) bool) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	silence := time.AfterFunc(time.Minute, cancel)
	defer silence.Stop()
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }))
	if err != nil {
		tb.Fatal(err)
	}
	defer cl.Close()
	left := ends(ctx, tb, cl, topic)
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			tb.Fatalf("of %s nothing came for a minute; left: %v; %v", topic, left, fetches.Errors())
		}
		silence.Reset(time.Minute)
		for r := range fetches.RecordsAll() {
			e := Event{Partition: int(r.Partition), Offset: r.Offset, Key: string(r.Key), RecordMs: r.Timestamp.UnixMilli(), Value: string(r.Value)}
			if err := json.Unmarshal(r.Value, &e); err != nil {
				tb.Fatalf("%s-%d@%d is no JSON: %v: %q", topic, r.Partition, r.Offset, err, r.Value)
			}
			if !yield(e) {
				return
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		}
	}
}

// ends is the end offset of every partition that holds anything, asked until all leaders have answered.
func ends(ctx context.Context, tb testing.TB, cl *kgo.Client, topic string) map[int32]int64 {
	tb.Helper()
	for ; ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		cl.ForceMetadataRefresh()
		m := kmsg.NewPtrMetadataRequest()
		m.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
		meta, err := m.RequestWith(ctx, cl)
		if err != nil || len(meta.Topics) != 1 || meta.Topics[0].ErrorCode != 0 {
			continue
		}
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for _, p := range meta.Topics[0].Partitions {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp = p.Partition, -1
			t.Partitions = append(t.Partitions, rp)
		}
		req.Topics = append(req.Topics, t)
		left, answered := map[int32]int64{}, 0
		for _, shard := range cl.RequestSharded(ctx, req) {
			res, ok := shard.Resp.(*kmsg.ListOffsetsResponse)
			if shard.Err != nil || !ok {
				continue
			}
			for _, p := range res.Topics[0].Partitions {
				if p.ErrorCode != 0 {
					continue
				}
				answered++
				if p.Offset > 0 {
					left[p.Partition] = p.Offset
				}
			}
		}
		if answered == len(meta.Topics[0].Partitions) {
			return left
		}
	}
	tb.Fatalf("the ends of %s can not be found out", topic)
	return nil
}
