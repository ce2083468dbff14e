package logtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// readFirst opens a reader at the topic's first record; ctx bounds what is to be waited for.
func readFirst(t *testing.T, o *Opened) (r commitlog.Reader, ctx context.Context) {
	t.Helper()
	r, err := o.Log.NewReader(o.Topic, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	t.Cleanup(func() { cancel(); _ = r.Close() })
	return r, ctx
}

func testReadBack(t *testing.T, o *Opened) {
	before := time.Now().UnixMilli()
	var b recordbatch.Builder
	b.Reset(nil)
	b.Append(before, recordbatch.AppendBody(nil, []byte("k"), []byte("v")))
	b.Append(before+1, recordbatch.AppendBody(nil, nil, []byte{}))
	Append(t, o.Log, &commitlog.Batch{Topic: o.Topic, Records: b.Records(), Bytes: b.Seal()})

	r, ctx := readFirst(t, o)
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

func testReaderWaits(t *testing.T, o *Opened) {
	r, ctx := readFirst(t, o)
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
	r, _ := readFirst(t, o)
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
