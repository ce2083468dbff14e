package ring

import (
	"sync/atomic"
	"time"
)

// What a Gate may be armed with besides a number of arrivals.
const (
	// UntilFilled: arrivals do not wake, a ring that fills up does.
	UntilFilled = -1
	// UntilWoken: only Wake does.
	UntilWoken = -2

	awake = 0
)

// Gate is where one consumer sleeps until there is enough to do.
//
// To park and to wake a goroutine costs more than to append a frame, so the consumer says how many frames are worth
// waking up for, and a producer pays for more than one load only while the consumer sleeps.
//
// No wake-up is lost. The consumer arms the gate, then looks once more whether there is work, then sleeps; a producer
// commits its work, then looks at the gate. In whatever order these four fall, at least one of the two sees the other:
//
//	consumer                 producer
//	state = armed            lane[p] = word
//	look at lane[p]          look at state
//
// A wake-up too many is possible (somebody saw the gate armed just before the consumer went to work by itself) and
// costs the consumer one look.
type Gate struct {
	_ pad
	// state is the number of arrivals still to come before the consumer is woken, or awake, UntilFilled or UntilWoken.
	// Who turns anything else into awake sends the token.
	state atomic.Int64
	_     pad
	token chan struct{} // one slot
	timer *time.Timer   // the consumer's, reused
}

// NewGate returns a gate whose consumer is awake.
func NewGate() *Gate {
	g := &Gate{token: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	g.timer.Stop()
	return g
}

// Arm says what Sleep will wait for: so many arrivals (1 or more), UntilFilled or UntilWoken. The consumer must look
// for work between Arm and Sleep.
func (g *Gate) Arm(until int) {
	select {
	case <-g.token: // of a waker that came while the consumer had already got up
	default:
	}
	g.state.Store(int64(until))
}

// Disarm takes Arm back.
func (g *Gate) Disarm() { g.state.Store(awake) }

// Sleep waits until the gate is opened, or for timeout if that is not negative; false when it was the timeout. The
// gate is disarmed when it returns.
func (g *Gate) Sleep(timeout time.Duration) bool {
	if timeout < 0 {
		<-g.token
		g.state.Store(awake)
		return true
	}
	g.timer.Reset(timeout)
	woken := true
	select {
	case <-g.token:
		g.timer.Stop()
	case <-g.timer.C:
		woken = false
	}
	g.state.Store(awake)
	return woken
}

// Arrived counts one frame that is in a ring now. Any goroutine may call it, after the append.
func (g *Gate) Arrived() {
	for {
		left := g.state.Load()
		if left <= 0 {
			return
		}
		if g.state.CompareAndSwap(left, left-1) {
			if left == 1 {
				g.send()
			}
			return
		}
	}
}

// Filled says that a ring is getting full. Any goroutine may call it.
func (g *Gate) Filled() {
	for {
		state := g.state.Load()
		if state == awake || state == UntilWoken {
			return
		}
		if g.state.CompareAndSwap(state, awake) {
			g.send()
			return
		}
	}
}

// Wake opens the gate whatever it is armed with. Any goroutine may call it.
func (g *Gate) Wake() {
	if g.state.Load() != awake && g.state.Swap(awake) != awake {
		g.send()
	}
}

func (g *Gate) send() {
	select {
	case g.token <- struct{}{}:
	default: // one is there already, and one is enough
	}
}
