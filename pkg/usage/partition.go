package usage

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/pkg/dedup"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

// index is what a partition asks of a dedup.Index.
type index interface {
	Insert(id dedup.ID, offset, nowMs int64, kind uint8) (prev dedup.Entry, found bool, err error)
	InsertMany(items []dedup.Item) (done int, err error)
	Find(id dedup.ID, nowMs int64) (dedup.Entry, bool, error)
	Next() int64
	Clock() int64
	Advance(nowMs int64)
	Release(nowMs int64)
	Seal(next int64) error
	Verify() error
	Due() bool
	Close() error
}

// partition is the fold of one partition. The goroutine that follows the log owns it; answers come from the store's last
// flush, and from what mu guards.
type partition struct {
	cfg    *Config
	number int32
	store  *store
	counts *counts

	meters meters // as of the chunk that is being applied
	reader meterevent.RecordReader
	record meterevent.Record
	judged judged
	scopes map[string]*scope // by record key
	// Events whose identifiers are asked for together, with the questions; and the questions about their duplicates.
	asked        []asked
	items, again []dedup.Item

	state       state
	seriesKnown int
	seriesFree  []series
	// What the next flush brings: rows that are complete already, and what is still added up.
	batch        *pebble.Batch
	dirty        []*series
	bucketsDirty int
	cancels      []int64 // offsets of events whose share is to be taken out: see cancelCounted
	flushTook    time.Duration
	key, value   []byte
	tally        tally

	// What was refused and is not closed: see part. All that count were begun in the open window, unless the outbox is full.
	parts      map[subject]*part
	partsDirty []*part
	windowEnd  int64 // of the open window, which the clock is in
	openedMs   int64 // by Config.Now, when the first of them was begun; 0: none counts
	outbox     *outbox

	// replaying: records before state.Offset are passed once more, for the index alone.
	replaying bool
	passed    int64 // the clock meanwhile

	back backReader

	// mu guards what Fate and Verdict ask for beside the store. The owner holds it while it applies a slice of records,
	// which takes less than a millisecond unless the index has to look on disk.
	mu        sync.Mutex
	index     index
	applied   int64 // the offset behind the last record applied
	clockMs   int64
	fresh     fresh
	waiters   []waiter
	gone      bool  // given back
	flushed   state // as of the last flush
	asOfMs    int64 // everything received before is in the last flush
	boundMs   int64 // after this time the log ended at boundNext
	boundNext int64
}

// fresh are the rows of requests that no flush has written yet.
type fresh struct {
	requests map[dedup.ID]requestRow
	cancels  map[uint64]requestRow
	refusals map[int64]refusalRow
}

// waiter waits for a record to be applied.
type waiter struct {
	offset int64
	done   chan struct{}
}

// sliceRecords are applied under one hold of mu.
const sliceRecords = 256

// newPartition makes the fold of a partition from what the store has of it.
func newPartition(cfg *Config, number int32, s *store, c *counts) (*partition, error) {
	st, err := s.loadState(number)
	if err != nil {
		return nil, err
	}
	p := &partition{
		cfg: cfg, number: number, store: s, counts: c, state: st, flushed: st, applied: st.Offset, clockMs: st.ClockMs,
		scopes: make(map[string]*scope), parts: make(map[subject]*part), outbox: newOutbox(cfg),
		fresh: fresh{map[dedup.ID]requestRow{}, map[uint64]requestRow{}, map[int64]refusalRow{}},
	}
	if st.Hour != noHour {
		p.windowEnd = floorTo(st.ClockMs, windowMs) + windowMs
	}
	p.back = backReader{log: cfg.Log, topic: cfg.Topic, partition: number}
	if p.index, err = s.openIndex(cfg, number); err != nil {
		return nil, err
	}
	p.batch = s.DB.NewBatch()
	return p, nil
}

// close lets go of the index, and of what was not flushed.
func (p *partition) close() error { return errors.Join(p.index.Close(), p.store.Discard(p.batch)) }

// judgeError makes an error of the index one of ours.
func (p *partition) judgeError(err error) error {
	return judgeIndexError(p.store.indexDir(p.cfg, p.number), err)
}

// apply applies records in order of their offsets; those below the state's offset are passed over.
func (p *partition) apply(ctx context.Context, records []recordbatch.Record, m meters) error {
	p.meters = m
	for len(records) > 0 {
		n, err := p.applySlice(records[:min(len(records), sliceRecords)])
		if err != nil {
			return err
		}
		records = records[n:]
		if p.index.Due() {
			if err := p.seal(ctx); err != nil {
				return err
			}
		}
		if len(records) > 0 && records[0].Offset >= p.state.Offset && p.upkeepDue(&records[0]) {
			if err := p.upkeep(ctx, max(p.state.ClockMs, records[0].TimestampMs), records[0].Offset); err != nil {
				return err
			}
		}
	}
	return nil
}

// applySlice applies records until upkeep is due, and says how many.
func (p *partition) applySlice(records []recordbatch.Record) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; n < len(records); n++ {
		rec := &records[n]
		if rec.Offset < p.state.Offset {
			continue
		}
		if p.upkeepDue(rec) {
			break
		}
		p.state.ClockMs = max(p.state.ClockMs, rec.TimestampMs)
		if p.state.ClockMs >= p.windowEnd {
			p.passWindow(p.state.ClockMs, rec.Offset)
		}
		if p.state.Hour == noHour {
			p.state.Hour = floorDiv(p.state.ClockMs, hourMs)
		}
		p.closeGap(rec.TimestampMs)
		if err := p.one(rec, p.state.ClockMs); err != nil {
			return n, err
		}
		p.state.Offset = rec.Offset + 1
	}
	if err := p.settleEvents(); err != nil {
		return n, err
	}
	p.applied, p.clockMs = p.state.Offset, p.state.ClockMs
	p.wake()
	p.counts.add(&p.tally)
	return n, nil
}

// dirtySince says whether anything waits for a flush.
func (p *partition) dirtySince() bool { return p.state.Offset != p.flushed.Offset }

// wake lets go who waits for what was applied. mu is held.
func (p *partition) wake() {
	kept := p.waiters[:0]
	for _, w := range p.waiters {
		if w.offset < p.applied {
			close(w.done)
		} else {
			kept = append(kept, w)
		}
	}
	clear(p.waiters[len(kept):])
	p.waiters = kept
}
