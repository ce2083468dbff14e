package meterevent_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"tollgate/pkg/meterevent"
)

// corpusLine is one line of testdata/corpus.jsonl: a body and what it must become, an error's text or what it holds.
type corpusLine struct {
	Name       string
	Kind       string // stream, one, adjustment
	Options    corpusOptions
	Body       string
	BodyQuoted string           `json:"body_quoted"` // the body as in Go's source, where it is not UTF-8
	Error      string           `json:"error"`
	Events     []corpusEvent    `json:"events"`
	Adjustment corpusAdjustment `json:"adjustment"`
}

type corpusOptions struct {
	CoerceNumbers bool `json:"coerce_numbers"`
	Lenient       bool
}

type corpusEvent struct {
	Name        string  `json:"event_name"`
	Identifier  *string `json:"identifier"`
	TimestampMs *int64  `json:"timestamp_ms"`
	// Payload is the exact text that goes into the log.
	Payload string `json:"payload"`
}

type corpusAdjustment struct {
	Name       string `json:"event_name"`
	Type       string
	Identifier string
}

func (l corpusLine) bytes(t testing.TB) []byte {
	if l.BodyQuoted == "" {
		return []byte(l.Body)
	}
	s, err := strconv.Unquote(`"` + strings.ReplaceAll(l.BodyQuoted, `"`, `\"`) + `"`)
	if err != nil {
		t.Fatalf("%s: body_quoted: %v", l.Name, err)
	}
	return []byte(s)
}

func readCorpus(t testing.TB) []corpusLine {
	t.Helper()
	text, err := os.ReadFile("testdata/corpus.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var lines []corpusLine
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	for dec.More() {
		var l corpusLine
		if err := dec.Decode(&l); err != nil {
			t.Fatalf("corpus line %d: %v", len(lines)+1, err)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestCorpus(t *testing.T) {
	// One decoder for each set of options reads everything, so that what one body leaves behind can not help or
	// harm the next.
	decoders := map[corpusOptions]*meterevent.Decoder{}
	for _, l := range readCorpus(t) {
		d := decoders[l.Options]
		if d == nil {
			d = meterevent.NewDecoder(meterevent.Options(l.Options))
			decoders[l.Options] = d
		}
		t.Run(l.Name, func(t *testing.T) {
			switch l.Kind {
			case "stream":
				events, err := d.Stream(l.bytes(t))
				checkError(t, err, l.Error)
				checkEvents(t, events, l.Events)
			case "one":
				ev, err := d.One(l.bytes(t))
				if checkError(t, err, l.Error); err == nil {
					checkEvents(t, []meterevent.Event{ev}, l.Events)
				}
			case "adjustment":
				a, err := d.Adjustment(l.bytes(t))
				checkError(t, err, l.Error)
				if got := (corpusAdjustment{string(a.Name), string(a.Type), string(a.Identifier)}); got != l.Adjustment {
					t.Errorf("got %+v, want %+v", got, l.Adjustment)
				}
			default:
				t.Fatalf("kind %q", l.Kind)
			}
		})
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch field := (*meterevent.FieldError)(nil); {
	case err == nil && want == "":
	case err == nil:
		t.Errorf("accepted, want: %s", want)
	case !errors.As(err, &field):
		t.Errorf("error is a %T, want a *FieldError", err)
	case err.Error() != want:
		t.Errorf("got:  %s\nwant: %s", err, want)
	}
}

func checkEvents(t *testing.T, events []meterevent.Event, want []corpusEvent) {
	t.Helper()
	if len(events) != len(want) {
		t.Fatalf("got %d events, want %d", len(events), len(want))
	}
	for i, ev := range events {
		w := want[i]
		if string(ev.Name) != w.Name || string(ev.Payload) != w.Payload {
			t.Errorf("event %d: got %q %s, want %q %s", i, ev.Name, ev.Payload, w.Name, w.Payload)
		}
		switch {
		case (ev.Identifier != nil) != (w.Identifier != nil):
			t.Errorf("event %d: got identifier %q, want one: %v", i, ev.Identifier, w.Identifier != nil)
		case w.Identifier != nil && string(ev.Identifier) != *w.Identifier:
			t.Errorf("event %d: got identifier %q, want %q", i, ev.Identifier, *w.Identifier)
		}
		switch {
		case ev.HasTimestamp != (w.TimestampMs != nil):
			t.Errorf("event %d: has timestamp: %v", i, ev.HasTimestamp)
		case ev.HasTimestamp && ev.TimestampMs != *w.TimestampMs:
			t.Errorf("event %d: got %d ms, want %d", i, ev.TimestampMs, *w.TimestampMs)
		}
	}
}
