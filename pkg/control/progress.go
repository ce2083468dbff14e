package control

import (
	"context"
	"fmt"
	"sync"
)

// progress is how far the fold is, and lets others wait for it.
type progress struct {
	mu sync.Mutex
	// Guarded by mu.
	folded    int64 // the offset after the last record folded
	published int64 // the same of what Snapshot shows; -1 while it shows another log, or nothing
	target    int64 // the end of the log when the fold began
	once      bool  // something was published once
	err       error // what the log failed with last, nil again when it is read
	changed   chan struct{}
}

func (p *progress) init() {
	p.published, p.changed = -1, make(chan struct{})
}

func (p *progress) restart(oldest, target int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.folded, p.target, p.published = oldest, target, -1
}

// at is told how far the fold is, and whether that is published.
func (p *progress) at(next int64, published bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.folded, p.err = next, nil
	if published {
		p.published, p.once = next, true
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

func (p *progress) trouble(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *progress) ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.once:
		return nil
	case p.err != nil:
		return fmt.Errorf("control: the meters are not loaded, the fold is at offset %d of %d: %w", p.folded, p.target, p.err)
	}
	return fmt.Errorf("control: the meters are not loaded, the fold is at offset %d of %d", p.folded, p.target)
}

// reached waits until everything before end is published.
func (p *progress) reached(ctx, closed context.Context, end int64) error {
	for {
		p.mu.Lock()
		published, changed, err := p.published, p.changed, p.err
		p.mu.Unlock()
		if published >= end {
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
			return errClosed
		}
	}
}
