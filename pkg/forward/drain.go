package forward

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// drainGrace is for requests that were received in time and whose records are not in the log yet.
	drainGrace = 5 * time.Second
	drainPoll  = 200 * time.Millisecond
)

// Drain waits until everything that any gateway received before a time, and stored up to 5 seconds after it, is at Stripe or
// set aside, whoever runs the partitions; of what is acknowledged and not in the log yet, it knows this process's, see
// Config.Unlogged. It goes by the cursors, so that it may take a minute where another gateway has little to send, and a
// window of the roll-up longer. progress, which may be nil, is told what is lacking whenever that changes.
func (f *Forwarder) Drain(ctx context.Context, before time.Time, progress func(lacking string)) error {
	ctx, end, err := f.call(ctx)
	if err != nil {
		return err
	}
	defer end()
	if progress == nil {
		progress = func(string) {}
	}
	if d := before.Add(drainGrace).Sub(f.cfg.Now()); d > 0 {
		progress("it is not yet " + before.UTC().Format(timeForm) + " and 5 seconds")
		if err := sleep(ctx, d); err != nil {
			return err
		}
	}
	if f.cfg.Unlogged != nil {
		if err := until(ctx, progress, func() string { return f.cfg.Unlogged(before.Add(drainGrace)) }); err != nil {
			return err
		}
	}
	targets, err := f.ends(ctx)
	if err != nil {
		return fmt.Errorf("forward: not drained: %w", err)
	}
	f.drains.Add(1)
	defer f.drains.Add(-1)
	return until(ctx, progress, func() string { return f.lacking(targets) })
}

// until waits for nothing to be lacking.
func until(ctx context.Context, progress func(string), lacking func() string) error {
	told := ""
	for {
		text := lacking()
		if text == "" {
			return nil
		}
		if text != told {
			told = text
			progress(text)
		}
		if err := sleep(ctx, drainPoll); err != nil {
			return fmt.Errorf("forward: not drained: %s: %w", text, err)
		}
	}
}

// ends are the ends of all partitions of the usage topic.
func (f *Forwarder) ends(ctx context.Context) ([]int64, error) {
	ends := make([]int64, f.cfg.Log.Partitions(f.cfg.UsageTopic))
	if len(ends) == 0 {
		return nil, errors.Join(fmt.Errorf("the log has not said what partitions %s has", f.cfg.UsageTopic), f.cfg.Log.Ready())
	}
	for n := range ends {
		_, next, err := f.cfg.Log.Bounds(ctx, f.cfg.UsageTopic, int32(n))
		if err != nil {
			return nil, err
		}
		ends[n] = next
	}
	return ends, nil
}

// lacking names a lane whose cursor is before its partition's target.
func (f *Forwarder) lacking(targets []int64) string {
	for s := range f.senders {
		if lane := f.lackingOf(s, targets); lane != "" {
			return lane
		}
	}
	return ""
}

// lackingOf names a lane of one business likewise.
func (f *Forwarder) lackingOf(s scope, targets []int64) string {
	cursors := f.board.all()
	for n, target := range targets {
		key := laneKey(s, int32(n))
		switch c := cursors[key]; {
		case target == 0:
		case c == nil:
			return key + " has not begun"
		case c.Next < target:
			return fmt.Sprintf("%s is at %d of %d", key, c.Next, target)
		}
	}
	return ""
}
