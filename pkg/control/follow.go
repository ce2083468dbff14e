package control

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// follower is the state of the one goroutine that reads the log.
type follower struct {
	*Control
	fold    *state
	next    int64 // the offset after the last record folded; -1: begin with the oldest
	target  int64 // load until here before anything is published
	loaded  bool  // what is folded is published
	decided []decided
	pause   time.Duration
	marking atomic.Bool // a mark is in flight
}

// decided is a verdict that waits for its snapshot to be published.
type decided struct {
	id      [16]byte
	verdict Verdict
}

func (c *Control) run() {
	f := &follower{Control: c, next: -1, pause: c.cfg.BackoffMin}
	for c.ctx.Err() == nil {
		err := f.follow()
		if c.ctx.Err() != nil {
			return
		}
		kind := ReadFailed
		if errors.Is(err, commitlog.ErrOffsetOutOfRange) {
			// What was folded is of a log that is not there any more. What is published stays until the new one is loaded.
			kind = StartedOver
			f.next = -1
			c.restarts.Add(1)
		}
		c.progress.trouble(err)
		c.cfg.Notify(Notice{What: kind, Offset: f.next, Err: err})
		select {
		case <-c.ctx.Done():
		case <-time.After(f.pause):
		}
		f.pause = min(2*f.pause, c.cfg.BackoffMax)
	}
}

// follow reads until something fails, and says what.
func (f *follower) follow() error {
	if f.next < 0 {
		if err := f.begin(); err != nil {
			return err
		}
	}
	r, err := f.cfg.Log.NewReader(f.cfg.Topic, partition, f.next)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		records, err := f.read(r)
		if err != nil {
			return err
		}
		f.pause = f.cfg.BackoffMin
		f.apply(records)
	}
}

// begin starts with the oldest record. It asks for the end too: until there the fold is behind.
func (f *follower) begin() error {
	oldest, end, err := f.bounds()
	if err != nil {
		return err
	}
	f.ends.latest.Store(0) // another log may be shorter
	f.fold, f.next, f.target, f.loaded = newState(), oldest, end, false
	f.progress.restart(oldest, end)
	f.apply(nil) // an empty log is loaded
	return nil
}

// read waits for records. While somebody waits for an end that does not come, it appends a mark behind it: the end may
// be a range of offsets without a record, which a reader passes only with the next record.
func (f *follower) read(r commitlog.Reader) ([]recordbatch.Record, error) {
	for {
		ctx, cancel := context.WithTimeout(f.ctx, f.cfg.StallMax)
		records, err := r.Next(ctx)
		stalled := ctx.Err() != nil && f.ctx.Err() == nil
		cancel()
		if err == nil || !stalled || errors.Is(err, commitlog.ErrOffsetOutOfRange) {
			return records, err
		}
		if f.next < f.wanted() {
			f.progress.trouble(err)
			f.mark()
		}
	}
}

// mark appends a record that says nothing, and does not wait for it.
func (f *follower) mark() {
	if f.cfg.Log.Ready() != nil || !f.marking.CompareAndSwap(false, true) {
		return
	}
	p := &proposal{object: objectMark, atMs: f.cfg.Now().UnixMilli()}
	f.cfg.Random(p.id[:])
	f.cfg.Log.Append([]*commitlog.Batch{f.batch(p, func(*commitlog.Batch) { f.marking.Store(false) })})
	f.marks.Add(1)
	f.cfg.Notify(Notice{What: Marked, Offset: f.next, Err: fmt.Errorf("the log ends at %d and no record came", f.wanted())})
}

// wanted is the offset that somebody waits for.
func (f *follower) wanted() int64 { return max(f.target, f.ends.latest.Load()) }

// apply folds records, and shows the result when the log has been loaded: first the meters, then that they are there,
// then the verdicts, so that whoever has one of the later sees the earlier.
func (f *follower) apply(records []recordbatch.Record) {
	var skipped []Notice
	f.mu.Lock()
	for i := range records {
		p, err := decode(records[i].Key, records[i].Value)
		if err != nil {
			skipped = append(skipped, Notice{What: Skipped, Offset: records[i].Offset, Err: err})
			continue
		}
		v := f.fold.apply(p)
		if f.waiting.has(p.id) {
			f.decided = append(f.decided, decided{p.id, v})
		}
	}
	if len(records) > 0 {
		f.next = records[len(records)-1].Offset + 1
	}
	f.loaded = f.loaded || f.next >= f.target
	if f.loaded {
		f.state = f.fold
		f.snapshot.Store(f.fold.snapshot())
	}
	f.mu.Unlock()

	f.records.Add(int64(len(records)))
	f.skipped.Add(int64(len(skipped)))
	f.progress.at(f.next, f.loaded)
	if f.loaded {
		for _, d := range f.decided {
			f.waiting.decide(d.id, d.verdict)
		}
		f.decided = f.decided[:0]
	}
	for _, n := range skipped {
		f.cfg.Notify(n)
	}
}
