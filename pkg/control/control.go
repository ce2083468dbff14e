package control

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/follow"
	"tollgate/pkg/commitlog/propose"
)

// partition is the only one of the topic: a fold of two would have two orders.
const partition = 0

// Control is a fold of the control topic that follows the log, and the way to propose changes to it.
type Control struct {
	cfg      Config
	snapshot atomic.Pointer[Snapshot]
	follower *follow.Follower

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu    sync.RWMutex
	state *state // guarded by mu; written by the follower alone

	// What is below is the follower's goroutine's, but for marking.
	fold        *state // what is folded; state once it is loaded
	undelivered []decided
	marking     atomic.Bool // a mark is in flight

	proposals *propose.Proposals[Verdict]
	keys      keyLocks

	records, skipped, restarts, marks atomic.Int64
}

// Stats are counts since Open.
type Stats struct {
	Records  int64 // folded
	Skipped  int64 // of these, no proposals that this version knows
	Restarts int64 // times that the fold began again with the oldest record
	Marks    int64 // marks appended, see CaughtUp
}

// Open starts to fold the topic and returns at once; see Ready.
func Open(cfg Config) (*Control, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Control{cfg: cfg}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.snapshot.Store(&Snapshot{})
	c.proposals = propose.New[Verdict](propose.Config{
		Log: cfg.Log, Topic: cfg.Topic, Partition: partition, InFlightMax: cfg.InFlightMax, Closed: c.ctx.Done(),
	})
	c.keys.init()
	if err := c.start(); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	return c, nil
}

// Snapshot returns the meters and destinations as of what was folded last. It is empty until Ready.
func (c *Control) Snapshot() *Snapshot { return c.snapshot.Load() }

// Ready is nil once everything that the log held at the start has been folded. Until then the error says how far the
// fold is, and what keeps it.
func (c *Control) Ready() error {
	if err := c.follower.Ready(); err != nil {
		return fmt.Errorf("control: the meters are %w", err)
	}
	return nil
}

// Stats returns the counts so far.
func (c *Control) Stats() Stats {
	return Stats{c.records.Load(), c.skipped.Load(), c.restarts.Load(), c.marks.Load()}
}

// Replay looks an Idempotency-Key up in what was folded last: the verdict of the change that it was used for, KeyReused
// when it was another, ok false when it was not used within its time. It does not catch up; Propose does.
func (c *Control) Replay(business string, livemode bool, i *Idempotency) (v Verdict, ok bool) {
	now := c.cfg.Now().UnixMilli()
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.state == nil {
		return Verdict{}, false
	}
	return c.state.replay(business, livemode, i, now)
}

// Close stops following and waits for that until ctx ends. Changes that wait for their verdict end as unknown.
func (c *Control) Close(ctx context.Context) error {
	c.cancel()
	if err := c.follower.Close(ctx); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return nil
}

var errClosed = fmt.Errorf("control: %w", commitlog.ErrClosed)

func (c *Control) closed() error {
	if c.ctx.Err() != nil {
		return errClosed
	}
	return nil
}
