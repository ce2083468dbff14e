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
	r      commitlog.Reader
	at     int64 // where r is
	ahead  batch
	peeked bool
}

// batch is what the journal holds of one append. The records are valid until pass and the next peek.
type batch struct {
	records  []recordbatch.Record
	next     int64
	bytes    int64
	producer recordbatch.Producer
}

// peek returns the batch at an offset, which is before the journal's end.
func (r *reader) peek(ctx context.Context, offset int64) (batch, error) {
	if r.r != nil && r.at != offset {
		r.close()
	}
	if r.peeked {
		return r.ahead, nil
	}
	l := r.p.log
	if r.r == nil {
		var err error
		if r.r, err = l.journal.NewReader(l.cfg.Topic, r.p.number, offset); err != nil {
			return batch{}, err
		}
		r.at = offset
	}
	records, err := r.r.Next(ctx)
	if err != nil {
		r.close()
		return batch{}, err
	}
	h := r.r.(interface{ Header() recordbatch.Header }).Header()
	last := records[len(records)-1].Offset + 1
	if records[0].Offset != offset {
		r.close()
		return batch{}, fmt.Errorf("the journal of %s-%d holds offset %d where %d was left", l.cfg.Topic, r.p.number, records[0].Offset, offset)
	}
	r.ahead, r.peeked = batch{records: records, next: last, bytes: int64(h.Length), producer: h.Producer}, true
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
