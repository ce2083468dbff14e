package kafkalog_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/logtest"
)

// load appends to every partition without a pause and keeps a ledger of what it was told, for finish to compare with
// what the log holds.
type load struct {
	t       testing.TB
	log     commitlog.Log
	topic   string
	records int // a batch
	over    atomic.Bool
	writers sync.WaitGroup
	ledgers []*ledger
}

// window is how many batches of a partition are handed over at a time: one on its way and some in the queue.
const window = 3

// ledger is what one partition's writer was told, by the number of the record.
type ledger struct {
	partition int32
	next      int
	mu        sync.Mutex
	outcome   map[int]error // of each record
	durable   int
	refusals  int
}

func startLoad(t testing.TB, log commitlog.Log, topic string, records int) *load {
	l := &load{t: t, log: log, topic: topic, records: records}
	for p := range log.Partitions(topic) {
		led := &ledger{partition: int32(p), outcome: map[int]error{}}
		l.ledgers = append(l.ledgers, led)
		l.writers.Go(func() { l.write(led) })
	}
	return l
}

func (l *load) write(led *ledger) {
	slots := make(chan struct{}, window)
	padding := strings.Repeat("x", 100)
	for !l.over.Load() {
		slots <- struct{}{}
		first := led.next
		values := make([]string, l.records)
		for i := range values {
			values[i] = fmt.Sprintf("%d %s", led.next, padding)
			led.next++
		}
		b := logtest.NewBatch(l.topic, led.partition, values...)
		b.Done = func(b *commitlog.Batch) {
			led.mu.Lock()
			defer led.mu.Unlock()
			for i := range b.Records {
				led.outcome[first+i] = b.Err
			}
			if b.Err == nil {
				led.durable += b.Records
			} else {
				led.refusals++
			}
			for i := range b.Bytes {
				b.Bytes[i] = 0xee // the bytes are ours again: nobody may be reading them
			}
			<-slots
		}
		l.log.Append([]*commitlog.Batch{b})
		led.mu.Lock()
		refusals := led.refusals
		led.mu.Unlock()
		if refusals > 0 {
			time.Sleep(time.Millisecond) // a log that turns away does so at once
		}
	}
	for range window {
		slots <- struct{}{}
	}
}

// more waits until every partition has acknowledged n records more.
func (l *load) more(n int) {
	l.t.Helper()
	goals := make([]int, len(l.ledgers))
	for i, led := range l.ledgers {
		led.mu.Lock()
		goals[i] = led.durable + n
		led.mu.Unlock()
	}
	for deadline := time.Now().Add(2 * waitMax); ; time.Sleep(2 * time.Millisecond) {
		short := 0
		for i, led := range l.ledgers {
			led.mu.Lock()
			if led.durable < goals[i] {
				short++
			}
			led.mu.Unlock()
		}
		if short == 0 {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%d partitions did not acknowledge %d records in %v; ready: %v", short, n, 2*waitMax, l.log.Ready())
		}
	}
}

// finish stops the writers and compares: what was acknowledged is there once, what was turned away is not there, and
// everything is in the order of the hand-over.
func (l *load) finish() {
	l.t.Helper()
	l.over.Store(true)
	l.writers.Wait()
	total, unknown := 0, 0
	for _, led := range l.ledgers {
		seen := map[int]bool{}
		last := -1
		for _, n := range l.numbers(led.partition) {
			if seen[n] {
				l.t.Errorf("partition %d: record %d is there twice", led.partition, n)
			}
			if n <= last {
				l.t.Errorf("partition %d: record %d stands behind %d", led.partition, n, last)
			}
			seen[n], last = true, n
			if err := led.outcome[n]; err != nil && !errors.Is(err, commitlog.ErrUnknown) {
				l.t.Errorf("partition %d: record %d is there, and its append came to: %v", led.partition, n, err)
			}
		}
		for n, err := range led.outcome {
			switch {
			case err == nil && !seen[n]:
				l.t.Errorf("partition %d: record %d was acknowledged and is lost", led.partition, n)
			case err == nil:
				total++
			case errors.Is(err, commitlog.ErrUnknown):
				unknown++
			}
		}
	}
	l.t.Logf("%d records acknowledged: lost 0, twice 0, out of order 0; %d unknown", total, unknown)
}

func (l *load) numbers(partition int32) (numbers []int) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*waitMax)
	defer cancel()
	_, next, err := l.log.Bounds(ctx, l.topic, partition)
	if err != nil {
		l.t.Fatal(err)
	}
	r, err := l.log.NewReader(l.topic, partition, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	defer r.Close()
	for offset := int64(0); offset < next; {
		records, err := r.Next(ctx)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, record := range records {
			text, _, _ := strings.Cut(string(record.Value), " ")
			n, err := strconv.Atoi(text)
			if err != nil {
				l.t.Fatalf("partition %d offset %d: %q", partition, record.Offset, record.Value)
			}
			numbers = append(numbers, n)
			offset = record.Offset + 1
		}
	}
	return numbers
}
