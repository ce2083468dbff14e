package logtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

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
