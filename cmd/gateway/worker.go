package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tollgate/pkg/thinevent"
	"tollgate/pkg/usage"
)

// workerAgain is the pause before a worker that ended is started again. What ended it is not over in a second.
const workerAgain = 10 * time.Second

// worker is the goroutine that runs what a group gives to this gateway: partitions to count, or events to deliver.
type worker struct {
	cancel context.CancelFunc
	done   chan struct{}
	left   string // what it means when it does not end in time
}

// startWorker runs run until it is stopped, again after a pause when it ends by itself. A state that is damaged stays so.
func startWorker(run func(context.Context) error, fault func(error), left string) *worker {
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{cancel: cancel, done: make(chan struct{}), left: left}
	go func() {
		defer close(w.done)
		for {
			err := run(ctx)
			if ctx.Err() != nil {
				return
			}
			if isDamage(err) { // whoever found out has said so
				return
			}
			fault(err)
			select {
			case <-time.After(workerAgain):
			case <-ctx.Done():
				return
			}
		}
	}()
	return w
}

// isDamage tells whether what a worker works on can not be used until a person has had it made anew.
func isDamage(err error) bool {
	var state *usage.DamagedError
	var index *thinevent.DamagedError
	return errors.As(err, &state) || errors.As(err, &index)
}

// stop has everything written down and given back. A worker that was never started is stopped.
func (w *worker) stop(ctx context.Context) error {
	if w == nil {
		return nil
	}
	w.cancel()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-w.done: // another one has used up the time
		return nil
	default:
		return fmt.Errorf("%s: %w", w.left, ctx.Err())
	}
}
