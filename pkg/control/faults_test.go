package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
)

var errAway = errors.New("the broker is away")

func TestAnUnknownOutcomeIsReportedAsUnknown(t *testing.T) {
	a, b, l, _ := pair(t)
	caughtUp(t, a)
	l.answer = func(*commitlog.Batch) (bool, func(int64) int64, error) {
		return false, nil, fmt.Errorf("no answer: %w", commitlog.ErrUnknown)
	}
	if v, err := a.Propose(within(t), create("requests", key("k", 1))); !errors.Is(err, commitlog.ErrUnknown) || v.Meter != nil {
		t.Fatalf("got %+v %v", v, err)
	}
	l.answer = nil
	made(t, b, create("requests", key("k", 1))) // it was not in the log
}

func TestAChangeOfUnknownOutcomeThatIsInTheLogIsReplayed(t *testing.T) {
	a, b, l, _ := pair(t)
	caughtUp(t, a)
	l.answer = func(b *commitlog.Batch) (bool, func(int64) int64, error) {
		return true, nil, fmt.Errorf("no answer: %w", commitlog.ErrUnknown)
	}
	v, err := a.Propose(within(t), create("requests", key("k", 1)))
	if err == nil && v.Meter == nil || err != nil && !errors.Is(err, commitlog.ErrUnknown) {
		t.Fatalf("got %+v %v", v, err) // known when the fold was faster than the answer
	}
	l.answer = nil
	if v := verdictOn(t, b, create("requests", key("k", 1))); !v.Replayed || v.Meter.EventName != "requests" {
		t.Errorf("the same again got %+v", v)
	}
}

func TestAVerdictNeedsNoOffset(t *testing.T) {
	a, _, l, _ := pair(t)
	l.answer = func(*commitlog.Batch) (bool, func(int64) int64, error) {
		return true, func(int64) int64 { return -1 }, nil
	}
	for i := range 5 {
		made(t, a, create(fmt.Sprint(i), nil))
	}
}

func TestALogThatTakesNothingIsUnavailable(t *testing.T) {
	a, _, l, _ := pair(t)
	m := made(t, a, create("requests", nil))
	for _, answer := range []error{commitlog.ErrUnavailable, commitlog.ErrClosed} {
		l.answer = func(*commitlog.Batch) (bool, func(int64) int64, error) { return false, nil, answer }
		if _, err := a.Propose(within(t), rename(m.ID, "x", nil)); !errors.Is(err, commitlog.ErrUnavailable) {
			t.Errorf("%v became %v", answer, err)
		}
	}
	l.answer = func(*commitlog.Batch) (bool, func(int64) int64, error) { return false, nil, commitlog.ErrRefused }
	if _, err := a.Propose(within(t), rename(m.ID, "x", nil)); !errors.Is(err, commitlog.ErrRefused) {
		t.Errorf("a refusal became %v", err)
	}
}

func TestWhileTheLogIsAwayTheMetersStayAndChangesAreRefused(t *testing.T) {
	l, now := newMemLog(t), newClock()
	var told atomic.Int64
	cfg := testConfig(l, now)
	cfg.Notify = func(n Notice) {
		if n.What == ReadFailed && errors.Is(n.Err, errAway) {
			told.Add(1)
		}
	}
	l.away = errAway
	a := open(t, cfg)
	eventually(t, "a notice", func() bool { return told.Load() > 0 })
	if err := a.Ready(); !errors.Is(err, errAway) {
		t.Errorf("it is ready: %v", err)
	}
	if _, err := a.Propose(within(t), create("requests", nil)); !errors.Is(err, commitlog.ErrUnavailable) {
		t.Errorf("a change got %v", err)
	}
	l.edit(func() { l.away = nil })
	m := made(t, a, create("requests", nil))
	if err := a.Ready(); err != nil {
		t.Error(err)
	}
	l.edit(func() { l.away = errAway })
	if _, err := a.Propose(within(t), rename(m.ID, "x", nil)); !errors.Is(err, commitlog.ErrUnavailable) || !errors.Is(err, errAway) {
		t.Errorf("a change got %v", err)
	}
	if err := a.CaughtUp(within(t)); !errors.Is(err, errAway) {
		t.Errorf("it has caught up: %v", err)
	}
	if a.Ready() != nil || a.Snapshot().Meter(acct, false, m.ID) == nil {
		t.Error("the meters are gone")
	}
	l.edit(func() { l.away = nil })
	made(t, a, rename(m.ID, "x", nil))
}

func TestALogThatLostWhatComesNextIsFoldedAgain(t *testing.T) {
	l, now := newMemLog(t), newClock()
	var told atomic.Int64
	cfg := testConfig(l, now)
	cfg.Notify = func(n Notice) {
		if n.What == StartedOver {
			told.Add(1)
		}
	}
	a, b := open(t, cfg), open(t, testConfig(l, now))
	gone := made(t, a, create("gone", nil))
	stays := made(t, a, create("stays", nil))
	caughtUp(t, b)
	l.edit(func() { // another log, whose oldest record is beyond what was folded
		l.records = l.records[1:]
		for i := range l.records {
			l.records[i].Offset += 100
		}
		l.oldest, l.next = 50, l.next+100
	})
	for _, c := range []*Control{a, b} {
		eventually(t, "another fold", func() bool { return c.Stats().Restarts > 0 })
		s := caughtUp(t, c)
		if s.Meter(acct, false, gone.ID) != nil || s.Meter(acct, false, stays.ID) == nil {
			t.Errorf("it has\n%s", dump(s))
		}
		if err := c.Ready(); err != nil {
			t.Error(err)
		}
	}
	if told.Load() == 0 {
		t.Error("nobody was told")
	}
	l.edit(func() { l.records, l.oldest, l.next = nil, 0, 0 }) // and one that ends before
	eventually(t, "a third fold", func() bool { return len(caughtUp(t, a).Meters(acct, false)) == 0 })
	made(t, a, create("stays", nil))
}

func TestWhatIsNoProposalIsSkippedAndCounted(t *testing.T) {
	l, now := newMemLog(t), newClock()
	source := open(t, testConfig(l, now))
	m := made(t, source, create("requests", key("k", 1)))
	made(t, source, rename(m.ID, "Other", nil))
	made(t, source, status(m.ID, false, nil))
	want := dump(source.Snapshot())
	good := l.all()
	bad := 0
	add := func(key, value string) {
		bad++
		l.add(key, value)
	}
	for _, r := range good {
		k, v := string(r.Key), string(r.Value)
		for i := range len(v) {
			add(k, v[:i])
		}
		add("meter/acct_demo/testmode/another", v)
		add("", v)
		add(k, "")
		add(k, strings.Replace(v, `"object":"`, `"object":"thing_`, 1))
		add(k, strings.Replace(v, `"livemode":false`, `"livemode":null`, 1))
		add(k, strings.Replace(v, `"livemode":false`, `"livemode":true`, 1))
		add(k, strings.Replace(v, `"at":"2026`, `"at":"20x6`, 1))
		add(k, strings.Replace(v, `"proposal":"`, `"proposal":"x`, 1))
		add(k, strings.Replace(v, acct, "a/b", 1))
	}
	add("destination/acct_demo/testmode/ed_1", `{"object":"event_destination"}`)
	var mu sync.Mutex
	offsets := make(map[int64]bool)
	cfg := testConfig(l, now)
	cfg.Notify = func(n Notice) {
		mu.Lock()
		defer mu.Unlock()
		offsets[n.Offset] = n.What == Skipped && n.Err != nil
	}
	c := open(t, cfg)
	if got := dump(caughtUp(t, c)); got != want {
		t.Errorf("it has\n%s want\n%s", got, want)
	}
	eventually(t, "the notices", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(offsets) == bad
	})
	if s := c.Stats(); s.Skipped != int64(bad) || s.Records != int64(bad+len(good)) {
		t.Errorf("the counts are %+v, want %d skipped of %d", s, bad, bad+len(good))
	}
}

// The log ends with offsets whose records compaction has removed, as foreign tombstones are.
func TestAnEndWithoutARecordIsPassedWithAMark(t *testing.T) {
	l, now := newMemLog(t), newClock()
	l.edit(func() { l.next = 5 })
	a := open(t, testConfig(l, now))
	made(t, a, create("requests", nil))
	if s := a.Stats(); s.Marks == 0 {
		t.Errorf("the counts are %+v", s)
	}
	l.edit(func() { l.next += 5 })
	caughtUp(t, a)
}

func TestCallersAtTheSameTimeShareAQuestion(t *testing.T) {
	a, _, l, _ := pair(t)
	caughtUp(t, a)
	hold, asked := make(chan struct{}), make(chan struct{}, 100)
	l.edit(func() {
		l.question = func() {
			asked <- struct{}{}
			<-hold
		}
	})
	first := make(chan error, 1)
	go func() { first <- a.CaughtUp(within(t)) }()
	<-asked
	l.edit(func() { l.questions = 0 })
	const callers = 50
	others := make(chan error, callers)
	var started sync.WaitGroup
	for range callers {
		started.Add(1)
		go func() {
			started.Done()
			others <- a.CaughtUp(within(t))
		}()
	}
	started.Wait()
	time.Sleep(10 * time.Millisecond)
	close(hold)
	for range callers {
		if err := <-others; err != nil {
			t.Fatal(err)
		}
	}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.questions > 3 { // the one held, one for all who came meanwhile, and one for who came late
		t.Errorf("%d questions for %d callers", l.questions, callers)
	}
}

// Who calls while a question is on its way waits for the next one: that answer may be older than the call.
func TestCaughtUpSeesWhatWasAnsweredBeforeTheCall(t *testing.T) {
	a, b, _, _ := pair(t)
	for i := range 200 {
		go a.CaughtUp(within(t))
		m := made(t, b, create(fmt.Sprint(i), nil))
		if caughtUp(t, a).Meter(acct, false, m.ID) == nil {
			t.Fatal("a change that was answered is not seen")
		}
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	a, _, l, _ := pair(t)
	m := made(t, a, create("requests", nil))
	hold := make(chan struct{})
	defer close(hold)
	taken := make(chan struct{}, 1)
	l.answer = func(*commitlog.Batch) (bool, func(int64) int64, error) {
		taken <- struct{}{}
		<-hold
		return true, nil, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := a.Propose(ctx, rename(m.ID, "x", key("k", 1)))
		failed <- err
	}()
	<-taken
	// The same key waits, and gives up before anything is written.
	soon, cancelSoon := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancelSoon()
	if _, err := a.Propose(soon, rename(m.ID, "x", key("k", 1))); !errors.Is(err, commitlog.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second got %v", err)
	}
	cancel()
	if err := <-failed; !errors.Is(err, commitlog.ErrUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	gone, cancelGone := context.WithCancel(context.Background())
	cancelGone()
	if err := a.CaughtUp(gone); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("CaughtUp got %v", err)
	}
}

func TestChangesInFlightAreBounded(t *testing.T) {
	l, now := newMemLog(t), newClock()
	cfg := testConfig(l, now)
	cfg.InFlightMax = 2
	a := open(t, cfg)
	caughtUp(t, a)
	hold, taken := make(chan struct{}), make(chan struct{}, 2)
	l.answer = func(*commitlog.Batch) (bool, func(int64) int64, error) {
		taken <- struct{}{}
		<-hold
		return true, nil, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for i := range 2 {
		group.Go(func() {
			if _, err := a.Propose(ctx, create(fmt.Sprint(i), nil)); !errors.Is(err, commitlog.ErrUnknown) {
				t.Errorf("got %v", err)
			}
		})
	}
	<-taken
	<-taken
	if _, err := a.Propose(within(t), create("third", nil)); !errors.Is(err, commitlog.ErrUnavailable) {
		t.Errorf("the third got %v", err)
	}
	cancel()
	group.Wait()
	// The log still has both.
	if _, err := a.Propose(within(t), create("third", nil)); !errors.Is(err, commitlog.ErrUnavailable) {
		t.Errorf("the third got %v", err)
	}
	l.answer = nil
	close(hold)
	eventually(t, "a free place", func() bool {
		_, err := a.Propose(within(t), create("third", nil))
		return err == nil
	})
}

func TestCloseEndsWhatWaits(t *testing.T) {
	l, now := newMemLog(t), newClock()
	a := open(t, testConfig(l, now))
	caughtUp(t, a)
	hold, taken := make(chan struct{}), make(chan struct{})
	defer close(hold)
	l.answer = func(*commitlog.Batch) (bool, func(int64) int64, error) {
		close(taken)
		<-hold
		return false, nil, commitlog.ErrClosed
	}
	failed := make(chan error, 1)
	go func() {
		_, err := a.Propose(within(t), create("requests", nil))
		failed <- err
	}()
	<-taken
	if err := a.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, commitlog.ErrUnknown) {
		t.Errorf("the change got %v", err)
	}
	if _, err := a.Propose(within(t), create("other", nil)); !errors.Is(err, commitlog.ErrUnavailable) || !errors.Is(err, commitlog.ErrClosed) {
		t.Errorf("a change after Close got %v", err)
	}
	if err := a.CaughtUp(within(t)); !errors.Is(err, commitlog.ErrClosed) {
		t.Errorf("CaughtUp after Close got %v", err)
	}
}
