package thinevent

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	upkeepEvery = 10 * time.Second
	sweepEvery  = 6 // rounds of upkeep
	// sweepEvents is how many events are removed in one step. The fold waits for a step, and goes between two.
	sweepEvents = 500
)

// upkeep looks where the topic ends, for the lag, and removes events that are too old, until Close.
func (s *Store) upkeep() {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for round := 0; s.index.Usable() == nil; round++ {
		s.observe()
		if round%sweepEvery == 0 {
			if err := s.sweep(); err != nil && s.index.Usable() == nil && s.ctx.Err() == nil {
				s.cfg.Notify(Notice{What: Waiting, Detail: s.cfg.Dir, Err: err})
			}
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		case <-s.index.Up().Done():
			return
		}
	}
}

func (s *Store) observe() {
	ctx, cancel := context.WithTimeout(s.ctx, upkeepEvery)
	defer cancel()
	if _, end, err := s.cfg.Log.Bounds(ctx, s.cfg.Topic, partition); err == nil {
		s.topicEnd.Store(end)
	}
}

// sweep removes what is older than what is shown, a step at a time.
func (s *Store) sweep() error {
	oldest := s.oldestMs()
	for from := []byte{tableExpiry}; from != nil && s.ctx.Err() == nil; {
		var err error
		if from, err = s.sweepStep(from, oldest); err != nil {
			return err
		}
	}
	return nil
}

// sweepStep removes events whose key of expiry is at or behind from and before a creation. It returns where to go on, nil
// at the end: a walk from the beginning each time would pass what was removed before, again and again.
func (s *Store) sweepStep(from []byte, oldest int64) (rest []byte, err error) {
	if err := s.index.Usable(); err != nil {
		return nil, err
	}
	s.write.Lock()
	defer s.write.Unlock()
	x, is := s.index, s.is
	var old []Position
	err = x.Each(x.DB, from, keyExpiry(Position{CreatedMs: oldest}), func(key, _ []byte) (bool, error) {
		if len(old) == sweepEvents {
			return false, nil
		}
		p, err := positionAt(key)
		old = append(old, p)
		return true, err
	})
	if err != nil || len(old) == 0 {
		return nil, err
	}
	is.stored -= int64(len(old))
	if err := x.Write(pebble.NoSync, func(batch *pebble.Batch) error {
		for _, p := range old {
			if err := x.remove(batch, p); err != nil {
				return err
			}
		}
		return batch.Set(keyState, is.append(nil), nil)
	}); err != nil {
		return nil, err
	}
	s.is = is
	s.publish()
	if len(old) < sweepEvents {
		return nil, nil
	}
	return keyExpiry(old[len(old)-1].behind()), nil
}

// remove removes the event at a position with all its rows.
func (x *index) remove(batch *pebble.Batch, p Position) error {
	e, err := x.event(x.DB, p.Offset)
	if err == nil && e == nil {
		err = errRow // expiry has an event that is not there
	}
	if err != nil {
		return err
	}
	for _, key := range [][]byte{keyEvent(e.Offset), keyID(e.ID), keyExpiry(p), keyNewest(e.CreatedMs)} {
		if err := batch.Delete(key, nil); err != nil {
			return err
		}
	}
	return eachList(e, func(key []byte) error { return batch.Delete(key, nil) })
}
