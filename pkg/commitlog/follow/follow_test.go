package follow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

var errAway = errors.New("the broker is away")

// fold is what a Follower was given, and answers for it.
type fold struct {
	*Follower
	t *testing.T

	mu sync.Mutex
	// Guarded by mu.
	begins, offsets, loads []int64 // of each Begin the oldest offset; the records' offsets; how many there were at each loaded call
	notices                []Notice
	told                   []time.Duration // since the start, of each notice
	stalls                 []string
	beginErr, applyErr     error
	start                  time.Time
}

// follow starts a Follower that is closed with the bubble.
func follow(t *testing.T, l *fakeLog, change ...func(*Config)) *fold {
	t.Helper()
	f := &fold{t: t, start: time.Now()}
	cfg := Config{
		Log: l, Topic: "t", Begin: f.begin, Apply: f.apply,
		Notify: func(n Notice) {
			f.set(func() { f.notices, f.told = append(f.notices, n), append(f.told, time.Since(f.start)) })
		},
		Stalled: func(next, wanted int64) {
			f.set(func() { f.stalls = append(f.stalls, fmt.Sprint(next, " of ", wanted, " after ", time.Since(f.start))) })
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if f.Follower, err = Start(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if l.readers != 0 {
			t.Errorf("%d readers are open", l.readers)
		}
	})
	return f
}

func (f *fold) begin(oldest, _ int64) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begins = append(f.begins, oldest)
	return oldest, f.beginErr
}

func (f *fold) apply(records []recordbatch.Record, loaded bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range records {
		f.offsets = append(f.offsets, r.Offset)
	}
	if loaded {
		f.loads = append(f.loads, int64(len(f.offsets)))
	}
	return f.applyErr
}

func (f *fold) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fold) want(begins, offsets, loads []int64) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.begins, begins) || !slices.Equal(f.offsets, offsets) || !slices.Equal(f.loads, loads) {
		f.t.Errorf("begun at %v, folded %v, loaded at %v; want %v, %v, %v", f.begins, f.offsets, f.loads, begins, offsets, loads)
	}
}

func (f *fold) caughtUp() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := f.CaughtUp(ctx); err != nil {
		f.t.Errorf("after %v: %v", time.Since(f.start), err)
	}
}

func TestWhatIsInTheLogIsLoadedAndThenWhatComesIsFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(7)
		f := follow(t, l)
		synctest.Wait()
		f.want([]int64{0}, []int64{0, 1, 2, 3, 4, 5, 6}, []int64{7})
		l.add()
		f.caughtUp()
		l.add()
		f.caughtUp()
		f.want([]int64{0}, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8}, []int64{7, 8, 9})
		if f.Next() != 9 || f.Ready() != nil || len(f.notices) > 0 {
			t.Errorf("at %d, %v, %v", f.Next(), f.Ready(), f.notices)
		}
	})
}

func TestAFoldGoesOnWhereBeginSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, newLog(7), func(c *Config) {
			c.Begin = func(oldest, end int64) (int64, error) { return end - 2, nil }
		})
		synctest.Wait()
		f.want(nil, []int64{5, 6}, []int64{2})
	})
}

func TestWhereNothingIsLeftToLoadTheFoldIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(0)
		f := follow(t, l)
		f.caughtUp()
		f.want([]int64{0}, nil, []int64{0})
		l.add()
		f.caughtUp()
		f.want([]int64{0}, []int64{0}, []int64{0, 1})
	})
}

func TestAFaultOfThatCallIsWaitedOutToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, newLog(0), func(c *Config) { c.BackoffMin, c.BackoffMax = time.Second, time.Second })
		f.set(func() { f.applyErr = errAway })
		synctest.Wait()
		if err := f.Ready(); !errors.Is(err, errAway) {
			t.Errorf("it is ready: %v", err)
		}
		f.set(func() { f.applyErr = nil })
		f.caughtUp()
		f.want([]int64{0}, nil, []int64{0, 0})
	})
}

func TestFaultsOfTheLogAreWaitedOutAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(4)
		l.fail(errAway)
		f := follow(t, l, func(c *Config) { c.BackoffMin, c.BackoffMax = time.Second, 4*time.Second })
		time.Sleep(12 * time.Second) // at 0, 1, 3, 7 and 11
		synctest.Wait()
		if err := f.Ready(); !errors.Is(err, errAway) || !strings.Contains(err.Error(), "offset 0 of 0") {
			t.Errorf("ready: %v", err)
		}
		for _, n := range f.notices {
			if n.Next != -1 || n.Anew || !errors.Is(n.Err, errAway) {
				t.Errorf("told %+v", n)
			}
		}
		l.fail(nil)
		f.caughtUp()
		f.want([]int64{0}, []int64{0, 1, 2, 3}, []int64{4})
		at := time.Since(f.start)
		l.fail(errAway) // while it reads: the pause is short again, and what was folded stays
		time.Sleep(1500 * time.Millisecond)
		l.fail(nil)
		l.add()
		f.caughtUp()
		f.want([]int64{0}, []int64{0, 1, 2, 3, 4}, []int64{4, 5})
		want := []time.Duration{0, 1e9, 3e9, 7e9, 11e9, at, at + 1e9}
		if n := f.notices[len(f.notices)-1]; !slices.Equal(f.told, want) || n.Next != 4 || n.Anew || f.Ready() != nil {
			t.Errorf("told at %v, want %v, and at last %+v", f.told, want, n)
		}
		l.edit(func() { l.next++ })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.CaughtUp(ctx); err == nil || errors.Is(err, errAway) {
			t.Errorf("a fault that is over is named still: %v", err)
		}
	})
}

func TestAnErrorOfBeginIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(1)
		f := follow(t, l)
		f.set(func() { f.beginErr = errAway })
		synctest.Wait()
		if err := f.Ready(); !errors.Is(err, errAway) {
			t.Errorf("it is ready: %v", err)
		}
		f.set(func() { f.beginErr = nil })
		f.caughtUp()
		f.want([]int64{0, 0}, []int64{0}, []int64{1})
	})
}

func TestAnErrorOfApplyRepeatsTheSameRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(4)
		f := follow(t, l)
		synctest.Wait()
		f.set(func() { f.applyErr = errAway })
		l.add()
		synctest.Wait()
		if n := f.Next(); n != 4 {
			t.Errorf("it is at %d", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := f.CaughtUp(ctx); !errors.Is(err, errAway) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it has caught up: %v", err)
		}
		f.set(func() { f.applyErr = nil })
		f.caughtUp()
		f.want([]int64{0}, []int64{0, 1, 2, 3, 4, 4}, []int64{4, 5, 6})
		if n := f.notices[0]; len(f.notices) != 1 || n.Next != 4 || n.Anew {
			t.Errorf("told %+v", f.notices)
		}
	})
}

func TestALogThatDoesNotHoldTheNextOffsetIsBegunAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(4)
		f := follow(t, l)
		synctest.Wait()
		l.edit(func() { // retention
			l.records = []recordbatch.Record{{Offset: 10}, {Offset: 11}}
			l.oldest, l.next = 10, 12
		})
		f.caughtUp()
		f.want([]int64{0, 10}, []int64{0, 1, 2, 3, 10, 11}, []int64{4, 6})
		if n := f.notices[0]; len(f.notices) != 1 || !n.Anew || n.Next != 4 || !errors.Is(n.Err, commitlog.ErrOffsetOutOfRange) {
			t.Errorf("told %+v", f.notices)
		}
		l.edit(func() { l.records, l.oldest, l.next = nil, 0, 1 }) // another log, which ends before and has no record there
		synctest.Wait()
		time.Sleep(time.Second)
		if err := f.Ready(); err != nil || f.Next() != 0 {
			t.Errorf("while it loads again: %v, at %d", err, f.Next())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if f.CaughtUp(ctx) == nil {
			t.Error("it has caught up with a log that it has not loaded")
		}
		l.add()
		f.caughtUp()
		f.want([]int64{0, 10, 0}, []int64{0, 1, 2, 3, 10, 11, 1}, []int64{4, 6, 7})
		time.Sleep(time.Minute)
		if len(f.stalls) > 0 {
			t.Errorf("the end of the log before is missed: %v", f.stalls)
		}
	})
}

func TestAStallIsToldUntilARecordComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(2)
		f := follow(t, l, func(c *Config) { c.StallMax = 2 * time.Second })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(f.stalls) > 0 {
			t.Errorf("nobody waits, and it stalls: %v", f.stalls)
		}
		l.edit(func() { l.next = 9 }) // offsets without a record
		caughtUp := make(chan struct{})
		go func() {
			f.caughtUp()
			close(caughtUp)
		}()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		select {
		case <-caughtUp:
			t.Error("it has caught up without a record")
		default:
		}
		l.add()
		<-caughtUp
		time.Sleep(10 * time.Second)
		if got, want := fmt.Sprint(f.stalls), "[2 of 9 after 6s 2 of 9 after 8s]"; got != want || len(f.notices) > 0 {
			t.Errorf("stalls %s, want %s, told %v", got, want, f.notices)
		}
	})
}

func TestALoadThatStallsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(2)
		l.edit(func() { l.next = 9 })
		f := follow(t, l)
		time.Sleep(defaultStallMax)
		synctest.Wait()
		if got, want := fmt.Sprint(f.stalls), "[2 of 9 after 5s]"; got != want {
			t.Errorf("stalls %s, want %s", got, want)
		}
		if err := f.Ready(); err == nil || !strings.Contains(err.Error(), "offset 2 of 9") {
			t.Errorf("ready: %v", err)
		}
		l.add()
		f.caughtUp()
	})
}

func TestStartRefusesWhatCanNotWork(t *testing.T) {
	whole := Config{
		Log: newLog(0), Topic: "t",
		Begin: func(int64, int64) (int64, error) { return 0, nil },
		Apply: func([]recordbatch.Record, bool) error { return nil },
	}
	for name, change := range map[string]func(*Config){
		"no log":        func(c *Config) { c.Log = nil },
		"no topic":      func(c *Config) { c.Topic = "" },
		"no Begin":      func(c *Config) { c.Begin = nil },
		"no Apply":      func(c *Config) { c.Apply = nil },
		"backoff":       func(c *Config) { c.BackoffMin = time.Minute },
		"negative":      func(c *Config) { c.BackoffMin = -1 },
		"negative wait": func(c *Config) { c.StallMax = -1 },
	} {
		cfg := whole
		change(&cfg)
		if f, err := Start(cfg); err == nil {
			t.Errorf("%s is accepted", name)
			_ = f.Close(t.Context())
		}
	}
}
