package usage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

// follower brings a partition's records to its fold.
type follower struct {
	w     *Worker
	p     *partition
	claim commitlog.Claim

	flushedAt time.Time
	waiting   bool // told that it waits
	listed    bool // answers questions
	failed    bool // what was not flushed may be half of something
	sender    *sender
	beside    *beside
}

const (
	// endTimeout bounds what is done when a partition is given back.
	endTimeout = 20 * time.Second
	// downTimeout is how long a partition has to end when the store has failed.
	downTimeout = time.Second
	// What waits for a flush has these bounds, whatever the time.
	bucketsMax = 2_000_000
	batchBytes = 64 << 20
	cancelsMax = 100_000
)

// begin brings the partition to where it can go on.
func (f *follower) begin(ctx context.Context) error {
	p, cfg := f.p, &f.w.cfg
	oldest, next, err := cfg.Log.Bounds(ctx, cfg.Topic, p.number)
	if err != nil {
		return err
	}
	if next < p.state.Offset {
		return &DamagedError{Path: p.store.Path(), Err: fmt.Errorf("it was made of %d records of partition %d of %s, which has %d: it is the state of another log", p.state.Offset, p.number, cfg.Topic, next)}
	}
	if p.state.Offset == 0 && next > 0 {
		p.state.RebuildTo, p.flushed.RebuildTo = next, next
		cfg.Notify(Notice{What: Rebuilding, Partition: p.number, Detail: fmt.Sprintf("%d records", next-oldest)})
	}
	if p.state.Offset < oldest {
		p.skipTo(oldest)
	}
	if err := f.meters(ctx); err != nil {
		return err
	}
	if err := f.takeUpReports(ctx); err != nil {
		return err
	}
	if err := f.fillIndex(ctx, oldest); err != nil {
		return err
	}
	f.flushedAt = cfg.Now()
	f.w.mu.Lock()
	f.w.parts[p.number] = p
	f.w.mu.Unlock()
	f.listed = true
	return nil
}

// meters takes a snapshot that has every change made before the records at hand were received.
func (f *follower) meters(ctx context.Context) error {
	if err := f.await(ctx, f.w.cfg.Control.CaughtUp); err != nil {
		return err
	}
	f.p.meters = snapshotMeters{f.w.cfg.Control.Snapshot()}
	return nil
}

// await asks until the answer is good or ctx ends.
func (f *follower) await(ctx context.Context, ask func(context.Context) error) error {
	for pause := time.Millisecond; ; pause = min(2*pause, f.w.cfg.PauseMax) {
		err := ask(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if pause > 100*time.Millisecond && !f.waiting {
			f.waiting = true
			f.w.cfg.Notify(Notice{What: Waiting, Partition: f.p.number, Err: err})
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
	if f.waiting {
		f.waiting = false
		f.w.cfg.Notify(Notice{What: GoesOn, Partition: f.p.number})
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// skipTo goes on behind records that retention removed, and remembers that they are missing.
func (p *partition) skipTo(oldest int64) {
	g := gap{From: p.state.Offset, To: oldest, FromMs: math.MinInt64}
	if p.state.Hour != noHour {
		g.FromMs = p.state.ClockMs - meterevent.TimestampPastMaxMs - hourMs
	}
	p.state.Gaps = append(p.state.Gaps[:len(p.state.Gaps):len(p.state.Gaps)], g)
	p.state.Offset = oldest
	p.mu.Lock()
	p.applied, p.flushed.Gaps = oldest, p.state.Gaps
	p.mu.Unlock()
	p.cfg.Notify(Notice{What: Gap, Partition: p.number, Detail: fmt.Sprintf("offsets %d to %d; totals that may lack them are not given", g.From, g.To-1)})
}

// chunk is what a reader returned.
type chunk struct {
	records []recordbatch.Record
	err     error
}

// read hands over what a reader returns, one chunk at a time: the next is not read before the last was dealt with.
func read(ctx context.Context, r commitlog.Reader, out chan<- chunk, done <-chan struct{}) {
	defer r.Close()
	for {
		records, err := r.Next(ctx)
		select {
		case out <- chunk{records, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// follow applies what comes until ctx ends.
func (f *follower) follow(ctx context.Context) error {
	go f.observe(ctx)
	f.sender = f.w.send(f.p)
	f.beside = f.w.runBeside(ctx, f.p)
	for {
		if err := f.followReader(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// followReader applies what one reader brings. nil: another reader is to be tried.
func (f *follower) followReader(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cfg := &f.w.cfg
	reader, err := cfg.Log.NewReader(cfg.Topic, f.p.number, f.p.state.Offset)
	if err != nil {
		return f.readError(ctx, err)
	}
	out, done, ended := make(chan chunk), make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); read(ctx, reader, out, done) }()
	defer func() { cancel(); <-ended }()
	tick := time.NewTicker(cfg.FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-out:
			if c.err != nil {
				return f.readError(ctx, c.err)
			}
			if err := f.apply(ctx, c.records); err != nil {
				return err
			}
			select {
			case done <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
		case <-tick.C:
			if err := f.closeIdle(ctx); err != nil {
				return err
			}
			if err := f.flushIfDue(ctx, true); err != nil {
				return err
			}
		}
	}
}

// readError decides what a failed read means. nil: read anew.
func (f *follower) readError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if !errors.Is(err, commitlog.ErrOffsetOutOfRange) {
		return err
	}
	oldest, next, err := f.w.cfg.Log.Bounds(ctx, f.w.cfg.Topic, f.p.number)
	switch {
	case err != nil:
		return err
	case oldest > f.p.state.Offset:
		f.p.skipTo(oldest)
		return nil
	}
	return &DamagedError{Path: f.p.store.Path(), Err: fmt.Errorf("partition %d of the log ends at %d, before the state's offset %d: records that were durable are gone from it", f.p.number, next, f.p.state.Offset)}
}

func (f *follower) apply(ctx context.Context, records []recordbatch.Record) error {
	if err := f.meters(ctx); err != nil {
		return nil // ctx ended: the records are applied by the next owner
	}
	if err := f.p.apply(ctx, records, f.p.meters); err != nil {
		return err
	}
	return f.flushIfDue(ctx, false)
}

// flushIfDue flushes when it is time or what waits has become much. idle says that no record is at hand.
func (f *follower) flushIfDue(ctx context.Context, idle bool) error {
	p, now := f.p, f.w.cfg.Now()
	since := now.Sub(f.flushedAt)
	much := p.bucketsDirty > bucketsMax || p.batch.Len() > batchBytes || len(p.cancels) > cancelsMax
	if !much && since < max(f.w.cfg.FlushEvery, 4*p.flushTook) && !(idle && since > f.w.cfg.FlushEvery/2) {
		return nil
	}
	if !p.dirtySince() {
		return nil
	}
	if err := p.flush(ctx, false); err != nil {
		return err
	}
	f.flushedAt = f.w.cfg.Now()
	f.claim.Commit(p.state.Offset)
	return nil
}

// observe asks the log how far it is, for the lag and for how current answers are.
func (f *follower) observe(ctx context.Context) {
	for {
		at := f.w.cfg.Now().UnixMilli()
		_, next, err := f.w.cfg.Log.Bounds(ctx, f.w.cfg.Topic, f.p.number)
		if err == nil {
			f.p.bound(at, next)
		}
		if !sleep(ctx, f.w.cfg.FlushEvery) {
			return
		}
	}
}

// bound notes that the log ended at an offset after a time.
func (p *partition) bound(atMs, next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.boundMs, p.boundNext = atMs, next
	p.current()
}

// current notes how current the last flush is. mu is held.
func (p *partition) current() {
	if p.flushed.Offset >= p.boundNext {
		p.asOfMs = max(p.asOfMs, p.boundMs)
	}
	p.asOfMs = max(p.asOfMs, p.flushed.ClockMs)
}

// end gives the partition back: nobody runs it before this returns.
func (f *follower) end() {
	p := f.p
	f.beside.end()
	if f.listed {
		f.w.mu.Lock()
		delete(f.w.parts, p.number)
		f.w.mu.Unlock()
	}
	p.mu.Lock()
	p.gone = true
	for _, w := range p.waiters {
		close(w.done)
	}
	p.waiters = nil
	p.mu.Unlock()

	f.sender.end()
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	err := p.store.Usable()
	if err == nil && f.listed && !f.failed && p.dirtySince() {
		err = p.seal(ctx)
	}
	if closed := p.close(); err == nil {
		err = closed
	}
	f.w.cfg.Notify(Notice{What: Stopped, Partition: p.number, Detail: fmt.Sprintf("offset %d", p.state.Offset), Err: err})
}
