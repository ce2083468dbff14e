package spill

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// cursorTopic is the journal's topic of notes, one key a partition, compacted.
const cursorTopic = "spill-cursors"

// note is what is durable about draining a partition: everything before From is in Kafka, and From to before End may be,
// under that producer. From and End are offsets of the partition's journal.
//
//	key "3", value {"object":"spill_cursor","partition":3,"from":1200,"end":1700,"producer_id":4001,"epoch":0,"sequence":300}
type note struct {
	Object     string `json:"object"`
	Partition  int32  `json:"partition"`
	From       int64  `json:"from"`
	End        int64  `json:"end"`
	ProducerID int64  `json:"producer_id"`
	Epoch      int16  `json:"epoch"`
	Sequence   int32  `json:"sequence"`
}

func newNote(partition int32, from, end int64, p recordbatch.Producer) note {
	return note{"spill_cursor", partition, from, end, p.ID, p.Epoch, p.Sequence}
}

func (n note) producer() recordbatch.Producer {
	return recordbatch.Producer{ID: n.ProducerID, Epoch: n.Epoch, Sequence: n.Sequence}
}

// write makes a note durable.
func (l *Log) write(n note) error {
	value, err := json.Marshal(n)
	if err != nil {
		panic(fmt.Sprintf("BUG: spill: a note that is no JSON: %v", err))
	}
	key := strconv.AppendInt(nil, int64(n.Partition), 10)
	batch := commitlog.OneRecord(cursorTopic, 0, l.cfg.Now().UnixMilli(), key, value)
	done := make(chan error, 1)
	batch.Done = func(b *commitlog.Batch) { done <- b.Err }
	l.journal.Append([]*commitlog.Batch{batch})
	if err := <-done; err != nil {
		return fmt.Errorf("noting down what is drained: %w", err)
	}
	return nil
}

// notes reads the newest note of each partition.
func (l *Log) notes() (map[int32]note, error) {
	ctx := context.Background()
	oldest, next, err := l.journal.Bounds(ctx, cursorTopic, 0)
	if err != nil {
		return nil, err
	}
	all := map[int32]note{}
	r, err := l.journal.NewReader(cursorTopic, 0, oldest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for at := oldest; at < next; {
		// The newest record is never compacted away, so there is one before next.
		records, err := r.Next(ctx)
		if err != nil {
			return nil, err
		}
		for _, record := range records {
			var n note
			if err := json.Unmarshal(record.Value, &n); err != nil {
				return nil, fmt.Errorf("note at offset %d of %s: %w", record.Offset, cursorTopic, err)
			}
			all[n.Partition] = n
			at = record.Offset + 1
		}
	}
	return all, nil
}
