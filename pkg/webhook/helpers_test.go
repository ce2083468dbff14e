package webhook

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/stripe"
	"tollgate/pkg/thinevent"
)

const (
	eventsTopic  = "events"
	cursorsTopic = "cursors"
	business     = "acct_demo"
)

// fakeEvents is an Events in memory. Offsets have gaps, as those of a topic with repetitions.
type fakeEvents struct {
	mu sync.Mutex
	// Guarded by mu.
	list    []*thinevent.Event
	next    int64
	changed chan struct{}
	away    error
}

func newFakeEvents() *fakeEvents { return &fakeEvents{changed: make(chan struct{})} }

func (f *fakeEvents) add(e *thinevent.Event) *thinevent.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.Offset = f.next
	f.next += 1 + e.Offset%3
	f.list = append(f.list, e)
	close(f.changed)
	f.changed = make(chan struct{})
	return e
}

func (f *fakeEvents) CaughtUp(context.Context) error { return nil }

func (f *fakeEvents) From(offset int64, limit int) ([]*thinevent.Event, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, _ := slices.BinarySearchFunc(f.list, offset, func(e *thinevent.Event, offset int64) int { return int(e.Offset - offset) })
	list := slices.Clone(f.list[i:min(len(f.list), i+limit)])
	if len(list) > 0 {
		return list, list[len(list)-1].Offset + 1, f.away
	}
	return nil, offset, f.away
}

func (f *fakeEvents) At(offset int64) (*thinevent.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, ok := slices.BinarySearchFunc(f.list, offset, func(e *thinevent.Event, offset int64) int { return int(e.Offset - offset) })
	if !ok {
		return nil, f.away
	}
	return f.list[i], f.away
}

func (f *fakeEvents) Get(string, bool, string) (*thinevent.Event, error) { return nil, nil }

func (f *fakeEvents) Since(createdMs int64) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.list {
		if e.CreatedMs >= createdMs {
			return e.Offset, nil
		}
	}
	return f.next, nil
}

func (f *fakeEvents) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// directory is the destinations, and the Control that changes them.
type directory struct {
	mu        sync.Mutex
	list      []*control.Destination // guarded by mu
	proposals int                    // guarded by mu
	unread    *control.Destination   // there once the topic is read to its end; guarded by mu
	// slow, where it is set, is called by Propose when the change is made, before it answers.
	slow func(context.Context) error
}

func (c *directory) Snapshot() *control.Snapshot { panic("not in this fake") }

func (c *directory) CaughtUp(context.Context) error {
	c.mu.Lock()
	unread := c.unread
	c.unread = nil
	c.mu.Unlock()
	if unread != nil {
		c.add(unread)
	}
	return nil
}

func (c *directory) Propose(ctx context.Context, change control.Change) (control.Verdict, error) {
	c.mu.Lock()
	c.proposals++
	c.mu.Unlock()
	s := change.DestinationStatus
	d := c.change(s.ID, func(d *control.Destination) { d.Enabled, d.DisabledReason = s.Enabled, s.Reason })
	if c.slow != nil {
		if err := c.slow(ctx); err != nil {
			return control.Verdict{}, err
		}
	}
	return control.Verdict{Destination: d}, nil
}

// change replaces a destination, as a fold would.
func (c *directory) change(id string, f func(*control.Destination)) *control.Destination {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, d := range c.list {
		if d.ID == id {
			changed := *d
			f(&changed)
			c.list = slices.Clone(c.list)
			c.list[i] = &changed
			return &changed
		}
	}
	return nil
}

func (c *directory) add(d *control.Destination) *control.Destination {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(slices.Clone(c.list), d)
	return d
}

func (c *directory) remove(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = slices.DeleteFunc(slices.Clone(c.list), func(d *control.Destination) bool { return d.ID == id })
}

func (c *directory) all() []*control.Destination {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list
}

func (c *directory) find(id string) *control.Destination {
	for _, d := range c.all() {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// world is what outlives a gateway.
type world struct {
	t      testing.TB
	log    *memLog
	events *fakeEvents
	dir    *directory
	n      int
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, log: newMemLog(t, eventsTopic, cursorsTopic), events: newFakeEvents(), dir: &directory{}}
	w.log.end = func() int64 {
		w.events.mu.Lock()
		defer w.events.mu.Unlock()
		return w.events.next
	}
	return w
}

// destination adds one that is enabled from now on.
func (w *world) destination(id string, livemode bool) *control.Destination {
	now := time.Now().UnixMilli()
	return w.dir.add(&control.Destination{
		ID: id, Business: business, Livemode: livemode, Type: control.WebhookEndpoint, CreatedMs: now, EnabledMs: now, Enabled: true,
		Secret:   "whsec_new",
		Settings: control.Settings{EnabledEvents: []string{thinevent.TypeErrorReport}, URL: "https://hooks.example.com/" + id},
	})
}

// event adds one that is created now.
func (w *world) event(livemode bool, change ...func(*thinevent.Event)) *thinevent.Event {
	w.n++
	e := &thinevent.Event{Business: business, Event: stripe.Event{
		ID: fmt.Sprintf("evt_%05d", w.n), Type: thinevent.TypeErrorReport, CreatedMs: time.Now().UnixMilli(), Livemode: livemode,
		Related: &stripe.RelatedObject{ID: "mtr_1", Type: "billing.meter", URL: "/v1/billing/meters/mtr_1"},
		Data:    []byte(`{"developer_message_summary":"There is 1 invalid event"}`),
	}}
	for _, f := range change {
		f(e)
	}
	return w.events.add(e)
}

// gateway is one life of a gateway.
type gateway struct {
	*Courier
	w      *world
	life   *life
	cancel context.CancelFunc
	ran    chan struct{}

	mu      sync.Mutex
	notices []Notice // guarded by mu
}

// open starts a gateway. try is what its tries come to; nil: HTTP.
func (w *world) open(name string, try func(ctx context.Context, d *control.Destination, e *thinevent.Event) outcome, configure ...func(*Config)) *gateway {
	w.t.Helper()
	g := &gateway{w: w, life: &life{memLog: w.log}, ran: make(chan struct{})}
	dice := rand.New(rand.NewPCG(1, uint64(len(name))))
	var mu sync.Mutex
	cfg := Config{
		Log: g.life, EventsTopic: eventsTopic, CursorsTopic: cursorsTopic, Group: "g", Gateway: name, Control: w.dir, Events: w.events,
		Random: func(b []byte) {
			mu.Lock()
			defer mu.Unlock()
			for i := range b {
				b[i] = byte(dice.Uint32())
			}
		},
		Notify: func(n Notice) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.notices = append(g.notices, n)
		},
	}
	for _, f := range configure {
		f(&cfg)
	}
	c, err := Open(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	c.destinations = w.dir.all
	c.destination = func(p place) *control.Destination { return w.dir.find(p.id) }
	if try != nil {
		c.try = try
	}
	g.Courier = c
	return g
}

// start delivers until stop or kill.
func (g *gateway) start() *gateway {
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	go func() {
		defer close(g.ran)
		if err := g.Run(ctx); err != nil {
			g.w.t.Error(err)
		}
	}()
	return g
}

func (g *gateway) stop() {
	g.cancel()
	<-g.ran
	if err := g.Close(context.Background()); err != nil {
		g.w.t.Error(err)
	}
}

// kill stops it without a word: from now on nothing of it is written.
func (g *gateway) kill() {
	g.life.kill()
	g.stop()
}

func (g *gateway) noticed(what string) (count int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.notices {
		if n.What == what {
			count += max(n.Count, 1)
		}
	}
	return count
}

// post is what receivers have got.
type post struct {
	mu   sync.Mutex
	got  map[string][]time.Time // by destination and event; guarded by mu
	told int                    // guarded by mu
}

func newPost() *post { return &post{got: map[string][]time.Time{}} }

func (p *post) take(d *control.Destination, e *thinevent.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got[d.ID+" "+e.ID] = append(p.got[d.ID+" "+e.ID], time.Now())
	p.told++
}

func (p *post) times(destination, event string) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got[destination+" "+event])
}

func (p *post) distinct() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got)
}

func (p *post) all() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.told
}

var (
	ok  = outcome{kind: delivered}
	bad = outcome{kind: answered, reason: "HTTP 500"}
)

var _ commitlog.Log = (*life)(nil)
