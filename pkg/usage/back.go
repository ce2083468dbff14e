package usage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

// backReader reads records that were applied already.
type backReader struct {
	log       commitlog.Log
	topic     string
	partition int32

	reader meterevent.RecordReader
	view   meterevent.Record
	record recordbatch.Record
}

const (
	// backTimeout bounds one look into the log.
	backTimeout = 30 * time.Second
	// backSkip is how many records are read rather than jumped over: a jump costs about as much.
	backSkip = 20_000
)

// each reads the records at offsets, in order, and takes out of the list what was done.
func (b *backReader) each(ctx context.Context, offsets *[]int64, do func(offset int64, found bool) error) error {
	todo := *offsets
	slices.Sort(todo)
	var open commitlog.Reader
	shut := func() {
		if open != nil {
			open.Close()
			open = nil
		}
	}
	defer func() {
		shut()
		*offsets = append((*offsets)[:0], todo...)
	}()
	pass := func(found bool) error {
		err := do(todo[0], found)
		if err == nil {
			todo = todo[1:]
		}
		return err
	}
	next := int64(0)
	for len(todo) > 0 {
		if todo[0]-next > backSkip {
			shut()
		}
		if open == nil {
			next = todo[0]
		}
		records, err := b.chunk(ctx, &open, next)
		switch {
		case errors.Is(err, commitlog.ErrOffsetOutOfRange):
			shut()
			if err := pass(false); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("usage: reading back partition %d from %d: %w", b.partition, next, err)
		}
		for i := 0; i < len(records) && len(todo) > 0; i++ {
			for len(todo) > 0 && todo[0] < records[i].Offset {
				if err := pass(false); err != nil {
					return err
				}
			}
			if len(todo) > 0 && todo[0] == records[i].Offset {
				b.record = records[i]
				if err := pass(true); err != nil {
					return err
				}
			}
		}
		next = records[len(records)-1].Offset + 1
	}
	return nil
}

// chunk reads on in the open reader, or opens one at an offset.
func (b *backReader) chunk(ctx context.Context, open *commitlog.Reader, offset int64) ([]recordbatch.Record, error) {
	if *open == nil {
		r, err := b.log.NewReader(b.topic, b.partition, offset)
		if err != nil {
			return nil, err
		}
		*open = r
	}
	ctx, cancel := context.WithTimeout(ctx, backTimeout)
	defer cancel()
	return (*open).Next(ctx)
}

// one reads one record, of whose bytes it returns a copy.
func (b *backReader) one(ctx context.Context, offset int64) (rec recordbatch.Record, found bool, err error) {
	list := []int64{offset}
	err = b.each(ctx, &list, func(_ int64, ok bool) error {
		if found = ok; ok {
			rec = b.record
			rec.Key, rec.Value, rec.Headers = slices.Clone(rec.Key), slices.Clone(rec.Value), nil
		}
		return nil
	})
	return rec, found, err
}
