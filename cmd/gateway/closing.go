package main

import (
	"context"
	"errors"
	"time"
)

// drain stops in the order in which events travel, so that whatever was taken is answered and whatever was answered is
// in the log. A log that stands still is closed under the requests that wait for it: they are answered with what is
// known, and only then are connections cut. ctx bounds all of it.
//
// An error is a fault of a room. That a client did not finish its request in time, or that Kafka did not answer, is
// none: nobody was told that anything is durable. A line says so.
func (g *gateway) drain(ctx context.Context) error {
	g.draining.Store(true)
	answered := make(chan error, 1)
	go func() { answered <- g.http.Shutdown(ctx) }()
	select {
	case err := <-answered:
		answered <- err
	case <-time.After(drainAnswersMax):
	}
	var faults []error
	check := func(err error, msg string) {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			g.log.Warn().Err(err).Msg(msg)
		case err != nil:
			faults = append(faults, err)
		}
	}
	// A log that stands still keeps both of these waiting, so they wait together.
	patience, cancel := context.WithTimeout(ctx, drainStateMax)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- g.ingest.Drain(patience) }()
	g.closeWorkers(patience, check)
	check(<-drained, "the log is closed under requests that wait for it")
	patience, cancel = context.WithTimeout(ctx, drainLogMax)
	defer cancel()
	check(g.commitLog.Close(patience), "the log did not answer in time: what waited for it was answered as not known to be durable")
	check(g.ingest.Drain(ctx), "requests were left waiting")
	check(<-answered, "connections were cut in the middle of a request")
	g.admin.close(ctx)
	return errors.Join(append(faults, g.lock.Close())...)
}

// abandon closes what an open that failed half-way has opened. Nothing was served yet, so nothing has to wait.
func (g *gateway) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), drainLogMax)
	defer cancel()
	if g.public != nil {
		_ = g.public.Close()
	}
	if g.http != nil {
		_ = g.http.Shutdown(ctx)
	}
	if g.ingest != nil {
		_ = g.ingest.Drain(ctx)
	}
	g.closeWorkers(ctx, func(error, string) {})
	if g.commitLog != nil {
		_ = g.commitLog.Close(ctx)
	}
	if g.lock != nil {
		_ = g.lock.Close()
	}
}

// closeWorkers ends what counts, delivers and answers, after the last request was answered and before the log is closed.
// Those who read and write thin events end before what keeps them; one that does not end in time still does, so that
// theirs is then left open.
func (g *gateway) closeWorkers(ctx context.Context, check func(error, string)) {
	for _, w := range []*worker{g.counter, g.deliverer} {
		if w != nil {
			w.cancel() // both end at the same time
		}
	}
	delivered := g.deliverer.stop(ctx)
	check(delivered, "the deliveries did not end in time")
	if g.courier != nil && delivered == nil {
		check(g.courier.Close(ctx), "the reader of what was delivered did not end in time")
	}
	counted := g.counter.stop(ctx)
	check(counted, "the worker did not end in time")
	if g.usage != nil && counted == nil {
		check(g.usage.Close(ctx), "the state was not closed in time")
	}
	if g.forwarder != nil {
		check(g.forwarder.Close(ctx), "the forwarder did not end in time")
	}
	if g.fleet != nil {
		check(g.fleet.Close(ctx), "questions of other gateways were cut short")
	}
	if g.events != nil && counted == nil && delivered == nil {
		check(g.events.Close(ctx), "the index of events was not closed in time")
	}
	if g.opened != nil {
		check(g.opened.Close(ctx), "the reader of the sessions topic did not end in time")
	}
	if g.control != nil {
		check(g.control.Close(ctx), "the reader of the control topic did not end in time")
	}
}
