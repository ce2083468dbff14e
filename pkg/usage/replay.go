package usage

import (
	"context"
	"math"

	"tollgate/pkg/recordbatch"
)

// fillIndex passes the records once more that the index had not put on disk.
func (f *follower) fillIndex(ctx context.Context, oldest int64) error {
	p := f.p
	from := max(p.index.Next(), oldest)
	if from >= p.state.Offset {
		return nil
	}
	p.beginReplay(from)
	reader, err := p.cfg.Log.NewReader(p.cfg.Topic, p.number, from)
	if err != nil {
		return err
	}
	defer reader.Close()
	for from < p.state.Offset {
		records, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		if err := p.replay(records); err != nil {
			return err
		}
		from = records[len(records)-1].Offset + 1
	}
	p.endReplay()
	return nil
}

// beginReplay starts passing records before the state's offset, from where the index begins to lack them.
func (p *partition) beginReplay(from int64) {
	p.replaying, p.passed = true, p.index.Clock()
	if from != p.index.Next() {
		p.passed = math.MinInt64 // records are missing between, which is told as a gap when it matters
	}
}

// replay passes records for the index.
func (p *partition) replay(records []recordbatch.Record) error {
	for len(records) > 0 && records[0].Offset < p.state.Offset {
		slice := records[:min(len(records), sliceRecords)]
		records = records[len(slice):]
		for i := range slice {
			if slice[i].Offset >= p.state.Offset {
				break
			}
			p.passed = max(p.passed, slice[i].TimestampMs)
			if err := p.one(&slice[i], p.passed); err != nil {
				return err
			}
		}
		if err := p.settleEvents(); err != nil {
			return err
		}
		p.tally = tally{}
		if p.index.Due() && len(records) > 0 {
			// As in seal, the state that these records belong to is durable first.
			if err := p.store.Sync(); err != nil {
				return err
			}
			p.index.Advance(p.passed)
			if err := p.index.Seal(records[0].Offset); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *partition) endReplay() { p.replaying = false }
