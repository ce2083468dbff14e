package forward

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"tollgate/internal/metrics"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/follow"
	"tollgate/pkg/recordbatch"
)

// errSuperseded: another gateway decided a range of this lane.
var errSuperseded = errors.New("forward: another gateway runs this lane")

// board is the fold of the cursors topic, and writes to it.
type board struct {
	cfg      *Config
	follower *follow.Follower
	bad      *metrics.Counter // records that are none of ours and should be

	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	writers sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu. folding is shown once it has everything that the topic held when the follower began.
	shown, folding map[string]*cursor
	anew           bool
	shownTo        int64            // the offset behind what is shown; -1 while the fold begins anew
	changed        chan struct{}    // closed when shownTo grows; nil: nobody waits
	known          map[string]int64 // the newest number of each key
	waiting        []*note          // one for each lane at most
	writing        bool
}

// note is a cursor that waits for being written.
type note struct {
	ctx  context.Context
	c    *cursor
	done chan error // takes one
}

func startBoard(cfg *Config, bad *metrics.Counter) (*board, error) {
	b := &board{cfg: cfg, bad: bad, shown: map[string]*cursor{}, known: map[string]int64{}, shownTo: -1}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	f, err := follow.Start(follow.Config{
		Log: cfg.Log, Topic: cfg.CursorsTopic, Begin: b.begin, Apply: b.apply,
		Notify: func(n follow.Notice) {
			if n.Err != nil {
				cfg.Notify(Notice{What: Faulty, Detail: "reading " + cfg.CursorsTopic, Err: n.Err})
			}
		},
	})
	b.follower = f
	return b, err
}

func (b *board) begin(oldest, _ int64) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.folding, b.known, b.anew, b.shownTo = map[string]*cursor{}, map[string]int64{}, true, -1
	return oldest, nil
}

func (b *board) apply(records []recordbatch.Record, loaded bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range records {
		key := string(records[i].Key)
		if records[i].Value == nil {
			delete(b.known, key)
			continue
		}
		c, ours, err := parseCursor(records[i].Key, records[i].Value)
		if err != nil {
			b.bad.Add(1)
			continue
		}
		if !ours {
			continue
		}
		b.known[key] = c.Seq
		if c.follows(b.folding[c.lane()]) {
			b.folding[c.lane()] = c
		}
	}
	if loaded && b.anew {
		b.shown, b.anew = b.folding, false
	}
	if loaded && len(records) > 0 {
		b.shownTo = records[len(records)-1].Offset + 1
		if b.changed != nil {
			close(b.changed)
			b.changed = nil
		}
	}
	return nil
}

// get is the cursor of a lane, nil: none was ever written.
func (b *board) get(key string) *cursor {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shown[key]
}

// outdated lists the keys of a lane that are behind a cursor and another writer's.
func (b *board) outdated(c *cursor) (keys []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, seq := range b.known {
		if seq < c.Seq && key != c.key() && strings.HasPrefix(key, c.lane()+"/") {
			keys = append(keys, key)
		}
	}
	return keys
}

// all is a copy of what is known.
func (b *board) all() map[string]*cursor {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.shown)
}

// write makes a cursor durable and returns when the fold has taken it. errSuperseded: it has taken another one.
func (b *board) write(ctx context.Context, c *cursor) error {
	n := &note{ctx, c, make(chan error, 1)}
	b.mu.Lock()
	if b.ctx.Err() != nil {
		b.mu.Unlock()
		return commitlog.ErrClosed
	}
	b.waiting = append(b.waiting, n)
	if !b.writing {
		b.writing = true
		b.writers.Go(b.writeAll)
	}
	b.mu.Unlock()
	select {
	case err := <-n.done:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	if held := b.get(c.lane()); held == nil || !c.is(held) {
		return fmt.Errorf("%w: %s", errSuperseded, c.key())
	}
	return nil
}

// writeAll writes what waits, all that came while the batch before was on its way as one.
func (b *board) writeAll() {
	for {
		b.mu.Lock()
		all := b.waiting
		b.waiting, b.writing = nil, len(all) > 0
		b.mu.Unlock()
		if len(all) == 0 {
			return
		}
		b.writeThese(all)
	}
}

func (b *board) writeThese(all []*note) {
	packer := commitlog.NewPacker(b.cfg.Log, b.cfg.CursorsTopic, 0)
	var some []*note // in the open batch
	land := func() {
		if batch := packer.Take(); batch != nil {
			err := b.land(batch)
			for _, n := range some {
				n.done <- err
			}
			some = some[:0]
		}
	}
	for _, n := range all {
		body := recordbatch.AppendBody(nil, []byte(n.c.key()), n.c.encode())
		if !packer.Fits(body) {
			land()
		}
		if err := n.ctx.Err(); err != nil { // looked at behind land, which may take long
			n.done <- err // nobody waits for it, and it is not to come later
			continue
		}
		packer.Add(b.cfg.Now().UnixMilli(), body)
		some = append(some, n)
	}
	land()
}

// land makes a batch durable and returns when the fold has come past it.
func (b *board) land(batch *commitlog.Batch) error {
	if err := commitlog.AppendWait(b.ctx, b.cfg.Log, batch); err != nil {
		return err
	}
	return b.showing(batch.Base, batch.Records)
}

// showMax is how soon records that were written come by, or else the log is asked whether it has them.
const showMax = 10 * time.Second

// showing waits until the fold has come past records. A base of -1: it is not known where they are.
func (b *board) showing(base int64, records int) error {
	if base < 0 {
		return b.follower.CaughtUp(b.ctx)
	}
	patience := time.NewTimer(showMax)
	defer patience.Stop()
	for {
		b.mu.Lock()
		done := b.shownTo >= base+int64(records)
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-patience.C:
			return b.follower.CaughtUp(b.ctx)
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
	}
}

func (b *board) close(ctx context.Context) error {
	b.mu.Lock()
	b.cancel() // no writer begins after this
	b.mu.Unlock()
	err := b.follower.Close(ctx)
	b.writers.Wait()
	return err
}

// appendRecord appends one record and waits.
func appendRecord(ctx context.Context, cfg *Config, topic string, partition int32, key, value []byte) error {
	return commitlog.AppendWait(ctx, cfg.Log, commitlog.OneRecord(topic, partition, cfg.Now().UnixMilli(), key, value))
}
