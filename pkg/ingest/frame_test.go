package ingest

import (
	"bytes"
	"fmt"
	"testing"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

func TestAFrameHoldsWhatAppendBodyMakes(t *testing.T) {
	g := open(t, discard{partitions: 7}, Config{})
	f := g.NewFrame(1234)
	var keys, values [][]byte
	add := func(key string, valueBytes int) {
		value := bytes.Repeat([]byte{byte('a' + len(values)%26)}, valueBytes)
		f.End(append(f.Begin(keyOf(key)), value...))
		keys, values = append(keys, []byte(key)), append(values, value)
	}
	// Around each width of the value's length, and of the key's.
	for _, n := range []int{0, 1, 63, 64, 65, 8191, 8192, 8193, 100_000, 1<<20 - 1, 1 << 20} {
		add("acct/testmode/one", n)
		add(fmt.Sprintf("acct/testmode/other%d", n), n)
	}
	add("", 200)
	add(string(bytes.Repeat([]byte("k"), 64)), 10)
	if f.Records() != len(values) {
		t.Fatalf("%d records, %d were ended", f.Records(), len(values))
	}
	at, bodyMax := frameHeaderBytes, 0
	for i := range values {
		partition, body, next := view(f.buf).record(at)
		if want := recordbatch.AppendBody(nil, keys[i], values[i]); !bytes.Equal(body, want) {
			t.Errorf("record %d, value of %d bytes: %.40x… of %d bytes, want %.40x… of %d", i, len(values[i]), body, len(body), want, len(want))
		}
		if want := commitlog.PartitionFor(keys[i], 7); partition != int(want) {
			t.Errorf("record %d is for partition %d, its key for %d", i, partition, want)
		}
		at, bodyMax = next, max(bodyMax, len(body))
	}
	if at != len(f.buf) || f.bodyMax != bodyMax || view(f.buf).receivedMs() != 1234 {
		t.Errorf("frame of %d bytes read to %d; longest body %d, said to be %d; received %d", len(f.buf), at, bodyMax, f.bodyMax, view(f.buf).receivedMs())
	}
	f.Release()
}

func TestAFrameFromThePoolIsEmpty(t *testing.T) {
	g := open(t, discard{partitions: 7}, Config{})
	for range 100 {
		f := g.NewFrame(1)
		if f.Records() != 0 || len(f.buf) != frameHeaderBytes || f.bodyMax != 0 {
			t.Fatalf("a new frame has %d records in %d bytes", f.Records(), len(f.buf))
		}
		f.Begin(keyOf("begun and never ended"))
		f.Release()
	}
}

func TestSubmitInTheMiddleOfARecordIsABug(t *testing.T) {
	g := open(t, discard{partitions: 1}, Config{})
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	f := g.NewFrame(1)
	f.Begin(keyOf("key"))
	_ = g.Submit(f)
}

func TestAKeyFindsItsPartitionAgainInAnotherLog(t *testing.T) {
	key := keyOf("acct/testmode/api_requests")
	for _, partitions := range []int{7, 12, 1, 7} {
		g := open(t, discard{partitions: partitions}, Config{})
		f := g.NewFrame(1)
		f.End(f.Begin(key))
		got, _, _ := view(f.buf).record(frameHeaderBytes)
		if want := commitlog.PartitionFor([]byte("acct/testmode/api_requests"), partitions); got != int(want) {
			t.Errorf("of %d partitions %d, want %d", partitions, got, want)
		}
		f.Release()
	}
}
