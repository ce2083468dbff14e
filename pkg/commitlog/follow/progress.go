package follow

import (
	"context"
	"fmt"
	"sync"

	"tollgate/pkg/commitlog"
)

// progress is how far the fold is, and lets others wait for it.
type progress struct {
	mu sync.Mutex
	// Guarded by mu.
	folded  int64 // the offset after the last record folded
	loaded  int64 // the same once the fold is loaded; -1 while it is not
	target  int64 // the end of the log when the fold began
	once    bool  // it was loaded once
	err     error // what the log failed with last, nil again when it is read
	changed chan struct{}
}

func (p *progress) init() {
	p.loaded, p.changed = -1, make(chan struct{})
}

func (p *progress) restart(from, target int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.folded, p.target, p.loaded = from, target, -1
}

// at is told how far the fold is, and whether it is loaded.
func (p *progress) at(next int64, loaded bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.folded, p.err = next, nil
	if loaded {
		p.loaded, p.once = next, true
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

func (p *progress) trouble(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *progress) next() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.folded
}

func (p *progress) ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.once:
		return nil
	case p.err != nil:
		return fmt.Errorf("not loaded, the fold is at offset %d of %d: %w", p.folded, p.target, p.err)
	}
	return fmt.Errorf("not loaded, the fold is at offset %d of %d", p.folded, p.target)
}

// reached waits until everything before end is folded by a fold that is loaded.
func (p *progress) reached(ctx, closed context.Context, end int64) error {
	for {
		p.mu.Lock()
		loaded, changed, err := p.loaded, p.changed, p.err
		p.mu.Unlock()
		if loaded >= end {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("%w: %w", ctx.Err(), err)
			}
			return ctx.Err()
		case <-closed.Done():
			return commitlog.ErrClosed
		}
	}
}
