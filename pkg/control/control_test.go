package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
)

func TestAMeterIsThereWhenItsVerdictIs(t *testing.T) {
	a, b, _, now := pair(t)
	change := Change{Business: acct, Livemode: true, Create: &NewMeter{"Tokens & <more>", "tokens/größe \"", Last, "cust", "n", Day}}
	m := made(t, a, change)
	if !strings.HasPrefix(m.ID, "mtr_") || strings.HasPrefix(m.ID, "mtr_test_") || len(m.ID) != 26 {
		t.Errorf("the id is %q", m.ID)
	}
	want := Meter{
		ID: m.ID, Business: acct, Livemode: true, DisplayName: "Tokens & <more>", EventName: "tokens/größe \"", Formula: Last,
		CustomerKey: "cust", ValueKey: "n", Window: Day, CreatedMs: now.ms.Load(), UpdatedMs: now.ms.Load(), Active: true,
	}
	if fmt.Sprintf("%+v", *m) != fmt.Sprintf("%+v", want) {
		t.Errorf("got %+v, want %+v", *m, want)
	}
	if a.Snapshot().Meter(acct, true, m.ID) != m || a.Snapshot().Named(acct, true, m.EventName) != m {
		t.Error("who has the verdict does not see the meter")
	}
	if got := caughtUp(t, b).Meter(acct, true, m.ID); got == nil || fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", want) {
		t.Errorf("the other gateway has %+v", got)
	}
	if a.Snapshot().Meter(acct, false, m.ID) != nil || a.Snapshot().Named("acct_other", true, m.EventName) != nil {
		t.Error("the meter is seen in another mode or business")
	}
	if id := made(t, a, create("x", nil)).ID; !strings.HasPrefix(id, "mtr_test_") || len(id) != 31 {
		t.Errorf("the id in test mode is %q", id)
	}
}

func TestANameBelongsToTheFirstMeterAlsoWhileItIsInactive(t *testing.T) {
	a, b, l, _ := pair(t)
	m := made(t, a, create("requests", nil))
	made(t, b, status(m.ID, false, nil))
	before := len(l.all())
	refused(t, a, create("requests", nil), NameTaken)
	refused(t, b, create("requests", nil), NameTaken)
	if n := len(l.all()); n != before {
		t.Errorf("what the snapshot can answer was written: %d records, then %d", before, n)
	}
	other := create("requests", nil)
	other.Livemode = true
	made(t, a, other)
	other.Business, other.Livemode = "acct_other", false
	made(t, a, other)
}

func TestChangesOfAMeterKeepItsOtherFields(t *testing.T) {
	a, b, l, now := pair(t)
	m := made(t, a, create("requests", nil))
	created := now.ms.Load()
	now.advance(time.Second)
	renamed := made(t, b, rename(m.ID, "Other", nil))
	now.advance(time.Second)
	off := made(t, a, status(m.ID, false, nil))
	if renamed.DisplayName != "Other" || renamed.UpdatedMs != created+1000 || !renamed.Active || renamed.EventName != "requests" {
		t.Errorf("renamed: %+v", renamed)
	}
	if off.DisplayName != "Other" || off.Active || off.DeactivatedMs != created+2000 || off.UpdatedMs != created+2000 || off.CreatedMs != created {
		t.Errorf("deactivated: %+v", off)
	}
	now.advance(time.Second)
	before := len(l.all())
	if again := made(t, b, status(m.ID, false, nil)); again.DeactivatedMs != created+2000 || len(l.all()) != before {
		t.Errorf("deactivated twice: %+v, %d records after %d", again, len(l.all()), before)
	}
	on := made(t, b, status(m.ID, true, nil))
	if !on.Active || on.DeactivatedMs != 0 || on.UpdatedMs != created+3000 {
		t.Errorf("reactivated: %+v", on)
	}
	if renamed.DisplayName != "Other" || !m.Active || m.DisplayName != "Requests" {
		t.Error("an older version has changed")
	}
	refused(t, a, rename("mtr_test_none", "x", nil), NoSuchMeter)
	refused(t, a, status("mtr_test_none", true, nil), NoSuchMeter)
	for _, wrong := range []Change{rename(m.ID, "x", nil), status(m.ID, false, nil)} {
		wrong.Livemode = true
		refused(t, a, wrong, NoSuchMeter)
	}
}

func TestAnEventIsJudgedByTheStatusOfItsTime(t *testing.T) {
	a, _, _, now := pair(t)
	start := now.ms.Load()
	id := made(t, a, create("requests", nil)).ID
	for _, active := range []bool{false, true, false} {
		now.advance(time.Second)
		made(t, a, status(id, active, nil))
	}
	m := a.Snapshot().Meter(acct, false, id)
	for ms, want := range map[int64]string{
		-1: "false false", 0: "true true", 999: "true true", 1000: "true false", 1999: "true false",
		2000: "true true", 2999: "true true", 3000: "true false", 1e9: "true false",
	} {
		if got := fmt.Sprint(m.ExistedAt(start+ms), m.ActiveAt(start+ms)); got != want {
			t.Errorf("after %d ms: %s, want %s", ms, got, want)
		}
	}
}

func TestMetersAreListedNewestFirst(t *testing.T) {
	a, b, _, _ := pair(t)
	for i := range 30 {
		made(t, []*Control{a, b}[i%2], create(fmt.Sprint("event ", i), nil))
	}
	list := caughtUp(t, a).Meters(acct, false)
	if len(list) != 30 || a.Snapshot().Meters(acct, true) != nil {
		t.Fatalf("%d meters", len(list))
	}
	for i, m := range list {
		if want := fmt.Sprint("event ", 29-i); m.EventName != want {
			t.Errorf("place %d has %s, want %s", i, m.EventName, want)
		}
	}
}

func TestASnapshotDoesNotChange(t *testing.T) {
	a, _, _, _ := pair(t)
	m := made(t, a, create("one", nil))
	s := a.Snapshot()
	before := dump(s)
	made(t, a, create("two", nil))
	made(t, a, rename(m.ID, "other", nil))
	made(t, a, status(m.ID, false, nil))
	if after := dump(s); after != before || s.Named(acct, false, "two") != nil {
		t.Errorf("it was\n%s and is\n%s", before, after)
	}
}

func TestABusinessHasABoundedNumberOfMeters(t *testing.T) {
	a, b, _, _ := pair(t)
	caughtUp(t, a)
	caughtUp(t, b)
	for _, c := range []*Control{a, b} {
		c.mu.Lock()
		c.state.metersMax = 2
		c.mu.Unlock()
	}
	first := made(t, a, create("one", nil))
	made(t, b, create("two", nil))
	refused(t, a, create("three", nil), TooManyMeters)
	made(t, a, status(first.ID, false, nil))
	refused(t, b, create("three", nil), TooManyMeters)
	made(t, a, Change{Business: "acct_other", Create: newMeter("three")})
}

func TestWhatCanNotBeARecordIsRefusedBeforeItIsWritten(t *testing.T) {
	a, _, l, _ := pair(t)
	for name, f := range map[string]func(*Change){
		"nothing":           func(c *Change) { c.Create = nil },
		"two changes":       func(c *Change) { c.Rename = &Rename{"x", "y"} },
		"no business":       func(c *Change) { c.Business = "" },
		"a slash":           func(c *Change) { c.Business = "a/b" },
		"formula":           func(c *Change) { c.Create.Formula = "max" },
		"window":            func(c *Change) { c.Create.Window = "week" },
		"long name":         func(c *Change) { c.Create.EventName = strings.Repeat("ü", 101) },
		"not UTF-8":         func(c *Change) { c.Create.DisplayName = "\xff" },
		"no value key":      func(c *Change) { c.Create.ValueKey = "" },
		"long key":          func(c *Change) { c.Idempotency = key(strings.Repeat("x", 256), 0) },
		"an API of its own": func(c *Change) { c.Idempotency = &Idempotency{API: "v3", Key: "k"} },
	} {
		change := create("requests", nil)
		f(&change)
		if _, err := a.Propose(within(t), change); !errors.Is(err, commitlog.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(l.all()); n > 0 {
		t.Errorf("%d records were written", n)
	}
}

func TestARestartedGatewayHasWhatItHadBefore(t *testing.T) {
	a, b, l, now := pair(t)
	m := made(t, a, create("requests", key("k", 1)))
	now.advance(time.Second)
	made(t, a, rename(m.ID, "Other", key("r", 1)))
	now.advance(time.Second)
	made(t, a, status(m.ID, false, nil))
	c := open(t, testConfig(l, now))
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	if got, want := dump(c.Snapshot()), dump(caughtUp(t, b)); got != want {
		t.Errorf("it has\n%s and had\n%s", got, want)
	}
	if v := verdictOn(t, c, create("requests", key("k", 1))); !v.Replayed || v.Meter.ID != m.ID || v.Meter.DisplayName != "Requests" || !v.Meter.Active {
		t.Errorf("the replay of the create got %+v", v.Meter)
	}
	if v, ok := c.Replay(acct, false, key("r", 1)); !ok || v.Meter.DisplayName != "Other" || !v.Meter.Active {
		t.Errorf("the replay of the change got %+v %v", v, ok)
	}
}

func TestOpenRefusesWhatCanNotWork(t *testing.T) {
	l := newMemLog(t)
	for _, cfg := range []Config{
		{Topic: "control"},
		{Log: l},
		{Log: l, Topic: "control", InFlightMax: -1},
		{Log: l, Topic: "control", BackoffMin: time.Minute},
		{Log: l, Topic: "control", StallMax: -1},
	} {
		if c, err := Open(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
			_ = c.Close(context.Background())
		}
	}
}
