package thinevent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
)

// all is what a list of everything of acct_demo in test mode shows.
func (f *stage) all(s *Store) []*Event {
	f.Helper()
	page, err := s.List(&Query{Business: "acct_demo", Limit: 10_000})
	if err != nil {
		f.Fatal(err)
	}
	return page.Events
}

func TestWhatWasAppendedIsShownAndWhatIsKnownIsLeftOut(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	a, b, c := report("mtr_1", 1, t0), report("mtr_1", 2, t0), report("mtr_2", 3, t0-1)
	for range 3 {
		if err := s.Append(t.Context(), a, b, a, c); err != nil {
			t.Fatal(err)
		}
		if got, want := ids(f.all(s)), ids([]*Event{b, a, c}); got != want {
			t.Fatalf("shown is %s, want %s", got, want)
		}
	}
	if f.log.len() != 3 || f.log.batches != 1 {
		t.Errorf("%d records in %d batches, want 3 in 1", f.log.len(), f.log.batches)
	}
	if n := [3]uint64{s.counts.appended.Value(), s.counts.known.Value(), s.counts.failed.Value()}; n != [3]uint64{3, 9, 0} {
		t.Errorf("counted: %d", n)
	}
	rec := f.log.records[2]
	if want := "acct_demo/testmode/" + c.ID; string(rec.Key) != want || rec.TimestampMs != t0-1 {
		t.Errorf("the record has the key %s and the time %d", rec.Key, rec.TimestampMs)
	}
	if err := s.Append(t.Context()); err != nil || f.log.batches != 1 {
		t.Errorf("no events: %v, %d batches", err, f.log.batches)
	}
}

func TestEventsAreAppendedInBatchesThatTheLogTakes(t *testing.T) {
	f := newStage(t)
	f.log.bytesMax = 2000
	s := f.caughtUp()
	var events []*Event
	for n := range int64(20) {
		events = append(events, report("mtr_1", n, t0-n))
	}
	if err := s.Append(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	if got := ids(f.all(s)); got != ids(events) || f.log.batches < 5 || f.log.batches > 10 {
		t.Errorf("%d batches show %s", f.log.batches, got)
	}
	f.log.bytesMax = 500
	large, fits := report("mtr_1", 30, t0), NewPing("acct_demo", false, "ed_1", [16]byte{1}, nil, t0)
	if err := s.Append(t.Context(), fits, large); !errors.Is(err, commitlog.ErrRefused) || !strings.Contains(err.Error(), large.ID) {
		t.Errorf("an event that no batch takes: %v", err)
	}
	large.Data = []byte("[]")
	if err := s.Append(t.Context(), fits, large); !errors.Is(err, commitlog.ErrRefused) {
		t.Errorf("an event that is none: %v", err)
	}
	if f.log.len() != 20 {
		t.Error("a part of a call that was refused is in the log")
	}
}

func TestAnAppendThatFailedIsMadeAgainWithoutASecondEvent(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	e := report("mtr_1", 1, t0)
	f.log.set(func() { f.log.fault = fmt.Errorf("%w: away", commitlog.ErrUnavailable) })
	if err := s.Append(t.Context(), e); !errors.Is(err, commitlog.ErrUnavailable) {
		t.Errorf("a log that is away: %v", err)
	}
	f.log.set(func() { f.log.fault, f.log.lose, f.log.visible = nil, fmt.Errorf("%w: lost", commitlog.ErrUnknown), 0 })
	for range 2 {
		if err := s.Append(t.Context(), e); !errors.Is(err, commitlog.ErrUnknown) {
			t.Errorf("an answer that was lost: %v", err)
		}
	}
	f.log.set(func() { f.log.lose = nil })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Append(ctx, e); !errors.Is(err, ErrNotIndexed) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an index that is behind: %v", err)
	}
	if f.log.len() != 3 {
		t.Fatalf("%d records", f.log.len())
	}
	f.log.set(func() { f.log.visible = -1 })
	if err := s.CaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), e); err != nil || f.log.len() != 3 {
		t.Errorf("once more: %v, %d records", err, f.log.len())
	}
	if got := f.all(s); ids(got) != e.ID || got[0].Offset != 0 || s.counts.repeated.Value() != 2 {
		t.Errorf("shown is %s, %d repetitions", ids(got), s.counts.repeated.Value())
	}
	if events, next, err := s.From(0, 10); err != nil || next != 3 || ids(events) != e.ID {
		t.Errorf("From: %s, %d, %v", ids(events), next, err)
	}
	if n := [3]uint64{s.counts.appended.Value(), s.counts.known.Value(), s.counts.failed.Value()}; n != [3]uint64{1, 1, 3} {
		t.Errorf("counted: %d", n)
	}
}

func TestAnAppendOfWhichTheLogDoesNotKnowWhereItIsShownToo(t *testing.T) {
	f := newStage(t)
	f.log.nowhere = true
	s := f.caughtUp()
	e := report("mtr_1", 1, t0)
	if err := s.Append(t.Context(), e); err != nil || ids(f.all(s)) != e.ID {
		t.Errorf("%v, shown is %s", err, ids(f.all(s)))
	}
}

func TestAppendsUnderWayAreBounded(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	f.log.set(func() { f.log.visible = 0 })
	done := make(chan error, appendsMax)
	for n := range int64(appendsMax) {
		go func() { done <- s.Append(context.Background(), report("mtr_1", n, t0)) }()
	}
	eventually(t, "all are under way", func() bool { return f.log.len() == appendsMax })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Append(ctx, report("mtr_1", 99, t0)); !errors.Is(err, commitlog.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one too many: %v", err)
	}
	if f.log.len() != appendsMax {
		t.Error("one too many was appended")
	}
	f.log.set(func() { f.log.visible = -1 })
	for range appendsMax {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
