package control

import (
	"context"
	"fmt"
	"sync"
)

// keyLocks lets one proposal at a time use an Idempotency-Key on this gateway, and one at a time change a destination, so
// that the second sees the first.
type keyLocks struct {
	mu sync.Mutex
	// held has the keys and the destinations in use; the channel is closed when its one is free. Guarded by mu; bounded by
	// Config.InFlightMax, twice.
	held map[lockKey]chan struct{}
}

// lockKey is an Idempotency-Key, or a destination: its id, of no API.
type lockKey struct {
	scopeKey
	usedKey
}

func (l *keyLocks) init() { l.held = make(map[lockKey]chan struct{}) }

// lock waits for what a change needs alone: the key first, then the destination, so that nobody waits in a circle.
func (l *keyLocks) lock(ctx context.Context, change *Change) (unlock func(), err error) {
	scope := scopeKey{change.Business, change.Livemode}
	unlockKey, unlockDestination := func() {}, func() {}
	if i := change.Idempotency; i != nil {
		if unlockKey, err = l.one(ctx, lockKey{scope, usedKey{i.API, i.Key}}); err != nil {
			return nil, fmt.Errorf("the same Idempotency-Key is in use: %w", err)
		}
	}
	if id := change.destinationID(); id != "" {
		if unlockDestination, err = l.one(ctx, lockKey{scope, usedKey{"", id}}); err != nil {
			unlockKey()
			return nil, fmt.Errorf("another change of the destination is in flight: %w", err)
		}
	}
	return func() { unlockDestination(); unlockKey() }, nil
}

func (l *keyLocks) one(ctx context.Context, k lockKey) (unlock func(), err error) {
	for {
		l.mu.Lock()
		held := l.held[k]
		if held == nil {
			free := make(chan struct{})
			l.held[k] = free
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				delete(l.held, k)
				close(free)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
