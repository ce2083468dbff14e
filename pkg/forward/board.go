package forward

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"tollgate/internal/metrics"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/follow"
	"tollgate/pkg/recordbatch"
)

// errSuperseded: another gateway decided a range of this lane.
var errSuperseded = errors.New("forward: another gateway runs this lane")

// board is the fold of the cursors topic.
type board struct {
	cfg      *Config
	follower *follow.Follower
	bad      *metrics.Counter

	mu sync.Mutex
	// Guarded by mu. folding is shown once it has everything that the topic held when the follower began.
	shown, folding map[string]*cursor
	anew           bool
	known          map[string]int64 // the newest number of each key
}

func startBoard(cfg *Config) (*board, error) {
	b := &board{cfg: cfg, bad: cfg.Metrics.Counter("tollgate_forward_cursor_records_invalid_total", "Records of the cursors topic that should be the forwarder's and can not be read."), shown: map[string]*cursor{}, known: map[string]int64{}}
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
	b.folding, b.known, b.anew = map[string]*cursor{}, map[string]int64{}, true
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
	if err := appendRecord(ctx, b.cfg, b.cfg.CursorsTopic, 0, []byte(c.key()), c.encode()); err != nil {
		return err
	}
	if err := b.follower.CaughtUp(ctx); err != nil {
		return err
	}
	if held := b.get(c.lane()); held == nil || !held.same(c) {
		return fmt.Errorf("%w: %s", errSuperseded, c.key())
	}
	return nil
}

// appendRecord appends one record and waits.
func appendRecord(ctx context.Context, cfg *Config, topic string, partition int32, key, value []byte) error {
	var b recordbatch.Builder
	b.Reset(nil)
	b.Append(cfg.Now().UnixMilli(), recordbatch.AppendBody(nil, key, value))
	bytes := b.Seal()
	return commitlog.AppendWait(ctx, cfg.Log, &commitlog.Batch{Topic: topic, Partition: partition, Bytes: bytes, Records: 1})
}
