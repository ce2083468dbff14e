package follow

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

func TestCallersAtTheSameTimeShareAQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(3)
		f := follow(t, l)
		synctest.Wait()
		hold := make(chan struct{})
		l.edit(func() { l.questions, l.question = 0, func(context.Context) { <-hold } })
		const callers = 50
		answers := make(chan error, callers)
		for i := range callers {
			go func() { answers <- f.CaughtUp(context.Background()) }()
			if i == 0 {
				synctest.Wait() // its question is on its way; who comes later waits for the next one
			}
		}
		synctest.Wait()
		if l.questions != 1 || len(answers) > 0 {
			t.Errorf("%d questions, %d answers while the first is not answered", l.questions, len(answers))
		}
		close(hold)
		for range callers {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		if l.questions != 2 {
			t.Errorf("%d questions for %d callers", l.questions, callers)
		}
	})
}

// The answer to a question that was asked before the call may be older than the call.
func TestCaughtUpWaitsForWhatWasThereWhenItWasCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(1)
		gate := make(chan struct{}, 100)
		var folded []int64
		f := follow(t, l, func(c *Config) {
			c.Apply = func(records []recordbatch.Record, _ bool) error {
				<-gate
				for _, r := range records {
					folded = append(folded, r.Offset)
				}
				return nil
			}
		})
		done := make(chan int, 2)
		wait := func(n int) {
			go func() {
				if err := f.CaughtUp(context.Background()); err != nil {
					t.Error(err)
				}
				done <- n
			}()
			synctest.Wait()
		}
		wait(1)
		l.add()
		wait(2)
		l.add() // nobody waits for this one
		if len(done) > 0 {
			t.Fatal("it has caught up with what is not folded")
		}
		gate <- struct{}{}
		synctest.Wait()
		if got := <-done; got != 1 || len(done) > 0 || f.Next() != 1 {
			t.Errorf("caller %d has caught up, at %d", got, f.Next())
		}
		gate <- struct{}{}
		if got := <-done; got != 2 || f.Next() < 2 {
			t.Errorf("caller %d has caught up, at %d", got, f.Next())
		}
		close(gate)
		synctest.Wait()
		if len(folded) != 3 {
			t.Errorf("folded %v", folded)
		}
	})
}

func TestAQuestionThatIsNotAnsweredDoesNotHoldUpTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(3)
		f := follow(t, l)
		synctest.Wait()
		l.edit(func() { l.question = func(ctx context.Context) { <-ctx.Done() } })
		first := make(chan error, 1)
		go func() { first <- f.CaughtUp(context.Background()) }()
		synctest.Wait()
		l.edit(func() { l.question = nil })
		start := time.Now()
		f.caughtUp()
		if took := time.Since(start); took != askMax {
			t.Errorf("the second took %v", took)
		}
		if err := <-first; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first got %v", err)
		}
	})
}

func TestAFaultOfTheQuestionIsTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(3)
		f := follow(t, l)
		synctest.Wait()
		l.fail(errAway)
		if err := f.CaughtUp(t.Context()); !errors.Is(err, errAway) {
			t.Errorf("it has caught up: %v", err)
		}
		l.fail(nil)
		f.caughtUp()
	})
}

func TestACallEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(3)
		f := follow(t, l)
		synctest.Wait()
		l.edit(func() { l.question = func(ctx context.Context) { <-ctx.Done() } })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := f.CaughtUp(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("the question is not answered: %v after %v", err, time.Since(start))
		}
		time.Sleep(askMax)
		l.edit(func() { l.question, l.next = nil, 9 })
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if err := f.CaughtUp(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("the end is not reached: %v after %v", err, time.Since(start))
		}
	})
}

func TestCloseEndsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(3)
		f, g, h := follow(t, l), follow(t, l), follow(t, l)
		synctest.Wait()
		answers := make(chan error, 2)
		l.edit(func() { l.next = 9 })
		go func() { answers <- f.CaughtUp(context.Background()) }() // waits for the fold
		synctest.Wait()
		l.edit(func() { l.question = func(ctx context.Context) { <-ctx.Done() } })
		go func() { answers <- g.CaughtUp(context.Background()) }() // waits for the log
		synctest.Wait()
		for _, x := range []*fold{f, g, h} {
			if err := x.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
		for range 2 {
			if err := <-answers; !errors.Is(err, commitlog.ErrClosed) {
				t.Errorf("who waited got %v", err)
			}
		}
		if err := h.CaughtUp(context.Background()); !errors.Is(err, commitlog.ErrClosed) {
			t.Errorf("who came late got %v", err)
		}
		l.edit(func() { l.question = nil })
		l.add()
		synctest.Wait()
		f.want([]int64{0}, []int64{0, 1, 2}, []int64{3})
	})
}

func TestCloseWaitsForTheFoldAsLongAsItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		f := follow(t, newLog(1), func(c *Config) {
			c.Apply = func([]recordbatch.Record, bool) error { <-hold; return nil }
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close got %v", err)
		}
		close(hold)
	})
}
