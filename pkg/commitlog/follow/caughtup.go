package follow

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/pkg/commitlog"
)

// askMax bounds one question to the log, so that a lost answer does not hold up the next question.
const askMax = 10 * time.Second

// ends asks the log for its end, once for all who came before the question was asked.
type ends struct {
	latest atomic.Int64 // the largest answer

	mu sync.Mutex
	// Guarded by mu.
	asking bool
	next   *question // those who wait for the next question; nil: nobody
}

type question struct {
	done chan struct{}
	end  int64 // valid when done is closed, as err
	err  error
}

// CaughtUp returns when everything was folded that was in the log when it was called: whatever any gateway answered
// before. Callers at the same time share one question to the log.
func (f *Follower) CaughtUp(ctx context.Context) error {
	q := f.ends.join(f)
	select {
	case <-q.done:
	case <-ctx.Done():
		return fmt.Errorf("the log did not say where %s ends: %w", f.cfg.Topic, ctx.Err())
	}
	if q.err != nil {
		return fmt.Errorf("where %s ends: %w", f.cfg.Topic, q.err)
	}
	if err := f.progress.reached(ctx, f.ctx, q.end); err != nil {
		return fmt.Errorf("the fold of %s did not reach offset %d: %w", f.cfg.Topic, q.end, err)
	}
	return nil
}

// join returns a question that will be asked after this call.
func (e *ends) join(f *Follower) *question {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next == nil {
		e.next = &question{done: make(chan struct{})}
	}
	q := e.next
	if !e.asking {
		e.asking = true
		go e.ask(f)
	}
	return q
}

// ask asks as long as somebody waits. A question is not its callers': it ends with the answer or with the Follower.
func (e *ends) ask(f *Follower) {
	for {
		e.mu.Lock()
		q := e.next
		e.next = nil
		e.asking = q != nil
		e.mu.Unlock()
		if q == nil {
			return
		}
		_, q.end, q.err = f.bounds()
		if f.ctx.Err() != nil {
			q.err = commitlog.ErrClosed
		}
		if q.err == nil && q.end > e.latest.Load() {
			e.latest.Store(q.end)
		}
		close(q.done)
	}
}

func (f *Follower) bounds() (oldest, next int64, err error) {
	ctx, cancel := context.WithTimeout(f.ctx, askMax)
	defer cancel()
	return f.cfg.Log.Bounds(ctx, f.cfg.Topic, f.cfg.Partition)
}
