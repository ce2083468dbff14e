package control

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/pkg/commitlog/propose"
)

func newDestination() *NewDestination {
	return &NewDestination{Type: WebhookEndpoint, Secret: "whsec_first", Settings: Settings{
		Name: "metering errors", EnabledEvents: []string{"v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"},
		URL: "https://example.com/hook",
	}}
}

func newTopic() *NewDestination {
	d := newDestination()
	d.Type, d.Topic, d.Secret, d.URL = KafkaTopic, "company.events", "", ""
	return d
}

func createDestination(i *Idempotency) Change {
	return Change{Business: acct, CreateDestination: newDestination(), Idempotency: i}
}

func updateDestination(u DestinationUpdate, i *Idempotency) Change {
	return Change{Business: acct, UpdateDestination: &u, Idempotency: i}
}

func enable(id string, i *Idempotency) Change {
	return Change{Business: acct, DestinationStatus: &DestinationStatus{ID: id, Enabled: true}, Idempotency: i}
}

func disable(id, reason string, i *Idempotency) Change {
	return Change{Business: acct, DestinationStatus: &DestinationStatus{ID: id, Reason: reason}, Idempotency: i}
}

func roll(id, secret string, oldUntilMs int64, i *Idempotency) Change {
	return Change{Business: acct, RollSecret: &SecretRoll{id, secret, oldUntilMs}, Idempotency: i}
}

func remove(id string, i *Idempotency) Change {
	return Change{Business: acct, RemoveDestination: &DestinationRemoval{id}, Idempotency: i}
}

// set proposes a change of a destination that must take effect.
func set(t testing.TB, c *Control, change Change) *Destination {
	t.Helper()
	v := verdictOn(t, c, change)
	if v.Destination == nil || v.Meter != nil || v.Refusal != NotRefused || v.Replayed {
		t.Fatalf("the change got %+v", v)
	}
	return v.Destination
}

func equal(a, b *Destination) bool {
	return a != nil && b != nil && fmt.Sprintf("%+v", *a) == fmt.Sprintf("%+v", *b)
}

func TestADestinationIsThereWhenItsVerdictIs(t *testing.T) {
	a, b, _, now := pair(t)
	change := createDestination(nil)
	change.Livemode = true
	change.CreateDestination.Metadata = map[string]string{"team": "billing"}
	d := set(t, a, change)
	if !strings.HasPrefix(d.ID, "ed_") || strings.HasPrefix(d.ID, "ed_test_") {
		t.Errorf("the id is %q", d.ID)
	}
	want := &Destination{
		ID: d.ID, Business: acct, Livemode: true, Type: WebhookEndpoint, CreatedMs: now.ms.Load(), UpdatedMs: now.ms.Load(),
		Settings: change.CreateDestination.Settings, Secret: "whsec_first", Enabled: true, EnabledMs: now.ms.Load(),
	}
	if !equal(d, want) {
		t.Errorf("got %+v, want %+v", d, want)
	}
	change.CreateDestination.Metadata["team"], change.CreateDestination.EnabledEvents[0] = "other", "other"
	if a.Snapshot().Destination(acct, true, d.ID) != d || d.Metadata["team"] != "billing" || d.EnabledEvents[0] == "other" {
		t.Error("who has the verdict does not see the destination, or it is the proposer's")
	}
	if got := caughtUp(t, b).Destination(acct, true, d.ID); !equal(got, d) {
		t.Errorf("the other gateway has %+v", got)
	}
	if a.Snapshot().Destination(acct, false, d.ID) != nil || a.Snapshot().Destination("acct_other", true, d.ID) != nil {
		t.Error("the destination is seen in another mode or business")
	}
	test := set(t, b, Change{Business: acct, CreateDestination: newTopic()})
	if !strings.HasPrefix(test.ID, "ed_test_") || test.Topic != "company.events" || test.Secret != "" {
		t.Errorf("the topic is %+v", test)
	}
}

func TestAnUpdateChangesWhatItNamesAndNothingElse(t *testing.T) {
	a, b, l, now := pair(t)
	name, empty, url, one, two := "renamed", "", "http://localhost/", "1", "2"
	change := createDestination(nil)
	change.CreateDestination.Metadata = map[string]string{"old": "x", "kept": "y"}
	change.CreateDestination.Description = "described"
	first := set(t, a, change)
	for i, u := range []DestinationUpdate{
		{Name: &name},
		{Description: &empty},
		{URL: &url},
		{EnabledEvents: []string{"v1.billing.meter.no_meter_found"}},
		{Metadata: map[string]*string{"old": nil, "none": nil, "one": &one, "two": &two}},
		{Metadata: map[string]*string{"kept": nil, "one": nil, "two": nil}},
	} {
		now.advance(time.Second)
		before := caughtUp(t, b).Destination(acct, false, first.ID)
		u.ID = first.ID
		got := set(t, []*Control{a, b}[i%2], updateDestination(u, nil))
		want := *before
		want.UpdatedMs = now.ms.Load()
		switch i {
		case 0:
			want.Name = "renamed"
		case 1:
			want.Description = ""
		case 2:
			want.URL = url
		case 3:
			want.EnabledEvents = []string{"v1.billing.meter.no_meter_found"}
		case 4:
			want.Metadata = map[string]string{"kept": "y", "one": "1", "two": "2"}
		case 5:
			want.Metadata = nil
		}
		if !equal(got, &want) {
			t.Errorf("update %d made it %+v, want %+v", i, got, want)
		}
	}
	if first.Name != "metering errors" || first.Metadata["old"] != "x" {
		t.Error("an older version has changed")
	}
	now.advance(time.Second)
	before, records := caughtUp(t, a).Destination(acct, false, first.ID), len(l.all())
	for _, u := range []DestinationUpdate{{}, {Name: &name}, {Metadata: map[string]*string{"none": nil}}, {EnabledEvents: before.EnabledEvents}} {
		u.ID = first.ID
		if got := set(t, b, updateDestination(u, nil)); !equal(got, before) || len(l.all()) != records {
			t.Errorf("an update without a change made it %+v, with %d records after %d", got, len(l.all()), records)
		}
	}
}

func TestUpdatesOfOneGatewayLoseNothingOfEachOther(t *testing.T) {
	a, _, _, _ := pair(t)
	id := set(t, a, createDestination(nil)).ID
	var group sync.WaitGroup
	for i := range MetadataMax {
		group.Go(func() {
			value := fmt.Sprint(i)
			verdictOn(t, a, updateDestination(DestinationUpdate{ID: id, Metadata: map[string]*string{value: &value}}, nil))
		})
	}
	group.Wait()
	if n := len(a.Snapshot().Destination(acct, false, id).Metadata); n != MetadataMax {
		t.Errorf("%d of %d updates are left", n, MetadataMax)
	}
	value := "x"
	refused(t, a, updateDestination(DestinationUpdate{ID: id, Metadata: map[string]*string{"more": &value}}, nil), TooMuchMetadata)
	set(t, a, updateDestination(DestinationUpdate{ID: id, Metadata: map[string]*string{"more": &value, "0": nil}}, nil))
}

func TestADestinationIsEnabledSinceItWasEnabled(t *testing.T) {
	a, b, l, now := pair(t)
	start := now.ms.Load()
	id := set(t, a, createDestination(nil)).ID
	status := func(d *Destination) string { return fmt.Sprint(d.Enabled, d.EnabledMs, d.UpdatedMs, d.DisabledReason) }
	now.advance(time.Second)
	records := len(l.all())
	for i, c := range []struct {
		change  Change
		want    string
		records int
	}{
		{enable(id, nil), fmt.Sprint(true, start, start, ""), 0},
		{disable(id, "user", nil), fmt.Sprint(false, 0, start+2000, "user"), 1},
		{disable(id, "delivery_failed", nil), fmt.Sprint(false, 0, start+2000, "user"), 1},
		{enable(id, nil), fmt.Sprint(true, start+4000, start+4000, ""), 2},
		{disable(id, "delivery_failed: no answer", nil), fmt.Sprint(false, 0, start+5000, "delivery_failed: no answer"), 3},
	} {
		got := status(set(t, []*Control{a, b}[i%2], c.change))
		if n := len(l.all()) - records; got != c.want || n != c.records {
			t.Errorf("change %d: %s with %d records, want %s with %d", i, got, n, c.want, c.records)
		}
		now.advance(time.Second)
	}
}

func TestAnOldSecretIsKeptUntilItsTime(t *testing.T) {
	a, b, _, now := pair(t)
	start := now.ms.Load()
	id := set(t, a, createDestination(nil)).ID
	secrets := func(d *Destination) string { return fmt.Sprint(d.Secret, " ", d.OldSecret, " ", d.OldUntilMs-start) }
	if got := secrets(set(t, b, roll(id, "whsec_second", start+1000, nil))); got != "whsec_second whsec_first 1000" {
		t.Errorf("rolled: %s", got)
	}
	change := roll(id, "whsec_third", start, nil)
	if got := secrets(set(t, a, change)); got != fmt.Sprint("whsec_third  ", -start) || change.RollSecret.OldUntilMs != start {
		t.Errorf("rolled at once: %s", got)
	}
	if got := secrets(set(t, b, roll(id, "whsec_fourth", start+9, nil))); got != "whsec_fourth whsec_third 9" {
		t.Errorf("rolled again: %s", got)
	}
}

func TestWhatATypeDoesNotHaveCanNotBeSet(t *testing.T) {
	a, _, l, _ := pair(t)
	id := set(t, a, Change{Business: acct, CreateDestination: newTopic()}).ID
	before := len(l.all())
	url := "https://example.com"
	refused(t, a, updateDestination(DestinationUpdate{ID: id, URL: &url}, key("k", 1)), WrongDestinationType)
	refused(t, a, roll(id, "whsec_x", 0, key("k", 1)), WrongDestinationType)
	if n := len(l.all()); n != before {
		t.Errorf("%d records were written", n-before)
	}
	set(t, a, disable(id, "user", key("k", 1)))
}

func TestARemovalIsFinal(t *testing.T) {
	a, b, l, _ := pair(t)
	other := set(t, a, createDestination(nil))
	d := set(t, a, createDestination(nil))
	if got := set(t, b, remove(d.ID, nil)); !equal(got, d) {
		t.Errorf("the verdict is %+v, want what it was", got)
	}
	name, before := "x", len(l.all())
	for _, change := range []Change{
		enable(d.ID, nil), disable(d.ID, "user", nil), roll(d.ID, "whsec_x", 0, nil), remove(d.ID, nil),
		updateDestination(DestinationUpdate{ID: d.ID, Name: &name}, nil),
	} {
		refused(t, a, change, NoSuchDestination)
		change.Business = "acct_new"
		refused(t, a, change, NoSuchDestination)
	}
	if n := len(l.all()); n != before {
		t.Errorf("%d records were written", n-before)
	}
	late := b.proposal(updateDestination(DestinationUpdate{ID: d.ID, Name: &name}, nil))
	late.atMs = d.UpdatedMs
	late.fill(d) // by a gateway that has not seen the removal
	if v, err := b.append(within(t), late, new(propose.Slot)); err != nil || v.Refusal != NoSuchDestination || v.Destination != nil {
		t.Errorf("a change behind the removal got %+v %v", v, err)
	}
	if list := caughtUp(t, a).AllDestinations(); len(list) != 1 || !equal(list[0], other) {
		t.Errorf("what is left: %+v", list)
	}
}

func TestABusinessHasABoundedNumberOfDestinations(t *testing.T) {
	a, b, _, _ := pair(t)
	caughtUp(t, a)
	caughtUp(t, b)
	for _, c := range []*Control{a, b} {
		c.mu.Lock()
		c.state.destinationsMax = 2
		c.mu.Unlock()
	}
	first := set(t, a, createDestination(nil))
	set(t, b, createDestination(nil))
	refused(t, a, createDestination(nil), TooManyDestinations)
	p := b.proposal(createDestination(nil)) // by a gateway that has not seen the second
	if v, err := b.append(within(t), p, new(propose.Slot)); err != nil || v.Refusal != TooManyDestinations {
		t.Errorf("the fold decides %+v %v", v, err)
	}
	live := createDestination(nil)
	live.Livemode = true
	set(t, a, live)
	set(t, b, remove(first.ID, nil))
	set(t, a, createDestination(nil))
}

func TestDestinationsAreListedNewestFirst(t *testing.T) {
	a, b, _, _ := pair(t)
	var ids, all []string
	for i := range 12 {
		change := createDestination(nil)
		change.Livemode = i%3 == 0
		d := set(t, []*Control{a, b}[i%2], change)
		if !change.Livemode {
			ids = append(ids, d.ID)
		}
	}
	slices.Reverse(ids)
	s := caughtUp(t, a)
	for i, d := range s.Destinations(acct, false) {
		if d.ID != ids[i] {
			t.Errorf("place %d has %s, want %s", i, d.ID, ids[i])
		}
	}
	for _, business := range []string{"acct_b", "acct_z", "acct_a"} {
		change := createDestination(nil)
		change.Business = business
		set(t, a, change)
	}
	var places []string
	for _, d := range caughtUp(t, b).AllDestinations() {
		all = append(all, d.ID)
		places = append(places, fmt.Sprint(d.Business, d.Livemode))
	}
	places = slices.Compact(places)
	if len(all) != 15 || !slices.Equal(all[2:10], ids) || fmt.Sprint(places) != "[acct_afalse acct_bfalse acct_demofalse acct_demotrue acct_zfalse]" {
		t.Errorf("all are %v, of %v", all, places)
	}
}

func TestTheListOfAllDestinationsIsMadeAnewWhenOneChanges(t *testing.T) {
	a, _, l, _ := pair(t)
	m := made(t, a, create("requests", nil))
	if all := a.Snapshot().AllDestinations(); len(all) > 0 {
		t.Errorf("without destinations there are %v", all)
	}
	id := set(t, a, createDestination(nil)).ID
	before := a.Snapshot().AllDestinations()
	made(t, a, rename(m.ID, "y", nil))
	if all := a.Snapshot().AllDestinations(); len(all) != 1 || &all[0] != &before[0] {
		t.Error("a change of a meter is seen as one of a destination")
	}
	for _, change := range []Change{disable(id, "user", nil), roll(id, "whsec_x", 0, nil)} {
		before = a.Snapshot().AllDestinations()
		set(t, a, change)
		if all := a.Snapshot().AllDestinations(); len(all) != 1 || all[0] == before[0] {
			t.Errorf("%+v is not seen", change)
		}
	}
	set(t, a, remove(id, nil))
	if all := a.Snapshot().AllDestinations(); len(all) != 0 {
		t.Errorf("after a removal there are %v", all)
	}
	set(t, a, createDestination(nil))
	l.edit(func() { l.records, l.oldest, l.next = nil, 0, 0 })
	eventually(t, "another fold", func() bool { return len(caughtUp(t, a).AllDestinations()) == 0 })
}
