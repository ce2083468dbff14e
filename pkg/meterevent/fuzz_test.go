package meterevent_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"tollgate/pkg/meterevent"
)

// FuzzStream holds everything of checkStream for whatever the fuzzer invents; the corpus is its seed, and testdata/fuzz
// has more. With GOEXPERIMENT=jsonv2 it is a differential fuzz against encoding/json/v2.
func FuzzStream(f *testing.F) {
	for _, l := range readCorpus(f) {
		if body := l.bytes(f); len(body) < 2000 {
			f.Add(body)
		}
	}
	f.Add(streamBody(3))
	f.Fuzz(func(t *testing.T, body []byte) {
		// The body comes after one that leaves a layout, and once more with each event repeated.
		pairs := newDecoderPairs()
		for _, p := range pairs {
			if _, err := p.guess.Stream([]byte(`{"events":[{"event_name":"a","payload":{"k":"v"}}]}`)); err != nil {
				t.Fatal(err)
			}
		}
		checkStream(t, pairs, body)
		if events, err := pairs[0].scan.Stream(body); err == nil && len(events) <= meterevent.EventsMax/2 {
			repeated := []byte(`{"events":[`)
			for i, ev := range events {
				if i > 0 {
					repeated = append(repeated, ',')
				}
				repeated = append(append(append(repeated, ev.Raw...), ','), ev.Raw...)
			}
			if repeated = append(repeated, "]}"...); checkStream(t, pairs, repeated) < 2*len(events) {
				t.Fatalf("accepted once and not twice: %q", body)
			}
		}
	})
}

// FuzzOne: a body is accepted as one event exactly when it is accepted in an array of one, and reads the same.
func FuzzOne(f *testing.F) {
	for _, l := range readCorpus(f) {
		if l.Kind == "one" {
			f.Add([]byte(l.Body))
		}
	}
	one, stream := meterevent.NewDecoder(meterevent.Options{}), meterevent.NewDecoder(meterevent.Options{})
	f.Fuzz(func(t *testing.T, body []byte) {
		ev, err := one.One(body)
		events, streamErr := stream.Stream(append(append([]byte(`{"events":[`), body...), "]}"...))
		switch {
		case err != nil:
			checkFieldError(t, body, err)
			if streamErr == nil && len(events) == 1 {
				t.Fatalf("%v, but not in an array: %q", err, body)
			}
		case streamErr != nil || len(events) != 1 || !sameEvent(ev, events[0]):
			t.Fatalf("alone %+v, in an array %+v, %v: %q", ev, events, streamErr, body)
		}
	})
}

// FuzzAdjustment: what is accepted is JSON that encoding/json reads the same way, and makes a record that says the same.
func FuzzAdjustment(f *testing.F) {
	for _, l := range readCorpus(f) {
		if l.Kind == "adjustment" {
			f.Add(l.bytes(f))
		}
	}
	d := meterevent.NewDecoder(meterevent.Options{})
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := d.Adjustment(body)
		if err != nil {
			checkFieldError(t, body, err)
			return
		}
		type adjustment struct {
			Name   string `json:"event_name"`
			Type   string
			Cancel struct{ Identifier string }
		}
		var sent, logged adjustment
		record := meterevent.AppendAdjustmentRecord(nil, "acct_a", false, &a, receivedMs)
		if err := json.Unmarshal(body, &sent); err != nil || !utf8.Valid(body) {
			t.Fatalf("accepted %q: %v", body, err)
		}
		if err := json.Unmarshal(record, &logged); err != nil || logged != sent || logged.Name != string(a.Name) ||
			logged.Type != string(a.Type) || logged.Cancel.Identifier != string(a.Identifier) {
			t.Fatalf("%q became %+v and %s (%v)", body, a, record, err)
		}
	})
}

// FuzzTimestamp: what is accepted and looks like RFC 3339 is what package time says it is, and is written back as the same.
func FuzzTimestamp(f *testing.F) {
	for _, text := range []string{"2026-03-02T12:15:01.123456789+02:00", "1772446501", "-1", "0000-12-31T23:59:59-00:01", "2016-12-31T23:59:60Z", "2026-11-21T11:59:59.999Z", "2026-11-21T11:59:59Z"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ms, ok := meterevent.ParseTimestamp(text)
		for _, before := range []string{"2026-11-21T11:59:00.000Z", "0001-01-01T00:00:00Z", string(text)} {
			if again, okAgain := meterevent.ParseTimestamps([]byte(before), text); okAgain != ok || ok && again != ms {
				t.Fatalf("%q is %d ms, %v; after %q it is %d, %v", text, ms, ok, before, again, okAgain)
			}
		}
		if !ok {
			return
		}
		if bytes.ContainsAny(text, "tTzZ:") {
			at, err := time.Parse(time.RFC3339Nano, string(bytes.ToUpper(text)))
			if err != nil || at.UnixMilli() != ms {
				t.Fatalf("%q: got %d ms, package time has %v (%v)", text, ms, at, err)
			}
		}
		if back, ok := meterevent.ParseTimestamp(meterevent.AppendTime(nil, ms)); !ok || back != ms {
			t.Fatalf("%q: %d ms became %d, %v", text, ms, back, ok)
		}
	})
}

// FuzzForm: a form's payload reads back as the pairs that it was made of, and as an event of JSON it is accepted.
func FuzzForm(f *testing.F) {
	f.Add("api_calls", "idem", "1772446501", "value", "25", "k", "\"\\\n\x7fé")
	form, read := meterevent.NewDecoder(meterevent.Options{}), meterevent.NewDecoder(meterevent.Options{})
	f.Fuzz(func(t *testing.T, name, identifier, timestamp, key1, value1, key2, value2 string) {
		ev, err := form.FromForm(meterevent.FormEvent{
			Name: []byte(name), Identifier: []byte(identifier), Timestamp: []byte(timestamp), Payload: pairs(key1, value1, key2, value2),
		})
		if err != nil {
			checkFieldError(t, nil, err)
			return
		}
		for _, p := range pairs(key1, value1, key2, value2) {
			if got, ok := ev.PayloadValue(string(p.Key)); !ok || !bytes.Equal(got, p.Value) {
				t.Fatalf("%q is %q, %v, want %q", p.Key, got, ok, p.Value)
			}
		}
		record := meterevent.AppendRecord(nil, "acct_a", false, &ev, receivedMs)
		fields := map[string]json.RawMessage{}
		if err := json.Unmarshal(record, &fields); err != nil {
			t.Fatalf("%q: %v", record, err)
		}
		text, err := json.Marshal(map[string]json.RawMessage{"event_name": fields["event_name"], "identifier": fields["identifier"], "timestamp": fields["timestamp"], "payload": fields["payload"]})
		if err != nil {
			t.Fatal(err)
		}
		back, err := read.One(text)
		if err != nil || !bytes.Equal(back.Name, ev.Name) || !bytes.Equal(back.Identifier, ev.Identifier) || back.TimestampMs != ev.TimestampMs {
			t.Fatalf("%s became %+v (%v)", text, back, err)
		}
	})
}
