package forward

import (
	"context"
	"slices"
	"strings"
	"testing"

	"tollgate/pkg/control"
	"tollgate/test/fakestripe"
)

func TestMirroringSaysOnceWhatDiffers(t *testing.T) {
	log := newMemLog(1)
	ctl, err := control.Open(control.Config{Log: log, Topic: controlTopic})
	if err != nil {
		t.Fatal(err)
	}
	defer ctl.Close(context.Background())
	for _, name := range []string{"ours_alone", "both"} {
		m := control.NewMeter{DisplayName: name, EventName: name, Formula: control.Count, CustomerKey: "stripe_customer_id", ValueKey: "value"}
		if v, err := ctl.Propose(t.Context(), control.Change{Business: "acct_1", Create: &m}); err != nil || v.Refusal != control.NotRefused {
			t.Fatal(v, err)
		}
	}
	fake := fakestripe.New(fakestripe.Config{Keys: map[string]string{"sk_test_1": "acct_1"}})
	for _, name := range []string{"both", "theirs_alone"} {
		if _, err := fake.CreateMeter(fakestripe.Account{Business: "acct_1"}, fakestripe.Meter{EventName: name, DisplayName: name}); err != nil {
			t.Fatal(err)
		}
	}
	var said []string
	cfg := Config{
		Log: log, UsageTopic: usageTopic, CursorsTopic: cursorsTopic, DeadTopic: deadTopic, Transport: fake.Transport(),
		Businesses: map[string]Business{"acct_1": {StripeKey: "sk_test_1", APIBase: "http://stripe.test", MeterEventsBase: "http://stripe.test"}},
		Control:    ctl, Notify: func(n Notice) { said = append(said, string(n.What)+": "+n.Detail) },
	}
	f, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close(context.Background())
	told := make(map[string]bool)
	for range 2 {
		for _, s := range f.senders {
			if err := f.mirrorOne(t.Context(), s, told); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.Sort(said)
	want := []string{"differs: both: the formula is count here and sum at Stripe", "differs: ours_alone: there is no such meter at Stripe", "mirrored: theirs_alone"}
	if !slices.EqualFunc(said, want, strings.HasPrefix) {
		t.Errorf("it said %q, want %q", said, want)
	}
	if m := ctl.Snapshot().Named("acct_1", false, "theirs_alone"); m == nil || m.Formula != control.Sum {
		t.Errorf("the meter is %+v here", m)
	}
}
