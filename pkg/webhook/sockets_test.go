package webhook

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/pkg/commitlog/journal"
	"tollgate/pkg/control"
	"tollgate/pkg/thinevent"
)

// stack is a gateway's delivering with nothing made up but the events: a journal on disk, a control plane, sockets.
type stack struct {
	t       *testing.T
	events  *fakeEvents
	log     *journal.Journal
	control *control.Control
	index   *thinevent.Store // with Config.Events nil
	*Courier
	w *world
}

func newStack(t *testing.T, configure ...func(*Config)) *stack {
	t.Helper()
	log, err := journal.Open(journal.Config{Dir: t.TempDir(), ReserveBytes: 1, Topics: []journal.TopicConfig{
		{Name: eventsTopic, Partitions: 1}, {Name: cursorsTopic, Partitions: 1, Compact: true}, {Name: "control", Partitions: 1, Compact: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctl, err := control.Open(control.Config{Log: log, Topic: "control"})
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{t: t, events: newFakeEvents(), log: log, control: ctl}
	s.w = &world{t: t, events: s.events}
	cfg := Config{
		Log: log, EventsTopic: eventsTopic, CursorsTopic: cursorsTopic, Group: "g", Gateway: "a", Control: ctl, Events: s.events,
		TestSchedule: []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, time.Second, 5 * time.Second, 5 * time.Second, 5 * time.Second, 5 * time.Second},
	}
	for _, f := range configure {
		f(&cfg)
	}
	if cfg.Events == nil {
		s.index, err = thinevent.Open(thinevent.Config{Log: log, Topic: eventsTopic, Dir: filepath.Join(t.TempDir(), "events")})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Events = s.index
	}
	s.Courier, err = Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		closers := []interface{ Close(context.Context) error }{s.Courier, ctl, log}
		if s.index != nil {
			closers = slices.Insert(closers, 1, interface{ Close(context.Context) error }(s.index))
		}
		for _, c := range closers {
			if err := c.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

func (s *stack) destination(url string) *control.Destination {
	s.t.Helper()
	v, err := s.control.Propose(context.Background(), control.Change{Business: business, CreateDestination: &control.NewDestination{
		Type: control.WebhookEndpoint, Secret: "whsec_test",
		Settings: control.Settings{Name: "hook", EnabledEvents: []string{thinevent.TypeErrorReport}, URL: url},
	}})
	if err != nil || v.Refusal != control.NotRefused {
		s.t.Fatal(v, err)
	}
	return v.Destination
}

func eventually(t *testing.T, within time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// ids notes the events that a server was sent.
type ids struct {
	mu  sync.Mutex
	got map[string]time.Time
	n   int
}

func (i *ids) take(r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, id, _ := strings.Cut(string(body), `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.n++
	if _, ok := i.got[id]; !ok {
		i.got[id] = time.Now()
	}
}

func (i *ids) distinct() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.got)
}

func TestTenThousandEventsBehindADeadEndpointThatComesBack(t *testing.T) {
	events := 10_000
	if testing.Short() {
		events = 1_000
	}
	got := &ids{got: map[string]time.Time{}}
	var up atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !up.Load() {
			w.WriteHeader(500)
			return
		}
		got.take(r)
	}))
	defer server.Close()
	s := newStack(t)
	d := s.destination(server.URL)
	time.Sleep(10 * time.Millisecond) // created after it was enabled
	for range events {
		s.w.event(false)
	}
	eventually(t, 30*time.Second, "it is shown as failing", func() bool {
		st := s.State(d.ID)
		return st.LastError == "HTTP 500" && st.FailingSinceMs > 0 && st.Pending > 100
	})
	up.Store(true)
	at := time.Now()
	eventually(t, 60*time.Second, "all are delivered", func() bool { return got.distinct() == events })
	t.Logf("%d events delivered %v after it came back, with %d requests", events, time.Since(at).Round(time.Millisecond), got.n)
	eventually(t, 5*time.Second, "nothing waits", func() bool { return s.State(d.ID) == State{} })
}

func TestAnEndpointThatHangsBesideAQuickOne(t *testing.T) {
	quick := func(t *testing.T, hanging int) time.Duration {
		got := &ids{got: map[string]time.Time{}}
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.take(r) }))
		defer server.Close()
		gate := make(chan struct{})
		hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			<-gate
		}))
		defer hangs.Close()
		defer close(gate)
		s := newStack(t, func(c *Config) { c.AttemptMax = 2 * time.Second })
		s.destination(server.URL)
		for range hanging {
			s.destination(hangs.URL)
		}
		time.Sleep(300 * time.Millisecond) // noticed
		var took []time.Duration
		for range 200 {
			e, at := s.w.event(false), time.Now()
			eventually(t, 5*time.Second, "the quick one has it", func() bool { got.mu.Lock(); defer got.mu.Unlock(); return !got.got[e.ID].IsZero() })
			got.mu.Lock()
			took = append(took, got.got[e.ID].Sub(at))
			got.mu.Unlock()
		}
		slices.Sort(took)
		t.Logf("beside %d that hang: median %v, 99th percentile %v", hanging, took[len(took)/2], took[len(took)*99/100])
		return took[len(took)/2]
	}
	alone, beside := quick(t, 0), quick(t, 20)
	if beside > alone+50*time.Millisecond {
		t.Errorf("the quick one's median is %v beside 20 that hang, %v alone", beside, alone)
	}
}

func TestADestinationIsDisabledThroughTheControlPlane(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	notices := make(chan Notice, 100)
	s := newStack(t, func(c *Config) {
		c.AutoDisableAfter = 300 * time.Millisecond
		c.Notify = func(n Notice) { notices <- n }
	})
	d := s.destination(server.URL)
	time.Sleep(10 * time.Millisecond)
	e := s.w.event(false)
	eventually(t, 10*time.Second, "it is disabled", func() bool {
		now := s.control.Snapshot().Destination(business, false, d.ID)
		return !now.Enabled && now.DisabledReason == DisabledReason
	})
	if n := <-notices; n.What != NoticeDisabled || n.Destination != d.ID || n.Err.Error() != "HTTP 404" {
		t.Errorf("told was %+v", n)
	}
	eventually(t, 10*time.Second, "nothing waits", func() bool { return s.State(d.ID).Pending == 0 })

	// Enabled again it delivers again, and its failing begins anew.
	v, err := s.control.Propose(context.Background(), control.Change{Business: business, DestinationStatus: &control.DestinationStatus{ID: d.ID, Enabled: true}})
	if err != nil || !v.Destination.Enabled {
		t.Fatal(v, err)
	}
	if err := s.Resend(context.Background(), v.Destination, e); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "it fails anew", func() bool { return s.State(d.ID).FailingSinceMs >= v.Destination.EnabledMs })
	if _, err := s.control.Propose(context.Background(), control.Change{Business: business, RemoveDestination: &control.DestinationRemoval{ID: d.ID}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "nothing is left of it", func() bool { return len(s.board.destinations()) == 0 })
}

// The index, the log and the control plane are the real ones: reports and pings are appended as the worker and httpd do.
func TestEventsOfTheIndexAreDelivered(t *testing.T) {
	got := &ids{got: map[string]time.Time{}}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.take(r) }))
	defer server.Close()
	s := newStack(t, func(c *Config) { c.Events = nil })
	d := s.destination(server.URL)
	s.destination(server.URL + "/other")
	var events []*thinevent.Event
	now := time.Now().Add(time.Second) // a report's window ends before; what counts is when it is created
	for i := range 200 {
		start := now.UnixMilli() / 10_000 * 10_000
		events = append(events, thinevent.NewReport(&thinevent.Report{
			Business: business, MeterID: "mtr_1", StartMs: start, EndMs: start + 10_000,
			Source: thinevent.Source{First: int64(i), Through: int64(i) + 1},
			Codes:  []thinevent.CodeErrors{{Code: "meter_event_invalid_value", Count: 1}},
		}, now.UnixMilli()))
	}
	ping := thinevent.NewPing(business, false, d.ID, [16]byte{1}, nil, now.UnixMilli())
	ctx := context.Background()
	if err := s.index.Append(ctx, append(events, ping)...); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "both have all reports, one the ping", func() bool {
		got.mu.Lock()
		defer got.mu.Unlock()
		return len(got.got) == len(events)+1 && got.n == 2*len(events)+1
	})
	e, err := s.index.Get(business, false, events[0].ID)
	if err != nil || e == nil {
		t.Fatal(e, err)
	}
	if err := s.Resend(ctx, d, e); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "it is delivered again", func() bool {
		got.mu.Lock()
		defer got.mu.Unlock()
		return got.n == 2*len(events)+2
	})
}
