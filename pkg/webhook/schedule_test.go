package webhook

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/pkg/control"
	"tollgate/pkg/thinevent"
)

// pauses runs one event of a destination whose tries come to nothing, and returns the pauses between them.
func pauses(t *testing.T, livemode bool, o outcome, wait time.Duration) (got []time.Duration, g *gateway) {
	t.Helper()
	w, p := newWorld(t), newPost()
	w.destination("ed_1", livemode)
	g = w.open("a", func(_ context.Context, d *control.Destination, e *thinevent.Event) outcome {
		p.take(d, e)
		return o
	}, func(c *Config) { c.AutoDisableAfter = -1 })
	g.lookEvery = time.Minute
	g.start()
	e := w.event(livemode)
	time.Sleep(wait)
	g.stop()
	times := p.times("ed_1", e.ID)
	for i := 1; i < len(times); i++ {
		got = append(got, times[i].Sub(times[i-1]))
	}
	if last := w.log.last(cursorsTopic); len(last) != 1 {
		t.Errorf("after the last try the topic has %v, more than the cursor", last)
	}
	return got, g
}

func near(t *testing.T, got, want []time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("the pauses are %v, want about %v", got, want)
	}
	exact := true
	for i := range got {
		// A tenth of jitter, and up to a quarter of a second until the runner looks.
		if got[i] < want[i]*9/10-time.Second || got[i] > want[i]*11/10+time.Second {
			t.Errorf("pause %d is %v, want %v give or take a tenth", i, got[i], want[i])
		}
		exact = exact && got[i] == want[i]
	}
	if exact {
		t.Error("no pause has jitter")
	}
}

func TestAnEventOfLiveModeIsTriedForThreeDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, g := pauses(t, true, bad, 80*time.Hour)
		near(t, got, []time.Duration{
			time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour,
			12 * time.Hour, 12 * time.Hour, 12 * time.Hour, 12 * time.Hour,
		})
		if n := g.noticed(NoticeGivenUp); n != 1 {
			t.Errorf("that it was given up is told %d times", n)
		}
		if n := g.counts.givenUp.Value(); n != 1 {
			t.Errorf("%d given up are counted", n)
		}
	})
}

func TestAnEventOfTestModeIsTriedThreeTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, _ := pauses(t, false, bad, 24*time.Hour)
		near(t, got, []time.Duration{time.Minute, 2 * time.Hour})
	})
}

func TestRetryAfterDelaysTheNextTryAndNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, _ := pauses(t, false, outcome{kind: answered, reason: "HTTP 503", retryAfter: 10 * time.Minute}, 24*time.Hour)
		if len(got) != 2 || got[0] != 10*time.Minute || got[1] < 108*time.Minute {
			t.Errorf("with Retry-After of 10 minutes the pauses are %v", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		got, _ := pauses(t, false, outcome{kind: answered, reason: "HTTP 503", retryAfter: 1000 * time.Hour}, 48*time.Hour)
		if len(got) != 2 || got[0] != retryAfterMax || got[1] != retryAfterMax {
			t.Errorf("with Retry-After of 1000 hours the pauses are %v", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		got, _ := pauses(t, true, outcome{kind: answered, reason: "HTTP 429", retryAfter: 1000 * time.Hour}, 100*time.Hour)
		if len(got) != 6 { // 72 h after the first try
			t.Errorf("with Retry-After of 1000 hours there are %d pauses in live mode: %v", len(got), got)
		}
	})
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"120":                           2 * time.Minute,
		" 7 ":                           7 * time.Second,
		"-5":                            0,
		"1.5":                           0,
		"soon":                          0,
		"Sat, 21 Nov 2026 12:10:00 GMT": 10 * time.Minute,
		"Sat, 21 Nov 2026 11:10:00 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("Retry-After: %s is %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"2147483647", "2147483648", "99999999999999999999", "Fri, 21 Nov 9999 12:00:00 GMT"} {
		got := retryAfter(http.Header{"Retry-After": {text}}, now)
		if pause, _ := again(defaultLiveSchedule, 1, 0, 0, got, fill(0)); pause != retryAfterMax {
			t.Errorf("with Retry-After: %s the pause is %v, want %v", text, pause, retryAfterMax)
		}
	}
}

// The pauses of live mode add up to 65:36 h, with the longest jitter to 72:09 h.
func TestNoJitterCostsATryNorLeadsBeyondThreeDays(t *testing.T) {
	for name, c := range map[string]struct {
		byte     byte
		took     time.Duration // a try
		schedule []time.Duration
		earliest time.Duration // the last try
	}{
		"shortest":          {byte: 0, schedule: defaultLiveSchedule, earliest: 59 * time.Hour},
		"middle":            {byte: 0x80, schedule: defaultLiveSchedule, earliest: 65 * time.Hour},
		"longest":           {byte: 0xff, schedule: defaultLiveSchedule, earliest: lifeMax},
		"longest, and slow": {byte: 0xff, took: defaultAttemptMax, schedule: defaultLiveSchedule, earliest: lifeMax},
		"test mode":         {byte: 0xff, schedule: defaultTestSchedule, earliest: 2 * time.Hour},
	} {
		tries, now, last := 1, c.took, time.Duration(0)
		for {
			pause, more := again(c.schedule, tries, c.took.Milliseconds(), now.Milliseconds(), 0, fill(c.byte))
			if !more {
				break
			}
			last = now + pause - c.took
			tries, now = tries+1, now+pause+c.took
		}
		if tries != len(c.schedule)+1 || last < c.earliest || last > lifeMax {
			t.Errorf("%s: %d tries of %d, the last %v after the first had failed", name, tries, len(c.schedule)+1, last)
		}
	}
}

func TestWhatAnEndpointAsksForIsNotCutShort(t *testing.T) {
	first, hour := int64(1), time.Hour.Milliseconds()
	if pause, more := again(defaultLiveSchedule, 10, first, first+66*hour, 7*time.Hour, fill(0)); more {
		t.Errorf("66 h after the first try, with Retry-After of 7 h, it is tried again after %v", pause)
	}
	if pause, more := again(defaultLiveSchedule, 10, first, first+66*hour, 5*time.Hour, fill(0)); !more || pause != 6*time.Hour {
		t.Errorf("66 h after the first try, with Retry-After of 5 h: %v, %v; want what is left", pause, more)
	}
}

// fill is dice that always fall alike.
func fill(x byte) func([]byte) {
	return func(b []byte) {
		for i := range b {
			b[i] = x
		}
	}
}

func TestAPauseIsUpToATenthShorterOrLonger(t *testing.T) {
	low, middle, high := jitter(time.Hour, fill(0)), jitter(time.Hour, fill(0x80)), jitter(time.Hour, fill(0xff))
	if low != 54*time.Minute || middle < 59*time.Minute || middle > 61*time.Minute || high > 66*time.Minute || high < 65*time.Minute {
		t.Errorf("jitter of an hour: %v, %v, %v", low, middle, high)
	}
}

func TestADestinationOfNothingButFailureIsDisabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_bad", true)
		w.destination("ed_once", true)
		var once atomic.Bool
		g := w.open("a", func(_ context.Context, d *control.Destination, e *thinevent.Event) outcome {
			p.take(d, e)
			if d.ID == "ed_once" && once.Swap(false) {
				return ok
			}
			return bad
		})
		g.lookEvery = time.Minute
		g.start()
		w.event(true)
		time.Sleep(71 * time.Hour)
		if g.State("ed_bad").FailingSinceMs == 0 || g.State("ed_bad").LastError != "HTTP 500" {
			t.Errorf("after 71 hours its state is %+v", g.State("ed_bad"))
		}
		once.Store(true)
		w.event(true)
		time.Sleep(2 * time.Hour)
		if d := w.dir.find("ed_bad"); d.Enabled || d.DisabledReason != "delivery_failed" {
			t.Errorf("after 73 hours of failure: %+v", d)
		}
		if d := w.dir.find("ed_once"); !d.Enabled {
			t.Error("one with a success an hour ago is disabled")
		}
		if n := g.noticed(NoticeDisabled); n != 1 || w.dir.proposals != 1 {
			t.Errorf("it was told %d times, proposed %d times", n, w.dir.proposals)
		}
		before := p.all()
		w.event(true)
		time.Sleep(time.Second)
		if got := p.all() - before; got != 1 { // ed_once
			t.Errorf("%d tries after one of the two was disabled", got)
		}
		for key := range w.log.last(cursorsTopic) {
			if strings.HasPrefix(key, "delivery/acct_demo/livemode/ed_bad/") {
				t.Errorf("%s still waits", key)
			}
		}
		g.stop()
	})
}

// failsUntilDisabled delivers to a destination of nothing but failure until that it is disabled is proposed, and what is
// asked of control then takes as long as slow does.
func failsUntilDisabled(t *testing.T, slow func(context.Context) error) *gateway {
	t.Helper()
	w := newWorld(t)
	w.destination("ed_bad", true)
	w.dir.slow = slow
	g := w.open("a", func(context.Context, *control.Destination, *thinevent.Event) outcome { return bad })
	g.lookEvery = time.Second
	g.start()
	w.event(true)
	time.Sleep(72*time.Hour + time.Minute)
	if w.dir.find("ed_bad").Enabled {
		t.Error("it is not disabled after 72 hours")
	}
	return g
}

func TestWhatIsProposedEndsBeforeDeliveringDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answered atomic.Bool
		g := failsUntilDisabled(t, func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			answered.Store(true)
			return ctx.Err()
		})
		g.stop()
		if !answered.Load() {
			t.Error("what is proposed outlives the courier")
		}
		if n := g.noticed(NoticeDisabled) + g.noticed(NoticeFault); n != 0 {
			t.Errorf("of what was cut off %d things are told", n)
		}
	})
}

// The destination may be seen to be disabled before control has answered.
func TestThatADestinationWasDisabledIsToldHoweverLateTheAnswerIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := failsUntilDisabled(t, func(context.Context) error { time.Sleep(10 * time.Second); return nil })
		g.stop()
		if n := g.noticed(NoticeDisabled); n != 1 || g.counts.disabled.Value() != 1 {
			t.Errorf("it is told %d times and counted %d times", n, g.counts.disabled.Value())
		}
	})
}

func TestOutcomesAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), newPost()
		w.destination("ed_1", true)
		g := w.open("a", func(_ context.Context, d *control.Destination, e *thinevent.Event) outcome {
			p.take(d, e)
			return ok
		})
		g.start()
		time.Sleep(time.Second)
		for range 1_000 {
			w.event(true)
		}
		time.Sleep(time.Second)
		if n := len(w.log.records(cursorsTopic)); p.all() != 1_000 || n > 20 {
			t.Errorf("%d deliveries, %d records", p.all(), n)
		}
		written := len(w.log.records(cursorsTopic))
		w.event(true)
		time.Sleep(writeEvery - time.Millisecond)
		if n := len(w.log.records(cursorsTopic)); n != written {
			t.Errorf("a single outcome is written at once")
		}
		time.Sleep(2 * time.Millisecond)
		if n := len(w.log.records(cursorsTopic)); n != written+1 {
			t.Errorf("a single outcome is not written after %v", writeEvery)
		}
		g.stop()
	})
}
