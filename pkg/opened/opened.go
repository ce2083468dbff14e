package opened

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/follow"
	"tollgate/pkg/commitlog/propose"
	"tollgate/pkg/recordbatch"
)

// partition is the only one of the topic: of two uses of a key one must be the first.
const partition = 0

// Session is a meter event session that was opened with an Idempotency-Key, without its token.
type Session struct {
	Business string
	Livemode bool
	// Key is a hash of the Idempotency-Key with the business and the mode that it is unique in.
	Key [16]byte
	// APIKey is the fingerprint of the API key. Two API keys of a business that use the same key have a session each.
	APIKey [8]byte

	ID                   [16]byte // drawn at random
	SigningKey           [4]byte  // the id of the key that signed its token
	CreatedMs, ExpiresMs int64    // at most 24 hours apart
}

// Opened is a fold of the sessions topic that follows the log, and the way to add to it.
type Opened struct {
	cfg       Config
	follower  *follow.Follower
	proposals *propose.Proposals[Session]

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu    sync.Mutex
	table *table // guarded by mu

	skipped atomic.Int64
}

// Open starts to fold the topic and returns at once; see Ready.
func Open(cfg Config) (*Opened, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	o := &Opened{cfg: cfg, table: newTable(cfg.KeysMax)}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	o.proposals = propose.New[Session](propose.Config{
		Log: cfg.Log, Topic: cfg.Topic, Partition: partition, InFlightMax: cfg.InFlightMax, Closed: o.ctx.Done(),
	})
	var err error
	o.follower, err = follow.Start(follow.Config{
		Log: cfg.Log, Topic: cfg.Topic, Partition: partition, Begin: o.begin, Apply: o.apply, Notify: o.notify,
		BackoffMin: cfg.BackoffMin, BackoffMax: cfg.BackoffMax,
	})
	if err != nil {
		return nil, fmt.Errorf("opened: %w", err)
	}
	return o, nil
}

// Ready is nil once what the log held at the start has been folded. Until then the error says how far the fold is, and
// what keeps it.
func (o *Opened) Ready() error {
	if err := o.follower.Ready(); err != nil {
		return fmt.Errorf("opened: the sessions are %w", err)
	}
	return nil
}

// Stats says how many uses of keys are remembered, and how many records were none that this version knows since Open.
func (o *Opened) Stats() (known int, skipped int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.table.len(), o.skipped.Load()
}

// Find returns the session that was opened with a key, as far as it was folded. Asked are the fields down to APIKey.
func (o *Opened) Find(asked Session, nowMs int64) (s Session, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.table.find(asked.Key, asked.APIKey, nowMs)
	if e == nil {
		return Session{}, false
	}
	return e.session(asked.Business, asked.Livemode), true
}

// Used says whether a key has opened a session, whichever API key it came with, as far as it was folded.
func (o *Opened) Used(key [16]byte, nowMs int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.table.used(key, nowMs)
}

// Open tells all gateways of a session, and returns it, or the one that its key had opened before.
//
// An error wraps commitlog.ErrUnknown when they may hear of it yet, commitlog.ErrUnavailable or ErrRefused when they will
// not. It comes at once when the log is not ready, or too many wait; else when ctx ends at the latest. A fold that is not
// loaded yet comes to the record as well, once it has all that is before it.
func (o *Opened) Open(ctx context.Context, s Session) (Session, error) {
	if err := s.check(); err != nil {
		return Session{}, fmt.Errorf("opened: %w: %w", commitlog.ErrRefused, err)
	}
	err := o.cfg.Log.Ready()
	if o.ctx.Err() != nil {
		err = commitlog.ErrClosed
	}
	if err != nil {
		return Session{}, fmt.Errorf("opened: %w: %w", commitlog.ErrUnavailable, err)
	}
	slot := o.proposals.Take()
	if slot == nil {
		return Session{}, fmt.Errorf("opened: %w: %d sessions are waiting for the log", commitlog.ErrUnavailable, o.cfg.InFlightMax)
	}
	defer slot.Leave()
	first, err := o.proposals.Append(ctx, slot, propose.Record{ID: s.ID, AtMs: s.CreatedMs, Value: encode(&s)})
	if errors.Is(err, commitlog.ErrRefused) {
		o.cfg.Notify(Notice{What: Refused, Offset: -1, Err: err})
	}
	if err != nil {
		return Session{}, fmt.Errorf("opened: %w", err)
	}
	return first, nil
}

// Close stops following and waits for that until ctx ends. Sessions that wait for the log end as unknown.
func (o *Opened) Close(ctx context.Context) error {
	o.cancel()
	if err := o.follower.Close(ctx); err != nil {
		return fmt.Errorf("opened: %w", err)
	}
	return nil
}

// begin leaves out what would be forgotten again.
func (o *Opened) begin(oldest, end int64) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.table = newTable(o.cfg.KeysMax)
	return max(oldest, end-int64(o.cfg.KeysMax)), nil
}

// apply folds records. A verdict needs no more than what stands before it in the log, so that it is given at once.
func (o *Opened) apply(records []recordbatch.Record, _ bool) error {
	for i := range records {
		s, err := decode(records[i].Value)
		if err != nil {
			o.skipped.Add(1)
			o.cfg.Notify(Notice{What: Skipped, Offset: records[i].Offset, Err: err})
			continue
		}
		o.proposals.Decide(s.ID, o.fold(s))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.table.forget(o.cfg.Now().UnixMilli())
	return nil
}

// fold returns the session that a record's key holds.
func (o *Opened) fold(s *Session) Session {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.table.add(entry{
		createdMs: s.CreatedMs, key: s.Key, id: s.ID, apiKey: s.APIKey, signingKey: s.SigningKey,
		lifeMs: uint32(s.ExpiresMs - s.CreatedMs),
	})
	return e.session(s.Business, s.Livemode)
}

func (e *entry) session(business string, livemode bool) Session {
	return Session{
		Business: business, Livemode: livemode, Key: e.key, APIKey: e.apiKey, ID: e.id, SigningKey: e.signingKey,
		CreatedMs: e.createdMs, ExpiresMs: e.createdMs + int64(e.lifeMs),
	}
}

func (o *Opened) notify(n follow.Notice) {
	kind := ReadFailed
	if n.Anew {
		kind = StartedOver
	}
	o.cfg.Notify(Notice{What: kind, Offset: n.Next, Err: n.Err})
}
