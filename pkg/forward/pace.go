package forward

import (
	"context"
	"math"
	"sync"
	"time"
)

// beat is how often requests leave: several at once cost less than one after the other, as everything that takes part is
// awake. Each beat has its share of 95 % of the limit, and one share is what is saved up. So no second sees more than the
// limit, which 21 shares are just below, and an arrival may be late by a beat without one that sees more at the other end.
const beat = 50 * time.Millisecond

// pace is a bucket of events that all senders of a business draw from. An answer that asks for less halves the rate, once
// a second; then it grows by a twentieth of the limit each second.
type pace struct {
	now   func() time.Time
	limit float64

	mu sync.Mutex
	// Guarded by mu.
	rate, tokens   float64
	filled, slowed time.Time // filled is the beginning of a beat
	pausedUntil    time.Time
	slowDowns      int64
}

func newPace(limit int, now func() time.Time) *pace {
	l := float64(limit)
	return &pace{now: now, limit: l, rate: 0.95 * l, tokens: 1, filled: now().Truncate(beat)}
}

// batch is how many events a request may have.
func (p *pace) batch() int { return max(1, min(100, int(p.limit/20))) }

// take returns how long to wait before n events may leave; they are booked.
func (p *pace) take(n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	begun := now.Truncate(beat)
	if passed := begun.Sub(p.filled).Seconds(); passed > 0 {
		passed = min(passed, 60)
		p.rate = min(0.95*p.limit, p.rate+passed*p.limit/20)
		p.tokens = min(max(1, p.rate*beat.Seconds()), p.tokens+passed*p.rate)
	}
	p.filled = begun
	p.tokens -= float64(n)
	wait := time.Duration(0)
	if p.tokens < 0 {
		beats := math.Ceil(-p.tokens/(p.rate*beat.Seconds()) - 1e-9)
		wait = begun.Add(time.Duration(beats) * beat).Sub(now)
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
