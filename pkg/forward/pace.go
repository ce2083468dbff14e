package forward

import (
	"context"
	"sync"
	"time"
)

// pace is a bucket of events that all senders of a business draw from. It is filled at 95 % of the limit and holds 5 % of
// it, so that no second sees more than the limit. An answer that asks for less halves the rate, once a second; then it
// grows by a twentieth of the limit each second.
type pace struct {
	now   func() time.Time
	limit float64

	mu sync.Mutex
	// Guarded by mu.
	rate, tokens   float64
	filled, slowed time.Time
	pausedUntil    time.Time
	slowDowns      int64
}

func newPace(limit int, now func() time.Time) *pace {
	l := float64(limit)
	return &pace{now: now, limit: l, rate: 0.95 * l, tokens: 1, filled: now()}
}

// batch is how many events a request may have.
func (p *pace) batch() int { return max(1, min(100, int(p.limit/20))) }

// take returns how long to wait before n events may leave; they are booked.
func (p *pace) take(n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if passed := now.Sub(p.filled).Seconds(); passed > 0 {
		passed = min(passed, 60)
		p.rate = min(0.95*p.limit, p.rate+passed*p.limit/20)
		p.tokens = min(max(1, 0.05*p.limit), p.tokens+passed*p.rate)
	}
	p.filled = now
	p.tokens -= float64(n)
	wait := time.Duration(0)
	if p.tokens < 0 {
		wait = time.Duration(-p.tokens / p.rate * float64(time.Second))
	}
	if pause := p.pausedUntil.Sub(now); pause > wait {
		wait = min(pause, time.Minute) // a clock that was set back must not stop it
	}
	return wait
}

func (p *pace) wait(ctx context.Context, n int) error { return sleep(ctx, p.take(n)) }

// slow takes in that Stripe wants less.
func (p *pace) slow(pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if until := now.Add(pause); until.After(p.pausedUntil) {
		p.pausedUntil = until
	}
	if since := now.Sub(p.slowed); since >= 0 && since < time.Second {
		return
	}
	p.slowed, p.rate = now, max(p.rate/2, p.limit/64)
	p.slowDowns++
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
