package webhook

import (
	"context"
	"fmt"
	"sync"

	"tollgate/pkg/control"
)

// sweepGroup is how many records are removed in one group.
const sweepGroup = 1_000

// sweep begins to remove what the cursors topic has of destinations that are disabled or removed, one sweep at a time. A
// destination is not run while its remains are removed.
func (s *shift) sweep(ctx context.Context, others *sync.WaitGroup) {
	if s.sweeping != nil {
		return
	}
	var list []place
	for _, r := range s.c.board.destinations() {
		if s.running[r.place.id] == nil && isRemains(r, s.c.destination(r.place)) {
			list = append(list, r.place)
		}
	}
	if len(list) == 0 {
		return
	}
	s.sweeping = map[string]bool{}
	for _, p := range list {
		s.sweeping[p.id] = true
	}
	others.Go(func() {
		for _, p := range list {
			if err := s.remove(ctx, p); err != nil && ctx.Err() == nil {
				s.c.counts.writeFaults.Add(1)
				s.c.fault(p.id, fmt.Errorf("removing what waited for a destination that is disabled: %w", err))
				pause(ctx, writeAgain)
			}
		}
		s.swept <- struct{}{}
	})
}

// isRemains tells whether the topic has something that should not be there: deliveries of a destination that is not
// enabled, or anything of one that does not exist.
func isRemains(r remains, d *control.Destination) bool {
	if d == nil {
		return r.hasCursor || r.deliveries > 0
	}
	return !d.Enabled && r.deliveries > 0
}

// remove writes the end of what waits. What is on the board was written before the control topic is read to its end, so
// that a delivery asked for right after the destination was enabled, or made, is seen to be of one that is.
func (s *shift) remove(ctx context.Context, p place) error {
	has, waiting := s.c.board.state(p.id)
	if err := s.c.cfg.Control.CaughtUp(ctx); err != nil {
		return err
	}
	d := s.c.destination(p)
	if !isRemains(remains{place: p, hasCursor: has != nil, deliveries: len(waiting)}, d) {
		return nil
	}
	var entries []entry
	for _, w := range waiting {
		entries = append(entries, entry{key: deliveryKey(p, w.key)})
	}
	if d == nil && has != nil {
		entries = append(entries, entry{key: cursorKey(p)})
	}
	for len(entries) > 0 {
		n := min(len(entries), sweepGroup)
		if err := s.ledger.write(ctx, entries[:n]); err != nil {
			return err
		}
		entries = entries[n:]
	}
	s.c.counts.dropped.Add(uint64(len(waiting)))
	return s.c.follower.CaughtUp(ctx)
}
