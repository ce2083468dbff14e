package meterevent_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tollgate/pkg/meterevent"
)

// receivedMs is when the tests receive everything: 2026-11-21T12:00:00.123Z.
const receivedMs = 1795262400123

// oracle is set where encoding/json/v2 is part of the toolchain (oracle_jsonv2_test.go): it says independently what a
// stream body must become.
var oracle func(t testing.TB, body []byte, o meterevent.Options, events []meterevent.Event, err error)

// optionSets are the ways of decoding that every property is held for.
var optionSets = []meterevent.Options{{}, {CoerceNumbers: true}, {Lenient: true}}

// pairs of decoders, one for each of optionSets. The guessing ones keep the layouts of whatever they read before, which is the
// point: a layout learned anywhere must do no harm anywhere else.
type decoderPair struct{ guess, scan *meterevent.Decoder }

func newDecoderPairs() (pairs []decoderPair) {
	for _, o := range optionSets {
		pairs = append(pairs, decoderPair{meterevent.NewDecoder(o), meterevent.NewDecoder(o).ScanOnly()})
	}
	return pairs
}

// checkStream holds a body against everything that is promised of Stream. It says how many events were accepted.
func checkStream(t testing.TB, pairs []decoderPair, body []byte) (accepted int) {
	t.Helper()
	sent := bytes.Clone(body)
	for i, o := range optionSets {
		events, err := pairs[i].scan.Stream(body)
		if oracle != nil {
			oracle(t, body, o, events, err)
		}
		checkGuess(t, pairs[i].guess, body, events, err)
		if err != nil {
			checkFieldError(t, body, err)
			continue
		}
		accepted += len(events)
		if !json.Valid(body) || !utf8.Valid(body) {
			t.Fatalf("accepted what is not JSON: %q", body)
		}
		for k := range events {
			checkEvent(t, &events[k], o)
		}
	}
	if !bytes.Equal(body, sent) {
		t.Fatalf("the decoder wrote to the body %q", sent)
	}
	return accepted
}

// checkGuess decodes twice by guess, the second time with a layout that fits, and wants the scanner's answer.
func checkGuess(t testing.TB, d *meterevent.Decoder, body []byte, want []meterevent.Event, wantErr error) {
	t.Helper()
	for range 2 {
		events, err := d.Stream(body)
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Fatalf("guess says %v, scanner says %v, of %q", err, wantErr, body)
		}
		if !slices.EqualFunc(events, want, sameEvent) {
			t.Fatalf("guess and scanner differ\n%+v\n%+v\nof %q", events, want, body)
		}
	}
}

func sameEvent(a, b meterevent.Event) bool {
	return bytes.Equal(a.Name, b.Name) && bytes.Equal(a.Identifier, b.Identifier) &&
		(a.Identifier == nil) == (b.Identifier == nil) && bytes.Equal(a.Payload, b.Payload) && bytes.Equal(a.Raw, b.Raw) &&
		a.TimestampMs == b.TimestampMs && a.HasTimestamp == b.HasTimestamp
}

// checkFieldError wants a short printable sentence that does not claim a syntax error in what is JSON.
func checkFieldError(t testing.TB, body []byte, err error) {
	t.Helper()
	text := err.Error()
	if len(text) > 400 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		t.Fatalf("error text %q", text)
	}
	if strings.Contains(text, "is not valid JSON") && json.Valid(body) && utf8.Valid(body) && !bytes.Contains(body, []byte(`\u`)) {
		t.Fatalf("%s, of %q", text, body)
	}
}

// checkEvent holds one accepted event against the limits and against encoding/json reading its raw bytes, and its record
// against what was decoded.
func checkEvent(t testing.TB, ev *meterevent.Event, o meterevent.Options) {
	t.Helper()
	if n := utf8.RuneCount(ev.Name); n < 1 || n > meterevent.NameCharsMax || ev.Identifier != nil && len(ev.Identifier) == 0 {
		t.Fatalf("name %q, identifier %q", ev.Name, ev.Identifier)
	}
	if !o.Lenient { // where encoding/json would take a skipped "Event_Name" for event_name
		var raw struct {
			Name       string `json:"event_name"`
			Identifier string `json:"identifier"`
		}
		if err := json.Unmarshal(ev.Raw, &raw); err != nil || raw.Name != string(ev.Name) || raw.Identifier != string(ev.Identifier) {
			t.Fatalf("got %q %q of %q (%v)", ev.Name, ev.Identifier, ev.Raw, err)
		}
	}
	if ev.Identifier == nil {
		ev.Identifier = []byte("generated")
	}
	record := meterevent.AppendRecord(nil, `acct_"1`, true, ev, receivedMs)
	checkRecord(t, ev, record)
	recorder.Begin(`acct_"1`, true, receivedMs)
	recorder.Meter(ev.Name)
	if got := recorder.Append(nil, ev); !bytes.Equal(got, record) {
		t.Fatalf("Recorder writes %q, AppendRecord %q", got, record)
	}
}

// recorder keeps what it remembers from one event to the next, of whatever test.
var recorder meterevent.Recorder

func checkRecord(t testing.TB, ev *meterevent.Event, record []byte) {
	t.Helper()
	var logged struct {
		Object, Business, Identifier string
		Name                         string `json:"event_name"`
		Livemode                     bool
		Timestamp, Received          string
		Payload                      map[string]string
	}
	if err := json.Unmarshal(record, &logged); err != nil || !utf8.Valid(record) {
		t.Fatalf("record %q: %v", record, err)
	}
	if logged.Name != string(ev.Name) || logged.Identifier != string(ev.Identifier) || logged.Business != `acct_"1` ||
		!logged.Livemode || logged.Object != "meter_event" || logged.Received != "2026-11-21T12:00:00.123Z" {
		t.Fatalf("record %s of %+v", record, ev)
	}
	want := int64(receivedMs)
	if ev.HasTimestamp {
		want = ev.TimestampMs
	}
	if at, err := time.Parse(time.RFC3339, logged.Timestamp); err != nil || at.UnixMilli() != want {
		t.Fatalf("record's timestamp %v, want %d ms", logged.Timestamp, want)
	}
	if len(logged.Payload) > meterevent.PayloadKeysMax {
		t.Fatalf("%d keys", len(logged.Payload))
	}
	for key, value := range logged.Payload {
		got, ok := ev.PayloadValue(key)
		if !ok || string(got) != value || len(key) > meterevent.PayloadKeyBytesMax || len(got) > meterevent.PayloadValueBytesMax {
			t.Fatalf("PayloadValue(%q) = %q, %v, want %q", key, got, ok, value)
		}
	}
	if _, ok := ev.PayloadValue("no such key \x00"); ok {
		t.Fatalf("a key that is not in %s", ev.Payload)
	}
}
