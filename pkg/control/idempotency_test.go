package control

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"tollgate/pkg/commitlog/propose"
)

func replayed(t *testing.T, c *Control, change Change, want *Meter) {
	t.Helper()
	v := verdictOn(t, c, change)
	if !v.Replayed || v.Refusal != NotRefused || v.Meter == nil || fmt.Sprintf("%+v", *v.Meter) != fmt.Sprintf("%+v", *want) {
		t.Fatalf("the replay got %+v of %+v, want %+v", v, v.Meter, want)
	}
	i := change.Idempotency
	if w, ok := c.Replay(change.Business, change.Livemode, i); !ok || fmt.Sprintf("%+v", *w.Meter) != fmt.Sprintf("%+v", *want) {
		t.Fatalf("Replay got %+v %v", w, ok)
	}
}

func TestAReplayIsTheVerdictOfThenOnEveryGateway(t *testing.T) {
	a, b, l, now := pair(t)
	create1, rename1 := create("requests", key("create", 1)), Change{}
	m := made(t, a, create1)
	rename1 = rename(m.ID, "Other", key("rename", 1))
	renamed := made(t, b, rename1)
	off1 := status(m.ID, false, key("off", 1))
	off := made(t, a, off1)
	made(t, b, status(m.ID, true, nil))
	made(t, a, rename(m.ID, "Third", nil))
	before := len(l.all())
	now.advance(24*time.Hour - time.Second)
	for _, c := range []*Control{a, b} {
		replayed(t, c, create1, m)
		replayed(t, c, rename1, renamed)
		replayed(t, c, off1, off)
	}
	if m := caughtUp(t, b).Meter(acct, false, m.ID); len(l.all()) != before || !m.Active || m.DisplayName != "Third" {
		t.Errorf("a replay was executed: %d records after %d, %+v", len(l.all()), before, m)
	}
}

func TestAKeyWithOtherParametersIsRefused(t *testing.T) {
	a, b, _, _ := pair(t)
	m := made(t, a, create("requests", key("k", 1)))
	refused(t, b, create("other", key("k", 2)), KeyReused)
	refused(t, a, rename(m.ID, "x", key("k", 3)), KeyReused)
	refused(t, b, status(m.ID, false, key("k", 4)), KeyReused)
	if v, ok := a.Replay(acct, false, key("k", 2)); !ok || v.Refusal != KeyReused {
		t.Errorf("Replay got %+v %v", v, ok)
	}
	// A key is one business', one mode's and one API's.
	other := create("other", key("k", 2))
	other.Livemode = true
	made(t, a, other)
	other.Business, other.Livemode = "acct_other", false
	made(t, a, other)
	made(t, a, create("v2", &Idempotency{API: "v2", Key: "k"}))
}

func TestARefusedChangeUsesNoKey(t *testing.T) {
	a, _, _, _ := pair(t)
	m := made(t, a, create("requests", nil))
	refused(t, a, create("requests", key("k", 1)), NameTaken)
	if v, ok := a.Replay(acct, false, key("k", 1)); ok {
		t.Errorf("Replay got %+v", v)
	}
	made(t, a, rename(m.ID, "x", key("k", 2)))
}

func TestKeysExpireByTheTimesOfTheProposals(t *testing.T) {
	for api, keep := range map[string]time.Duration{"v1": 24 * time.Hour, "v2": 30 * 24 * time.Hour} {
		a, b, l, now := pair(t)
		i := &Idempotency{API: api, Key: "k", Fingerprint: [16]byte{1}}
		m := made(t, a, create("requests", i))
		now.advance(keep)
		replayed(t, b, create("requests", i), m)
		now.advance(time.Millisecond)
		if v, ok := b.Replay(acct, false, i); ok {
			t.Errorf("%s: after %v the replay is %+v", api, keep, v)
		}
		made(t, b, create("other", &Idempotency{API: api, Key: "k", Fingerprint: [16]byte{2}}))
		c := open(t, testConfig(l, now)) // and a fold of later, too
		caughtUp(t, c)
		if v, ok := c.Replay(acct, false, i); !ok || v.Refusal != KeyReused {
			t.Errorf("%s: the replay is %+v %v", api, v, ok)
		}
	}
}

func TestAKeyThatChangedNothingIsUsedAllTheSame(t *testing.T) {
	a, b, _, now := pair(t)
	id := made(t, a, create("requests", nil)).ID
	off := made(t, a, status(id, false, nil))
	now.advance(time.Second)
	again := status(id, false, key("k", 1))
	if m := made(t, b, again); m.DeactivatedMs != off.DeactivatedMs || m.UpdatedMs != off.UpdatedMs {
		t.Errorf("deactivated twice: %+v", m)
	}
	now.advance(time.Second)
	made(t, a, status(id, true, nil))
	replayed(t, a, again, off)
	if !a.Snapshot().Meter(acct, false, id).Active {
		t.Error("the replay was executed")
	}
	refused(t, b, rename(id, "x", key("k", 2)), KeyReused)
}

// The snapshot says that the meter is inactive; before the record that says so is written, another gateway activates it.
func TestAStatusThatChangesMeanwhileIsProposedAfterAll(t *testing.T) {
	a, b, _, _ := pair(t)
	id := made(t, a, create("requests", nil)).ID
	made(t, a, status(id, false, nil))
	p := b.proposal(status(id, false, key("k", 1)))
	caughtUp(t, b)
	if _, ok := b.decided(p); ok || p.object != objectUnchanged {
		t.Fatalf("it is decided to be a %s", p.object)
	}
	made(t, a, status(id, true, nil))
	if v, err := b.append(within(t), p, new(propose.Slot)); err != nil || v.Refusal != changedMeanwhile {
		t.Fatalf("the verdict is %+v %v", v, err)
	}
	if m := made(t, b, status(id, false, key("k", 1))); m.Active {
		t.Errorf("it got %+v", m)
	}
}

func TestOneKeyAtOnceChangesOnce(t *testing.T) {
	a, _, l, _ := pair(t)
	id := made(t, a, create("requests", nil)).ID
	before := len(l.all())
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { verdictOn(t, a, rename(id, "x", key("k", 1))) })
	}
	group.Wait()
	if n := len(l.all()) - before; n != 1 {
		t.Errorf("%d records for one key", n)
	}
}

func TestTheNewestKeysAreKept(t *testing.T) {
	s := newState()
	p := &proposal{object: objectMeter, atMs: 1e12, newID: "m", change: create("requests", key("create", 1))}
	s.apply(p)
	for i := range changesMax + 10 {
		s.apply(&proposal{object: objectDisplayName, atMs: 1e12 + 1, change: rename("m", "x", key(fmt.Sprint(i), 1))})
	}
	for text, want := range map[string]bool{"create": true, "0": false, "9": false, "10": true, fmt.Sprint(changesMax + 9): true} {
		if _, ok := s.replay(acct, false, key(text, 1), 1e12+2); ok != want {
			t.Errorf("the key %s: %v, want %v", text, ok, want)
		}
	}
	keys := &s.scopes[scopeKey{acct, false}].keys
	if len(keys.uses) != changesMax+1 || len(keys.changes) != changesMax {
		t.Errorf("%d keys and %d changes are kept", len(keys.uses), len(keys.changes))
	}
	s.apply(&proposal{object: objectDisplayName, atMs: 1e12 + 2*keepShortMs, change: rename("m", "x", key("late", 1))})
	if len(keys.uses) != 2 || len(keys.changes) != 1 {
		t.Errorf("of old ones, %d keys and %d changes are kept", len(keys.uses), len(keys.changes))
	}
}
