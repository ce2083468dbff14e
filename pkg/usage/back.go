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
	defer func() {
		if open != nil {
			open.Close()
		}
		*offsets = append((*offsets)[:0], todo...)
	}()
	next := int64(0)
	for len(todo) > 0 {
		if open != nil && todo[0]-next > backSkip {
			open.Close()
			open = nil
		}
		if open == nil {
			var err error
			next = todo[0]
			if open, err = b.log.NewReader(b.topic, b.partition, next); err != nil && !errors.Is(err, commitlog.ErrOffsetOutOfRange) {
				return fmt.Errorf("usage: reading back partition %d from %d: %w", b.partition, next, err)
			} else if err != nil {
				open = nil
				if err := do(todo[0], false); err != nil {
					return err
				}
				todo = todo[1:]
				continue
			}
		}
		records, err := b.chunk(ctx, open)
		if errors.Is(err, commitlog.ErrOffsetOutOfRange) {
			open.Close()
			open = nil
			if err := do(todo[0], false); err != nil {
				return err
			}
			todo = todo[1:]
			continue
		}
		if err != nil {
			return fmt.Errorf("usage: reading back partition %d from %d: %w", b.partition, next, err)
		}
		for i := range records {
			if len(todo) == 0 {
				break
			}
			for len(todo) > 0 && todo[0] < records[i].Offset {
				if err := do(todo[0], false); err != nil {
					return err
				}
				todo = todo[1:]
			}
			if len(todo) > 0 && todo[0] == records[i].Offset {
				b.record = records[i]
				if err := do(todo[0], true); err != nil {
					return err
				}
				todo = todo[1:]
			}
		}
		next = records[len(records)-1].Offset + 1
	}
	return nil
}

func (b *backReader) chunk(ctx context.Context, r commitlog.Reader) ([]recordbatch.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, backTimeout)
	defer cancel()
	return r.Next(ctx)
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
