package control

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tollgate/pkg/commitlog"
)

func TestWhatCanNotBeARecordOfADestinationIsRefusedBeforeItIsWritten(t *testing.T) {
	a, _, l, _ := pair(t)
	id := set(t, a, createDestination(nil)).ID
	before := len(l.all())
	many := func(n int) (m map[string]string) {
		m = make(map[string]string)
		for i := range n {
			m[fmt.Sprint(i)] = ""
		}
		return m
	}
	for name, f := range map[string]func(*NewDestination){
		"type":                   func(d *NewDestination) { d.Type = "amazon_eventbridge" },
		"no name":                func(d *NewDestination) { d.Name = "" },
		"long name":              func(d *NewDestination) { d.Name = strings.Repeat("ü", destinationNameCharsMax+1) },
		"long description":       func(d *NewDestination) { d.Description = strings.Repeat("x", descriptionCharsMax+1) },
		"no events":              func(d *NewDestination) { d.EnabledEvents = nil },
		"too many events":        func(d *NewDestination) { d.EnabledEvents = slices.Repeat([]string{"x"}, enabledEventsMax+1) },
		"every event":            func(d *NewDestination) { d.EnabledEvents = []string{"*"} },
		"too many keys":          func(d *NewDestination) { d.Metadata = many(MetadataMax + 1) },
		"long key":               func(d *NewDestination) { d.Metadata = map[string]string{strings.Repeat("x", 41): ""} },
		"empty key":              func(d *NewDestination) { d.Metadata = map[string]string{"": ""} },
		"long value":             func(d *NewDestination) { d.Metadata = map[string]string{"k": strings.Repeat("x", 501)} },
		"value not UTF-8":        func(d *NewDestination) { d.Metadata = map[string]string{"k": "\xff"} },
		"no URL":                 func(d *NewDestination) { d.URL = "" },
		"long URL":               func(d *NewDestination) { d.URL = strings.Repeat("ü", urlBytesMax/2+1) },
		"a topic of a webhook":   func(d *NewDestination) { d.Topic = "t" },
		"no secret":              func(d *NewDestination) { d.Secret = "" },
		"long secret":            func(d *NewDestination) { d.Secret = strings.Repeat("x", 129) },
		"secret with a space":    func(d *NewDestination) { d.Secret = "whsec_ x" },
		"a secret of a topic":    func(d *NewDestination) { d.Type, d.Topic, d.URL = KafkaTopic, "t", "" },
		"a URL of a topic":       func(d *NewDestination) { d.Type, d.Topic, d.Secret = KafkaTopic, "t", "" },
		"no topic":               func(d *NewDestination) { d.Type, d.URL, d.Secret = KafkaTopic, "", "" },
		"a topic with a slash":   func(d *NewDestination) { *d = *newTopic(); d.Topic = "a/b" },
		"a topic that is longer": func(d *NewDestination) { *d = *newTopic(); d.Topic = strings.Repeat("x", 250) },
	} {
		change := createDestination(nil)
		f(change.CreateDestination)
		if _, err := a.Propose(within(t), change); !errors.Is(err, commitlog.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	empty, long := "", strings.Repeat("x", 501)
	for name, change := range map[string]Change{
		"update: no name":     updateDestination(DestinationUpdate{ID: id, Name: &empty}, nil),
		"update: no URL":      updateDestination(DestinationUpdate{ID: id, URL: &empty}, nil),
		"update: no events":   updateDestination(DestinationUpdate{ID: id, EnabledEvents: []string{}}, nil),
		"update: long value":  updateDestination(DestinationUpdate{ID: id, Metadata: map[string]*string{"k": &long}}, nil),
		"update: empty key":   updateDestination(DestinationUpdate{ID: id, Metadata: map[string]*string{"": nil}}, nil),
		"update: no id":       updateDestination(DestinationUpdate{}, nil),
		"disable: no reason":  disable(id, "", nil),
		"disable: long":       disable(id, long, nil),
		"roll: no secret":     roll(id, "", 0, nil),
		"roll: the year 9999": roll(id, "whsec_x", timeMaxMs+1, nil),
		"remove: no id":       remove("", nil),
		"remove: a slash":     remove("ed_/x", nil),
		"two changes":         {Business: acct, RemoveDestination: &DestinationRemoval{id}, DestinationStatus: &DestinationStatus{ID: id, Enabled: true}},
		"and a meter's":       {Business: acct, RemoveDestination: &DestinationRemoval{id}, Create: newMeter("x")},
		"two creations":       {Business: acct, CreateDestination: newDestination(), Create: newMeter("x")},
	} {
		if _, err := a.Propose(within(t), change); !errors.Is(err, commitlog.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(l.all()); n != before {
		t.Errorf("%d records were written", n-before)
	}
}

// The largest destination that the checks let through is a record that every fold takes.
func TestTheLargestDestinationIsARecord(t *testing.T) {
	a, b, _, _ := pair(t)
	change := createDestination(nil)
	d := change.CreateDestination
	d.Name, d.Description = strings.Repeat("\x01", destinationNameCharsMax), strings.Repeat("😀", descriptionCharsMax)
	d.EnabledEvents = slices.Repeat([]string{strings.Repeat("e", nameCharsMax)}, enabledEventsMax)
	d.URL, d.Secret = strings.Repeat("\x01", urlBytesMax), strings.Repeat("~", secretBytesMax)
	d.Metadata = make(map[string]string)
	for i := range MetadataMax {
		d.Metadata[fmt.Sprintf("%02d", i)+strings.Repeat("\x01", metadataKeyCharsMax-2)] = strings.Repeat("\x01", metadataValueCharsMax)
	}
	set(t, a, change)
	got := caughtUp(t, b).AllDestinations()
	if len(got) != 1 || !got[0].equal(&d.Settings) || b.Stats().Skipped > 0 {
		t.Errorf("the other gateway has %d, and skipped %d", len(got), b.Stats().Skipped)
	}
	p := &proposal{object: objectDestination, newID: got[0].ID, change: change}
	if _, v := p.encode(); len(v) > 1<<18 {
		t.Errorf("its record has %d bytes", len(v))
	}
}
