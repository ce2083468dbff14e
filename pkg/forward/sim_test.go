package forward

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
	"tollgate/pkg/usage"
	"tollgate/test/fakestripe"
)

var (
	simSeeds = flag.Int("sim.seeds", 60, "histories to simulate")
	simFirst = flag.Uint64("sim.first", 1, "the first seed")
)

// world is a usage log with its fold, a Stripe, and the model of what Stripe should count.
type world struct {
	t    *testing.T
	dice *rand.Rand
	log  *memLog
	fake *fakestripe.Stripe
	cfg  Config

	mu     sync.Mutex
	skew   time.Duration // of the gateway's clock; guarded by mu, as is what follows
	folds  []*fold
	events []sent
	model  map[cell]int64
	number int
	meters []string
}

type cell struct {
	business, meter, customer string
	minute                    int64
}

// sent is an event that counts until it is cancelled.
type sent struct {
	partition  int32
	offset     int64
	business   string
	meter      *control.Meter
	customer   string
	identifier string
	value      int64
	atMs       int64
	cancelled  bool
}

// fold is what the usage worker would say of a partition.
type fold struct {
	rulings []usage.Ruling // Kind and Other
	first   map[string]int64
}

var simMeters = map[string]*control.Meter{
	"calls": {ID: "mtr_calls", EventName: "calls", Formula: control.Sum, CustomerKey: "stripe_customer_id", ValueKey: "value", Active: true},
	"hits":  {ID: "mtr_hits", EventName: "hits", Formula: control.Count, CustomerKey: "stripe_customer_id", ValueKey: "value", Active: true},
	"seats": {ID: "mtr_seats", EventName: "seats", Formula: control.Last, CustomerKey: "stripe_customer_id", ValueKey: "value", Active: true},
}

// simView is a view of a fold.
type simView struct {
	w         *world
	partition int32
	reader    meterevent.RecordReader
}

func (v *simView) Wait(ctx context.Context, _ int64) error { return ctx.Err() }

func (v *simView) Each(records []recordbatch.Record, do func(*recordbatch.Record, *usage.Ruling)) error {
	for i := range records {
		v.w.mu.Lock()
		o := v.w.folds[v.partition].rulings[records[i].Offset]
		v.w.mu.Unlock()
		if err := v.reader.Read(records[i].Value, &o.Record); err != nil {
			return err
		}
		o.Meter = simMeters[string(o.Record.EventName)]
		if !o.Record.Adjustment {
			o.Customer, _ = v.reader.PayloadValue(&o.Record, "stripe_customer_id")
			if text, ok := v.reader.PayloadValue(&o.Record, "value"); ok {
				o.Value, _ = meterevent.ParseDecimal(text)
			}
		}
		do(&records[i], &o)
	}
	return nil
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.skew)
}

func (e *sent) record() map[string]any {
	return map[string]any{
		"object": "meter_event", "business": e.business, "livemode": false, "event_name": e.meter.EventName, "identifier": e.identifier,
		"timestamp": time.UnixMilli(e.atMs).UTC().Format(timeForm), "received": time.Now().UTC().Format(timeForm),
		"payload": map[string]string{"stripe_customer_id": e.customer, "value": fmt.Sprint(e.value)},
	}
}

// event appends one to the log and folds it.
func (w *world) event(e *sent, duplicate bool) {
	f := w.folds[e.partition]
	kind := usage.RulingCounted
	if duplicate {
		kind = usage.RulingAgain
	}
	w.append(e.partition, e.record(), usage.Ruling{Kind: kind, Other: -1})
	if !duplicate {
		e.offset = int64(len(f.rulings) - 1)
		w.events = append(w.events, *e)
		w.model[w.cell(e)] += w.worth(e)
	}
}

func (w *world) cell(e *sent) cell {
	return cell{e.business, e.meter.EventName, e.customer, floorTo(e.atMs, 60_000) / 1000}
}

func (w *world) worth(e *sent) int64 {
	if e.meter.Formula == control.Count {
		return 1
	}
	return e.value
}

// append folds first: the worker is never behind, and what it knows of a record is there before a reader sees it.
func (w *world) append(partition int32, value map[string]any, o usage.Ruling) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	w.mu.Lock()
	w.folds[partition].rulings = append(w.folds[partition].rulings, o)
	w.mu.Unlock()
	w.log.add(usageTopic, partition, recordbatch.Record{TimestampMs: time.Now().UnixMilli(), Key: []byte("k"), Value: text})
}

func (w *world) cancelOne(i int) {
	e := &w.events[i]
	f := w.folds[e.partition]
	offset := int64(len(f.rulings))
	o := usage.Ruling{Kind: usage.RulingCancels, Other: e.offset}
	if e.cancelled {
		o = usage.Ruling{Kind: usage.RulingCancelsNothing, Other: -1}
	} else {
		w.mu.Lock()
		f.rulings[e.offset].Other = offset
		w.mu.Unlock()
		w.model[w.cell(e)] -= w.worth(e)
		e.cancelled = true
	}
	w.append(e.partition, map[string]any{
		"object": "meter_event_adjustment", "business": e.business, "livemode": false, "event_name": e.meter.EventName,
		"received": time.Now().UTC().Format(timeForm), "type": "cancel", "cancel": map[string]string{"identifier": e.identifier},
	}, o)
}

// life is one life of a forwarder.
type life struct {
	f    *Forwarder
	stop context.CancelFunc
	done chan struct{}
}

func (w *world) live(name string) *life {
	cfg := w.cfg
	cfg.Gateway = name
	f, err := Open(cfg)
	if err != nil {
		w.t.Error(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &life{f: f, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		var wait sync.WaitGroup
		for n := range w.folds {
			wait.Go(func() { f.run(ctx, int32(n), func() View { return &simView{w: w, partition: int32(n)} }) })
		}
		wait.Wait()
	}()
	return l
}

// kill ends a life at once: nothing is said on the way out, and requests on their way are dropped.
func (l *life) kill() {
	l.stop()
	<-l.done
	_ = l.f.Close(context.Background())
}

var simKinds = []fakestripe.Kind{
	fakestripe.Slow, fakestripe.HangBefore, fakestripe.HangAfter, fakestripe.Late, fakestripe.ResetBeforeReading, fakestripe.ResetBefore,
	fakestripe.ResetPartly, fakestripe.ResetAfter, fakestripe.Truncated, fakestripe.ErrorBefore, fakestripe.ErrorPartly, fakestripe.ErrorAfter,
	fakestripe.Unavailable, fakestripe.BadGateway, fakestripe.BadGatewayAfter, fakestripe.Garbage, fakestripe.Empty, fakestripe.RateLimited,
	fakestripe.LockTimeout, fakestripe.ExpireSession, fakestripe.BadKey,
}

// simulate plays one history and returns what is wrong with its end.
func simulate(t *testing.T, seed uint64, mode Mode, rollup time.Duration) {
	dice := rand.New(rand.NewPCG(seed, 77))
	businesses := []string{"acct_a", "acct_b", "acct_c"}[:1+dice.IntN(3)]
	keys := map[string]string{}
	forwarded := map[string]Business{}
	for _, b := range businesses {
		keys["sk_test_"+b] = b
		forwarded[b] = Business{StripeKey: "sk_test_" + b, APIBase: "http://stripe.test", MeterEventsBase: "http://events.test", EventsPerSecond: 20 + dice.IntN(3000)}
	}
	fake := fakestripe.New(fakestripe.Config{
		Keys: keys, Random: rand.New(rand.NewPCG(seed, 78)), Latency: time.Duration(dice.IntN(200)) * time.Millisecond,
		RefuseSecondCancel: dice.IntN(2) == 0, SessionTTL: time.Duration(1+dice.IntN(15)) * time.Minute,
		Limits: fakestripe.Limits{Concurrent: 2 + dice.IntN(30)},
	})
	for _, b := range businesses {
		for name, m := range simMeters {
			formula := string(m.Formula)
			if rollup > 0 && m.Formula == control.Count {
				formula = "sum"
			}
			if _, err := fake.CreateMeter(fakestripe.Account{Business: b}, fakestripe.Meter{EventName: name, Formula: formula}); err != nil {
				t.Fatal(err)
			}
		}
	}
	w := &world{t: t, dice: dice, log: newMemLog(1 + dice.IntN(3)), fake: fake, model: map[cell]int64{}, meters: []string{"calls", "hits", "seats"}}
	for range w.log.topics[usageTopic] {
		w.folds = append(w.folds, &fold{first: map[string]int64{}})
	}
	logDice := rand.New(rand.NewPCG(seed, 79))
	var logMu sync.Mutex
	roll := func(n int) int { logMu.Lock(); defer logMu.Unlock(); return logDice.IntN(n) }
	faulty := dice.IntN(2) == 0
	w.log.chunk = func() int { return 1 + roll(50) }
	w.log.fault = func() (bool, error) {
		if !faulty {
			return true, nil
		}
		switch roll(20) {
		case 0:
			return true, commitlog.ErrUnknown
		case 1:
			return false, commitlog.ErrUnknown
		case 2:
			return false, commitlog.ErrUnavailable
		}
		return true, nil
	}
	w.cfg = Config{
		Log: w.log, UsageTopic: usageTopic, CursorsTopic: cursorsTopic, DeadTopic: deadTopic, Businesses: forwarded, Mode: mode, Rollup: rollup,
		RangeEvents: 1 + dice.IntN(200), QueueEvents: 1 + dice.IntN(300), InFlight: 1 + dice.IntN(8), ReadersBehind: 1 + dice.IntN(2),
		RequestTimeout: time.Duration(1+dice.IntN(20)) * time.Second,
		Transport:      fake.Transport(), Now: w.now,
		Random: func(b []byte) {
			for i := range b {
				b[i] = byte(roll(256))
			}
		},
	}
	if mode == V1 {
		w.meters = []string{"calls", "hits"} // v1 has whole seconds, so that the last of a second can be another one
	}
	w.play(rollup)
	w.check(rollup)
}

// play is the history.
func (w *world) play(rollup time.Duration) {
	dice := w.dice
	life := w.live("gateway-0")
	var wait sync.WaitGroup
	for step := range 20 + dice.IntN(60) {
		for range dice.IntN(30) {
			w.record(rollup)
		}
		switch dice.IntN(12) {
		case 0, 1: // a fault for a while
			kind := simKinds[dice.IntN(len(simKinds))]
			f := fakestripe.Fault{Kind: kind, Times: 1 + dice.IntN(12), Chance: 0.2 + 0.8*dice.Float64(), For: time.Duration(1+dice.IntN(60_000)) * time.Millisecond}
			if err := w.fake.Inject(f); err != nil {
				w.t.Error(err)
			}
		case 2: // kill -9, and another life
			life.kill()
			time.Sleep(time.Duration(dice.IntN(5000)) * time.Millisecond)
			life = w.live(fmt.Sprint("gateway-", step+1))
		case 3: // another gateway takes over while this one does not know it yet
			old := life
			pause := time.Duration(dice.IntN(20_000)) * time.Millisecond
			life = w.live(fmt.Sprint("gateway-", step+1))
			wait.Go(func() { time.Sleep(pause); old.kill() })
		case 4:
			w.mu.Lock()
			w.skew = time.Duration(dice.IntN(600)-300) * time.Second
			w.mu.Unlock()
		case 5:
			w.fake.RevokeSessions(fakestripe.Account{Business: "acct_a"})
		case 6:
			w.log.compact()
		}
		time.Sleep(time.Duration(dice.IntN(8000)) * time.Millisecond)
	}
	wait.Wait()
	w.fake.ClearFaults()
	w.fake.Release()
	if dice.IntN(2) == 0 {
		life.kill()
		life = w.live("gateway-last")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Hour)
	defer cancel()
	if err := life.f.Drain(ctx, w.now(), nil); err != nil {
		w.t.Error(err)
	}
	for w.fake.LateRequests() > 0 {
		time.Sleep(time.Second)
	}
	life.kill()
}

// record appends an event, a duplicate, or a cancel.
func (w *world) record(rollup time.Duration) {
	dice := w.dice
	accounts := slices.Sorted(maps.Keys(w.cfg.Businesses))
	switch n := dice.IntN(12); {
	case n == 0 && len(w.events) > 0:
		e := w.events[dice.IntN(len(w.events))]
		w.event(&e, true)
	case n <= 2 && len(w.events) > 0:
		i := len(w.events) - 1 - dice.IntN(min(len(w.events), 40))
		if m := w.events[i].meter; m.Formula != control.Last {
			w.cancelOne(i)
		}
	default:
		w.number++
		e := sent{
			business: accounts[dice.IntN(len(accounts))], meter: simMeters[w.meters[dice.IntN(len(w.meters))]], customer: fmt.Sprint("cus_", dice.IntN(4)),
			identifier: fmt.Sprint("id-", w.number), value: int64(dice.IntN(2000) - 200),
			atMs: time.Now().Add(-time.Duration(dice.IntN(300_000)) * time.Millisecond).UnixMilli(),
		}
		e.partition = int32(commitlog.PartitionFor([]byte(e.business+"/testmode/"+e.meter.EventName), len(w.folds)))
		w.event(&e, false)
	}
}

// check compares Stripe's totals with the model's.
func (w *world) check(rollup time.Duration) {
	want := map[cell]int64{}
	for c, v := range w.model {
		if simMeters[c.meter].Formula != control.Last {
			want[c] = v
		}
	}
	newest := map[cell]sent{} // of meters that keep the last: of one time the later offset
	for _, e := range w.events {
		if e.meter.Formula == control.Last {
			if had, ok := newest[w.cell(&e)]; !ok || e.atMs > had.atMs || e.atMs == had.atMs && e.offset > had.offset {
				newest[w.cell(&e)] = e
			}
		}
	}
	for c, e := range newest {
		want[c] = e.value
	}
	w.cursorsDiffer()
	got := map[cell]int64{}
	for b := range w.cfg.Businesses {
		a := fakestripe.Account{Business: b}
		for _, total := range w.fake.Totals(a) {
			var v int64
			if _, err := fmt.Sscan(total.Value, &v); err != nil {
				w.t.Error(err)
			}
			got[cell{b, total.EventName, total.Customer, total.Minute}] = v
		}
		if st := w.fake.State(a); st.Conflicts > 0 || st.Twice > 0 {
			w.t.Errorf("%s: conflicts of %v, counted twice %v", b, st.ConflictsOf, st.TwiceOf)
		}
	}
	for c := range want {
		if want[c] != got[c] {
			w.t.Errorf("%+v: %d instead of %d", c, got[c], want[c])
		}
	}
	for c := range got {
		if _, ok := want[c]; !ok && got[c] != 0 {
			w.t.Errorf("%+v: %d, and there is nothing", c, got[c])
		}
	}
	for _, rec := range w.log.topics[deadTopic][0].records {
		w.t.Errorf("dead letter: %s", rec.Value)
	}
}

func TestStripesTotalsAreTheModelsWhateverFails(t *testing.T) {
	for _, c := range []struct {
		mode   Mode
		rollup time.Duration
	}{{Stream, 0}, {Stream, time.Minute}, {V1, 0}} {
		name := strings.Trim(fmt.Sprint(c.mode, "-", c.rollup), "-")
		t.Run(name, func(t *testing.T) {
			failed := 0
			for n := range *simSeeds {
				seed := *simFirst + uint64(n)
				ok := t.Run(fmt.Sprint("seed-", seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { simulate(t, seed, c.mode, c.rollup) })
				})
				if !ok {
					failed++
				}
				if failed >= 5 {
					t.Fatal("enough have failed")
				}
			}
		})
	}
}

// cursorsDiffer checks what the fold relies on: of a number no key has two cursors, so that compaction moves none.
func (w *world) cursorsDiffer() {
	w.t.Helper()
	seen := map[string]int64{}
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	for _, rec := range w.log.topics[cursorsTopic][0].records {
		c, ours, err := parseCursor(rec.Key, rec.Value)
		if err != nil || !ours {
			continue
		}
		name := fmt.Sprint(string(rec.Key), " ", c.Seq)
		if before, there := seen[name]; there {
			w.t.Errorf("%s stands at %d and at %d", name, before, rec.Offset)
		}
		seen[name] = rec.Offset
	}
}
