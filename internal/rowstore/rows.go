package rowstore

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cockroachdb/pebble/v2"
)

// Judge makes what the library, or a parser of rows, says an error of the room's.
func (s *Store[D]) Judge(err error) error {
	var known D
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, s.cfg.BadRow):
		return s.Refuse(err)
	case pebble.IsCorruptionError(err):
		return s.Fail(s.cfg.Path, err, false)
	}
	return fmt.Errorf("%s: %s: %w", s.cfg.Room, s.cfg.Path, err)
}

// Write has fill put rows into a batch, and commits it: all of them are in the store then, or none.
func (s *Store[D]) Write(o *pebble.WriteOptions, fill func(*pebble.Batch) error) error {
	if err := s.Usable(); err != nil {
		return err
	}
	b := s.DB.NewBatch()
	err := fill(b)
	if err == nil {
		err = s.guard(func() error { return b.Commit(o) })
	}
	err = s.Judge(err)
	if closed := s.Discard(b); err == nil {
		err = closed
	}
	return err
}

// Commit commits and closes a batch that was filled over time. One that it can not commit stays as it is: see Discard.
func (s *Store[D]) Commit(b *pebble.Batch, o *pebble.WriteOptions) error {
	if err := s.guard(func() error { return b.Commit(o) }); err != nil {
		return err
	}
	return b.Close()
}

// Discard closes a batch that is not to be committed, or could not be. It leaves it alone where the library may still be
// in it: a batch that is closed is the next one's memory.
func (s *Store[D]) Discard(b *pebble.Batch) error {
	if s.Stuck() {
		return nil
	}
	return b.Close()
}

// Sync makes durable what was committed without it.
func (s *Store[D]) Sync() error {
	return s.guard(func() error { return s.DB.LogData(nil, pebble.Sync) })
}

// guard writes. Where the library's own log takes no more it panics, with the error; it keeps its locks, so that who waits
// for it to write does so for ever, which Up is for.
func (s *Store[D]) guard(write func() error) (err error) {
	if err := s.Usable(); err != nil {
		return err
	}
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case runtime.Error:
			panic(cause) // a bug, of ours or of the library's
		case error:
			err = s.Fail(s.cfg.Path, cause, !pebble.IsCorruptionError(cause))
		default:
			panic(cause)
		}
	}()
	return s.Judge(write())
}

// Get returns a copy of a row.
func (s *Store[D]) Get(from pebble.Reader, key []byte) (value []byte, found bool, err error) {
	if err := s.Usable(); err != nil {
		return nil, false, err
	}
	v, closer, err := from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.Judge(err)
	}
	value = append([]byte(nil), v...)
	return value, true, closer.Close()
}

// Each calls f for the rows from one key to before another, in order, as long as it wants more. What it is given is valid
// during the call.
func (s *Store[D]) Each(from pebble.Reader, lower, upper []byte, f func(key, value []byte) (more bool, err error)) error {
	return s.Iterate(from, lower, upper, func(it *pebble.Iterator) error {
		for ok := it.First(); ok; ok = it.Next() {
			if more, err := f(it.Key(), it.Value()); err != nil || !more {
				return err
			}
		}
		return nil
	})
}

// Back is Each in reverse.
func (s *Store[D]) Back(from pebble.Reader, lower, upper []byte, f func(key, value []byte) (more bool, err error)) error {
	return s.Iterate(from, lower, upper, func(it *pebble.Iterator) error {
		for ok := it.Last(); ok; ok = it.Prev() {
			if more, err := f(it.Key(), it.Value()); err != nil || !more {
				return err
			}
		}
		return nil
	})
}

// Iterate has a walk over the rows from one key to before another. The iterator is its until it returns.
func (s *Store[D]) Iterate(from pebble.Reader, lower, upper []byte, walk func(*pebble.Iterator) error) error {
	it, err := s.Iterator(from, lower, upper)
	if err != nil {
		return err
	}
	err = walk(it)
	if err == nil {
		err = it.Error()
	}
	if closed := it.Close(); err == nil {
		err = closed
	}
	return s.Judge(err)
}

// Iterator is over the rows from one key to before another. The caller closes it, and has what it says judged.
func (s *Store[D]) Iterator(from pebble.Reader, lower, upper []byte) (*pebble.Iterator, error) {
	if err := s.Usable(); err != nil {
		return nil, err
	}
	it, err := from.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, s.Judge(err)
	}
	return it, nil
}
