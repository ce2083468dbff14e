package main

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// A library sends by kafka-go's RawProduce, as its documentation has it: a call and a connection for each partition, and
// one batch in flight on it. What it costs above a sender is kafka-go's own, which copies every request into pages.
type library struct {
	client kafka.Client
	topic  string
	lines  []line
}

// A line is a partition's batch with its length before it, which together are Kafka's record set.
type line struct {
	*batch
	set  []byte
	sent int64 // records that were acknowledged
}

func newLibrary(broker, topic string, batches []*batch) *library {
	l := &library{client: kafka.Client{Addr: kafka.TCP(broker), Timeout: answerMax}, topic: topic}
	for _, b := range batches {
		set := append(binary.BigEndian.AppendUint32(nil, uint32(len(b.bytes))), b.bytes...)
		b.bytes = set[4:] // from now on it lives there
		l.lines = append(l.lines, line{batch: b, set: set})
	}
	return l
}

// sendFor sends as fast as it goes until the time is over, and ends when a batch is not taken.
func (l *library) sendFor(d time.Duration) (records, bytes int64, err error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	end := time.Now().Add(d)
	var all sync.WaitGroup
	for i := range l.lines {
		all.Go(func() {
			if err := l.send(ctx, &l.lines[i], end); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	err = context.Cause(ctx)
	cancel(nil)
	for _, p := range l.lines {
		records += p.sent
		bytes += p.sent / int64(p.records) * int64(len(p.bytes))
	}
	return records, bytes, err
}

func (l *library) send(ctx context.Context, p *line, end time.Time) error {
	for time.Now().Before(end) && ctx.Err() == nil {
		p.renew()
		answer, err := l.client.RawProduce(ctx, &kafka.RawProduceRequest{
			Topic: l.topic, Partition: int(p.partition), RequiredAcks: kafka.RequireAll,
			RawRecords: protocol.RawRecordSet{Reader: protocol.NewBytes(p.set)},
		})
		if err == nil {
			err = answer.Error
		}
		if err != nil {
			return err
		}
		p.sent += int64(p.records)
	}
	return nil
}
