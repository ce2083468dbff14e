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
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
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

func testReadBack(t *testing.T, o *Opened) {
	before := time.Now().UnixMilli()
	var b recordbatch.Builder
	b.Reset(nil)
	b.Append(before, recordbatch.AppendBody(nil, []byte("k"), []byte("v")))
	b.Append(before+1, recordbatch.AppendBody(nil, nil, []byte{}))
	Append(t, o.Log, &commitlog.Batch{Topic: o.Topic, Records: b.Records(), Bytes: b.Seal()})

	r, err := o.Log.NewReader(o.Topic, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	records, err := r.Next(ctx)
	if err != nil || len(records) == 0 {
		t.Fatalf("Next: %d records, %v", len(records), err)
	}
	first := records[0]
	if first.Offset != 0 || first.TimestampMs != before || string(first.Key) != "k" || string(first.Value) != "v" || len(first.Headers) != 0 {
		t.Errorf("first record is %+v", first)
	}
	if len(records) < 2 {
		if records, err = r.Next(ctx); err != nil {
			t.Fatal(err)
		}
	} else {
		records = records[1:]
	}
	second := records[0]
	if second.Offset != 1 || second.TimestampMs != before+1 || second.Key != nil || second.Value == nil || len(second.Value) != 0 {
		t.Errorf("second record, null key and empty value, is %+v", second)
	}
}

func testDenseOffsets(t *testing.T, o *Opened) {
	var want []string
	for i := range 20 {
		b := NewBatch(o.Topic, 1, numbered("batch", i, 1+i%3)...)
		Append(t, o.Log, b)
		if b.Base != int64(len(want)) {
			t.Fatalf("batch %d has base %d, want %d", i, b.Base, len(want))
		}
		want = append(want, numbered("batch", i, 1+i%3)...)
	}
	equal(t, Read(t, o.Log, o.Topic, 1, 0, len(want)), want)
}

func testPartitions(t *testing.T, o *Opened) {
	n := o.Log.Partitions(o.Topic)
	if n < 2 {
		t.Fatalf("the suite needs a topic of two partitions, %q has %d", o.Topic, n)
	}
	var set []*commitlog.Batch
	for p := range n {
		set = append(set, NewBatch(o.Topic, int32(p), fmt.Sprint("partition ", p)))
	}
	Append(t, o.Log, set...)
	for p := range n {
		if set[p].Base != 0 {
			t.Errorf("the first batch of partition %d has base %d", p, set[p].Base)
		}
		equal(t, Read(t, o.Log, o.Topic, int32(p), 0, 1), []string{fmt.Sprint("partition ", p)})
	}
}

// testOrder hands over without waiting, several batches of a partition in a set and several sets in a row.
func testOrder(t *testing.T, o *Opened) {
	const sets, batchesASet = 30, 3
	var all []*commitlog.Batch
	done := newDone(t)
	for i := range sets {
		var set []*commitlog.Batch
		for j := range batchesASet {
			for p := range int32(2) {
				b := NewBatch(o.Topic, p, fmt.Sprint(i*batchesASet+j))
				b.Done = done.take
				set = append(set, b)
			}
		}
		o.Log.Append(set)
		all = append(all, set...)
	}
	done.wait(len(all))
	var want []string
	for i := range sets * batchesASet {
		want = append(want, fmt.Sprint(i))
	}
	for p := range int32(2) {
		equal(t, Read(t, o.Log, o.Topic, p, 0, len(want)), want)
	}
}

func testManyWriters(t *testing.T, o *Opened) {
	const writers, batches, recordsEach = 16, 25, 3
	done := newDone(t)
	var all [writers][]*commitlog.Batch
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range batches {
				b := NewBatch(o.Topic, int32(w%2), numbered(fmt.Sprint("writer ", w), i, recordsEach)...)
				b.Done = done.take
				all[w] = append(all[w], b)
				o.Log.Append([]*commitlog.Batch{b})
			}
		})
	}
	group.Wait()
	done.wait(writers * batches)

	var read [2][]string
	for p := range read {
		read[p] = Read(t, o.Log, o.Topic, int32(p), 0, writers/2*batches*recordsEach)
	}
	for w := range writers {
		last := int64(-1)
		for i, b := range all[w] {
			if b.Base <= last {
				t.Fatalf("writer %d: batch %d at %d landed before the one handed over earlier, at %d", w, i, b.Base, last)
			}
			last = b.Base
			equal(t, read[b.Partition][b.Base:b.Base+recordsEach], numbered(fmt.Sprint("writer ", w), i, recordsEach))
		}
	}
	for p := range int32(2) {
		if _, next, err := o.Log.Bounds(t.Context(), o.Topic, p); err != nil || next != int64(len(read[p])) {
			t.Errorf("partition %d ends at %d (%v), want %d: something is there twice", p, next, err, len(read[p]))
		}
	}
}

// testBytesOwned overwrites the set as soon as Append returns and the bytes as soon as Done is called.
func testBytesOwned(t *testing.T, o *Opened) {
	const batches = 50
	done := newDone(t)
	set := make([]*commitlog.Batch, 1)
	for i := range batches {
		b := NewBatch(o.Topic, 0, fmt.Sprint("batch ", i, strings.Repeat(".", 1000)))
		b.Done = func(b *commitlog.Batch) {
			for i := range b.Bytes {
				b.Bytes[i] = 0xee
			}
			done.take(b)
		}
		set[0] = b
		o.Log.Append(set)
		set[0] = nil
	}
	done.wait(batches)
	for i, value := range Read(t, o.Log, o.Topic, 0, 0, batches) {
		if !strings.HasPrefix(value, fmt.Sprint("batch ", i, ".")) {
			t.Fatalf("record %d is %.20q", i, value)
		}
	}
}

func testReaderWaits(t *testing.T, o *Opened) {
	r, err := o.Log.NewReader(o.Topic, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	for i := range 3 {
		got := make(chan string, 1)
		go func() {
			records, err := r.Next(ctx)
			if err != nil {
				got <- err.Error()
				return
			}
			got <- string(records[0].Value)
		}()
		select {
		case value := <-got:
			t.Fatalf("Next returned %q before anything was appended", value)
		case <-time.After(50 * time.Millisecond):
		}
		Append(t, o.Log, NewBatch(o.Topic, 0, fmt.Sprint(i)))
		if value := <-got; value != fmt.Sprint(i) {
			t.Fatalf("Next returned %q, want record %d", value, i)
		}
	}
}

func testReaderContext(t *testing.T, o *Opened) {
	r, err := o.Log.NewReader(o.Topic, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next: %v, want the context's error", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Next outlived its context by %v", took)
	}
	// The reader is still good.
	Append(t, o.Log, NewBatch(o.Topic, 0, "later"))
	ctx, cancel = context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	if records, err := r.Next(ctx); err != nil || string(records[0].Value) != "later" {
		t.Errorf("Next after a wait that ended: %v, %v", records, err)
	}
}

// testReaderStarts reads from every offset, most of them inside a batch.
func testReaderStarts(t *testing.T, o *Opened) {
	want := append(numbered("a", 0, 5), append(numbered("b", 0, 1), numbered("c", 0, 4)...)...)
	Append(t, o.Log, NewBatch(o.Topic, 0, want[:5]...), NewBatch(o.Topic, 0, want[5:6]...), NewBatch(o.Topic, 0, want[6:]...))
	for from := range want {
		equal(t, Read(t, o.Log, o.Topic, 0, int64(from), len(want)-from), want[from:])
	}
}

func testBounds(t *testing.T, o *Opened) {
	check := func(wantNext int64) {
		t.Helper()
		oldest, next, err := o.Log.Bounds(t.Context(), o.Topic, 1)
		if err != nil || oldest != 0 || next != wantNext {
			t.Errorf("bounds are %d, %d, %v; want 0, %d", oldest, next, err, wantNext)
		}
	}
	check(0)
	Append(t, o.Log, NewBatch(o.Topic, 1, "a", "b", "c"))
	check(3)
}

func testOutOfRange(t *testing.T, o *Opened) {
	Append(t, o.Log, NewBatch(o.Topic, 0, "a"))
	r, err := o.Log.NewReader(o.Topic, 0, 100)
	if err == nil {
		defer r.Close()
		ctx, cancel := context.WithTimeout(t.Context(), waitMax)
		defer cancel()
		_, err = r.Next(ctx)
	}
	if !errors.Is(err, commitlog.ErrOffsetOutOfRange) {
		t.Errorf("reading at 100 of 1: %v, want ErrOffsetOutOfRange", err)
	}
}

func testTooLarge(t *testing.T, o *Opened) {
	limit := o.Log.BatchBytesMax(o.Topic)
	if limit <= recordbatch.HeaderBytes {
		t.Fatalf("BatchBytesMax is %d", limit)
	}
	// Values that no codec makes small: a log may measure what it sends.
	noise := make([]byte, limit)
	state := uint64(1)
	for i := 0; i+8 <= len(noise); i += 8 {
		state = state*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(noise[i:], state^state>>29)
	}
	large, small := NewBatch(o.Topic, 0, string(noise)), NewBatch(o.Topic, 0, "small")
	done := newDone(t)
	large.Done, small.Done = done.note, done.note
	o.Log.Append([]*commitlog.Batch{large, small})
	done.wait(2)
	if !errors.Is(large.Err, commitlog.ErrRefused) {
		t.Errorf("a batch of %d bytes where %d are allowed: %v, want ErrRefused", len(large.Bytes), limit, large.Err)
	}
	if small.Err != nil || small.Base != 0 {
		t.Errorf("the batch behind it: base %d, %v", small.Base, small.Err)
	}
}

func testNoSuchPartition(t *testing.T, o *Opened) {
	if n := o.Log.Partitions("no such topic"); n != 0 {
		t.Errorf("a topic that does not exist has %d partitions", n)
	}
	beyond := int32(o.Log.Partitions(o.Topic))
	done := newDone(t)
	set := []*commitlog.Batch{NewBatch("no-such-topic", 0, "a"), NewBatch(o.Topic, beyond, "b"), NewBatch(o.Topic, -1, "c")}
	for _, b := range set {
		b.Done = done.note
	}
	o.Log.Append(set)
	done.wait(len(set))
	for _, b := range set {
		if !errors.Is(b.Err, commitlog.ErrRefused) {
			t.Errorf("append to %s-%d: %v, want ErrRefused", b.Topic, b.Partition, b.Err)
		}
	}
	if _, _, err := o.Log.Bounds(t.Context(), o.Topic, beyond); err == nil {
		t.Error("Bounds of a partition that does not exist")
	}
	if _, err := o.Log.NewReader("no-such-topic", 0, 0); err == nil {
		t.Error("NewReader of a topic that does not exist")
	}
}

func testEmptySet(t *testing.T, o *Opened) {
	o.Log.Append(nil)
	Append(t, o.Log)
	if err := o.Log.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
}

func testClosed(t *testing.T, o *Opened) {
	Append(t, o.Log, NewBatch(o.Topic, 0, "a"))
	closeLog(t, o.Log)
	done := newDone(t)
	b := NewBatch(o.Topic, 0, "b")
	b.Done = done.note
	o.Log.Append([]*commitlog.Batch{b})
	done.wait(1)
	if !errors.Is(b.Err, commitlog.ErrClosed) {
		t.Errorf("append after Close: %v, want ErrClosed", b.Err)
	}
	if o.Log.Ready() == nil {
		t.Error("a closed log says that it is ready")
	}
}

func testCloseWaits(t *testing.T, o *Opened) {
	const batches = 40
	done := newDone(t)
	for i := range batches {
		b := NewBatch(o.Topic, int32(i%2), fmt.Sprint(i))
		b.Done = done.take
		o.Log.Append([]*commitlog.Batch{b})
	}
	closeLog(t, o.Log)
	if n := done.count(); n != batches {
		t.Errorf("Close returned when %d of %d batches were done", n, batches)
	}
}

func testReopen(t *testing.T, o *Opened) {
	Append(t, o.Log, NewBatch(o.Topic, 0, "a", "b"), NewBatch(o.Topic, 1, "c"))
	for i := range 3 {
		closeLog(t, o.Log)
		o.Log = o.Reopen()
		b := NewBatch(o.Topic, 0, fmt.Sprint("life ", i))
		Append(t, o.Log, b)
		if want := int64(2 + i); b.Base != want {
			t.Errorf("life %d: base %d, want %d", i, b.Base, want)
		}
	}
	equal(t, Read(t, o.Log, o.Topic, 0, 0, 5), []string{"a", "b", "life 0", "life 1", "life 2"})
	equal(t, Read(t, o.Log, o.Topic, 1, 0, 1), []string{"c"})
}

// done counts the completions of batches.
type done struct {
	t     *testing.T
	mu    sync.Mutex
	seen  map[*commitlog.Batch]bool
	event chan struct{}
}

func newDone(t *testing.T) *done {
	return &done{t: t, seen: map[*commitlog.Batch]bool{}, event: make(chan struct{}, 1)}
}

// note takes a batch whatever became of it.
func (d *done) note(b *commitlog.Batch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen[b] {
		d.t.Errorf("Done was called twice for a batch of %s-%d", b.Topic, b.Partition)
	}
	d.seen[b] = true
	select {
	case d.event <- struct{}{}:
	default:
	}
}

// take takes a batch that must be durable.
func (d *done) take(b *commitlog.Batch) {
	if b.Err != nil {
		d.t.Errorf("append to %s-%d: %v", b.Topic, b.Partition, b.Err)
	}
	d.note(b)
}

func (d *done) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.seen)
}

func (d *done) wait(want int) {
	d.t.Helper()
	timeout := time.After(waitMax)
	for d.count() < want {
		select {
		case <-d.event:
		case <-timeout:
			d.t.Fatalf("%d of %d batches were done after %v", d.count(), want, waitMax)
		}
	}
}

func closeLog(t *testing.T, log commitlog.Log) {
	t.Helper()
	// Not the test's context: that one has ended when cleanups run.
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	if err := log.Close(ctx); err != nil && !errors.Is(err, commitlog.ErrClosed) {
		t.Errorf("close: %v", err)
	}
}

func numbered(name string, batch, count int) []string {
	var values []string
	for i := range count {
		values = append(values, fmt.Sprintf("%s/%d/%d", name, batch, i))
	}
	return values
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("record %d is %q, want %q", i, got[i], want[i])
		}
	}
}
