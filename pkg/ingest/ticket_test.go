package ingest

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

var errOrphan = errors.New("orphan")

func TestATicketIsAnsweredOnceWhoeverIsFirst(t *testing.T) {
	answer := errors.New("from the log")
	const expireAll, never = 2, 1000
	for _, c := range []struct {
		name string
		do   func(t *table, ticket uint64)
		want error
	}{
		{"met and answered", func(tb *table, k uint64) {
			if !tb.meet(k) || !tb.reply(uint32(k), answer) {
				t.Error("met and answered: lost a race against nobody")
			}
		}, answer},
		{"not old enough", func(tb *table, k uint64) {
			tb.expire(never, never)
			tb.meet(k)
			tb.expire(never, never)
			tb.reply(uint32(k), nil)
		}, nil},
		{"too old in the ring", func(tb *table, k uint64) {
			tb.expire(expireAll, 1)
			if tb.meet(k) {
				t.Error("too old in the ring: the drainer took an abandoned frame")
			}
		}, ErrTimeout},
		{"too old in the log's hands", func(tb *table, k uint64) {
			tb.meet(k)
			tb.expire(expireAll, 1)
			if tb.reply(uint32(k), answer) {
				t.Error("too old in the log's hands: answered twice")
			}
		}, errOrphan},
	} {
		// Once with the handler waiting last, once with it waiting before the drainer comes.
		for _, handlerFirst := range []bool{false, true} {
			tb := newTable(1)
			for range 3 {
				ticket, ok := tb.take(0)
				if !ok {
					t.Fatalf("%s: the slot was not freed", c.name)
				}
				if _, ok := tb.take(0); ok {
					t.Fatalf("%s: two tickets of one slot", c.name)
				}
				var got error
				if handlerFirst {
					var wg sync.WaitGroup
					wg.Go(func() { _, got = tb.wait(ticket, errOrphan) })
					runtime.Gosched()
					c.do(tb, ticket)
					wg.Wait()
				} else {
					c.do(tb, ticket)
					_, got = tb.wait(ticket, errOrphan)
				}
				if got != c.want {
					t.Errorf("%s: answer %v, want %v", c.name, got, c.want)
				}
				if n := tb.inUse(); n != 0 {
					t.Errorf("%s: %d slots in use at the end", c.name, n)
				}
			}
		}
	}
}

func TestACancelledTicketIsFreeEvenIfTheWatchdogWasFirst(t *testing.T) {
	tb := newTable(1)
	for _, expired := range []bool{false, true} {
		ticket, _ := tb.take(0)
		if expired {
			tb.expire(2, 1)
		}
		tb.cancel(ticket)
		if tb.inUse() != 0 || len(tb.slots[0].token) != 0 {
			t.Errorf("expired %t: %d in use, %d tokens left", expired, tb.inUse(), len(tb.slots[0].token))
		}
	}
}

func TestARequestIsAnsweredWhenItsSlotsGenerationWraps(t *testing.T) {
	log := newFakeLog(t, 1)
	g := open(t, log, Config{Tickets: 1})
	g.tickets.slots[0].state.Store((1<<32 - 2) << generationShift)
	for i := range 4 {
		wantErr(t, "Submit", submit(g, "key", "value"), nil)
		if n := len(log.values(0)); n != i+1 {
			t.Fatalf("request %d was answered as durable with %d records in the log", i, n)
		}
	}
}

// Handlers, a drainer and a watchdog that finds everything too old, over few slots: each handler must get its own
// outcome, and a frame of which it was said that it is not written must not have been taken.
func TestTicketsUnderRace(t *testing.T) {
	const handlers, each, slots = 8, 3000, 5
	tb := newTable(slots)
	type frame struct {
		ticket uint64
		answer error
		taken  *atomic.Bool
	}
	frames := make(chan frame, slots)
	stop := make(chan struct{})
	var wg, others sync.WaitGroup
	for h := range handlers {
		wg.Go(func() {
			for range each {
				ticket, ok := tb.take(0)
				for ; !ok; ticket, ok = tb.take(0) {
					runtime.Gosched()
				}
				if h == 0 {
					tb.cancel(ticket)
					continue
				}
				f := frame{ticket, errors.New("its own answer"), new(atomic.Bool)}
				frames <- f
				switch _, got := tb.wait(ticket, errOrphan); {
				case got == f.answer && f.taken.Load():
				case got == ErrTimeout && !f.taken.Load():
				case got == errOrphan: // the drainer may not have noted yet that it took the frame
				default:
					t.Errorf("ticket %x: answer %v, taken %t", ticket, got, f.taken.Load())
				}
			}
		})
	}
	others.Go(func() {
		dice := rand.New(rand.NewPCG(1, 2))
		for f := range frames {
			if dice.IntN(3) == 0 {
				runtime.Gosched()
			}
			if !tb.meet(f.ticket) {
				continue
			}
			f.taken.Store(true)
			if dice.IntN(3) == 0 {
				runtime.Gosched()
			}
			tb.reply(uint32(f.ticket), f.answer)
		}
	})
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				tb.expire(2, 1)
				runtime.Gosched()
			}
		}
	})
	wg.Wait()
	close(stop)
	close(frames)
	others.Wait()
	if n := tb.inUse(); n != 0 {
		t.Errorf("%d slots in use at the end", n)
	}
}
