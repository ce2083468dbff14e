// Package commitlog is the contract between those who write and read events and the logs that keep them.
//
// A Log is a set of topics, each a fixed number of partitions, each partition an append-only sequence of
// records with consecutive offsets from 0. Two rooms implement it, commitlog/journal on local disk and
// commitlog/kafkalog on Apache Kafka; commitlog/logtest is the conformance suite that both pass.
//
// What is appended is a record batch in Kafka's format v2, built by package recordbatch: the same bytes go to a
// broker or into a segment file. Appending is asynchronous, since one fsync, or one request to a leader, serves
// many batches at once:
//
//	b := &commitlog.Batch{Topic: "tollgate.usage", Partition: 3, Bytes: builder.Seal(), Records: builder.Records()}
//	b.Done = func(b *commitlog.Batch) { … b.Err, b.Base … }
//	log.Append([]*commitlog.Batch{b})
//
// A Packer and OneRecord make batches for those who write rarely; ingest, through which usage comes, has a way of its own.
//
// This package will not choose partitions' contents, append again what failed, or decide what an event means.
package commitlog

import (
	"context"
	"errors"

	"tollgate/pkg/recordbatch"
)

// The outcomes of an append that are not "durable". Batch.Err wraps exactly one of them and says, in words, what
// happened and to which file or broker.
var (
	// ErrUnknown: the log was asked and did not say. The batch may be in the log or not, now or later.
	ErrUnknown = errors.New("the outcome is unknown")
	// ErrUnavailable: the batch is not in the log, and the same batch may be appended again when Log.Ready is nil.
	ErrUnavailable = errors.New("the log can not take records now")
	// ErrRefused: the batch is not in the log and never will be, for what it is (too large, malformed, no such topic).
	ErrRefused = errors.New("the log refused the batch")
	// ErrClosed: the log is closed; the batch is not in it.
	ErrClosed = errors.New("the log is closed")
	// ErrOffsetOutOfRange: the offset to read was removed by retention, or does not exist yet.
	ErrOffsetOutOfRange = errors.New("the offset is not in the log")
)

// Batch is one record batch on its way into one partition.
//
// From Append until Done is called the log owns the batch and everything it points at, and may overwrite the
// producer fields and the CRC in Bytes. After Done it belongs to the caller again, bytes included: a log that has
// given up on a request that may still read the bytes sends a copy, never the original.
type Batch struct {
	Topic     string
	Partition int32
	// Bytes is a batch from recordbatch.Builder.Seal: uncompressed, valid, base offset 0, no producer.
	Bytes []byte
	// Records is the number of records in Bytes.
	Records int
	// Done is called exactly once, from a goroutine of the log. It must not block, nor call the log.
	Done func(*Batch)

	// Base is the offset of the first record. Valid in and after Done, when Err is nil. It is -1 in the rare case that
	// the log knows the batch to be durable and not where: Kafka's answer to a repetition may say just that.
	Base int64
	// Err is nil when every record is durable: acknowledged by all in-sync replicas, or fsynced.
	Err error
}

// Log is a set of partitioned topics. All methods may be called at once from many goroutines.
type Log interface {
	// Append hands over a set of batches and returns without waiting. Batches of one partition, in one set or in
	// successive ones, land in the order in which they were handed over. The log keeps at most what the caller has
	// handed over and not got back: the bound on memory is the caller's. The slice itself is the caller's again on
	// return.
	Append(set []*Batch)

	// Partitions is the number of partitions of a topic, fixed for the life of the Log; 0 when there is no such topic.
	Partitions(topic string) int

	// BatchBytesMax is the largest batch, header included, that the topic's partitions take.
	BatchBytesMax(topic string) int

	// Bounds returns the offset of the oldest record kept and the offset after the newest durable one.
	Bounds(ctx context.Context, topic string, partition int32) (oldest, next int64, err error)

	// NewReader reads one partition in order, from offset on.
	NewReader(topic string, partition int32, offset int64) (Reader, error)

	// Group makes this process a member of the group of that name on the topic, once its Run is called.
	Group(topic, name string) Group

	// Ready is nil when an append would be acknowledged now, as far as the log knows; otherwise the error says why
	// not and what a person can do about it.
	Ready() error

	// Close stops taking batches, waits for those handed over until ctx ends, and completes the rest with what is
	// known of them. Appends after Close complete with ErrClosed.
	Close(ctx context.Context) error
}

// Reader reads the durable records of one partition. It is for one goroutine at a time.
type Reader interface {
	// Next returns at least one record, waiting for it until ctx ends. The records and their bytes are valid until
	// the next call. A compacted or aborted range may leave gaps between offsets. ErrOffsetOutOfRange when
	// retention overtook the reader.
	Next(ctx context.Context) ([]recordbatch.Record, error)
	// Close frees what the reader holds.
	Close() error
}

// AppendWait appends a set and waits for all of it: for those who write rarely. When ctx ends first, the outcome is unknown and
// the batches still belong to the log.
func AppendWait(ctx context.Context, log Log, set ...*Batch) error {
	done := make(chan *Batch, len(set))
	for _, b := range set {
		b.Done = func(b *Batch) { done <- b }
	}
	log.Append(set)
	var errs []error
	for range set {
		select {
		case b := <-done:
			if b.Err != nil {
				errs = append(errs, b.Err)
			}
		case <-ctx.Done():
			return errors.Join(append(errs, ErrUnknown, ctx.Err())...)
		}
	}
	return errors.Join(errs...)
}
