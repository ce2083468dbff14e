package usage

import (
	"context"
	"fmt"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

const business = "acct_test"

// t0 is when the tests' time begins: a Wednesday, 17 minutes and 3 seconds past an hour.
var t0 = time.Date(2026, 3, 4, 9, 17, 3, 0, time.UTC).UnixMilli()

// bench is a log, a control plane and a clock for a test.
type stage struct {
	t   testing.TB
	log *fakeLog
	ctl *control.Control
	now int64 // by which gateways stamp what they receive
	rec meterevent.Recorder
	cfg Config
}

func newStage(t testing.TB, partitions int) *stage {
	f := &stage{t: t, log: newFakeLog(partitions), now: t0}
	clock := func() time.Time { return time.UnixMilli(f.now) }
	ctl, err := control.Open(control.Config{Log: f.log, Topic: controlTopic, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ctl.Close(context.Background()) })
	f.ctl = ctl
	f.cfg = Config{
		Log: f.log, Topic: usageTopic, Group: "workers", Control: ctl, Dir: "state", Now: clock,
		Random:  func(b []byte) { copy(b, "\x01\x02\x03\x04\x05\x06\x07\x08") },
		StoreFS: pebblevfs.NewCrashableMem(), FS: vfs.NewMem(1),
		MemtableBytes: 1 << 20, CacheBytes: 1 << 20, DedupBytes: 4 << 20,
	}
	return f
}

// meter creates a meter and returns it.
func (f *stage) meter(name string, formula control.Formula, window control.Window) *control.Meter {
	f.t.Helper()
	v, err := f.ctl.Propose(context.Background(), control.Change{Business: business, Create: &control.NewMeter{
		DisplayName: name, EventName: name, Formula: formula, CustomerKey: "stripe_customer_id", ValueKey: "value", Window: window,
	}})
	if err != nil || v.Refusal != control.NotRefused {
		f.t.Fatalf("creating meter %s: %v, %v", name, v.Refusal, err)
	}
	return v.Meter
}

func (f *stage) setActive(m *control.Meter, active bool) {
	f.t.Helper()
	_, err := f.ctl.Propose(context.Background(), control.Change{Business: business, Status: &control.StatusChange{ID: m.ID, Active: active}})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *stage) meters() meters {
	if err := f.ctl.CaughtUp(context.Background()); err != nil {
		f.t.Fatal(err)
	}
	return snapshotMeters{f.ctl.Snapshot()}
}

// sent is an event or a cancel as a gateway writes it.
type sent struct {
	name, id   string
	payload    string
	customer   string // "" leaves payload as it is
	value      string
	timestamp  int64 // 0: the time of receipt
	cancel     bool
	spread     bool // over buckets, of which this is one
	bucket     int
	request    *meterevent.Request
	receivedMs int64 // 0: now
}

// record writes it.
func (f *stage) record(s sent) recordbatch.Record {
	if s.receivedMs == 0 {
		s.receivedMs = f.now
	}
	key := meterevent.AppendKey(nil, business, false, []byte(s.name))
	if s.spread {
		key = meterevent.AppendBucket(key, s.bucket)
	}
	rec := recordbatch.Record{TimestampMs: s.receivedMs, Key: key}
	if s.cancel {
		a := &meterevent.Adjustment{Name: []byte(s.name), Type: meterevent.Cancel, Identifier: []byte(s.id)}
		if s.request != nil {
			rec.Value = meterevent.AppendRequestedAdjustmentRecord(nil, business, false, a, s.receivedMs, *s.request)
		} else {
			rec.Value = meterevent.AppendAdjustmentRecord(nil, business, false, a, s.receivedMs)
		}
		return rec
	}
	if s.customer != "" {
		s.payload = fmt.Sprintf(`{"stripe_customer_id":%q,"value":%q}`, s.customer, s.value)
	}
	f.rec.Begin(business, false, s.receivedMs)
	f.rec.Meter([]byte(s.name))
	e := &meterevent.Event{Name: []byte(s.name), Identifier: []byte(s.id), Payload: []byte(s.payload), TimestampMs: s.timestamp, HasTimestamp: s.timestamp != 0}
	if s.request != nil {
		rec.Value = f.rec.AppendRequested(nil, e, *s.request)
	} else {
		rec.Value = f.rec.Append(nil, e)
	}
	return rec
}

// send appends it to partition 0, or to another.
func (f *stage) send(s sent) int64 { return f.log.add(usageTopic, 0, f.record(s)) }

func (f *stage) partitionOf(key []byte) int32 {
	return commitlog.PartitionFor(key, f.log.Partitions(usageTopic))
}

// open opens a worker without running it.
func (f *stage) open() *Worker {
	f.t.Helper()
	w, err := Open(f.cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := w.Damage(); err != nil {
		f.t.Fatal(err)
	}
	return w
}

// take begins a partition as a worker would that was given it.
func (f *stage) take(w *Worker, number int32) *follower {
	f.t.Helper()
	p, err := newPartition(&w.cfg, number, w.store, w.counts)
	if err != nil {
		f.t.Fatal(err)
	}
	fo := &follower{w: w, p: p, claim: fakeClaim(number)}
	if err := fo.begin(context.Background()); err != nil {
		f.t.Fatal(err)
	}
	return fo
}

// catchUp applies at most n records, and returns how many there were.
func (f *stage) catchUp(fo *follower, n int64) int64 {
	f.t.Helper()
	f.log.mu.Lock()
	all := f.log.topics[usageTopic][fo.p.number].records
	f.log.mu.Unlock()
	end := min(int64(len(all)), fo.p.state.Offset+n)
	records := all[fo.p.state.Offset:end]
	if err := fo.p.apply(context.Background(), records, f.meters()); err != nil {
		f.t.Fatal(err)
	}
	return int64(len(records))
}

func (f *stage) flush(fo *follower) {
	f.t.Helper()
	if err := fo.p.flush(context.Background(), false); err != nil {
		f.t.Fatal(err)
	}
}

// one is a worker that runs partition 0 and has applied and flushed everything.
func (f *stage) one() (*Worker, *follower) {
	f.t.Helper()
	w := f.open()
	fo := f.take(w, 0)
	f.catchUp(fo, 1<<40)
	f.flush(fo)
	f.t.Cleanup(func() { fo.end(); _ = w.Close(context.Background()) })
	return w, fo
}

// total asks for one number over a range of time.
func (f *stage) total(w *Worker, m *control.Meter, customer string, from, to int64) string {
	f.t.Helper()
	t, err := w.Totals(context.Background(), nil, Query{
		Scope: Scope{Business: business, EventName: m.EventName}, MeterID: m.ID, Customer: customer, StartMs: from, EndMs: to, Limit: 1,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if len(t.Windows) == 0 {
		return ""
	}
	return t.Windows[0].Value
}
