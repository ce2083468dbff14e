package thinevent

import (
	"github.com/cockroachdb/pebble/v2"
)

// passedMax is how many events From passes over at most, beside those that it returns.
const passedMax = 1000

// Get returns an event of the last 30 days, nil when there is none of this id in the business and mode.
func (s *Store) Get(business string, livemode bool, id string) (e *Event, err error) {
	err = s.ask(func(from pebble.Reader) error {
		e, err = s.byID(from, id)
		return err
	})
	if err != nil || e == nil || e.Business != business || e.Livemode != livemode || e.CreatedMs < s.oldestMs() {
		return nil, err
	}
	return e, nil
}

// byID returns the event of an id, nil when the index has none.
func (s *Store) byID(from pebble.Reader, id string) (*Event, error) {
	offset, found, err := s.index.offsetOf(from, id)
	if err != nil || !found {
		return nil, err
	}
	return s.listed(from, offset)
}

// listed returns an event that another row names.
func (s *Store) listed(from pebble.Reader, offset int64) (*Event, error) {
	e, err := s.index.event(from, offset)
	if err == nil && e == nil {
		err = s.index.Judge(errRow)
	}
	return e, err
}

// Reported tells whether a report of this id is in the index, and the offset before which it counts. Call CaughtUp once
// before, when a partition was taken over.
func (s *Store) Reported(id string) (through int64, found bool, err error) {
	var e *Event
	err = s.ask(func(from pebble.Reader) error {
		e, err = s.byID(from, id)
		return err
	})
	if err != nil || e == nil {
		return 0, false, err
	}
	return e.Source.Through, true, nil
}

// At returns the event at an offset, nil when there is none in the last 30 days.
func (s *Store) At(offset int64) (e *Event, err error) {
	err = s.ask(func(from pebble.Reader) error {
		e, err = s.index.event(from, offset)
		return err
	})
	if err != nil || e == nil || e.CreatedMs < s.oldestMs() {
		return nil, err
	}
	return e, nil
}

// From returns events of all businesses at or behind an offset of the topic, in order of their offsets, limit at most,
// without repetitions of an id, and the offset to ask for next. It does not wait: next is offset where there is nothing
// yet. A call passes over 1,000 events at most that are too old, so that few events are not yet the end.
func (s *Store) From(offset int64, limit int) (events []*Event, next int64, err error) {
	oldest, next := s.oldestMs(), offset
	err = s.ask(func(from pebble.Reader) error {
		is, err := s.index.progress(from)
		if err != nil {
			return err
		}
		if offset >= is.next {
			return nil // the bounds of a walk have an order
		}
		passed, full := 0, false
		err = s.index.Each(from, keyEvent(offset), keyEvent(is.next), func(key, row []byte) (bool, error) {
			if full = len(events) >= limit || passed == passedMax; full {
				return false, nil
			}
			if len(key) != 1+8 || len(row) < rowHeadBytes {
				return false, errRow
			}
			at := i64At(key[1:])
			next = at + 1
			if i64At(row) < oldest {
				passed++
				return true, nil
			}
			e, err := parseRow(at, row)
			events = append(events, e)
			return true, err
		})
		if !full {
			next = max(next, is.next)
		}
		return err
	})
	if err != nil {
		return nil, offset, err
	}
	return events, next, nil
}

// Since is an offset such that all events created at or after a time are at or behind it.
func (s *Store) Since(createdMs int64) (offset int64, err error) {
	err = s.ask(func(from pebble.Reader) error {
		is, err := s.index.progress(from)
		if err != nil {
			return err
		}
		offset = is.next
		return s.index.Each(from, keyNewest(createdMs), []byte{tableNewest + 1}, func(_, row []byte) (bool, error) {
			if len(row) != 8 {
				return false, errRow
			}
			offset = i64At(row)
			return false, nil
		})
	})
	return offset, err
}
