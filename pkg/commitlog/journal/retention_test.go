package journal

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

func TestRetentionByAgeRemovesWholeClosedSegmentsOldestFirst(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.SegmentBytes = 200
		c.BatchBytesMax = 200
		c.Topics[0].RetentionAge = time.Hour
	})
	for i := range 6 { // each its own segment
		b.appendNow(strings.Repeat(fmt.Sprint(i), 80))
		b.clock.advance(30 * time.Minute)
	}
	old := &reader{p: b.j.partitions[0]}
	b.clock.advance(-29 * time.Minute) // they are 151, 121, 91, 61, 31 and 1 minutes old
	b.j.partitions[0].retain()
	oldest, next, err := b.j.Bounds(t.Context(), topic, 0)
	if oldest != 4 || next != 6 || err != nil {
		t.Fatalf("bounds %d to %d, %v, want 4 to 6", oldest, next, err)
	}
	if _, err := old.Next(t.Context()); !errors.Is(err, commitlog.ErrOffsetOutOfRange) {
		t.Fatalf("a reader behind gets %v", err)
	}
	b.clock.advance(24 * time.Hour)
	b.j.partitions[0].retain()
	if oldest, _ := b.j.partitions[0].bounds(); oldest != 5 {
		t.Fatalf("oldest %d, want the active segment's 5", oldest)
	}
	b.fs = b.fs.Crash()
	b.cfg.FS = b.fs
	b.reopen()
	if oldest, next := b.j.partitions[0].bounds(); oldest != 5 || next != 6 {
		t.Fatalf("after a crash the bounds are %d to %d", oldest, next)
	}
	b.j.partitions[0].retain()
}

// appendNow appends one record that was received now, by the clock.
func (b *bench) appendNow(value string) {
	b.Helper()
	var builder recordbatch.Builder
	builder.Reset(nil)
	builder.Append(b.clock.Now().UnixMilli(), recordbatch.AppendBody(nil, []byte("key"), []byte(value)))
	one := &commitlog.Batch{Topic: topic, Bytes: builder.Seal(), Records: 1, Done: func(*commitlog.Batch) {}}
	b.j.Append([]*commitlog.Batch{one})
	b.j.step()
	b.want(one.Err, nil)
}

func TestRetentionByAgeReadsTheTimesOfSegmentsFromBeforeTheStart(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.SegmentBytes = 200
		c.BatchBytesMax = 200
		c.Topics[0].RetentionAge = time.Hour
	})
	for range 4 {
		b.appendNow(strings.Repeat("x", 80))
	}
	b.j.abandon()
	b.reopen()
	b.j.partitions[0].retain()
	if oldest, _ := b.j.partitions[0].bounds(); oldest != 0 {
		t.Fatalf("oldest %d: removed too early", oldest)
	}
	b.clock.advance(time.Hour + time.Second)
	b.j.partitions[0].retain()
	if oldest, _ := b.j.partitions[0].bounds(); oldest != 3 {
		t.Fatalf("oldest %d, want 3", oldest)
	}
}

func TestRetentionByBytesKeepsAtLeastSoMuch(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.SegmentBytes = 200
		c.BatchBytesMax = 200
		c.Topics[0].RetentionBytes = 450
	})
	for range 10 {
		b.want(b.append(strings.Repeat("x", 80)), nil) // 154 bytes, a segment each
	}
	b.j.partitions[0].retain()
	p := b.j.partitions[0]
	var kept int64
	for _, s := range p.segments {
		kept += s.end
	}
	if kept < 450 || kept-p.segments[0].end >= 450 {
		t.Fatalf("%d bytes are kept in %d segments", kept, len(p.segments))
	}
}

func TestASegmentIsClosedByAgeSoThatItCanBeRemoved(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Topics[0].RetentionAge = 8 * time.Hour })
	for range 3 {
		b.appendNow("x")
		b.clock.advance(40 * time.Minute)
	}
	if n := len(b.j.partitions[0].segments); n != 2 {
		t.Fatalf("%d segments, want 2: the third batch comes 80 minutes after the first", n)
	}
}
