package control

import (
	"fmt"
	"testing"
	"time"

	"tollgate/pkg/commitlog/propose"
)

func key2(text string, parameters byte) *Idempotency {
	return &Idempotency{API: "v2", Key: text, Fingerprint: [16]byte{parameters}}
}

func replayedDestination(t *testing.T, c *Control, change Change, want *Destination) {
	t.Helper()
	v := verdictOn(t, c, change)
	if !v.Replayed || v.Refusal != NotRefused || !equal(v.Destination, want) {
		t.Fatalf("the replay got %+v of %+v, want %+v", v, v.Destination, want)
	}
	if w, ok := c.Replay(change.Business, change.Livemode, change.Idempotency); !ok || !w.Replayed || !equal(w.Destination, want) {
		t.Fatalf("Replay got %+v %v", w, ok)
	}
}

func TestAReplayIsTheDestinationOfThenOnEveryGatewayAlsoWhenItIsGone(t *testing.T) {
	a, b, l, now := pair(t)
	first := createDestination(key2("create", 1))
	d := set(t, a, first)
	id, name := d.ID, "renamed"
	changes := []Change{
		first,
		updateDestination(DestinationUpdate{ID: id, Name: &name}, key2("update", 1)),
		disable(id, "user", key2("disable", 1)),
		enable(id, key2("enable", 1)),
		roll(id, "whsec_second", now.ms.Load()+hourMs, key2("roll", 1)),
		remove(id, key2("remove", 1)),
	}
	verdicts := []*Destination{d}
	for i, change := range changes[1:] {
		now.advance(time.Second)
		verdicts = append(verdicts, set(t, []*Control{a, b}[i%2], change))
	}
	before := len(l.all())
	now.advance(30*24*time.Hour - 6*time.Second)
	for _, c := range []*Control{a, b, open(t, testConfig(l, now))} {
		caughtUp(t, c)
		for i, change := range changes {
			replayedDestination(t, c, change, verdicts[i])
		}
	}
	if len(l.all()) != before || len(caughtUp(t, b).AllDestinations()) != 0 {
		t.Error("a replay was executed")
	}
	now.advance(10 * time.Second)
	refused(t, a, remove(id, key2("remove", 1)), NoSuchDestination)
	if again := set(t, a, first); again.ID == id {
		t.Error("a key is kept for longer than 30 days")
	}
}

func TestAKeyIsOneForMetersAndDestinations(t *testing.T) {
	a, b, _, _ := pair(t)
	m := made(t, a, create("requests", key2("meter", 1)))
	d := set(t, b, createDestination(key2("destination", 2)))
	refused(t, b, createDestination(key2("meter", 2)), KeyReused)
	refused(t, a, create("other", key2("destination", 1)), KeyReused)
	refused(t, a, disable(d.ID, "user", key2("meter", 3)), KeyReused)
	refused(t, b, rename(m.ID, "x", key2("destination", 3)), KeyReused)
	refused(t, b, enable(d.ID, key2("destination", 3)), KeyReused)
	// Also when both were in flight at once: the fold decides creates by keys of creates.
	p := b.proposal(createDestination(key2("meter", 2)))
	p.atMs = b.cfg.Now().UnixMilli()
	if v, err := b.append(within(t), p, new(propose.Slot)); err != nil || v.Refusal != KeyReused {
		t.Errorf("the fold decides %+v %v", v, err)
	}
	set(t, a, createDestination(key("meter", 2))) // of the other API
}

func TestAKeyThatChangedNothingOfADestinationIsUsedAllTheSame(t *testing.T) {
	a, b, l, now := pair(t)
	d := set(t, a, createDestination(nil))
	now.advance(time.Second)
	changes := []Change{
		enable(d.ID, key2("enable", 1)),
		updateDestination(DestinationUpdate{ID: d.ID}, key2("update nothing", 1)),
		updateDestination(DestinationUpdate{ID: d.ID, Name: &d.Name}, key2("update the same", 1)),
	}
	for _, change := range changes {
		if got := set(t, b, change); !equal(got, d) {
			t.Errorf("the destination is %+v", got)
		}
	}
	if n := len(l.all()); n != 1+len(changes) {
		t.Errorf("there are %d records", n)
	}
	name := "other"
	set(t, a, disable(d.ID, "user", nil))
	set(t, a, updateDestination(DestinationUpdate{ID: d.ID, Name: &name}, nil))
	for _, change := range changes {
		replayedDestination(t, a, change, d)
	}
	refused(t, b, remove(d.ID, key2("enable", 2)), KeyReused)
	if got := caughtUp(t, b).Destination(acct, false, d.ID); got.Enabled || got.Name != "other" {
		t.Errorf("a replay was executed: %+v", got)
	}
}

// The snapshot says that the destination is so; before the record that says so is written, another gateway changes it.
func TestADestinationThatChangesMeanwhileIsChangedAfterAll(t *testing.T) {
	a, b, _, _ := pair(t)
	d := set(t, a, createDestination(nil))
	caughtUp(t, b)
	name := "other"
	for i, c := range []struct{ want, meanwhile Change }{
		{enable(d.ID, key2("enable", 1)), disable(d.ID, "user", nil)},
		{updateDestination(DestinationUpdate{ID: d.ID, Name: &d.Name}, key2("update", 1)), updateDestination(DestinationUpdate{ID: d.ID, Name: &name}, nil)},
	} {
		p := b.proposal(c.want)
		if _, ok := b.decided(p); ok || p.object != objectDestinationUnchanged {
			t.Fatalf("%d: it is decided to be a %s", i, p.object)
		}
		set(t, a, c.meanwhile)
		if v, err := b.append(within(t), p, new(propose.Slot)); err != nil || v.Refusal != changedMeanwhile {
			t.Fatalf("%d: the verdict is %+v %v", i, v, err)
		}
		if got := set(t, b, c.want); !got.Enabled || got.Name != d.Name {
			t.Errorf("%d: it is %+v", i, got)
		}
	}
}

func TestTwoRemovalsWithOneKeyThatRaceAreOne(t *testing.T) {
	a, b, _, _ := pair(t)
	d := set(t, a, createDestination(nil))
	caughtUp(t, b)
	var removals []*proposal
	for _, c := range []*Control{a, b} {
		p := c.proposal(remove(d.ID, key2("remove", 1)))
		if _, ok := c.decided(p); ok {
			t.Fatal("it is decided")
		}
		removals = append(removals, p)
	}
	if removals[0].key() == removals[1].key() {
		t.Error("compaction would take the first removal for the second, which came later")
	}
	for i, c := range []*Control{a, b} {
		v, err := c.append(within(t), removals[i], new(propose.Slot))
		if err != nil || v.Refusal != NotRefused || v.Replayed != (i == 1) || !equal(v.Destination, d) {
			t.Errorf("removal %d got %+v %v", i, v, err)
		}
	}
}

func TestARequestThatChangesNothingOfAMeterUsesItsKey(t *testing.T) {
	a, b, l, now := pair(t)
	m := made(t, a, create("requests", nil))
	now.advance(time.Second)
	if got := made(t, b, rename(m.ID, "", nil)); fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *m) || len(l.all()) != 1 {
		t.Errorf("without a key: %+v, %d records", got, len(l.all()))
	}
	nothing := rename(m.ID, "", key("k", 1))
	if got := made(t, b, nothing); got.DisplayName != "Requests" || got.UpdatedMs != m.UpdatedMs {
		t.Errorf("the meter is %+v", got)
	}
	made(t, a, rename(m.ID, "Other", nil))
	made(t, a, status(m.ID, false, nil))
	replayed(t, a, nothing, m)
	refused(t, a, rename(m.ID, "x", key("k", 2)), KeyReused)
	refused(t, a, rename("mtr_test_none", "", key("other", 1)), NoSuchMeter)
}
