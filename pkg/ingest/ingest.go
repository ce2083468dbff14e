package ingest

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/internal/invariants"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/ring"
)

const (
	// watchdogTicks is how often the watchdog looks in a WaitMax, and so the part of it by which Submit may be late.
	watchdogTicks = 16
	// filledBytesMax: a ring that holds this much wakes the drainer. What lies there longer leaves the processor's
	// cache before it is read (D21).
	filledBytesMax = 256 << 10

	drainPollMin = time.Millisecond
	drainPollMax = 20 * time.Millisecond
)

// Ingester is the way into one topic of a log. Use New.
type Ingester struct {
	cfg     Config
	topic   atomic.Pointer[topic] // nil until the log knows it
	frames  sync.Pool             // of *Frame
	rings   *ring.Set
	tickets *table
	drainer *drainer
	metrics *meters

	orphan error // the answer to a ticket that outlived WaitMax in the log's hands

	// tick counts sixteenths of WaitMax. Tickets are dated with it: a tick that never comes, because the machine
	// slept, makes no request late, and no request reads a clock for it.
	tick atomic.Uint32
	// unready is why the log took no records when it was last asked; nil: it did.
	unready atomic.Pointer[error]
	// clockMs is the drainer's clock, 0 while the drainer sleeps and nobody keeps it.
	clockMs atomic.Int64

	draining atomic.Bool
	stopOnce sync.Once
	stop     chan struct{}
	stopped  sync.WaitGroup // drainer and watchdog
}

// New starts an Ingester: a drainer and a watchdog goroutine, which Drain ends.
func New(cfg Config) (*Ingester, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	g := &Ingester{
		cfg:     cfg,
		rings:   ring.NewSet(cfg.Rings, cfg.RingBytes, cfg.SpareBytes, min(filledBytesMax, cfg.RingBytes/4)),
		tickets: newTable(cfg.Tickets),
		orphan:  fmt.Errorf("%w: the log did not answer within %v", commitlog.ErrUnknown, cfg.WaitMax),
		stop:    make(chan struct{}),
	}
	invariants.Check(g.rings.FrameBytesMax() >= cfg.FrameBytesMax, "ingest: the largest frame fits into no ring")
	g.frames.New = func() any { return newFrame(g) }
	g.metrics = newMeters(g)
	_ = g.askLog() // what it says is noted, and that is all
	g.drainer = newDrainer(g)
	g.stopped.Go(g.drainer.run)
	g.stopped.Go(g.watch)
	return g, nil
}

// NewFrame returns an empty frame for a request received at receivedMs (Unix milliseconds), which becomes the
// timestamp of its records.
func (g *Ingester) NewFrame(receivedMs int64) *Frame {
	f := g.frames.Get().(*Frame)
	f.reset(g.topicNow(), receivedMs)
	return f
}

// topicNow returns what the log says about the topic, nil while it does not know.
func (g *Ingester) topicNow() *topic {
	t := g.topic.Load()
	if t == nil {
		if t = topicOf(g.cfg.Log, g.cfg.Topic); t != nil {
			g.topic.Store(t)
		}
	}
	return t
}

// Submit writes the frame's records and waits for the outcome; the frame is gone in any case.
//
// nil: every record is durable (G1). ErrFull, ErrDraining, ErrTimeout, ErrTooLarge: nothing was written. Otherwise the
// error wraps commitlog.ErrUnavailable (nothing was written, and may be later), ErrRefused (nothing was written, nor ever
// will be) or ErrUnknown (also when a part was written and another was not), and says in words what the log said.
func (g *Ingester) Submit(f *Frame) error {
	_, err := g.SubmitAt(f)
	return err
}

// SubmitAt is Submit, and tells where the frame's last record is. Partition and offset are -1 when the error is not nil,
// and for an empty frame.
func (g *Ingester) SubmitAt(f *Frame) (Position, error) {
	if f.valueAt != 0 {
		panic("BUG: ingest: Submit of a frame with a record begun and not ended")
	}
	if f.records == 0 {
		f.Release()
		return nowhere, nil
	}
	ticket, err := g.enqueue(f)
	f.Release() // what matters is in the ring now
	if err != nil {
		return nowhere, err
	}
	return g.tickets.wait(ticket, g.orphan)
}

// enqueue puts the frame into a ring.
func (g *Ingester) enqueue(f *Frame) (ticket uint64, err error) {
	if err := g.refuse(f); err != nil {
		return 0, err
	}
	ticket, ok := g.tickets.take(g.tick.Load())
	if !ok {
		g.metrics.fullTickets.Add(1)
		return 0, ErrFull
	}
	// After the ticket is taken: either this sees that Drain was called, or Drain sees the ticket and waits for it.
	if g.draining.Load() {
		g.tickets.cancel(ticket)
		return 0, ErrDraining
	}
	binary.LittleEndian.PutUint64(f.buf[frameTicketAt:], ticket)
	binary.LittleEndian.PutUint32(f.buf[frameRecordsAt:], uint32(f.records))
	if !g.rings.TryAppend(f.buf) {
		g.tickets.cancel(ticket)
		g.metrics.fullRing.Add(1)
		return 0, ErrFull
	}
	return ticket, nil
}

// refuse finds what can be refused without a ticket: a log that can not take records now, a frame that never fits.
func (g *Ingester) refuse(f *Frame) error {
	if g.draining.Load() {
		return ErrDraining
	}
	// To ask the log costs locks, so while it is well the drainer asks for all. Once it is not, everybody asks: the
	// first request after its recovery must not be refused.
	if g.unready.Load() != nil {
		if err := g.askLog(); err != nil {
			return err
		}
	}
	switch {
	case f.topic == nil:
		return fmt.Errorf("%w: topic %s is not known yet", commitlog.ErrUnavailable, g.cfg.Topic)
	case len(f.buf) > g.cfg.FrameBytesMax:
		return fmt.Errorf("%w: %d bytes of records, at most %d", ErrTooLarge, len(f.buf), g.cfg.FrameBytesMax)
	case f.bodyMax > f.topic.bodyBytesMax:
		return fmt.Errorf("%w: a record of %d bytes, at most %d", ErrTooLarge, f.bodyMax, f.topic.bodyBytesMax)
	}
	return nil
}

// askLog asks the log whether it takes records, and notes the answer for Submit.
func (g *Ingester) askLog() error {
	if err := g.cfg.Log.Ready(); err != nil {
		err := unavailable(err)
		g.unready.Store(&err)
		return err
	}
	if g.unready.Load() != nil {
		g.unready.Store(nil)
	}
	return nil
}

// NowMs is the time in Unix milliseconds, at most about PauseMin and one turn of the scheduler old. While requests
// come in it costs one load.
func (g *Ingester) NowMs() int64 {
	if ms := g.clockMs.Load(); ms != 0 {
		return ms
	}
	return g.cfg.Now().UnixMilli()
}

// Ready is nil when Submit can succeed now, as far as is known; otherwise the error is what Submit would return.
func (g *Ingester) Ready() error {
	if g.draining.Load() {
		return ErrDraining
	}
	if err := g.askLog(); err != nil {
		return err
	}
	if g.topicNow() == nil {
		return fmt.Errorf("%w: topic %s is not known yet", commitlog.ErrUnavailable, g.cfg.Topic)
	}
	return nil
}

// Drain makes every further Submit return ErrDraining, waits until every frame taken before is answered, and ends the
// Ingester's goroutines. When ctx ends first, the error says how many are still waiting; they will be answered
// by the log or by WaitMax, and Drain may be called again, after the log was closed for example.
func (g *Ingester) Drain(ctx context.Context) error {
	g.draining.Store(true)
	g.rings.Gate.Wake()
	pause := drainPollMin
	for {
		waiting := g.tickets.inUse()
		if waiting == 0 {
			g.stopOnce.Do(func() { close(g.stop) })
			g.rings.Gate.Wake()
			g.stopped.Wait()
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ingest: %d requests are not answered yet: %w", waiting, context.Cause(ctx))
		case <-time.After(pause):
			pause = min(2*pause, drainPollMax)
		}
	}
}

// watch answers tickets that are too old, and notes it when the log is in trouble while nothing is asked of it.
func (g *Ingester) watch() {
	ticker := time.NewTicker(g.cfg.WaitMax / watchdogTicks)
	defer ticker.Stop()
	for {
		select {
		case <-g.stop:
			return
		case <-ticker.C:
			abandoned, orphaned := g.tickets.expire(g.tick.Add(1), watchdogTicks)
			g.metrics.abandoned.Add(uint64(abandoned))
			g.metrics.orphaned.Add(uint64(orphaned))
			if g.metrics.backlogBytes.Load() > 0 {
				g.rings.Gate.Wake() // the drainer may sleep until the log answers, and has to see that it does not
			}
			_ = g.askLog() // what it says is noted, and that is all
		}
	}
}
