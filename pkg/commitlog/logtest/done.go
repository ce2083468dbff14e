package logtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
)

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
