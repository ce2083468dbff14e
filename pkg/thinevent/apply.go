package thinevent

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/pkg/commitlog/follow"
	"tollgate/pkg/recordbatch"
)

// What is written to the index at once is bounded by these.
const (
	commitRecords = 1000
	commitBytes   = 4 << 20
)

// begin says where the index goes on. Records that retention removed before they were indexed are usually too old to be
// shown; where retention is by size they may not be, and a person is told.
func (s *Store) begin(oldest, end int64) (int64, error) {
	if err := s.index.Usable(); err != nil {
		return 0, err
	}
	s.write.Lock()
	defer s.write.Unlock()
	switch next := s.is.next; {
	case next > end:
		return 0, s.index.Refuse(fmt.Errorf(
			"it was made of the events before offset %d of %s, which ends at %d: it is the index of another log", next, s.cfg.Topic, end))
	case next == 0 && end > oldest:
		s.cfg.Notify(Notice{What: Rebuilding, Detail: fmt.Sprintf("%d records", end-oldest)})
	case next > 0 && next < oldest:
		s.cfg.Notify(Notice{What: Overtaken, Detail: fmt.Sprintf("offsets %d to %d", next, oldest-1)})
	}
	s.is.next = max(s.is.next, oldest)
	s.publish()
	return s.is.next, nil
}

// trouble tells once that the topic can not be read.
func (s *Store) trouble(n follow.Notice) {
	if s.waiting || n.Anew || s.index.Usable() != nil {
		return // begin tells of what is anew, and the index of its own failure
	}
	s.waiting = true
	s.cfg.Notify(Notice{What: Waiting, Detail: s.cfg.Topic, Err: n.Err})
}

// apply indexes records. Those that it has already, from a call that failed in the middle, are passed over.
func (s *Store) apply(records []recordbatch.Record, _ bool) error {
	for len(records) > 0 {
		n, bytes := 0, 0
		for n < len(records) && n < commitRecords && bytes < commitBytes {
			bytes += len(records[n].Value)
			n++
		}
		if err := s.applySome(records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	if s.waiting {
		s.waiting = false
		s.cfg.Notify(Notice{What: GoesOn})
	}
	return nil
}

// fold is what one batch of the index comes to.
type fold struct {
	s      *Store
	batch  *pebble.Batch
	is     progress
	oldest int64           // the creation of the oldest event that is shown
	ids    map[string]bool // those in the batch
	row    []byte

	repeated, unreadable uint64
}

func (s *Store) applySome(records []recordbatch.Record) error {
	if err := s.index.Usable(); err != nil {
		return err // who failed in there may hold write for ever
	}
	s.write.Lock()
	defer s.write.Unlock()
	f := &fold{s: s, is: s.is, oldest: s.oldestMs(), ids: make(map[string]bool)}
	if err := s.index.Write(pebble.NoSync, func(b *pebble.Batch) error {
		f.batch = b
		return f.all(records)
	}); err != nil {
		return err
	}
	s.is = f.is
	s.publish()
	s.counts.repeated.Add(f.repeated)
	s.counts.unreadable.Add(f.unreadable)
	s.changed.tell()
	return nil
}

// all indexes records, and says in the batch how far the index is then.
func (f *fold) all(records []recordbatch.Record) error {
	for i := range records {
		if records[i].Offset < f.is.next {
			continue
		}
		if err := f.one(&records[i]); err != nil {
			return err
		}
		f.is.next = records[i].Offset + 1
	}
	return f.batch.Set(keyState, f.is.append(nil), nil)
}

// one indexes a record. Of records with the same id the first in the topic is the event.
func (f *fold) one(rec *recordbatch.Record) error {
	e, err := parseRecord(rec)
	if err != nil {
		f.unreadable++
		return nil
	}
	if e.CreatedMs < f.oldest {
		return nil // the topic keeps a little more than is shown
	}
	_, known, err := f.s.index.offsetOf(f.s.index.DB, e.ID)
	if err != nil {
		return err
	}
	if known || f.ids[e.ID] {
		f.repeated++
		return nil
	}
	f.ids[e.ID] = true
	f.is.stored++
	return f.add(e)
}

func (f *fold) add(e *Event) error {
	f.row = appendRow(f.row[:0], e)
	if err := f.batch.Set(keyEvent(e.Offset), f.row, nil); err != nil {
		return err
	}
	if err := f.batch.Set(keyID(e.ID), appendI64(nil, e.Offset), nil); err != nil {
		return err
	}
	if err := f.batch.Set(keyExpiry(e.position()), nil, nil); err != nil {
		return err
	}
	if e.CreatedMs > f.is.newestMs {
		f.is.newestMs = e.CreatedMs
		if err := f.batch.Set(keyNewest(e.CreatedMs), appendI64(nil, e.Offset), nil); err != nil {
			return err
		}
	}
	return eachList(e, func(key []byte) error { return f.batch.Set(key, nil, nil) })
}
