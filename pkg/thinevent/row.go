package thinevent

import (
	"encoding/binary"

	"tollgate/pkg/stripe"
)

// A row of table events is what a record said, in a form that a list of a hundred events is read from in less time than
// JSON takes for ten:
//
//	┌────────────┬───────────┬───────────┬─────────────┬───────┬─────────────┬────────┐
//	│ created    │ partition │ first     │ through     │ flags │ texts       │ data   │
//	│ i64        │ i64       │ i64       │ i64         │ u8    │ see below   │ …      │
//	└────────────┴───────────┴───────────┴─────────────┴───────┴─────────────┴────────┘
//
// Flags: 1 live mode, 2 a reason, 4 a related object. Texts: id, type, business, context, then request and
// Idempotency-Key where there is a reason, then id, type and URL where there is a related object. Data is the rest.
const (
	flagLivemode = 1 << iota
	flagReason
	flagRelated

	flagsAll     = flagLivemode | flagReason | flagRelated
	rowHeadBytes = 4*8 + 1
)

func appendRow(dst []byte, e *Event) []byte {
	dst = appendI64(dst, e.CreatedMs)
	dst = appendI64(dst, int64(e.Source.Partition))
	dst = appendI64(appendI64(dst, e.Source.First), e.Source.Through)
	texts := []string{e.ID, e.Type, e.Business, e.Context}
	flags := byte(0)
	if e.Livemode {
		flags |= flagLivemode
	}
	if r := e.Reason; r != nil {
		flags |= flagReason
		texts = append(texts, r.RequestID, r.IdempotencyKey)
	}
	if r := e.Related; r != nil {
		flags |= flagRelated
		texts = append(texts, r.ID, r.Type, r.URL)
	}
	dst = append(dst, flags)
	for _, text := range texts {
		dst = appendText(dst, text)
	}
	return append(dst, e.Data...)
}

// parseRow reads a row. The event shares no memory with it.
func parseRow(offset int64, row []byte) (*Event, error) {
	if len(row) < rowHeadBytes {
		return nil, errRow
	}
	e := &Event{Offset: offset}
	e.CreatedMs = i64At(row)
	e.Source = Source{int32(i64At(row[8:])), i64At(row[16:]), i64At(row[24:])}
	flags := row[rowHeadBytes-1]
	e.Livemode = flags&flagLivemode != 0
	texts := []*string{&e.ID, &e.Type, &e.Business, &e.Context}
	if flags&flagReason != 0 {
		e.Reason = &stripe.EventReason{}
		texts = append(texts, &e.Reason.RequestID, &e.Reason.IdempotencyKey)
	}
	if flags&flagRelated != 0 {
		e.Related = &stripe.RelatedObject{}
		texts = append(texts, &e.Related.ID, &e.Related.Type, &e.Related.URL)
	}
	rest := row[rowHeadBytes:]
	for _, text := range texts {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n > uint64(len(rest)-used) {
			return nil, errRow
		}
		*text, rest = string(rest[used:used+int(n)]), rest[used+int(n):]
	}
	if flags&^byte(flagsAll) != 0 || len(rest) == 0 {
		return nil, errRow
	}
	e.Data = append([]byte(nil), rest...)
	return e, nil
}

// progress is how far the index is. It is written with every change of the index.
type progress struct {
	next     int64 // the offset behind the last record that the index has
	newestMs int64 // the largest creation so far
	stored   int64 // events in the index
}

func (p progress) append(dst []byte) []byte {
	return appendI64(appendI64(appendI64(dst, p.next), p.newestMs), p.stored)
}

func parseProgress(row []byte) (p progress, err error) {
	if len(row) != 3*8 {
		return p, errRow
	}
	p = progress{i64At(row), i64At(row[8:]), i64At(row[16:])}
	if p.next < 0 || p.stored < 0 {
		return p, errRow
	}
	return p, nil
}
