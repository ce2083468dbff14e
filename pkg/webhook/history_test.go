package webhook

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/thinevent"
)

var seeds = flag.Int("webhook.seeds", 1_000, "random histories")

// Gateways die at any moment between a delivery and its cursor, the log loses answers and refuses batches, receivers fail
// and answer late: whatever is wanted is delivered in the end, and nothing else.
func TestRandomHistoriesLoseNothingAndDeliverNothingToOthers(t *testing.T) {
	n := *seeds
	if testing.Short() {
		n /= 10
	}
	for seed := range n {
		synctest.Test(t, func(t *testing.T) { history(t, uint64(seed)) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// chaos decides what goes wrong. It is shared by all lives of a history.
type chaos struct {
	mu     sync.Mutex
	dice   *rand.Rand // guarded by mu
	healed bool       // guarded by mu
}

func (c *chaos) one(in int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.healed && c.dice.IntN(in) == 0
}

func (c *chaos) n(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dice.IntN(n)
}

func history(t *testing.T, seed uint64) {
	c := &chaos{dice: rand.New(rand.NewPCG(seed, 7))}
	w, p := newWorld(t), newPost()
	w.destination("ed_test", false)
	w.destination("ed_live", true)
	w.destination("ed_bad", true)
	crash := make(chan struct{}, 1)
	boom := func() {
		select {
		case crash <- struct{}{}:
		default:
		}
	}
	live := func(name string) *gateway {
		var g *gateway
		g = w.open(name, func(ctx context.Context, d *control.Destination, e *thinevent.Event) outcome {
			if c.one(4) || d.ID == "ed_bad" && c.one(2) {
				return bad
			}
			select {
			case <-time.After(time.Duration(c.n(500)) * time.Millisecond):
			case <-ctx.Done():
				return outcome{kind: timedOut, reason: "cut"}
			}
			p.take(d, e)
			if c.one(20) { // dies after it was delivered, before anybody knows
				g.life.kill()
				boom()
				return bad
			}
			if c.one(10) {
				return bad // it was delivered and looks as if not
			}
			return ok
		}, func(cfg *Config) {
			cfg.LiveSchedule = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 30 * time.Second, time.Minute}
			for range 20 {
				cfg.LiveSchedule = append(cfg.LiveSchedule, time.Minute)
			}
			cfg.TestSchedule = cfg.LiveSchedule
		})
		g.life.answer = func(*commitlog.Batch) (bool, error) {
			switch {
			case c.one(15):
				g.life.kill() // dies before it is written
				boom()
				return false, commitlog.ErrClosed
			case c.one(15):
				boom() // dies after
				return true, nil
			case c.one(8):
				return false, fmt.Errorf("%w: made up", commitlog.ErrUnavailable)
			case c.one(8):
				return true, fmt.Errorf("%w: made up", commitlog.ErrUnknown)
			}
			return true, nil
		}
		return g.start()
	}
	g, want, lives := live("life 0"), map[string]bool{}, 0
	rebirth := func(kill bool) {
		if kill {
			g.kill()
		} else {
			g.stop()
		}
		lives++
		g = live(fmt.Sprint("life ", lives))
	}
	for range 20 {
		select {
		case <-crash:
			rebirth(true)
		case <-time.After(time.Duration(c.n(3_000)) * time.Millisecond):
		}
		livemode := c.n(2) == 0
		what := c.n(6)
		e := w.event(livemode, func(e *thinevent.Event) {
			if what == 0 {
				e.Business = "acct_other"
			}
		})
		switch what {
		case 0:
			continue
		case 1: // resent to one, by whom nobody delivers
			d := w.dir.find("ed_test")
			if livemode {
				d = w.dir.find("ed_live")
			}
			if err := g.Resend(context.Background(), d, e); err != nil && !strings.Contains(err.Error(), "made up") && !strings.Contains(err.Error(), "closed") {
				t.Error(err)
			}
		case 2:
			rebirth(false)
		}
		if livemode {
			want["ed_live "+e.ID], want["ed_bad "+e.ID] = true, true
		} else {
			want["ed_test "+e.ID] = true
		}
	}
	select {
	case <-crash:
	default:
	}
	c.mu.Lock()
	c.healed = true
	c.mu.Unlock()
	rebirth(true)
	time.Sleep(6 * time.Minute)
	for key := range want {
		if len(p.got[key]) == 0 {
			t.Errorf("%s was never delivered", key)
		}
	}
	for key := range p.got {
		if !want[key] {
			t.Errorf("%s was delivered and not wanted", key)
		}
	}
	delivered := p.all()
	g.stop()
	for key, value := range w.log.last(cursorsTopic) {
		if strings.HasPrefix(key, deliveryPrefix) {
			t.Errorf("still waits: %s %s", key, value)
		}
	}
	// Nothing is left to do for whoever comes next.
	g = live("last")
	time.Sleep(10 * time.Minute)
	g.stop()
	if n := p.all(); n != delivered {
		t.Errorf("the next gateway delivered %d again", n-delivered)
	}
}
