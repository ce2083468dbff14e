package control

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

var errClosed = fmt.Errorf("control: %w", commitlog.ErrClosed)

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

// CaughtUp returns when the snapshot has everything that was in the log when it was called: every change that any
// gateway answered before. Callers at the same time share one question to the log.
//
// A log may end with offsets that have no record, where somebody else wrote and compaction removed it. When the end does
// not come into sight for Config.StallMax, a record without meaning is appended behind it, and there it is.
func (c *Control) CaughtUp(ctx context.Context) error {
	q := c.ends.join(c)
	select {
	case <-q.done:
	case <-ctx.Done():
		return fmt.Errorf("control: the log did not say where it ends: %w", ctx.Err())
	}
	if q.err != nil {
		return fmt.Errorf("control: where the log ends: %w", q.err)
	}
	if err := c.progress.reached(ctx, c.ctx, q.end); err != nil {
		return fmt.Errorf("control: the fold did not reach offset %d: %w", q.end, err)
	}
	return nil
}

// join returns a question that will be asked after this call.
func (e *ends) join(c *Control) *question {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next == nil {
		e.next = &question{done: make(chan struct{})}
	}
	q := e.next
	if !e.asking {
		e.asking = true
		go e.ask(c)
	}
	return q
}

// ask asks as long as somebody waits. A question is not its callers': it ends with the answer or with the Control.
func (e *ends) ask(c *Control) {
	for {
		e.mu.Lock()
		q := e.next
		e.next = nil
		e.asking = q != nil
		e.mu.Unlock()
		if q == nil {
			return
		}
		if q.err = c.closed(); q.err == nil {
			_, q.end, q.err = c.bounds()
		}
		if q.err == nil && q.end > e.latest.Load() {
			e.latest.Store(q.end)
		}
		close(q.done)
	}
}

func (c *Control) bounds() (oldest, next int64, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, askMax)
	defer cancel()
	return c.cfg.Log.Bounds(ctx, c.cfg.Topic, partition)
}
