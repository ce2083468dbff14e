package propose

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// onPaper is a log that keeps what it is handed until a test answers.
type onPaper struct {
	commitlog.Log
	handed chan *commitlog.Batch
}

func (l *onPaper) Append(set []*commitlog.Batch) {
	for _, b := range set {
		l.handed <- b
	}
}

func newProposals(most int) (*Proposals[string], *onPaper, chan struct{}) {
	log, closed := &onPaper{handed: make(chan *commitlog.Batch, 10)}, make(chan struct{})
	return New[string](Config{Log: log, Topic: "topic", Partition: 3, InFlightMax: most, Closed: closed}), log, closed
}

type outcome struct {
	verdict string
	err     error
}

func start(ctx context.Context, p *Proposals[string], slot *Slot, id byte) chan outcome {
	done := make(chan outcome, 1)
	go func() {
		v, err := p.Append(ctx, slot, Record{ID: [16]byte{id}, AtMs: 77, Key: []byte("key"), Value: []byte("value")})
		done <- outcome{v, err}
	}()
	return done
}

func answer(b *commitlog.Batch, err error) {
	b.Err = err
	b.Done(b)
}

func TestAProposalIsOneRecord(t *testing.T) {
	p, log, _ := newProposals(1)
	done := start(t.Context(), p, p.Take(), 1)
	b := <-log.handed
	recordbatch.Stamp(b.Bytes, recordbatch.NoProducer)
	var s recordbatch.Scanner
	if err := s.Reset(b.Bytes, 0); err != nil || b.Topic != "topic" || b.Partition != 3 || b.Records != 1 {
		t.Fatalf("%+v %v", b, err)
	}
	if s.Next(); string(s.Record().Key) != "key" || string(s.Record().Value) != "value" || s.Record().TimestampMs != 77 || s.Next() {
		t.Errorf("the record is %+v", s.Record())
	}
	if !p.Waits([16]byte{1}) || p.Waits([16]byte{2}) {
		t.Error("it is not known who waits")
	}
	p.Decide([16]byte{2}, "for nobody")
	p.Decide([16]byte{1}, "yes") // before the log has answered
	p.Decide([16]byte{1}, "once more")
	if o := <-done; o.verdict != "yes" || o.err != nil || p.Waits([16]byte{1}) {
		t.Errorf("it got %+v", o)
	}
	answer(b, commitlog.ErrUnknown) // nobody listens
}

func TestWhatTheLogAnswersIsWhatItMeansForTheProposal(t *testing.T) {
	for _, c := range []struct{ answer, want error }{
		{fmt.Errorf("x: %w", commitlog.ErrUnknown), commitlog.ErrUnknown},
		{commitlog.ErrUnavailable, commitlog.ErrUnavailable},
		{commitlog.ErrRefused, commitlog.ErrRefused},
		{commitlog.ErrClosed, commitlog.ErrUnavailable},
		{errors.New("another"), commitlog.ErrUnavailable},
	} {
		p, log, _ := newProposals(1)
		done := start(t.Context(), p, p.Take(), 1)
		answer(<-log.handed, c.answer)
		if o := <-done; !errors.Is(o.err, c.want) || !errors.Is(o.err, c.answer) || o.verdict != "" {
			t.Errorf("%v became %+v", c.answer, o)
		}
	}
	p, log, _ := newProposals(1)
	done := start(t.Context(), p, p.Take(), 1)
	answer(<-log.handed, nil) // durable: the verdict is waited for
	p.Decide([16]byte{1}, "yes")
	if o := <-done; o.verdict != "yes" || o.err != nil {
		t.Errorf("it got %+v", o)
	}
}

func TestASlotIsFreeWhenTheLogHasGivenTheBatchBack(t *testing.T) {
	p, log, closed := newProposals(2)
	ctx, cancel := context.WithCancel(t.Context())
	first, second := p.Take(), p.Take()
	if p.Take() != nil {
		t.Fatal("there are three slots")
	}
	done, other := start(ctx, p, first, 1), start(t.Context(), p, second, 2)
	batches := []*commitlog.Batch{<-log.handed, <-log.handed}
	cancel()
	if o := <-done; !errors.Is(o.err, commitlog.ErrUnknown) || !errors.Is(o.err, context.Canceled) {
		t.Errorf("without patience it got %+v", o)
	}
	first.Leave()
	close(closed)
	if o := <-other; !errors.Is(o.err, commitlog.ErrUnknown) || !errors.Is(o.err, commitlog.ErrClosed) {
		t.Errorf("after the close it got %+v", o)
	}
	second.Leave()
	if p.Take() != nil {
		t.Error("a slot is free while the log has its batch")
	}
	for i, b := range batches {
		answer(b, nil)
		if p.Take() == nil {
			t.Errorf("no slot is free when %d batches are back", i+1)
		}
	}
}
