package journal

import (
	"testing"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

func TestTrimRemovesTheSegmentsThatAreLetGoOfAndNoOther(t *testing.T) {
	b := newBench(t, func(c *Config) { c.SegmentBytes, c.BatchBytesMax = 200, 200 })
	for range 6 {
		b.want(b.append("a record that fills the greater part of a segment of two hundred bytes, so that each has its own, as a rule"), nil)
	}
	b.j.Trim(topic, 0, 3)
	b.j.partitions[0].retain()
	oldest, next := b.j.partitions[0].bounds()
	if oldest != 3 || next != 6 {
		t.Errorf("the journal keeps %d to %d, want 3 to 6", oldest, next)
	}
	select {
	case <-b.j.trimmed:
	default:
		t.Error("the janitor was not woken")
	}
	b.j.Trim(topic, 0, 6)
	b.j.partitions[0].retain()
	if oldest, _ := b.j.partitions[0].bounds(); oldest != 5 {
		t.Errorf("the journal keeps %d on, want 5: the active segment stays", oldest)
	}
}

func TestAProducerIsKeptForATopicThatAsksForIt(t *testing.T) {
	for _, keep := range []bool{false, true} {
		b := newBench(t, func(c *Config) { c.Topics[0].KeepProducer = keep })
		want := recordbatch.NoProducer
		stamp := recordbatch.Producer{ID: 4001, Epoch: 2, Sequence: 77}
		if keep {
			want = stamp
		}
		one := batch(0, "stamped")
		recordbatch.Stamp(one.Bytes, stamp)
		one.Done = func(*commitlog.Batch) {}
		b.j.Append([]*commitlog.Batch{one})
		b.j.step()
		b.reopen()
		r, err := b.j.NewReader(topic, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := r.(*reader).Header().Producer; got != want {
			t.Errorf("KeepProducer %v: %+v, want %+v", keep, got, want)
		}
	}
}

func TestVitalAppendsAreTakenFromTheReserve(t *testing.T) {
	for _, vital := range []bool{false, true} {
		b := newBench(t, func(c *Config) { c.ReserveBytes, c.Topics[0].Vital = 1<<50, vital })
		if vital {
			b.want(b.append("a note"), nil)
		} else {
			b.want(b.append("a record"), commitlog.ErrUnavailable)
		}
	}
}
