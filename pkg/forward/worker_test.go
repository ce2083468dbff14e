package forward

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
	"tollgate/pkg/usage"
	"tollgate/test/fakestripe"
)

// The real worker, the real control plane, meters mirrored from Stripe, and stops at any time: what counts here is what
// counts there.
func TestBesideTheRealWorkerStripeCountsWhatTheWorkerCounts(t *testing.T) {
	log := newMemLog(2)
	ctl, err := control.Open(control.Config{Log: log, Topic: controlTopic})
	if err != nil {
		t.Fatal(err)
	}
	defer ctl.Close(context.Background())
	fake := fakestripe.New(fakestripe.Config{Keys: map[string]string{"sk_test_1": "acct_1"}})
	account := fakestripe.Account{Business: "acct_1"}
	for _, name := range []string{"calls", "hits"} {
		if _, err := fake.CreateMeter(account, fakestripe.Meter{EventName: name, DisplayName: name}); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Config{
		Log: log, UsageTopic: usageTopic, CursorsTopic: cursorsTopic, DeadTopic: deadTopic, Transport: fake.Transport(),
		Businesses: map[string]Business{"acct_1": {StripeKey: "sk_test_1", APIBase: "http://stripe.test", MeterEventsBase: "http://stripe.test"}},
		Control:    ctl, MirrorMeters: true, BackoffMin: time.Millisecond, RangeEvents: 50,
	}
	dir := t.TempDir()
	live := func() (f *Forwarder, stop func()) {
		f, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		w, err := usage.Open(usage.Config{Log: log, Topic: usageTopic, Group: "g", Control: ctl, Dir: dir, Beside: f.Beside, DedupBytes: 8 << 20, MemtableBytes: 1 << 20, CacheBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		return f, func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if err := f.Close(context.Background()); err != nil {
				t.Error(err)
			}
			if err := w.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
	f, stop := live()
	for ctl.Snapshot().Named("acct_1", false, "hits") == nil || ctl.Snapshot().Named("acct_1", false, "calls") == nil {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(5 * time.Millisecond) // the meters are older than the events
	for i, kind := range []fakestripe.Kind{fakestripe.ResetAfter, fakestripe.ErrorPartly, fakestripe.ExpireSession, fakestripe.RateLimited, fakestripe.Garbage} {
		if err := fake.Inject(fakestripe.Fault{Kind: kind, Skip: 3 * i, Times: 2}); err != nil {
			t.Fatal(err)
		}
	}
	want := int64(0)
	for n := range 3000 {
		now := time.Now().UnixMilli()
		name := []string{"calls", "hits"}[n%2]
		add := func(value []byte) {
			log.add(usageTopic, int32(n%2), recordbatch.Record{TimestampMs: now, Key: meterevent.AppendKey(nil, "acct_1", false, []byte(name)), Value: value})
		}
		var rec meterevent.Recorder
		rec.Begin("acct_1", false, now)
		rec.Meter([]byte(name))
		value := int64(n % 100)
		e := &meterevent.Event{Name: []byte(name), Identifier: fmt.Appendf(nil, "id-%d", n), Payload: fmt.Appendf(nil, `{"stripe_customer_id":"cus_%d","value":"%d"}`, n%5, value)}
		if n%50 == 7 {
			e.Payload = []byte(`{"stripe_customer_id":"cus_1","value":"x"}`)
			value = 0
		}
		add(rec.Append(nil, e))
		if n%10 == 3 {
			add(rec.Append(nil, e))
		}
		if n%20 == 5 {
			add(meterevent.AppendAdjustmentRecord(nil, "acct_1", false, &meterevent.Adjustment{Name: []byte(name), Type: meterevent.Cancel, Identifier: e.Identifier}, now))
			value = 0
		}
		want += value
		if n%700 == 350 {
			stop()
			f, stop = live()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.Drain(ctx, time.Now(), nil); err != nil {
		t.Error(err)
	}
	got := int64(0)
	for _, total := range fake.Totals(account) {
		var v int64
		if _, err := fmt.Sscan(total.Value, &v); err != nil {
			t.Error(err)
		}
		got += v
	}
	st := fake.State(account)
	if got != want || st.Conflicts > 0 || st.Twice > 0 {
		t.Errorf("%d instead of %d; %+v", got, want, st)
	}
	if dead, err := f.DeadList(ctx, ""); err != nil || len(dead) > 0 {
		t.Errorf("dead letters: %+v, %v", dead, err)
	}
	stop()
}
