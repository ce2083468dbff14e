package forward

import (
	"context"
	"math"
	"sync"
	"time"
)

// beat is how often requests leave: several at once cost less than one after the other, as everything that takes part is
// awake. Each beat has its share, and what of it is not used is gone.
const beat = 50 * time.Millisecond

// pace is how many events leave of a business. The share is such that 21 of them and a request are the limit: as much as a
// second sees when what came at its beginning was late by most of a beat. An answer that asks for less takes a quarter of the rate,
// once a second; then it grows by a twentieth of the limit each second.
type pace struct {
	now   func() time.Time
	limit float64
	full  float64       // the rate when Stripe has not asked for less
	turn  chan struct{} // held by the one who waits for events that are not there yet

	mu sync.Mutex
	// Guarded by mu.
	rate, tokens   float64
	filled, slowed time.Time // filled is the beginning of a beat
	pausedUntil    time.Time
	slowDowns      int64
}

func newPace(limit int, now func() time.Time) *pace {
	p := &pace{now: now, limit: float64(limit), turn: make(chan struct{}, 1), filled: now().Truncate(beat)}
	beats := float64(time.Second / beat)
	p.full = max(p.limit/2, (p.limit-float64(p.batch()))*beats/(beats+1))
	p.rate = p.full
	return p
}

// batch is how many events a request may have.
func (p *pace) batch() int { return max(1, min(100, int(p.limit/20))) }

// take returns how long to wait before n events may leave, which then count as gone.
func (p *pace) take(n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	begun := now.Truncate(beat)
	if passed := begun.Sub(p.filled).Seconds(); passed > 0 {
		passed = min(passed, 60)
		p.rate = min(p.full, p.rate+passed*p.limit/20)
		share := p.rate * beat.Seconds()
		p.tokens = min(share, min(p.tokens, 0)+passed*p.rate)
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

// wait returns when n events may leave. One waits at a time: those who had been given times in advance would leave all at
// once when this process was held up, and be too many then. Here what was not used in its time is gone.
func (p *pace) wait(ctx context.Context, n int) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.turn }()
	return sleep(ctx, p.take(n))
}

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
	p.slowed, p.rate = now, max(p.rate*3/4, p.limit/64)
	p.slowDowns++
}
