// Package logs reads all values of a topic, from the segment files of a journal or from a Kafka broker, as fast as two
// cores can check them.
//
// Both readers call visit from several goroutines at once, in no order between partitions or segments; a value is
// valid during the call. They check that the offsets of a partition have no gap, which a lost segment would leave, and
// that every batch is what was written. They change nothing and may look at a log that is in use: what is appended
// after they began is not read.
//
//	stats, err := logs.Journal(ctx, "data", "tollgate.usage", func(value []byte) { … })
//	stats, err := logs.Kafka(ctx, []string{"127.0.0.1:9092"}, "tollgate.usage", func(value []byte) { … })
package logs

import (
	"context"
	"sync"
	"sync/atomic"
)

// Stats is what was read.
type Stats struct {
	Partitions int      `json:"partitions"`
	Records    int64    `json:"records"`
	Bytes      int64    `json:"bytes"`
	Torn       []string `json:"torn,omitempty"` // tails of files that are no whole batch: nobody was told of them
}

// readers at once: more than cores, as they wait for disk and network too.
const readers = 4

// counters are shared by the readers of one log.
type counters struct {
	records, bytes atomic.Int64
	mu             sync.Mutex
	torn           []string // guarded by mu
}

func (c *counters) stats(partitions int) Stats {
	return Stats{Partitions: partitions, Records: c.records.Load(), Bytes: c.bytes.Load(), Torn: c.torn}
}

// each works through the units with a few goroutines and returns the first error, after all have ended.
func each[T any](ctx context.Context, units []T, work func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(readers, len(units)) {
		group.Go(func() {
			for i := int(next.Add(1) - 1); i < len(units) && ctx.Err() == nil; i = int(next.Add(1) - 1) {
				if err := work(ctx, units[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}
