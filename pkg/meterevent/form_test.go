package meterevent_test

import (
	"fmt"
	"strings"
	"testing"

	"tollgate/pkg/meterevent"
)

func pairs(text ...string) (p []meterevent.FormPair) {
	for i := 0; i < len(text); i += 2 {
		p = append(p, meterevent.FormPair{Key: []byte(text[i]), Value: []byte(text[i+1])})
	}
	return p
}

func TestAFormIsHeldToTheLimitsOfJSON(t *testing.T) {
	d := meterevent.NewDecoder(meterevent.Options{})
	many := func(n int) (p []meterevent.FormPair) {
		for i := range n {
			p = append(p, pairs(fmt.Sprint("k", i), "v")...)
		}
		return p
	}
	value := pairs("value", "25")
	f := func(form meterevent.FormEvent, want string) {
		t.Helper()
		ev, err := d.FromForm(form)
		got := string(ev.Payload)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s %s: got %q, want %q", form.Name, form.Payload, got, want)
		}
	}
	name := []byte("api_calls")
	f(meterevent.FormEvent{Name: name, Payload: pairs("stripe_customer_id", "cus_fixtureA", "value", "25")}, `{"stripe_customer_id":"cus_fixtureA","value":"25"}`)
	f(meterevent.FormEvent{Name: name, Payload: pairs(`a"b`, "é\n\x7f\\")}, `{"a\"b":"é\n`+"\x7f"+`\\"}`)
	f(meterevent.FormEvent{Name: name, Payload: pairs("", "")}, `{"":""}`)
	f(meterevent.FormEvent{Payload: value}, "event_name is required.")
	f(meterevent.FormEvent{Name: []byte{}, Payload: value}, "event_name must not be empty.")
	f(meterevent.FormEvent{Name: []byte("a\nb"), Payload: value}, "event_name must not contain control characters.")
	f(meterevent.FormEvent{Name: []byte("a\xff"), Payload: value}, "event_name must be UTF-8.")
	f(meterevent.FormEvent{Name: []byte(strings.Repeat("é", 100)), Payload: value}, `{"value":"25"}`)
	f(meterevent.FormEvent{Name: []byte(strings.Repeat("é", 101)), Payload: value}, "event_name must not be longer than 100 characters.")
	f(meterevent.FormEvent{Name: name, Identifier: []byte{}, Payload: value}, "identifier must not be empty.")
	f(meterevent.FormEvent{Name: name, Identifier: []byte(strings.Repeat("i", 101)), Payload: value}, "identifier must not be longer than 100 characters.")
	f(meterevent.FormEvent{Name: name, Identifier: []byte("\xed\xa0\x80"), Payload: value}, "identifier must be UTF-8.")
	f(meterevent.FormEvent{Name: name, Timestamp: []byte("2026-03-02T10:15:01Z"), Payload: value}, "timestamp must be Unix seconds in the years 1 to 9999.")
	f(meterevent.FormEvent{Name: name, Timestamp: []byte(""), Payload: value}, "timestamp must be Unix seconds in the years 1 to 9999.")
	f(meterevent.FormEvent{Name: name}, "payload is required.")
	f(meterevent.FormEvent{Name: name, Payload: pairs("value", "1", "value", "2")}, "payload[value] appears twice.")
	f(meterevent.FormEvent{Name: name, Payload: pairs("va lue", "\xff")}, `payload["va lue"] must be UTF-8.`)
	f(meterevent.FormEvent{Name: name, Payload: pairs(strings.Repeat("k", 101), "")}, `payload["`+strings.Repeat("k", 64)+`…"] must not have a name longer than 100 bytes.`)
	f(meterevent.FormEvent{Name: name, Payload: pairs("k", strings.Repeat("v", 501))}, "payload[k] must not be longer than 500 bytes.")
	f(meterevent.FormEvent{Name: name, Payload: many(51)}, "payload must not have more than 50 keys.")
	if _, err := d.FromForm(meterevent.FormEvent{Name: name, Payload: many(50)}); err != nil {
		t.Error(err)
	}
}

func TestAFormsEventIsThatOfTheSameJSON(t *testing.T) {
	d := meterevent.NewDecoder(meterevent.Options{})
	ev, err := d.FromForm(meterevent.FormEvent{
		Name: []byte("api_calls"), Identifier: []byte("idem-v1-1"), Timestamp: []byte("1772446501"),
		Payload: pairs("stripe_customer_id", "cus_fixtureA", "value", "25"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if ev.Raw != nil {
		t.Errorf("raw %q", ev.Raw)
	}
	want, err := meterevent.NewDecoder(meterevent.Options{}).One([]byte(
		`{"event_name":"api_calls","identifier":"idem-v1-1","timestamp":1772446501,"payload":{"stripe_customer_id":"cus_fixtureA","value":"25"}}`))
	if want.Raw = nil; err != nil || !sameEvent(ev, want) {
		t.Errorf("got %+v, want %+v (%v)", ev, want, err)
	}
}

func TestAFormsAdjustment(t *testing.T) {
	d := meterevent.NewDecoder(meterevent.Options{})
	f := func(name, kind, identifier []byte, want string) {
		t.Helper()
		a, err := d.FormAdjustment(name, kind, identifier)
		got := fmt.Sprintf("%s %s %s", a.Type, a.Name, a.Identifier)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	name, cancel, id := []byte("api_calls"), []byte("cancel"), []byte("idem-v1-1")
	f(name, cancel, id, "cancel api_calls idem-v1-1")
	f(nil, cancel, id, "event_name is required.")
	f(name, nil, id, "type is required.")
	f(name, []byte("void"), id, `type must be "cancel".`)
	f(name, cancel, nil, "cancel[identifier] is required.")
	f(name, cancel, []byte{}, "cancel[identifier] must not be empty.")
	f(name, cancel, []byte("\xff"), "cancel[identifier] must be UTF-8.")
	f(nil, nil, nil, "event_name is required.")
}
