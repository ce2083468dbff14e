package webhook

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/follow"
	"tollgate/pkg/control"
	"tollgate/pkg/thinevent"
)

// errBusy is that so many deliveries of the destination wait that no more can be asked for. It wraps
// commitlog.ErrUnavailable: nothing was written.
var errBusy = fmt.Errorf("webhook: too many deliveries of this destination wait: %w", commitlog.ErrUnavailable)

// partition is the one of each topic that is used.
const partition = 0

// noticeEvery is how often the same thing of the same destination is told.
const noticeEvery = time.Minute

// Courier knows how far each destination is and, where its group gives it the work, delivers. Use Open.
type Courier struct {
	cfg      Config
	board    *board
	follower *follow.Follower
	counts   counts
	attempts *attempts
	// try makes one try; tests that are not about HTTP put another in its place.
	try func(ctx context.Context, d *control.Destination, e *thinevent.Event) outcome

	lookEvery time.Duration
	// destinations and destination look into control's newest snapshot; tests have their own.
	destinations func() []*control.Destination
	destination  func(place) *control.Destination

	marking atomic.Bool
	mu      sync.Mutex
	told    map[string]time.Time // when what was told last; guarded by mu, bounded by what was told in noticeEvery
}

// Open starts to follow what was delivered. It does not wait for the log.
func Open(cfg Config) (*Courier, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Courier{cfg: cfg, lookEvery: lookEvery, told: map[string]time.Time{}}
	c.attempts = newAttempts(&c.cfg)
	c.try = c.attempts.try
	c.destinations = func() []*control.Destination { return cfg.Control.Snapshot().AllDestinations() }
	c.destination = func(p place) *control.Destination {
		return cfg.Control.Snapshot().Destination(p.business, p.livemode, p.id)
	}
	c.counts = newCounts(c)
	c.board = newBoard(c.counts.badRecords)
	f, err := follow.Start(follow.Config{
		Log: cfg.Log, Topic: cfg.CursorsTopic, Partition: partition,
		Begin: c.board.begin, Apply: c.board.apply, Stalled: c.mark,
		Notify: func(n follow.Notice) {
			c.counts.readFaults.Add(1)
			c.fault("", fmt.Errorf("reading %s: %w", cfg.CursorsTopic, n.Err))
		},
	})
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	c.follower = f
	return c, nil
}

// Ready is nil once everything that the cursors topic held at the start was read.
func (c *Courier) Ready() error { return c.follower.Ready() }

// Run joins the group and delivers while this gateway is the one that does, until ctx ends. The error is what the group
// ended with.
func (c *Courier) Run(ctx context.Context) error {
	return c.cfg.Log.Group(c.cfg.EventsTopic, c.cfg.Group).Run(ctx, commitlog.Member{Own: c.own})
}

// own delivers until ctx ends. It returns early when it can not begin, and is then called again.
func (c *Courier) own(ctx context.Context, claim commitlog.Claim) {
	if claim.Partition() != partition {
		<-ctx.Done() // the topic's other partitions are not used
		return
	}
	for _, caughtUp := range []func(context.Context) error{c.follower.CaughtUp, c.cfg.Control.CaughtUp, c.cfg.Events.CaughtUp} {
		if err := caughtUp(ctx); err != nil {
			if ctx.Err() == nil {
				c.counts.readFaults.Add(1)
				c.fault("", fmt.Errorf("delivering can not begin: %w", err))
			}
			return
		}
	}
	c.counts.delivering.Set(1)
	defer c.counts.delivering.Set(0)
	newShift(c).run(ctx, claim)
}

// Delivering tells whether this gateway is the one that delivers.
func (c *Courier) Delivering() bool { return c.counts.delivering.Value() == 1 }

// State is how a destination does. Pending counts deliveries that wait for their next try.
type State struct {
	FailingSinceMs int64 // 0: it does not
	LastError      string
	Pending        int
}

// State tells how a destination does, as far as this gateway has read. It does not block.
func (c *Courier) State(destination string) State {
	n, f := c.board.pending(destination)
	return State{FailingSinceMs: f.sinceMs, LastError: reasonText(f.reason), Pending: n}
}

// Resend asks for one more delivery of an event to a destination. It returns when that is durable; whichever gateway
// delivers does it soon. Errors wrap those of commitlog, ErrUnavailable where too many deliveries wait; after each the
// same call may be made again.
func (c *Courier) Resend(ctx context.Context, d *control.Destination, e *thinevent.Event) error {
	if n, _ := c.board.pending(d.ID); n >= waitingMax {
		return errBusy
	}
	var name [8]byte
	c.cfg.Random(name[:])
	now := max(c.cfg.Now().UnixMilli(), d.EnabledMs)
	p := place{business: d.Business, livemode: d.Livemode, id: d.ID}
	asked := &delivery{key: e.ID + "/" + hex.EncodeToString(name[:]), offset: e.Offset, firstMs: now, dueMs: now, resend: true}
	b := c.oneRecord(deliveryKey(p, asked.key), appendDelivery(nil, p, asked))
	if err := appendWait(ctx, c.cfg.Log, b); err != nil {
		return fmt.Errorf("webhook: asking for a delivery: %w", err)
	}
	return nil
}

// Close stops following. Run has returned before.
func (c *Courier) Close(ctx context.Context) error {
	err := c.follower.Close(ctx)
	c.attempts.close()
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	return nil
}

// mark appends a record that says nothing, and does not wait for it: a log may end with offsets that have no record, where
// compaction removed them, and behind the mark the end is in sight again. The other rooms that follow this topic, fleet and
// forward, rely on it: every gateway has a Courier.
func (c *Courier) mark(int64, int64) {
	if c.cfg.Log.Ready() != nil || !c.marking.CompareAndSwap(false, true) {
		return
	}
	b := c.oneRecord(markKey, nil)
	b.Done = func(*commitlog.Batch) { c.marking.Store(false) }
	c.cfg.Log.Append([]*commitlog.Batch{b})
}

// oneRecord is a batch of one record of the cursors topic.
func (c *Courier) oneRecord(key string, value []byte) *commitlog.Batch {
	return commitlog.OneRecord(c.cfg.CursorsTopic, partition, c.cfg.Now().UnixMilli(), []byte(key), value)
}

// fault tells of a fault that is waited out.
func (c *Courier) fault(destination string, err error) {
	if c.mayTell(NoticeFault + destination) {
		c.cfg.Notify(Notice{What: NoticeFault, Destination: destination, Err: err})
	}
}

// mayTell tells whether something was not told lately, and notes that it is told now.
func (c *Courier) mayTell(what string) bool {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.told[what]; ok && now.Sub(at) < noticeEvery {
		return false
	}
	for other, at := range c.told {
		if now.Sub(at) >= noticeEvery {
			delete(c.told, other)
		}
	}
	c.told[what] = now
	return true
}
