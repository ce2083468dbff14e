package thinevent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/journal"
	"tollgate/pkg/recordbatch"
)

func TestTwoGatewaysShowTheSameWhoeverAppended(t *testing.T) {
	f := newStage(t)
	g := f.other()
	stores := []*Store{f.caughtUp(), g.caughtUp()}
	var wait sync.WaitGroup
	for i, s := range stores {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for n := range int64(50) {
				e := report("mtr_1", n, t0-n)
				e.Data = fmt.Appendf(nil, `{"by":%d}`, i)
				if err := s.Append(context.Background(), e); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wait.Wait()
	f.catchUp(stores[0])
	f.catchUp(stores[1])
	a, b := f.all(stores[0]), g.all(stores[1])
	if len(a) != 50 || !reflect.DeepEqual(a, b) {
		t.Errorf("%d and %d events, which are not the same:\n%s\n%s", len(a), len(b), ids(a), ids(b))
	}
	if n := f.log.len() - 50; int(stores[0].counts.repeated.Value()) != n || int(stores[1].counts.repeated.Value()) != n {
		t.Errorf("%d repetitions, counted are %d and %d", n, stores[0].counts.repeated.Value(), stores[1].counts.repeated.Value())
	}
}

func TestPagesShowEachEventOnceWhileMoreArrive(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	var want []*Event
	for n := range int64(1000) {
		e := report("mtr_1", n, t0-1000+n)
		f.put(e)
		want = append([]*Event{e}, want...)
	}
	f.catchUp(s)
	arrive := int64(1000)
	more := func() {
		for range 7 {
			f.put(report("mtr_1", arrive, t0+arrive))
			arrive++
		}
		f.catchUp(s)
	}
	q := &Query{Business: "acct_demo", Limit: 30}
	page, err := s.List(q)
	seen := page.Events
	for ; err == nil && page.Next != nil; seen = append(seen, page.Events...) {
		more()
		q.After = page.Next
		page, err = s.List(q)
	}
	if err != nil || ids(seen) != ids(want) {
		t.Fatalf("forward: %d events, want %d, %v", len(seen), len(want), err)
	}
	seen = page.Events
	for ; err == nil && page.Previous != nil; seen = append(slices.Clone(page.Events), seen...) {
		q.After, q.Before = nil, page.Previous
		page, err = s.List(q)
	}
	if err != nil || len(seen) != int(arrive) || ids(seen[len(seen)-1000:]) != ids(want) {
		t.Errorf("back: %d events, want %d, %v", len(seen), arrive, err)
	}
}

func TestAPageHasNoMoreThanItsShareOfBytesAndNothingIsLeftOut(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	var want []*Event
	for n := range int64(40) {
		e := report("mtr_1", n, t0-100+n)
		e.Data = fmt.Appendf(nil, `{"a":%q}`, strings.Repeat("x", 128<<10))
		f.put(e)
		want = append([]*Event{e}, want...)
	}
	f.catchUp(s)
	q := &Query{Business: "acct_demo", Limit: 30}
	read := func() Page {
		t.Helper()
		page, err := s.List(q)
		if err != nil || len(page.Events) == 0 || len(page.Events) > 8 {
			t.Fatalf("%d events on a page, %v", len(page.Events), err)
		}
		return page
	}
	page := read()
	seen := page.Events
	for page.Next != nil {
		q.After = page.Next
		page = read()
		seen = append(seen, page.Events...)
	}
	if ids(seen) != ids(want) {
		t.Errorf("forward: %s", ids(seen))
	}
	seen = page.Events
	for page.Previous != nil {
		q.After, q.Before = nil, page.Previous
		page = read()
		seen = append(slices.Clone(page.Events), seen...)
	}
	if ids(seen) != ids(want) {
		t.Errorf("back: %s", ids(seen))
	}
}

func TestQueriesThatCanNotBeAnsweredAreRefused(t *testing.T) {
	s := newStage(t).caughtUp()
	f := func(q Query) {
		t.Helper()
		if _, err := s.List(&q); err == nil {
			t.Errorf("answered: %+v", q)
		}
	}
	f(Query{})
	f(Query{Limit: -1})
	f(Query{Limit: 1, After: &Position{}, Before: &Position{}})
	f(Query{Limit: 1, Types: make([]string, typesMax+1)})
}

func TestOldEventsAreNeitherShownNorKept(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	const old = 2*sweepEvents + 7
	for n := range int64(old) {
		f.put(report(fmt.Sprint("mtr_", n%3), n, t0-n))
	}
	last, ahead := report("mtr_1", old, t0+dayMs), report("mtr_1", old+1, t0+365*dayMs)
	f.put(ahead)
	f.put(last)
	f.catchUp(s)
	if s.stored.Load() != old+2 {
		t.Errorf("%d are stored", s.stored.Load())
	}
	f.clockMs.Store(t0 + RetentionMs + 1)
	only := func() {
		t.Helper()
		if got, want := ids(f.all(s)), ids([]*Event{ahead, last}); got != want {
			t.Errorf("shown is %s, want %s", got, want)
		}
		if events, next, err := s.From(0, 10); err != nil || next != 1000 && next != old+2 {
			t.Errorf("From: %s, %d, %v", ids(events), next, err)
		}
		if e, err := s.At(0); e != nil || err != nil {
			t.Errorf("At: %v, %v", e, err)
		}
	}
	only()
	if err := s.sweep(); err != nil {
		t.Fatal(err)
	}
	only()
	rows := map[byte]int{}
	if err := s.index.Each(s.index.DB, nil, nil, func(key, _ []byte) (bool, error) { rows[key[0]]++; return true, nil }); err != nil {
		t.Fatal(err)
	}
	want := map[byte]int{keyMeta[0]: 1, tableState: 1, tableEvents: 2, tableIDs: 2, tableLists: 8, tableExpiry: 2, tableNewest: 1}
	if !reflect.DeepEqual(rows, want) || s.stored.Load() != 2 {
		t.Errorf("rows by table: %v, want %v; stored: %d", rows, want, s.stored.Load())
	}
	// What retention in the topic has not come to is read again by the next index, and is too old.
	f.close(s)
	g := f.other()
	if s = g.caughtUp(); s.stored.Load() != 2 {
		t.Errorf("another index stores %d", s.stored.Load())
	}
	only()
}

func TestFromPassesOverManyOldEventsInBoundedSteps(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	for n := range int64(2*passedMax + 10) {
		f.put(report("mtr_1", n, t0))
	}
	e := report("mtr_1", 1, t0+dayMs)
	e.ID = "evt_test_1"
	f.put(e)
	f.catchUp(s)
	f.clockMs.Store(t0 + RetentionMs + 1)
	next := int64(0)
	for _, want := range []int64{passedMax, 2 * passedMax, 2*passedMax + 11, 2*passedMax + 11} {
		events, then, err := s.From(next, 5)
		if err != nil || then != want || (len(events) == 1) != (next < want && want > 2*passedMax) {
			t.Errorf("From %d: %s, %d, %v, want %d", next, ids(events), then, err, want)
		}
		next = then
	}
	if events, then, err := s.From(1<<40, 5); events != nil || then != 1<<40 || err != nil {
		t.Errorf("From behind the end: %s, %d, %v", ids(events), then, err)
	}
}

func TestSinceIsExactWhereClocksAgreeAndEarlyWhereOneIsAhead(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	for n, created := range []int64{100, 200, 150, 300, 9000, 400} {
		f.put(report("mtr_1", int64(n), t0+created))
	}
	f.catchUp(s)
	for created, want := range map[int64]int64{0: 0, 100: 0, 101: 1, 150: 1, 200: 1, 201: 3, 300: 3, 301: 4, 400: 4, 9000: 4, 9001: 6} {
		if got, err := s.Since(t0 + created); err != nil || got != want {
			t.Errorf("Since %d: %d, %v, want %d", created, got, err, want)
		}
	}
}

func TestWhoWaitsForAChangeIsTold(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	a, b := s.Changed(), s.Changed()
	select {
	case <-a:
		t.Fatal("told of nothing")
	default:
	}
	f.put(report("mtr_1", 1, t0))
	for _, changed := range []<-chan struct{}{a, b} {
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatal("not told")
		}
	}
}

func TestRecordsThatAreNoEventsAreCountedAndLeftOut(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	f.log.put(recordbatch.Record{Key: []byte("k"), Value: []byte("nonsense")})
	f.log.put(recordbatch.Record{Key: []byte("k")})
	f.put(report("mtr_1", 1, t0))
	f.catchUp(s)
	if got := f.all(s); len(got) != 1 || got[0].Offset != 2 || s.counts.unreadable.Value() != 2 {
		t.Errorf("shown is %s, %d unreadable", ids(got), s.counts.unreadable.Value())
	}
}

func TestRecordsThatComeAgainAreNotRepetitions(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	var records []recordbatch.Record
	for n := range int64(5) {
		rec := recordOf(t, report("mtr_1", n, t0))
		rec.Offset = n
		records = append(records, rec)
	}
	for _, some := range [][]recordbatch.Record{records[:3], records[1:], records} {
		if err := s.apply(some, true); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.all(s); len(got) != 5 || s.next.Load() != 5 || s.stored.Load() != 5 || s.counts.repeated.Value() != 0 {
		t.Errorf("shown is %s up to %d, %d repetitions", ids(got), s.next.Load(), s.counts.repeated.Value())
	}
}

func TestATopicThatIsAwayIsWaitedForAndQuestionsAreAnswered(t *testing.T) {
	f := newStage(t)
	f.put(report("mtr_1", 1, t0))
	f.log.set(func() { f.log.fault = errors.New("the broker is away") })
	s := f.open()
	eventually(t, "it is told", func() bool { return f.told(Waiting) })
	if err := s.Ready(); err == nil {
		t.Error("ready without the topic")
	}
	if got := f.all(s); got != nil {
		t.Errorf("shown is %s", ids(got))
	}
	f.log.set(func() { f.log.fault = nil })
	f.catchUp(s)
	if err := s.Ready(); err != nil || !f.told(GoesOn) || !f.told(Rebuilding) || len(f.all(s)) != 1 {
		t.Errorf("Ready: %v, shown is %s, told %v", err, ids(f.all(s)), f.notices)
	}
	f.log.set(func() { f.log.fault = errors.New("the broker is away") })
	if len(f.all(s)) != 1 {
		t.Error("what is indexed is not shown")
	}
	if err := s.CaughtUp(t.Context()); err == nil {
		t.Error("caught up with a topic that is away")
	}
}

func TestWhatRetentionRemovedIsPassedOver(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	for n := range int64(3) {
		f.put(report("mtr_1", n, t0))
	}
	f.catchUp(s)
	f.close(s)
	for n := range int64(5) {
		f.put(report("mtr_1", 3+n, t0))
	}
	f.log.set(func() { f.log.oldest = 6 })
	s = f.caughtUp()
	if n := len(f.all(s)); n != 5 || !f.told(Overtaken) {
		t.Errorf("%d events, told %v", n, f.notices)
	}
}

func TestATopicOfWhichRetentionLeftNothingIsNotBehind(t *testing.T) {
	f := newStage(t)
	for n := range int64(3) {
		f.put(report("mtr_1", n, t0))
	}
	f.log.set(func() { f.log.oldest = 3 })
	s := f.caughtUp()
	s.observe()
	if lag := s.topicEnd.Load() - s.next.Load(); lag != 0 || len(f.all(s)) != 0 {
		t.Errorf("the index is %d records behind and shows %s", lag, ids(f.all(s)))
	}
}

func TestAfterCloseNothingIsAnsweredAndNobodyWaits(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	f.log.set(func() { f.log.visible = 0 })
	waits := make(chan error, 2)
	go func() { waits <- s.Append(context.Background(), report("mtr_1", 1, t0)) }()
	eventually(t, "it is appended", func() bool { return f.log.len() == 1 })
	go func() { waits <- s.CaughtUp(context.Background()) }()
	time.Sleep(5 * time.Millisecond)
	f.close(s)
	for range 2 {
		if err := <-waits; !errors.Is(err, commitlog.ErrClosed) {
			t.Errorf("who waited: %v", err)
		}
	}
	_, err1 := s.List(&Query{Limit: 1})
	_, err2 := s.Get("acct_demo", false, "evt_1")
	_, _, err3 := s.From(0, 1)
	err4 := s.Append(t.Context(), report("mtr_1", 2, t0))
	_, err5 := s.Since(0)
	_, _, err6 := s.Reported("evt_1")
	for _, err := range []error{err1, err2, err3, err4, err5, err6} {
		if !errors.Is(err, commitlog.ErrClosed) {
			t.Errorf("answered with %v", err)
		}
	}
}

func TestEverythingMayBeCalledAtOnce(t *testing.T) {
	f := newStage(t)
	f.log.chunk = 3
	s := f.caughtUp()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	var wait sync.WaitGroup
	run := func(step func(rng *rand.Rand, n int64) error) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			rng := rand.New(rand.NewPCG(1, 2))
			for n := int64(0); ctx.Err() == nil; n++ {
				if err := step(rng, n); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		}()
	}
	for worker := range int64(3) {
		run(func(_ *rand.Rand, n int64) error {
			return s.Append(context.Background(), report("mtr_1", worker<<40|n, f.clockMs.Load()))
		})
	}
	run(func(rng *rand.Rand, _ int64) error {
		page, err := s.List(&Query{Business: "acct_demo", Limit: 10, Types: []string{TypeErrorReport, TypePing}})
		if len(page.Events) > 0 {
			_, err = s.Get("acct_demo", false, page.Events[rng.IntN(len(page.Events))].ID)
		}
		return err
	})
	next := int64(0)
	run(func(*rand.Rand, int64) error {
		events, then, err := s.From(next, 7)
		for _, e := range events {
			if e.Offset < next || e.Offset >= then {
				return fmt.Errorf("From %d to %d shows %d", next, then, e.Offset)
			}
		}
		next = then
		return err
	})
	run(func(*rand.Rand, int64) error {
		f.clockMs.Add(dayMs)
		time.Sleep(time.Millisecond)
		return s.sweep()
	})
	wait.Wait()
}

func TestOnARealJournalAnotherLifeGoesOn(t *testing.T) {
	dir := t.TempDir()
	open := func() (*stage, *journal.Journal) {
		j, err := journal.Open(journal.Config{Dir: dir + "/journal", Topics: []journal.TopicConfig{{Name: topic, Partitions: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		f := newStage(t)
		f.cfg.Log, f.cfg.FS, f.cfg.Dir = j, nil, dir+"/events"
		return f, j
	}
	f, j := open()
	s := f.caughtUp()
	var want []*Event
	for n := range int64(100) {
		want = append(want, report("mtr_1", n, t0-n))
	}
	if err := s.Append(t.Context(), want[:60]...); err != nil {
		t.Fatal(err)
	}
	f.close(s)
	if err := j.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	f, j = open()
	defer j.Close(context.Background())
	s = f.caughtUp()
	if err := s.Append(t.Context(), want...); err != nil {
		t.Fatal(err)
	}
	if got := ids(f.all(s)); got != ids(want) || f.told(Rebuilding) {
		t.Errorf("shown is %s, told %v", got, f.notices)
	}
	f.close(s)
	if _, err := os.Stat(dir + "/events"); err != nil {
		t.Error(err)
	}
}

func TestAConfigurationWithoutWhatIsRequiredIsRefused(t *testing.T) {
	f := newStage(t)
	for _, change := range []func(*Config){
		func(c *Config) { c.Log = nil },
		func(c *Config) { c.Topic = "" },
		func(c *Config) { c.Dir = "" },
		func(c *Config) { c.CacheBytes = -1 },
	} {
		cfg := f.cfg
		change(&cfg)
		if s, err := Open(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
			f.close(s)
		}
	}
}
