package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/stripe"
	"tollgate/pkg/thinevent"
)

// receiver is a try that takes everything while up, and notes it.
func (p *post) receiver(up *atomic.Bool) func(context.Context, *control.Destination, *thinevent.Event) outcome {
	return func(_ context.Context, d *control.Destination, e *thinevent.Event) outcome {
		if !up.Load() {
			return bad
		}
		p.take(d, e)
		return ok
	}
}

func isUp() *atomic.Bool {
	up := &atomic.Bool{}
	up.Store(true)
	return up
}

func TestADestinationGetsWhatItEnabledSinceItWasEnabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		before := w.event(true)
		time.Sleep(time.Second)
		w.destination("ed_1", true)
		w.destination("ed_2", true)
		ping := func(about string) *thinevent.Event {
			return w.event(true, func(e *thinevent.Event) {
				e.Type, e.Related = thinevent.TypePing, &stripe.RelatedObject{ID: about, Type: "v2.core.event_destination"}
			})
		}
		want := []string{}
		for _, e := range []*thinevent.Event{w.event(true), w.event(true)} {
			want = append(want, "ed_1 "+e.ID, "ed_2 "+e.ID)
		}
		want = append(want, "ed_2 "+ping("ed_2").ID)
		ping("ed_3")
		w.event(false)
		w.event(true, func(e *thinevent.Event) { e.Business = "acct_other" })
		noMeter := func(e *thinevent.Event) { e.Type = thinevent.TypeNoMeter }
		w.event(true, noMeter)
		g := w.open("a", p.receiver(isUp())).start()
		time.Sleep(time.Second)
		w.dir.change("ed_2", func(d *control.Destination) { d.EnabledEvents = []string{thinevent.TypeNoMeter} })
		time.Sleep(time.Second)
		want = append(want, "ed_2 "+w.event(true, noMeter).ID)
		time.Sleep(time.Second)
		g.stop()
		var got []string
		for key, times := range p.got {
			got = append(got, key)
			if len(times) != 1 {
				t.Errorf("%s was delivered %d times", key, len(times))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("delivered were %v, want %v and not %s", got, want, before.ID)
		}
	})
}

func TestOneThatHangsDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_hangs", true)
		w.destination("ed_quick", true)
		var hanging atomic.Int64
		var most atomic.Int64
		g := w.open("a", func(ctx context.Context, d *control.Destination, e *thinevent.Event) outcome {
			if d.ID == "ed_hangs" {
				if n := hanging.Add(1); n > most.Load() {
					most.Store(n)
				}
				defer hanging.Add(-1)
				time.Sleep(10 * time.Second)
				return outcome{kind: timedOut, reason: "no answer within 10s"}
			}
			p.take(d, e)
			return ok
		}).start()
		time.Sleep(time.Second)
		for range 2_000 {
			e := w.event(true)
			at := time.Now()
			time.Sleep(50 * time.Millisecond)
			if got := p.times("ed_quick", e.ID); len(got) != 1 || got[0].Sub(at) > time.Millisecond {
				t.Fatalf("%s: delivered %v after it came", e.ID, got)
			}
		}
		if most.Load() != triesMax || hanging.Load() > failingTriesMax {
			t.Errorf("the one that hangs had %d tries at once, and %d after %d had failed", most.Load(), hanging.Load(), failingRun)
		}
		g.stop()
	})
}

func TestADeadDestinationThatComesBackGetsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_1", true)
		up := &atomic.Bool{}
		var tries atomic.Int64
		receive := p.receiver(up)
		g := w.open("a", func(ctx context.Context, d *control.Destination, e *thinevent.Event) outcome {
			tries.Add(1)
			time.Sleep(10 * time.Millisecond)
			return receive(ctx, d, e)
		})
		g.lookEvery = 10 * time.Second
		g.start()
		const events = waitingMax + 500
		for range events {
			w.event(true)
		}
		time.Sleep(time.Hour)
		if n := g.State("ed_1").Pending; n > waitingMax || n < waitingMax-triesMax {
			t.Errorf("%d deliveries wait, the bound is %d", n, waitingMax)
		}
		if n := g.counts.backlog.Load(); n < 500 {
			t.Errorf("the backlog is shown as %d", n)
		}
		up.Store(true)
		time.Sleep(6 * time.Hour)
		if p.distinct() != events || p.all() != events {
			t.Errorf("of %d events %d were delivered, %d times", events, p.distinct(), p.all())
		}
		if s := g.State("ed_1"); s != (State{}) {
			t.Errorf("afterwards its state is %+v", s)
		}
		g.stop()
	})
}

func TestWhoTakesOverGoesOnWhereTheOtherStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_1", true)
		up := &atomic.Bool{}
		var by sync.Map
		open := func(name string) *gateway {
			receive := p.receiver(up)
			return w.open(name, func(ctx context.Context, d *control.Destination, e *thinevent.Event) outcome {
				by.Store(name, true)
				return receive(ctx, d, e)
			}).start()
		}
		a := open("a")
		time.Sleep(time.Second)
		b := open("b")
		for range 50 {
			w.event(true)
		}
		time.Sleep(10 * time.Second)
		if _, ok := by.Load("b"); ok {
			t.Error("two deliver at once")
		}
		if s := b.State("ed_1"); s.Pending != 50 || s.LastError != "HTTP 500" {
			t.Errorf("the other gateway shows %+v", s)
		}
		up.Store(true)
		a.stop()
		for range 50 {
			w.event(true)
		}
		time.Sleep(2 * time.Minute)
		if p.distinct() != 100 || p.all() != 100 {
			t.Errorf("%d of 100 events were delivered, %d times", p.distinct(), p.all())
		}
		b.stop()
	})
}

func TestTheOneThatLosesThePartitionStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.destination("ed_1", true)
		var tries atomic.Int64
		g := w.open("a", func(ctx context.Context, _ *control.Destination, _ *thinevent.Event) outcome {
			tries.Add(1)
			<-ctx.Done()
			return outcome{kind: timedOut, reason: "cut"}
		}).start()
		for range 20 {
			w.event(true)
		}
		time.Sleep(time.Second)
		at := time.Now()
		g.stop()
		if took := time.Since(at); took > 0 || tries.Load() != triesMax {
			t.Errorf("it took %v and %d tries", took, tries.Load())
		}
		if last := w.log.last(cursorsTopic); len(last) != 1 || !strings.Contains(last[cursorKey(place{business, "ed_1", true})], `"next":0,`) {
			t.Errorf("what was cut off is written as if it had failed: %v", last)
		}
	})
}

func TestWhatWaitsForADisabledDestinationIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_1", true)
		w.destination("ed_gone", true)
		up := &atomic.Bool{}
		g := w.open("a", p.receiver(up)).start()
		for range 1_500 {
			w.event(true)
		}
		time.Sleep(10 * time.Second)
		w.dir.change("ed_1", func(d *control.Destination) { d.Enabled = false })
		w.dir.remove("ed_gone")
		time.Sleep(10 * time.Second)
		if n := g.State("ed_1").Pending; n != 0 {
			t.Errorf("%d deliveries wait for a disabled destination", n)
		}
		for key := range w.log.last(cursorsTopic) {
			if key != cursorKey(place{business, "ed_1", true}) {
				t.Errorf("the topic still has %s", key)
			}
		}
		if n := g.counts.dropped.Value(); n != 3_000 {
			t.Errorf("%d dropped are counted", n)
		}
		up.Store(true)
		w.event(true) // while it is disabled
		time.Sleep(time.Hour)
		w.dir.change("ed_1", func(d *control.Destination) { d.Enabled, d.EnabledMs = true, time.Now().UnixMilli() })
		e := w.event(true)
		time.Sleep(time.Second)
		if p.all() != 1 || len(p.times("ed_1", e.ID)) != 1 {
			t.Errorf("enabled again it got %v, want %s", p.got, e.ID)
		}
		g.stop()
	})
}

// The gateway sees a disabling and an enabling at once: what waited is dropped all the same.
func TestWhatWaitedIsDroppedAlsoWhenADestinationIsEnabledAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_1", true)
		up := &atomic.Bool{}
		g := w.open("a", p.receiver(up)).start()
		w.event(true)
		time.Sleep(10 * time.Second)
		up.Store(true)
		d := w.dir.change("ed_1", func(d *control.Destination) { d.EnabledMs = time.Now().UnixMilli() })
		asked := w.event(true)
		time.Sleep(time.Second)
		if err := g.Resend(context.Background(), d, asked); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if p.distinct() != 1 || len(p.times("ed_1", asked.ID)) != 2 {
			t.Errorf("delivered: %v", p.got)
		}
		if s := g.State("ed_1"); s != (State{}) {
			t.Errorf("its state is %+v", s)
		}
		g.stop()
	})
}

func TestAResendIsTriedAtOnceByWhicheverGatewayDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		d := w.destination("ed_1", true)
		up := isUp()
		a := w.open("a", p.receiver(up)).start()
		b := w.open("b", p.receiver(up))
		e := w.event(true)
		time.Sleep(time.Minute)
		for range 2 {
			at := time.Now()
			if err := b.Resend(context.Background(), d, e); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if got := p.times("ed_1", e.ID); got[len(got)-1].Sub(at) > time.Second {
				t.Errorf("asked for at %v, delivered at %v", at, got)
			}
		}
		if got := p.times("ed_1", e.ID); len(got) != 3 {
			t.Errorf("delivered %d times, want 3", len(got))
		}
		if a.State("ed_1").Pending != 0 || b.State("ed_1").Pending != 0 {
			t.Error("a resend waits although it is delivered")
		}
		// One that fails is tried again by the schedule.
		up.Store(false)
		if err := b.Resend(context.Background(), d, e); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := a.State("ed_1").Pending; n != 1 {
			t.Errorf("%d wait", n)
		}
		up.Store(true)
		time.Sleep(2 * time.Minute)
		if got := p.times("ed_1", e.ID); len(got) != 4 {
			t.Errorf("delivered %d times, want 4", len(got))
		}
		a.stop()
		if err := b.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAResendOfWhatWaitsMakesItDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		d := w.destination("ed_1", true)
		up := &atomic.Bool{}
		g := w.open("a", p.receiver(up)).start()
		for range 10 {
			w.event(true)
		}
		time.Sleep(10 * time.Minute) // the next try is half an hour away
		_, waiting := g.board.state(d.ID)
		last := slices.MaxFunc(waiting, func(x, y *delivery) int { return int(x.dueMs - y.dueMs) })
		e, _ := w.events.At(last.offset)
		up.Store(true)
		if err := g.Resend(context.Background(), d, e); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := len(p.times("ed_1", e.ID)); n != 1 {
			t.Fatalf("delivered %d times", n)
		}
		if p.all() != 1 {
			t.Errorf("%d others were delivered too", p.all()-1)
		}
		time.Sleep(time.Hour)
		if n := len(p.times("ed_1", e.ID)); n != 1 || p.all() != 10 || g.State("ed_1").Pending != 0 {
			t.Errorf("delivered %d times, state %+v", n, g.State("ed_1"))
		}
		g.stop()
	})
}

func TestAResendBeyondTheBoundIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		d := w.destination("ed_1", true)
		g := w.open("a", p.receiver(isUp())) // nobody delivers
		e := w.event(true)
		for range waitingMax {
			if err := g.Resend(context.Background(), d, e); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if err := g.Resend(context.Background(), d, e); !errors.Is(err, errBusy) || !errors.Is(err, commitlog.ErrUnavailable) {
			t.Errorf("one more than %d: %v", waitingMax, err)
		}
		g.start()
		time.Sleep(time.Minute)
		g.stop()
		if n := g.State("ed_1").Pending; n != 0 {
			t.Errorf("%d still wait", n)
		}
	})
}

func TestAnEventThatExpiredIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_1", true)
		g := w.open("a", p.receiver(&atomic.Bool{})).start()
		w.event(true)
		time.Sleep(10 * time.Second)
		w.events.mu.Lock()
		w.events.list = nil
		w.events.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if s := g.State("ed_1"); s.Pending != 0 || g.counts.expired.Value() != 1 {
			t.Errorf("%+v, %d expired are counted", s, g.counts.expired.Value())
		}
		g.stop()
	})
}

func TestEventsThatCanNotBeReadAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_1", true)
		up := &atomic.Bool{}
		g := w.open("a", p.receiver(up)).start()
		w.event(true)
		time.Sleep(10 * time.Second)
		away := func(err error) {
			w.events.mu.Lock()
			defer w.events.mu.Unlock()
			w.events.away = err
		}
		away(errors.New("the index is away"))
		up.Store(true)
		w.event(true)
		time.Sleep(10 * time.Minute)
		if p.all() != 0 || g.noticed(NoticeFault) == 0 || g.noticed(NoticeFault) > 11 {
			t.Errorf("%d delivered, %d notices in ten minutes", p.all(), g.noticed(NoticeFault))
		}
		away(nil)
		time.Sleep(5 * time.Second)
		if p.distinct() != 2 {
			t.Errorf("of two %d were delivered", p.distinct())
		}
		g.stop()
	})
}

// A cursor log that is away bounds how much would be delivered again.
func TestNothingIsTriedWhenTooMuchIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_1", true)
		g := w.open("a", p.receiver(isUp())).start()
		time.Sleep(time.Second)
		g.life.mu.Lock()
		g.life.dead = true
		g.life.mu.Unlock()
		for range 5_000 {
			w.event(true)
		}
		time.Sleep(time.Hour)
		if n := p.all(); n < unwrittenMax || n > unwrittenMax+triesMax {
			t.Errorf("%d were delivered while nothing could be written, the bound is %d", n, unwrittenMax)
		}
		g.life.mu.Lock()
		g.life.dead = false
		g.life.mu.Unlock()
		time.Sleep(time.Minute)
		if p.distinct() != 5_000 || p.all() != 5_000 {
			t.Errorf("%d of 5000 were delivered, %d times", p.distinct(), p.all())
		}
		g.stop()
	})
}

func TestFirstTriesGoOutInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.destination("ed_1", true)
		var mu sync.Mutex
		var began []string
		g := w.open("a", func(_ context.Context, _ *control.Destination, e *thinevent.Event) outcome {
			mu.Lock()
			began = append(began, e.ID)
			n := len(began)
			mu.Unlock()
			time.Sleep(time.Duration(n%13+1) * time.Second)
			return ok
		}).start()
		for range 100 {
			w.event(true)
		}
		time.Sleep(10 * time.Minute)
		g.stop()
		for i, id := range began {
			if want := fmt.Sprintf("evt_%05d", i+1); id < fmt.Sprintf("evt_%05d", max(1, i+2-triesMax)) || id > fmt.Sprintf("evt_%05d", i+triesMax) {
				t.Errorf("%s began as number %d, near %s", id, i, want)
			}
		}
		if len(began) != 100 {
			t.Errorf("%d tries", len(began))
		}
	})
}

func TestRecordsOfOthersAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		g := w.open("a", p.receiver(isUp()))
		for _, e := range []entry{
			{"usage/3", []byte(`{"object":"usage_owner"}`)},
			{"destination/acct_demo/testmode", []byte(`{}`)},
			{"destination/acct_demo/testmode/ed_1", []byte(`{}`)},
			{"delivery/acct_demo/testmode/ed_1/evt_1", []byte(`{"object":"destination_delivery","event":"evt_2"}`)},
			{"delivery/acct_demo/nomode/ed_1/evt_1", nil},
		} {
			if err := appendWait(context.Background(), g.cfg.Log, g.oneRecord(e.key, e.value)); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.follower.CaughtUp(context.Background()); err != nil {
			t.Fatal(err)
		}
		if n := len(g.board.destinations()); n != 0 || g.counts.badRecords.Value() != 4 {
			t.Errorf("%d destinations, %d bad records", n, g.counts.badRecords.Value())
		}
		g.start()
		time.Sleep(time.Minute)
		g.stop()
		if n := len(w.log.records(cursorsTopic)); n != 5 {
			t.Errorf("%d records were written", n-5)
		}
	})
}

func TestAConfigThatIsWrongIsRefused(t *testing.T) {
	if _, err := Open(Config{}); err == nil || !strings.Contains(err.Error(), "must be given") {
		t.Errorf("an empty one: %v", err)
	}
	w := newWorld(t)
	cfg := Config{
		Log: &life{memLog: w.log}, EventsTopic: "e", CursorsTopic: "c", Group: "g", Gateway: "a", Control: w.dir, Events: w.events,
		TestSchedule: []time.Duration{0}, AttemptMax: -1,
	}
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "pause") || !strings.Contains(err.Error(), "AttemptMax") {
		t.Errorf("pauses of nothing: %v", err)
	}
}

// A topic that was removed and made again begins with offset 0, and the cursors of the one before it are still there.
func TestAnEventsTopicThatIsAnotherOneIsDeliveredFromItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_1", true)
		try := func(_ context.Context, d *control.Destination, e *thinevent.Event) outcome {
			p.take(d, e)
			return ok
		}
		g := w.open("a", try).start()
		for range 50 {
			w.event(true)
		}
		time.Sleep(time.Minute)
		g.stop()
		g = w.open("b", try).start()
		time.Sleep(time.Minute)
		if n := g.noticed(NoticeStartedOver); n != 0 || p.all() != 50 {
			t.Errorf("the same topic: %d deliveries of 50 events, started over %d times", p.all(), n)
		}
		g.stop()
		w.events = newFakeEvents()
		for range 3 {
			w.event(true)
		}
		g = w.open("c", try).start()
		time.Sleep(time.Minute)
		w.event(true)
		time.Sleep(time.Minute)
		if n := g.noticed(NoticeStartedOver); n != 1 || p.all() != 54 || p.distinct() != 54 {
			t.Errorf("another topic with 4 events: %d deliveries after the first 50, %d distinct, started over is told %d times", p.all()-50, p.distinct(), n)
		}
		g.stop()
		g = w.open("d", try).start()
		w.event(true)
		time.Sleep(time.Minute)
		if n := g.noticed(NoticeStartedOver); n != 0 || p.all() != 55 {
			t.Errorf("once its cursor is written: %d deliveries after the first 50, started over is told %d times", p.all()-50, n)
		}
		g.stop()
	})
}

func TestWhichGatewayDeliversIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.open("a", nil), w.open("b", nil)
		f := func(what string, wantA, wantB bool) {
			t.Helper()
			time.Sleep(time.Second)
			if a.Delivering() != wantA || b.Delivering() != wantB {
				t.Errorf("%s: a delivers %v, b %v", what, a.Delivering(), b.Delivering())
			}
		}
		f("before", false, false)
		a.start()
		f("with a", true, false)
		b.start()
		f("with both", true, false)
		other, done := context.WithCancel(t.Context())
		go b.own(other, otherClaim{})
		f("with a partition that is not used", true, false)
		done()
		a.stop()
		f("without a", false, true)
		b.stop()
		f("without both", false, false)
	})
}

// otherClaim is of a partition that is not used.
type otherClaim struct{ claim }

func (otherClaim) Partition() int32 { return 1 }
