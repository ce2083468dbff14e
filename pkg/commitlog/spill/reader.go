package spill

import (
	"context"
	"fmt"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// reader reads the journal of a partition batch by batch, one ahead.
type reader struct {
	p      *partition
	r      journalReader
	at     int64 // where r is
	ahead  batch
	peeked bool
}

// journalReader is a reader of the journal, which says more than one of any log.
type journalReader interface {
	commitlog.Reader
	// NextBefore returns no records where there are none before end, which after a repair may be.
	NextBefore(ctx context.Context, end int64) ([]recordbatch.Record, error)
	Header() recordbatch.Header
}

// batch is what the journal holds of one append. The records are valid until pass and the next peek.
type batch struct {
	records  []recordbatch.Record
	next     int64
	bytes    int64
	producer recordbatch.Producer
	missing  int64 // offsets before it: a journal that was repaired has gaps
}

// peek returns the batch at an offset, which is before end, and that the journal's or before it. One without records is all
// that is left before end.
func (r *reader) peek(ctx context.Context, offset, end int64) (batch, error) {
	if r.r != nil && r.at != offset {
		r.close()
	}
	if r.peeked {
		return r.ahead, nil
	}
	l := r.p.log
	if r.r == nil {
		from, err := l.journal.NewReader(l.cfg.Topic, r.p.number, offset)
		if err != nil {
			return batch{}, err
		}
		r.r, r.at = from.(journalReader), offset
	}
	records, err := r.r.NextBefore(ctx, end)
	if err != nil {
		r.close()
		return batch{}, err
	}
	if len(records) == 0 {
		r.ahead, r.peeked = batch{next: end, producer: recordbatch.NoProducer, missing: end - offset}, true
		return r.ahead, nil
	}
	h := r.r.Header()
	last := records[len(records)-1].Offset + 1
	r.ahead, r.peeked = batch{records: records, next: last, bytes: int64(h.Length), producer: h.Producer}, true
	if first := records[0].Offset; first < offset {
		r.close()
		return batch{}, fmt.Errorf("the journal of %s-%d holds offset %d where %d was left", l.cfg.Topic, r.p.number, first, offset)
	} else if first > offset {
		r.ahead.missing = first - offset
	}
	return r.ahead, nil
}

// pass goes past the batch that was peeked at.
func (r *reader) pass() { r.at, r.peeked = r.ahead.next, false }

func (r *reader) close() {
	if r.r != nil {
		_ = r.r.Close() // a file that was only read
	}
	r.r, r.peeked = nil, false
}
