package httpd

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/recordbatch"
	"tollgate/pkg/usage"
)

// steered is a control plane whose faults a test can choose.
type steered struct {
	*control.Control
	away atomic.Bool           // CaughtUp fails
	late atomic.Bool           // Snapshot knows no meters until CaughtUp
	err  atomic.Pointer[error] // what Propose says
	hold atomic.Pointer[chan struct{}]
	held atomic.Int32
}

func (c *steered) CaughtUp(ctx context.Context) error {
	if c.away.Load() {
		return errors.New("the end of the control topic is not known")
	}
	err := c.Control.CaughtUp(ctx)
	c.late.Store(false)
	return err
}

func (c *steered) Snapshot() *control.Snapshot {
	if c.late.Load() {
		return &control.Snapshot{}
	}
	return c.Control.Snapshot()
}

func (c *steered) Propose(ctx context.Context, change control.Change) (control.Verdict, error) {
	if hold := c.hold.Load(); hold != nil {
		c.held.Add(1)
		<-*hold
	}
	if err := c.err.Load(); err != nil && *err != nil {
		return control.Verdict{}, *err
	}
	return c.Control.Propose(ctx, change)
}

// meter makes one, named for its events.
func (c *steered) meter(t testing.TB, business string, livemode bool, m control.NewMeter) *control.Meter {
	t.Helper()
	if m.DisplayName == "" {
		m.DisplayName = m.EventName
	}
	if m.Formula == "" {
		m.Formula = control.Sum
	}
	if m.CustomerKey == "" {
		m.CustomerKey = defaultCustomerKey
	}
	if m.ValueKey == "" {
		m.ValueKey = defaultValueKey
	}
	v, err := c.Control.Propose(context.Background(), control.Change{Business: business, Livemode: livemode, Create: &m})
	if err != nil || v.Meter == nil {
		t.Fatalf("meter %s: %+v %v", m.EventName, v, err)
	}
	return v.Meter
}

// oracle is a Usage whose answers a test writes. Without any, every event is the first of its kind.
type oracle struct {
	mu      sync.Mutex
	verdict func(usage.VerdictQuery) (usage.Verdict, error)
	totals  func(usage.Query) (usage.Totals, error)
	fate    func(usage.FateQuery) (usage.Fate, error)
	away    error // what Available says
	asked   []usage.VerdictQuery
}

func (o *oracle) set(change func(*oracle)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

func (o *oracle) Verdict(_ context.Context, q usage.VerdictQuery) (usage.Verdict, error) {
	o.mu.Lock()
	o.asked = append(o.asked, q)
	f := o.verdict
	o.mu.Unlock()
	if f != nil {
		return f(q)
	}
	return usage.Verdict{Outcome: usage.OutcomeNew}, nil
}

func (o *oracle) Totals(_ context.Context, q usage.Query) (usage.Totals, error) {
	o.mu.Lock()
	f := o.totals
	o.mu.Unlock()
	return f(q)
}

func (o *oracle) Fate(_ context.Context, q usage.FateQuery) (usage.Fate, error) {
	o.mu.Lock()
	f := o.fate
	o.mu.Unlock()
	return f(q)
}

func (o *oracle) Available(int32) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.away
}

// sleep deactivates a meter.
func (c *steered) sleep(t testing.TB, m *control.Meter) {
	t.Helper()
	v, err := c.Control.Propose(context.Background(), control.Change{
		Business: m.Business, Livemode: m.Livemode, Status: &control.StatusChange{ID: m.ID},
	})
	if err != nil || v.Refusal != 0 {
		t.Fatalf("%+v %v", v, err)
	}
}

// controlLog is the least commitlog.Log that a control plane lives on: one partition, durable at once.
type controlLog struct {
	mu      sync.Mutex
	records []recordbatch.Record // guarded by mu, as is grown
	grown   chan struct{}        // closed at the next append
}

func newControlLog() *controlLog { return &controlLog{grown: make(chan struct{})} }

func (l *controlLog) Append(set []*commitlog.Batch) {
	for _, b := range set {
		b.Err = l.write(b)
		b.Done(b)
	}
}

func (l *controlLog) write(b *commitlog.Batch) error {
	var s recordbatch.Scanner
	if err := s.Reset(b.Bytes, 0); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b.Base = int64(len(l.records))
	for s.Next() {
		r := s.Record()
		r.Offset, r.Key, r.Value = int64(len(l.records)), bytes.Clone(r.Key), bytes.Clone(r.Value)
		l.records = append(l.records, r)
	}
	close(l.grown)
	l.grown = make(chan struct{})
	return nil
}

func (l *controlLog) Partitions(string) int                { return 1 }
func (l *controlLog) BatchBytesMax(string) int             { return 1 << 20 }
func (l *controlLog) Group(string, string) commitlog.Group { return nil }
func (l *controlLog) Ready() error                         { return nil }
func (l *controlLog) Close(context.Context) error          { return nil }

func (l *controlLog) Bounds(context.Context, string, int32) (oldest, next int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return 0, int64(len(l.records)), nil
}

func (l *controlLog) NewReader(_ string, _ int32, offset int64) (commitlog.Reader, error) {
	return &controlReader{l, offset}, nil
}

type controlReader struct {
	log    *controlLog
	offset int64
}

func (r *controlReader) Next(ctx context.Context) ([]recordbatch.Record, error) {
	for {
		r.log.mu.Lock()
		records, grown := r.log.records[r.offset:], r.log.grown
		r.log.mu.Unlock()
		if len(records) > 0 {
			r.offset += int64(len(records))
			return records, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *controlReader) Close() error { return nil }
