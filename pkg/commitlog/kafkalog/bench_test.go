package kafkalog_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/kafkalog"
	"tollgate/pkg/recordbatch"
	kafkatest "tollgate/test/kafka"
)

// Against one real broker on the same machine, 12 partitions, acks=all. rec/s and the client's CPU (user and system, the
// broker's not counted) per record:
//
//	go test ./pkg/commitlog/kafkalog -run '^$' -bench . -benchtime 4s
//
// Saturation: every partition always has a batch to send. Paced: 100,000 records a second, handed over as the ingester
// does, the next batch of a partition when the last one is done. The peer is kafka-go's own Writer, tuned (large
// batches, several writers), which is not idempotent.
const (
	benchPartitions = 12
	pacedRate       = 100_000 // records a second
	// benchBatchBytesMax leaves room for one record more below the log's BatchBytesMax.
	benchBatchBytesMax = 960<<10 - 1024
)

// benchKeys are meters; benchValues their events, as the usage topic has them.
var benchKeys, benchValues = func() (keys, values [][]byte) {
	for i := range 4096 {
		keys = append(keys, fmt.Appendf(nil, "acct_demo/testmode/meter_%d", i%64))
		values = append(values, fmt.Appendf(nil, `{"object":"meter_event","business":"acct_demo","livemode":false,"event_name":"meter_%d",`+
			`"identifier":"%016x","timestamp":"2026-11-21T12:00:00.%03dZ","payload":{"stripe_customer_id":"cus_%d","value":"%d"}}`,
			i%64, uint64(i+1)*0x9e3779b97f4a7c15, i%1000, i*7919%9973, i%100))
	}
	return keys, values
}()

func BenchmarkAppend(b *testing.B) {
	c := kafkatest.Start(b, kafkatest.Options{Properties: map[string]string{
		"log.retention.check.interval.ms": "1000", "log.segment.bytes": "67108864", "log.retention.bytes": "67108864",
	}})
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.LZ4, recordbatch.Zstd} {
		for _, batchBytes := range []int{16 << 10, 256 << 10, benchBatchBytesMax} {
			b.Run(fmt.Sprintf("saturation/kafkalog/%s/%dKiB", codec, batchBytes>>10), func(b *testing.B) {
				saturate(b, benchLog(b, c, codec), batchBytes)
			})
		}
		b.Run(fmt.Sprintf("paced/kafkalog/%s", codec), func(b *testing.B) { pace(b, benchLog(b, c, codec)) })
	}
	for name, codec := range map[string]kafka.Compression{"none": 0, "lz4": kafka.Lz4} {
		b.Run("saturation/kafka-go-Writer/"+name, func(b *testing.B) { saturateWriter(b, c, codec) })
		b.Run("paced/kafka-go-Writer/"+name, func(b *testing.B) { paceWriter(b, c, codec) })
	}
}

var benchTopics int

func benchLog(b *testing.B, c *kafkatest.Cluster, codec recordbatch.Codec) *kafkalog.Log {
	benchTopics++
	log := openReady(b, c.Brokers, func(config *kafkalog.Config) {
		config.Codec = codec
		config.Topics = []kafkalog.TopicConfig{{Name: fmt.Sprint("bench-", benchTopics), Partitions: benchPartitions}}
	})
	// Connections and producer ids are not what is measured.
	var set []*commitlog.Batch
	for p := range int32(benchPartitions) {
		set = append(set, benchBatch(p, 1))
	}
	if err := commitlog.AppendWait(b.Context(), log, set...); err != nil {
		b.Fatal(err)
	}
	return log
}

func benchBatch(partition int32, bytes int) *commitlog.Batch {
	var builder recordbatch.Builder
	builder.Reset(nil)
	for i := 0; i == 0 || builder.Len() < bytes-300; i++ {
		n := i % len(benchKeys)
		builder.Append(int64(1_790_000_000_000+i/100), recordbatch.AppendBody(nil, benchKeys[n], benchValues[n]))
	}
	return &commitlog.Batch{
		Topic: fmt.Sprint("bench-", benchTopics), Partition: partition, Records: builder.Records(), Bytes: builder.Seal(),
	}
}

// measured reports records a second and CPU a record of what do appends.
func measured(b *testing.B, do func() (records int)) {
	before, began := cpu(), time.Now()
	b.ResetTimer()
	records := float64(do())
	b.StopTimer()
	b.ReportMetric(records/time.Since(began).Seconds(), "rec/s")
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1000/records, "cpu-µs/rec")
	b.ReportMetric(0, "ns/op")
}

func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// saturate appends prepared batches, b.N of them; a batch that is done is appended again by a goroutine of its own, as
// Done must not call the log.
func saturate(b *testing.B, log *kafkalog.Log, batchBytes int) {
	var writers sync.WaitGroup
	tickets := make(chan struct{}, b.N)
	for range b.N {
		tickets <- struct{}{}
	}
	close(tickets)
	batches := make([]*commitlog.Batch, benchPartitions)
	for p := range batches {
		batches[p] = benchBatch(int32(p), batchBytes)
	}
	measured(b, func() int {
		for _, batch := range batches {
			writers.Go(func() {
				done := make(chan *commitlog.Batch, 1)
				batch.Done = func(batch *commitlog.Batch) { done <- batch }
				for range tickets {
					log.Append([]*commitlog.Batch{batch})
					if got := <-done; got.Err != nil {
						b.Error(got.Err)
					}
				}
			})
		}
		writers.Wait()
		return b.N * batches[0].Records
	})
}

// pace hands over b.N records at the rate, building batches meanwhile as the ingester's drainer does.
func pace(b *testing.B, log *kafkalog.Log) {
	type building struct {
		builder recordbatch.Builder
		spare   []byte
		flies   bool
	}
	var parts [benchPartitions]building
	done := make(chan *commitlog.Batch, benchPartitions)
	body := make([]byte, 0, 512)
	for p := range parts {
		parts[p].builder.Reset(make([]byte, 0, 1<<20))
		parts[p].spare = make([]byte, 0, 1<<20)
	}
	topic := fmt.Sprint("bench-", benchTopics)
	flush := func() {
		var set []*commitlog.Batch
		for p := range parts {
			part := &parts[p]
			if part.flies || part.builder.Records() == 0 {
				continue
			}
			batch := &commitlog.Batch{Topic: topic, Partition: int32(p), Records: part.builder.Records(), Done: func(batch *commitlog.Batch) { done <- batch }}
			batch.Bytes = part.builder.Seal()
			part.builder.Reset(part.spare)
			part.flies = true
			set = append(set, batch)
		}
		log.Append(set)
	}
	took := func(batch *commitlog.Batch) {
		if batch.Err != nil {
			b.Error(batch.Err)
		}
		parts[batch.Partition].spare, parts[batch.Partition].flies = batch.Bytes[:0], false
	}
	measured(b, func() int {
		began, sent := time.Now(), 0
		for sent < b.N {
			for due := min(b.N, int(time.Since(began).Seconds()*pacedRate)); sent < due; sent++ {
				n := sent % len(benchKeys)
				if parts[sent%benchPartitions].builder.Len() > benchBatchBytesMax {
					break // the broker does not keep up: wait for it, and be behind
				}
				body = recordbatch.AppendBody(body[:0], benchKeys[n], benchValues[n])
				parts[sent%benchPartitions].builder.Append(1_790_000_000_000, body)
			}
			flush()
			select {
			case batch := <-done:
				took(batch)
			case <-time.After(time.Millisecond):
			}
		}
		for p := range parts {
			for parts[p].flies || parts[p].builder.Records() > 0 {
				flush()
				took(<-done)
			}
		}
		return b.N
	})
}

func benchWriter(b *testing.B, c *kafkatest.Cluster, codec kafka.Compression) *kafka.Writer {
	benchLog(b, c, recordbatch.None) // makes the topic
	w := &kafka.Writer{
		Addr: kafka.TCP(c.Brokers...), Topic: fmt.Sprint("bench-", benchTopics), Balancer: &kafka.RoundRobin{},
		RequiredAcks: kafka.RequireAll, Compression: codec,
		BatchSize: 5000, BatchBytes: 960 << 10, BatchTimeout: 5 * time.Millisecond,
		Transport: new(kafka.Transport), // the default one remembers which topics there were
	}
	b.Cleanup(func() { w.Close() })
	return w
}

func saturateWriter(b *testing.B, c *kafkatest.Cluster, codec kafka.Compression) {
	w := benchWriter(b, c, codec)
	const perCall = 5000
	messages := make([]kafka.Message, perCall)
	for i := range messages {
		messages[i] = kafka.Message{Key: benchKeys[i%len(benchKeys)], Value: benchValues[i%len(benchKeys)]}
	}
	calls := make(chan struct{}, b.N)
	for range b.N {
		calls <- struct{}{}
	}
	close(calls)
	measured(b, func() int {
		var writers sync.WaitGroup
		for range benchPartitions {
			writers.Go(func() {
				for range calls {
					if err := w.WriteMessages(context.Background(), messages...); err != nil {
						b.Error(err)
					}
				}
			})
		}
		writers.Wait()
		return b.N * perCall
	})
}

func paceWriter(b *testing.B, c *kafkatest.Cluster, codec kafka.Compression) {
	w := benchWriter(b, c, codec)
	w.Async = true
	w.Completion = func(_ []kafka.Message, err error) {
		if err != nil {
			b.Error(err)
		}
	}
	measured(b, func() int {
		began, sent := time.Now(), 0
		var messages []kafka.Message
		for sent < b.N {
			messages = messages[:0]
			for due := min(b.N, int(time.Since(began).Seconds()*pacedRate)); sent < due; sent++ {
				n := sent % len(benchKeys)
				messages = append(messages, kafka.Message{Key: benchKeys[n], Value: benchValues[n]})
			}
			if err := w.WriteMessages(context.Background(), messages...); err != nil {
				b.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
		if err := w.Close(); err != nil {
			b.Error(err)
		}
		return b.N
	})
}
