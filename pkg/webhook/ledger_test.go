package webhook

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/thinevent"
)

func TestNothingIsWrittenBehindAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &life{memLog: newMemLog(t, cursorsTopic)}
		n := 0
		l.answer = func(b *commitlog.Batch) (bool, error) {
			if len(b.Bytes) > l.BatchBytesMax(cursorsTopic) {
				t.Errorf("a batch has %d bytes", len(b.Bytes))
			}
			n++
			if n == 2 {
				return false, commitlog.ErrUnavailable
			}
			return true, nil
		}
		cfg := Config{Log: l, CursorsTopic: cursorsTopic}.withDefaults()
		g := newLedger(&cfg)
		var entries []entry
		for i := range 30 {
			entries = append(entries, entry{key: fmt.Sprint(i), value: []byte(strings.Repeat("x", 500))})
		}
		results := make(chan error, 3)
		for _, part := range [][]entry{entries[:5], entries[5:29], entries[29:]} {
			g.add(&group{entries: part, done: func(err error) { results <- err }})
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { g.run(ctx) })
		first, second, third := <-results, <-results, <-results
		if first != nil || !errors.Is(second, commitlog.ErrUnavailable) || !errors.Is(third, commitlog.ErrUnavailable) {
			t.Errorf("the groups came to %v, %v, %v", first, second, third)
		}
		written := l.records(cursorsTopic)
		if len(written) < 5 || len(written) > 10 {
			t.Errorf("%d records were written", len(written))
		}
		if err := g.write(ctx, entries[5:]); err != nil || len(l.records(cursorsTopic)) != len(written)+25 {
			t.Errorf("afterwards: %v, %d records", err, len(l.records(cursorsTopic)))
		}
		cancel()
		wg.Wait()
	})
}

// While the first try of one event is not over the cursor stands before it; what failed behind it has its delivery.
func TestWhatWaitsIsNotTakenUpAgainBehindTheCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_1", true)
		try := func(ctx context.Context, d *control.Destination, e *thinevent.Event) outcome {
			p.take(d, e)
			if e.ID == "evt_00001" {
				<-ctx.Done()
				return outcome{kind: timedOut, reason: "cut"}
			}
			return bad
		}
		a := w.open("a", try).start()
		w.event(true)
		second := w.event(true)
		time.Sleep(time.Second)
		a.kill()
		b := w.open("b", try).start()
		time.Sleep(30 * time.Second)
		if n := len(p.times("ed_1", second.ID)); n != 1 {
			t.Errorf("tried %d times before it was due again", n)
		}
		if n := len(p.times("ed_1", "evt_00001")); n != 2 {
			t.Errorf("what was cut off was tried %d times", n)
		}
		b.stop()
	})
}

func TestResendsThatComeCloseTogetherAreEachDeliveredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		d := w.destination("ed_1", true)
		g := w.open("a", p.receiver(isUp())).start()
		events := []*thinevent.Event{w.event(true), w.event(true), w.event(true)}
		time.Sleep(time.Minute)
		for _, e := range events {
			if err := g.Resend(context.Background(), d, e); err != nil {
				t.Fatal(err)
			}
			time.Sleep(writeEvery / 10)
		}
		time.Sleep(time.Minute)
		for _, e := range events {
			if n := len(p.times("ed_1", e.ID)); n != 2 {
				t.Errorf("%s was delivered %d times, want 2", e.ID, n)
			}
		}
		g.stop()
	})
}

func TestTheCursorOfARemovedDestinationGoesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_1", true)
		g := w.open("a", p.receiver(isUp())).start()
		w.event(true)
		time.Sleep(time.Minute)
		if last := w.log.last(cursorsTopic); len(last) != 1 {
			t.Errorf("the topic has %v", last)
		}
		w.dir.remove("ed_1")
		time.Sleep(time.Minute)
		g.stop()
		if last := w.log.last(cursorsTopic); len(last) != 0 {
			t.Errorf("the topic still has %v", last)
		}
	})
}

// A resend that is read before the destination it is for was asked for nevertheless.
func TestAResendThatComesBeforeItsDestinationIsNotSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		g := w.open("a", p.receiver(isUp())).start()
		time.Sleep(time.Second)
		d := w.destination("ed_1", true)
		w.dir.mu.Lock()
		w.dir.list, w.dir.unread = nil, d
		w.dir.mu.Unlock()
		e := w.event(false) // which it does not get by itself
		if err := g.Resend(context.Background(), d, e); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := len(p.times("ed_1", e.ID)); n != 1 {
			t.Errorf("delivered %d times", n)
		}
		g.stop()
	})
}

// New events come without end and retries too: neither waits for the other to run dry.
func TestNeitherRetriesNorNewEventsStarve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_1", true)
		g := w.open("a", func(_ context.Context, d *control.Destination, e *thinevent.Event) outcome {
			time.Sleep(time.Second)
			p.take(d, e)
			if e.Offset%2 == 0 {
				return bad
			}
			return ok
		}, func(c *Config) { c.LiveSchedule = []time.Duration{time.Second, time.Second, time.Second, time.Second} }).start()
		for range 1_000 { // many more than there is time for
			w.event(true)
		}
		time.Sleep(30 * time.Second)
		g.stop()
		first, again := p.distinct(), p.all()-p.distinct()
		if first < 60 || again < 60 {
			t.Errorf("in 30 seconds %d first tries and %d others", first, again)
		}
	})
}
