package forward

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/usage"
)

// Forwarder forwards what the partitions hold that the worker of this process runs. See the package.
type Forwarder struct {
	cfg     Config
	counts  *counts
	senders map[scope]*sender
	board   *board

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wait   sync.WaitGroup

	queued atomic.Int64 // bytes in the queues of all lanes
	drains atomic.Int64 // calls of Drain under way: the cursors are written soon

	mu   sync.Mutex
	taps map[int32]*tap // guarded by mu

	drifts drifts
}

// Open begins to read the cursors.
func Open(cfg Config) (*Forwarder, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	f := &Forwarder{cfg: cfg, counts: newCounts(cfg.Metrics), senders: make(map[scope]*sender), taps: make(map[int32]*tap)}
	for name, own := range cfg.Businesses {
		s := newSender(&f.cfg, f.counts, name, own)
		f.senders[s.scope] = s
	}
	var err error
	if f.board, err = startBoard(&f.cfg, f.counts.badCursors); err != nil {
		return nil, err
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.export()
	f.wait.Go(func() { f.watch(f.ctx) })
	f.wait.Go(func() { f.mirror(f.ctx) })
	return f, nil
}

// Beside runs a partition until ctx ends; see usage.Config.
func (f *Forwarder) Beside(ctx context.Context, v *usage.View) {
	f.run(ctx, v.Partition(), func() View { return v.Fork() })
}

func (f *Forwarder) run(ctx context.Context, partition int32, view func() View) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.ctx, cancel)()
	t := &tap{f: f, view: view(), partition: partition, next: -1, lanes: make(map[scope]*lane), gathered: make(map[scope]*entry), sizes: make(map[scope]size), behind: make(chan struct{}, f.cfg.ReadersBehind)}
	for s, sender := range f.senders {
		t.lanes[s] = &lane{f: f, s: sender, t: t, view: view(), aside: view(), key: laneKey(s, t.partition), wake: make(chan struct{}, 1)}
	}
	f.mu.Lock()
	f.taps[t.partition] = t
	f.mu.Unlock()
	var wait sync.WaitGroup
	wait.Go(func() { t.run(ctx) })
	for _, l := range t.lanes {
		wait.Go(func() { l.run(ctx) })
	}
	wait.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.taps[t.partition] == t {
		delete(f.taps, t.partition)
	}
}

// call is for a question that a person waits for: it ends with the forwarder, which waits for it.
func (f *Forwarder) call(ctx context.Context) (context.Context, func(), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		return nil, nil, fmt.Errorf("forward: %w", commitlog.ErrClosed)
	}
	f.wait.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(f.ctx, cancel)
	return ctx, func() { stop(); cancel(); f.wait.Done() }, nil
}

// BusinessState is how a business stands, of the partitions that this process runs.
type BusinessState struct {
	Business string `json:"business"`
	Livemode bool   `json:"livemode"`
	// OldestReceived and OldestHappened are of events that were read and are not at Stripe; zero: there are none.
	OldestReceived time.Time `json:"oldest_received"`
	OldestHappened time.Time `json:"oldest_happened"`
	Unsent         int       `json:"unsent"` // read, and not known to be at Stripe
	Behind         int64     `json:"behind"` // records of the log that were not read for it
	InFlight       int64     `json:"in_flight"`
	Dead           int64     `json:"dead"`    // letters written by this process
	Trouble        string    `json:"trouble"` // why Stripe takes nothing now
}

// State lists the businesses in order.
func (f *Forwarder) State() []BusinessState {
	states := make(map[scope]*BusinessState)
	for s, sender := range f.senders {
		st := &BusinessState{Business: s.business, Livemode: s.live, InFlight: sender.inFlight.Load(), Dead: sender.dead.Load()}
		if trouble := sender.trouble.Load(); trouble != nil {
			st.Trouble = *trouble
		}
		states[s] = st
	}
	for _, t := range f.running() {
		t.mu.Lock()
		next := t.next
		t.mu.Unlock()
		for s, l := range t.lanes {
			l.mu.Lock()
			of := l.state
			l.mu.Unlock()
			st := states[s]
			st.Unsent += of.events
			st.Behind += max(0, next-of.end)
			st.OldestReceived = older(st.OldestReceived, of.receivedMs)
			st.OldestHappened = older(st.OldestHappened, of.timestampMs)
		}
	}
	list := make([]BusinessState, 0, len(states))
	for _, st := range states {
		list = append(list, *st)
	}
	slices.SortFunc(list, func(a, b BusinessState) int { return cmp.Compare(a.Business, b.Business) })
	return list
}

func older(t time.Time, ms int64) time.Time {
	if ms == 0 {
		return t
	}
	if at := time.UnixMilli(ms).UTC(); t.IsZero() || at.Before(t) {
		return at
	}
	return t
}

func (f *Forwarder) running() []*tap {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]*tap, 0, len(f.taps))
	for _, t := range f.taps {
		list = append(list, t)
	}
	return list
}

// Ready is nil when the cursors were read.
func (f *Forwarder) Ready() error { return f.board.follower.Ready() }

// Close ends what runs. Calls of Beside return.
func (f *Forwarder) Close(ctx context.Context) error {
	f.mu.Lock()
	f.cancel() // no call begins after this
	f.mu.Unlock()
	done := make(chan struct{})
	go func() { f.wait.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return f.board.close(ctx)
}
