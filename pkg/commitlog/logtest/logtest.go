// Package logtest is the conformance suite of commitlog.Log: what its contract promises, as tests that every
// implementation passes.
//
//	func TestConformance(t *testing.T) {
//		logtest.Run(t, func(t *testing.T) logtest.Opened { … })
//	}
//
// The suite looks at a log through its interface only. What a log does when its disk or its broker fails is for the
// implementation's own tests.
package logtest

import (
	"context"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// waitMax is how long anything that must happen may take.
const waitMax = 30 * time.Second

// Opened is a log to test, and what the suite needs to know about it.
type Opened struct {
	// Log is ready to append. The suite closes it.
	Log commitlog.Log
	// Topic is an empty topic of at least two partitions, of this test alone.
	Topic string
	// Reopen opens the same data once more. The suite has closed the log before, and closes the new one.
	Reopen func() commitlog.Log
}

// Run runs the suite. open is called once for each test.
func Run(t *testing.T, open func(t *testing.T) Opened) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, o *Opened)
	}{
		{"a record is read back as it was written", testReadBack},
		{"offsets are dense and Base is the first", testDenseOffsets},
		{"partitions are independent", testPartitions},
		{"batches of one partition land in the order of their hand-over", testOrder},
		{"many writers: every batch once, every Done once", testManyWriters},
		{"the set and the bytes belong to the caller again", testBytesOwned},
		{"a reader waits for the next record", testReaderWaits},
		{"a reader's wait ends with its context", testReaderContext},
		{"a reader starts anywhere", testReaderStarts},
		{"bounds are the oldest and the next offset", testBounds},
		{"an offset that does not exist is out of range", testOutOfRange},
		{"a batch over the limit is refused and uses no offset", testTooLarge},
		{"a topic or partition that does not exist is refused", testNoSuchPartition},
		{"the empty set is nothing", testEmptySet},
		{"after Close appends complete with ErrClosed", testClosed},
		{"Close waits for what was handed over", testCloseWaits},
		{"what was acknowledged is there when opened again", testReopen},
		{"a group's only member runs every partition, and leaves them free", testGroupOfOne},
		{"Own that returns early is called again", testOwnAgain},
		{"Run waits for every Own, and Commit for nothing", testGroupSlowOwn},
		{"a group that has ended runs nothing, one without a topic is hopeless", testGroupEnded},
		{"a group ends with its log", testGroupClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := open(t)
			t.Cleanup(func() { closeLog(t, o.Log) })
			test.run(t, &o)
		})
	}
}

// NewBatch makes a batch of one record for each value, sealed and ready to append. The record's key is "key".
func NewBatch(topic string, partition int32, values ...string) *commitlog.Batch {
	var b recordbatch.Builder
	b.Reset(nil)
	now := time.Now().UnixMilli()
	for _, value := range values {
		b.Append(now, recordbatch.AppendBody(nil, []byte("key"), []byte(value)))
	}
	return &commitlog.Batch{Topic: topic, Partition: partition, Records: b.Records(), Bytes: b.Seal()}
}

// Append appends a set, waits for it, and fails the test when a batch was not made durable.
func Append(t *testing.T, log commitlog.Log, set ...*commitlog.Batch) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	if err := commitlog.AppendWait(ctx, log, set...); err != nil {
		t.Fatalf("append: %v", err)
	}
}

// Read returns the values from offset on, count of them, and checks that their offsets are dense.
func Read(t *testing.T, log commitlog.Log, topic string, partition int32, offset int64, count int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	r, err := log.NewReader(topic, partition, offset)
	if err != nil {
		t.Fatalf("reader at %d: %v", offset, err)
	}
	defer r.Close()
	var values []string
	for len(values) < count {
		records, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("read after %d of %d records: %v", len(values), count, err)
		}
		if len(records) == 0 {
			t.Fatal("Next returned no record and no error")
		}
		for _, record := range records {
			if want := offset + int64(len(values)); record.Offset != want {
				t.Fatalf("record at offset %d, want %d", record.Offset, want)
			}
			values = append(values, string(record.Value))
		}
	}
	return values[:count]
}
