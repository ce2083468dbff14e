package control

import (
	"context"
	"fmt"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/follow"
	"tollgate/pkg/recordbatch"
)

// decided is a verdict that waits for its snapshot to be published.
type decided struct {
	id      [16]byte
	verdict Verdict
}

// start begins to follow the topic. What was folded of a log that does not hold the next offset any more is of another
// one: what is published stays until the new one is loaded.
func (c *Control) start() (err error) {
	c.follower, err = follow.Start(follow.Config{
		Log: c.cfg.Log, Topic: c.cfg.Topic, Partition: partition,
		Begin: func(oldest, _ int64) (int64, error) {
			c.fold = newState()
			return oldest, nil
		},
		Apply:      c.apply,
		Stalled:    c.mark,
		Notify:     c.notify,
		BackoffMin: c.cfg.BackoffMin, BackoffMax: c.cfg.BackoffMax, StallMax: c.cfg.StallMax,
	})
	return err
}

func (c *Control) notify(n follow.Notice) {
	kind := ReadFailed
	if n.Anew {
		kind = StartedOver
		c.restarts.Add(1)
	}
	c.cfg.Notify(Notice{What: kind, Offset: n.Next, Err: n.Err})
}

// CaughtUp returns when the snapshot has everything that was in the log when it was called: every change that any
// gateway answered before. Callers at the same time share one question to the log.
//
// A log may end with offsets that have no record, where somebody else wrote and compaction removed it. When the end does
// not come into sight for Config.StallMax, a record without meaning is appended behind it, and there it is.
func (c *Control) CaughtUp(ctx context.Context) error {
	if err := c.follower.CaughtUp(ctx); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return nil
}

// mark appends a record that says nothing, and does not wait for it.
func (c *Control) mark(next, wanted int64) {
	if c.cfg.Log.Ready() != nil || !c.marking.CompareAndSwap(false, true) {
		return
	}
	p := &proposal{object: objectMark, atMs: c.cfg.Now().UnixMilli()}
	c.cfg.Random(p.id[:])
	c.cfg.Log.Append([]*commitlog.Batch{c.proposals.Batch(p.record(), func(*commitlog.Batch) { c.marking.Store(false) })})
	c.marks.Add(1)
	c.cfg.Notify(Notice{What: Marked, Offset: next, Err: fmt.Errorf("the log ends at %d and no record came", wanted)})
}

// apply folds records, and shows the result when the log has been loaded: first the snapshot, then the verdicts, so that
// whoever has a verdict sees the change.
func (c *Control) apply(records []recordbatch.Record, loaded bool) error {
	var skipped []Notice
	c.mu.Lock()
	for i := range records {
		p, err := decode(records[i].Key, records[i].Value)
		if err != nil {
			skipped = append(skipped, Notice{What: Skipped, Offset: records[i].Offset, Err: err})
			continue
		}
		v := c.fold.apply(p)
		if c.proposals.Waits(p.id) {
			c.undelivered = append(c.undelivered, decided{p.id, v})
		}
	}
	if loaded {
		c.state = c.fold
		c.snapshot.Store(c.fold.snapshot())
	}
	c.mu.Unlock()

	c.records.Add(int64(len(records)))
	c.skipped.Add(int64(len(skipped)))
	if loaded {
		for _, d := range c.undelivered {
			c.proposals.Decide(d.id, d.verdict)
		}
		c.undelivered = c.undelivered[:0]
	}
	for _, n := range skipped {
		c.cfg.Notify(n)
	}
	return nil
}
