package thinevent

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// Append makes events durable, and returns when the index has them. Events whose id the index has already are left out;
// call CaughtUp once before, when a partition was taken over. An error wraps commitlog.ErrUnknown, ErrUnavailable,
// ErrRefused or ErrClosed, or is ErrNotIndexed; after all but ErrRefused the same call may be made again, and it will not
// come to a second event. With an index that is damaged nothing is appended, and the error wraps the *DamagedError too.
func (s *Store) Append(ctx context.Context, events ...*Event) error {
	select {
	case s.appends <- struct{}{}:
		defer func() { <-s.appends }()
	case <-ctx.Done():
		s.counts.failed.Add(uint64(len(events)))
		return fmt.Errorf("thinevent: other events are being appended, nothing of these was: %w: %w", commitlog.ErrUnavailable, ctx.Err())
	}
	fresh, err := s.unknown(events)
	if err == nil && len(fresh) > 0 {
		err = s.appendFresh(ctx, fresh)
	}
	if err != nil && !errors.Is(err, ErrNotIndexed) {
		s.counts.failed.Add(uint64(len(fresh)))
		return err
	}
	s.counts.known.Add(uint64(len(events) - len(fresh)))
	s.counts.appended.Add(uint64(len(fresh)))
	return err
}

// unknown returns the events that the index has not. Where it can not be asked nothing is known.
func (s *Store) unknown(events []*Event) (fresh []*Event, err error) {
	ids := make(map[string]bool, len(events))
	err = s.ask(func(from pebble.Reader) error {
		for _, e := range events {
			if ids[e.ID] {
				continue
			}
			ids[e.ID] = true
			switch _, known, err := s.index.offsetOf(from, e.ID); {
			case err != nil:
				return err
			case !known:
				fresh = append(fresh, e)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, commitlog.ErrClosed) {
		err = fmt.Errorf("%w: %w", commitlog.ErrUnavailable, err)
	}
	if err != nil {
		return events, err
	}
	return fresh, nil
}

func (s *Store) appendFresh(ctx context.Context, events []*Event) error {
	set, err := s.batches(events)
	if err != nil {
		return err
	}
	if err := commitlog.AppendWait(ctx, s.cfg.Log, set...); err != nil {
		return fmt.Errorf("thinevent: %w", err)
	}
	end := int64(0)
	for _, b := range set {
		if b.Base < 0 {
			return s.shown(s.CaughtUp(ctx)) // durable, and the log does not know where
		}
		end = max(end, b.Base+int64(b.Records))
	}
	return s.shown(s.reached(ctx, end))
}

// shown makes a wait that failed an error of Append.
func (s *Store) shown(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotIndexed, err)
	}
	return nil
}

// reached waits until the index has everything before an offset.
func (s *Store) reached(ctx context.Context, end int64) error {
	for {
		changed := s.changed.wait()
		if s.next.Load() >= end {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.index.Up().Done():
			return s.Damage()
		case <-s.ctx.Done():
			return commitlog.ErrClosed
		}
	}
}

// batches makes batches of events that the topic takes, a record an event. They land in this order.
func (s *Store) batches(events []*Event) (set []*commitlog.Batch, err error) {
	p := commitlog.NewPacker(s.cfg.Log, s.cfg.Topic, partition)
	var body []byte
	for _, e := range events {
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("thinevent: %w: event %.100q: %w", commitlog.ErrRefused, e.ID, err)
		}
		body = appendRecord(body[:0], e)
		if !p.Fits(body) {
			if full := p.Take(); full != nil {
				set = append(set, full)
			}
		}
		if !p.Fits(body) {
			return nil, fmt.Errorf("thinevent: %w: event %.100q has %d bytes, and a batch of %s has %d at most",
				commitlog.ErrRefused, e.ID, recordbatch.HeaderBytes+recordbatch.RecordBytesMax(len(body)), s.cfg.Topic, s.cfg.Log.BatchBytesMax(s.cfg.Topic))
		}
		p.Add(e.CreatedMs, body)
	}
	return append(set, p.Take()), nil
}
