package kafkalog

import (
	"math"
	"testing"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// A broker counts sequence numbers in 31 bits: behind 2³¹-1 comes 0 (Kafka's DefaultRecordBatch.incrementSequence).
func TestSequenceWrapsToZero(t *testing.T) {
	for _, row := range []struct{ from, records, want int32 }{
		{0, 1, 1},
		{math.MaxInt32 - 1, 1, math.MaxInt32},
		{math.MaxInt32, 1, 0},
		{math.MaxInt32, 100, 99},
		{math.MaxInt32 - 10, 10, math.MaxInt32},
		{math.MaxInt32 - 10, 11, 0},
	} {
		p := partition{
			producer: recordbatch.Producer{ID: 1, Sequence: row.from},
			queue:    []*commitlog.Batch{{Records: int(row.records)}},
		}
		if p.succeed(); p.producer.Sequence != row.want {
			t.Errorf("%d and %d records make %d, want %d", row.from, row.records, p.producer.Sequence, row.want)
		}
	}
}

func TestPausesGrowToABound(t *testing.T) {
	var p partition
	for range 100 {
		if pause := p.nextPause(); pause < backoffMin/2 || pause > backoffMax*3/2 {
			t.Fatalf("a pause of %v", pause)
		}
	}
	if p.pause != backoffMax {
		t.Errorf("the pause grew to %v, want %v", p.pause, backoffMax)
	}
}

// Whatever the code, a batch in doubt is never sent under a new producer id and never called refused: it may be there.
func TestNoAnswerForgetsADoubt(t *testing.T) {
	for code := int16(-1); code < 200; code++ {
		v := decide(code, "", true)
		if !v.final && (v.replace || !v.doubt) {
			t.Errorf("%v: replace %v, doubt %v: the batch in doubt would be sent as a new one", describe(code, ""), v.replace, v.doubt)
		}
		if v.final && v.err != nil && !v.replace {
			t.Errorf("%v: the outcome is unknown, and so is the sequence: the producer must be replaced", describe(code, ""))
		}
	}
}
