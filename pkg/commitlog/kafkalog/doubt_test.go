package kafkalog_test

import (
	"errors"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/kafkalog"
	"tollgate/pkg/commitlog/logtest"
	"tollgate/pkg/recordbatch"
)

func openHandingBack(t *testing.T, brokers []string, w *wire) *kafkalog.Log {
	return openReady(t, brokers, func(c *kafkalog.Config) {
		c.Dial, c.StallMax, c.RequestTimeout, c.DialTimeout = w.dial, 300*time.Millisecond, time.Minute, 300*time.Millisecond
		c.Topics[0].HandBack = true
	})
}

func TestABatchInDoubtIsHandedBackAndLandsOnce(t *testing.T) {
	c, w := fake(t), newWire()
	log := openHandingBack(t, c.ListenAddrs(), w)
	warm(t, log)
	_, next, err := log.Bounds(t.Context(), usage, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.silence()
	inDoubt, behind := logtest.NewBatch(usage, 0, "in doubt"), logtest.NewBatch(usage, 0, "behind")
	began := time.Now()
	done, behindDone := start(log, inDoubt), start(log, behind)
	<-done
	<-behindDone
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("handed back after %v, by the end of the request perhaps", took)
	}
	var doubt *kafkalog.DoubtError
	if !errors.As(inDoubt.Err, &doubt) || !errors.Is(inDoubt.Err, commitlog.ErrUnknown) || doubt.Lost || doubt.Producer.ID < 0 {
		t.Fatalf("the batch in doubt came to: %v", inDoubt.Err)
	}
	if !errors.Is(behind.Err, commitlog.ErrUnavailable) {
		t.Errorf("the batch behind came to: %v", behind.Err)
	}
	w.speak()
	untilReady(t, log)
	// Another log, as after a crash, which is sent the batch twice more.
	other := openHandingBack(t, c.ListenAddrs(), newWire())
	for range 2 {
		untilTaken(t, other, logtest.NewBatch(usage, 0, "in doubt"), doubt.Producer)
	}
	if b := append1(t, other, 0, "after"); b.Err != nil || b.Base != next+1 {
		t.Errorf("after: base %d, %v, want %d", b.Base, b.Err, next+1)
	}
	if got := logtest.Read(t, other, usage, 0, next, 2); got[0] != "in doubt" || got[1] != "after" {
		t.Errorf("the log holds %q", got)
	}
}

// untilTaken appends a batch under a producer until it is taken.
func untilTaken(t *testing.T, log *kafkalog.Log, b *commitlog.Batch, producer recordbatch.Producer) {
	t.Helper()
	until(t, func() bool {
		done := make(chan struct{})
		b.Done = func(*commitlog.Batch) { close(done) }
		log.AppendAs(b, producer)
		<-done
		return b.Err == nil
	}, func() string { return b.Err.Error() })
}

func TestASequenceThatTheBrokerDoesNotExpectIsHandedBackAsLost(t *testing.T) {
	log := openHandingBack(t, fake(t).ListenAddrs(), newWire())
	warm(t, log)
	producer, err := log.NewProducer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	untilTaken(t, log, logtest.NewBatch(usage, 0, "first"), producer)
	producer.Sequence = 7
	b := logtest.NewBatch(usage, 0, "gap")
	done := make(chan struct{})
	b.Done = func(*commitlog.Batch) { close(done) }
	log.AppendAs(b, producer)
	<-done
	var doubt *kafkalog.DoubtError
	if !errors.As(b.Err, &doubt) || !doubt.Lost {
		t.Fatalf("a gap in the sequence came to: %v", b.Err)
	}
	if b := append1(t, log, 0, "next"); b.Err != nil {
		t.Errorf("the next append: %v", b.Err)
	}
}

func TestAppendAsBehindAnotherBatchIsTurnedAway(t *testing.T) {
	c, w := fake(t), newWire()
	log := openReady(t, c.ListenAddrs(), func(c *kafkalog.Config) { c.Dial = w.dial })
	warm(t, log)
	w.silence()
	first := start(log, logtest.NewBatch(usage, 0, "on its way"))
	b := logtest.NewBatch(usage, 0, "stamped")
	done := make(chan struct{})
	b.Done = func(*commitlog.Batch) { close(done) }
	log.AppendAs(b, recordbatch.Producer{ID: 1})
	<-done
	if !errors.Is(b.Err, commitlog.ErrUnavailable) {
		t.Errorf("it came to: %v", b.Err)
	}
	w.speak()
	<-first
}
