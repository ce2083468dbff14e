package kafkalog

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/pkg/commitlog"
)

// work is what a member runs in one generation: an Own for each partition of its share.
type work struct {
	claims []*claim
	stop   context.CancelFunc // ends every Own's context
	done   chan struct{}      // closed when that has ended and every Own has returned
	lease  *time.Timer
	heard  time.Time // when the last heartbeat that was answered was sent
}

// claim implements commitlog.Claim.
type claim struct {
	number    int32
	next      atomic.Int64 // what Own has committed last, noOffset before
	committed int64        // what the coordinator knows of it
}

const noOffset = -1

func startWork(ctx context.Context, m commitlog.Member, numbers []int32) *work {
	w := &work{done: make(chan struct{})}
	ctx, w.stop = context.WithCancel(ctx)
	w.lease = time.AfterFunc(leaseMax, w.stop)
	var owns sync.WaitGroup
	for _, number := range numbers {
		c := &claim{number: number, committed: noOffset}
		c.next.Store(noOffset)
		w.claims = append(w.claims, c)
		owns.Go(func() { m.Hold(ctx, c) })
	}
	go func() {
		<-ctx.Done()
		w.lease.Stop()
		owns.Wait()
		close(w.done)
	}()
	return w
}

// renew notes that the coordinator has heard of the member, in a message sent at that time.
func (w *work) renew(sent time.Time) {
	w.heard = sent
	if w.lease.Stop() {
		w.lease.Reset(time.Until(sent.Add(leaseMax)))
	}
}

// over tells whether every Own has returned.
func (w *work) over() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

func (w *work) claim(number int32) *claim {
	for _, c := range w.claims {
		if c.number == number {
			return c
		}
	}
	return nil
}

// Partition implements commitlog.Claim.
func (c *claim) Partition() int32 { return c.number }

// Commit implements commitlog.Claim.
func (c *claim) Commit(next int64) { c.next.Store(max(next, noOffset)) }
