package fleet

import (
	"context"
	"sync"
	"time"

	"tollgate/pkg/commitlog/follow"
	"tollgate/pkg/recordbatch"
)

// readAgain is the pause after a fault of the log.
const readAgain = time.Second

// owner is who announced a partition last.
type owner struct {
	gateway, address string
	offset           int64     // of the announcement
	seen             time.Time // by this process's clock
}

// board is the announcements, as far as they were read. The follower's goroutine writes it, all others read it.
type board struct {
	mu     sync.Mutex
	owners map[int32]owner // guarded by mu; bounded by the partitions of the usage topic
	// missed is when a gateway could last not be connected to, by gateway; guarded by mu. One that is older than missedFor
	// says nothing any more.
	missed map[string]time.Time
}

// missedFor is how long a gateway that nobody listens at is taken to be away without asking it again: who is about to
// write a record whose verdict it would give should know before, and not after.
const missedFor = time.Second

func newBoard() *board {
	return &board{owners: map[int32]owner{}, missed: map[string]time.Time{}}
}

func (b *board) owner(partition int32) (owner, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.owners[partition]
	return o, ok
}

// miss notes that a gateway could not be connected to.
func (b *board) miss(gateway string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for g, at := range b.missed { // few: those of the last second
		if now.Sub(at) > missedFor {
			delete(b.missed, g)
		}
	}
	b.missed[gateway] = now
}

// missing tells whether a gateway could not be connected to a moment ago.
func (b *board) missing(gateway string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.missed[gateway]
	return ok && now.Sub(at) <= missedFor
}

func (b *board) set(partition int32, o owner) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.gateway == "" {
		delete(b.owners, partition)
		return
	}
	b.owners[partition] = o
}

// follow starts to read the announcements. Faults of the log are waited out: the board grows stale meanwhile, and its
// owners are away once they are no longer fresh. Reading everything again is harmless: the last announcement wins again.
func (f *Fleet) follow(ctx context.Context) (err error) {
	var before int64 // the end of what was in the log before it was followed, or followed again
	var again bool   // it was not followed for a while
	f.follower, err = follow.Start(follow.Config{
		Log: f.cfg.Log, Topic: f.cfg.CursorsTopic,
		Begin: func(oldest, end int64) (int64, error) {
			before, again = end, false
			return oldest, nil
		},
		Apply: func(records []recordbatch.Record, _ bool) (err error) {
			if again {
				ctx, cancel := context.WithTimeout(ctx, catchUpMax)
				defer cancel()
				if _, before, err = f.cfg.Log.Bounds(ctx, f.cfg.CursorsTopic, 0); err != nil {
					return err
				}
				again = false
			}
			now := f.cfg.Now()
			for _, rec := range records {
				f.note(rec, now, rec.Offset < before)
			}
			return nil
		},
		Notify: func(n follow.Notice) {
			if again = true; !n.Anew {
				f.counts.readFaults.Add(1)
			}
		},
		BackoffMin: readAgain, BackoffMax: readAgain,
	})
	return err
}

// note puts one record on the board. What was in the log before this process followed it may be of any age, and then the
// announcement's own time is believed; what comes in while following is as old as its way here, whatever its
// gateway's clock says.
func (f *Fleet) note(rec recordbatch.Record, now time.Time, old bool) {
	a, at, ours, err := parseAnnouncement(rec.Key, rec.Value)
	if !ours {
		return
	}
	if err != nil || int(a.Partition) >= f.partitions() {
		f.counts.badAnnouncements.Add(1)
		return
	}
	if old && at.Before(now) {
		now = at
	}
	f.board.set(a.Partition, owner{gateway: a.Gateway, address: a.Address, offset: rec.Offset, seen: now})
}

// catchUp waits for the announcements up to the end that the topic has now.
func (f *Fleet) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpMax)
	defer cancel()
	return f.follower.CaughtUp(ctx)
}

// catchUpMax is how long a question waits for the announcements of a topic that is being read.
const catchUpMax = time.Second
