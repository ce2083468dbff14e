//go:build goexperiment.jsonv2

package meterevent_test

import (
	"bytes"
	"encoding/json/jsontext"
	jsonv2 "encoding/json/v2"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tollgate/pkg/meterevent"
)

// The oracle reads a body by encoding/json/v2, which is strict where encoding/json is not, and judges the fields by
// code that shares nothing with the decoder. Run it by
//
//	GOEXPERIMENT=jsonv2 METEREVENT_DOCUMENTS=400000 go test -run Generated ./pkg/meterevent

func init() {
	oracle = compareWithOracle
	peers = append(peers, peer{"encoding_json_v2", func(body []byte) (int, error) {
		var r plainRequest
		err := jsonv2.Unmarshal(body, &r, jsonv2.RejectUnknownMembers(true))
		return len(r.Events), err
	}})
}

type oracleEvent struct {
	name, identifier string
	hasIdentifier    bool
	timestampMs      int64
	hasTimestamp     bool
	payload          []string // names and values by turns
	raw              jsontext.Value
}

var errRefused = errors.New("refused by the oracle")

func compareWithOracle(t testing.TB, body []byte, o meterevent.Options, events []meterevent.Event, err error) {
	t.Helper()
	if err != nil && o.Lenient && strings.Contains(err.Error(), " unknown property ") {
		return // a bound on what is skipped, which encoding/json/v2 does not have; TestCorpus has those
	}
	want, wantErr := oracleStream(body, o)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("decoder says %v, oracle says %v, with %+v, of %q", err, wantErr, o, body)
	}
	if err != nil {
		if syntax := strings.Contains(err.Error(), "is not valid JSON"); syntax && jsontext.Value(body).IsValid() {
			t.Fatalf("%s, of valid JSON %q", err, body)
		}
		return
	}
	if len(events) != len(want) {
		t.Fatalf("%d events, oracle has %d, of %q", len(events), len(want), body)
	}
	for i := range events {
		compareEvent(t, &events[i], want[i])
	}
}

func compareEvent(t testing.TB, ev *meterevent.Event, want oracleEvent) {
	t.Helper()
	if string(ev.Name) != want.name || string(ev.Identifier) != want.identifier || (ev.Identifier != nil) != want.hasIdentifier ||
		ev.TimestampMs != want.timestampMs || ev.HasTimestamp != want.hasTimestamp || !bytes.Equal(ev.Raw, want.raw) {
		t.Fatalf("got %+v, want %+v", ev, want)
	}
	payload := jsontext.Value(bytes.Clone(ev.Payload))
	if err := payload.Compact(); err != nil || !bytes.Equal(payload, ev.Payload) {
		t.Fatalf("payload %q is not compact JSON (%v)", ev.Payload, err)
	}
	pairs, err := oraclePayload(payload, false)
	if err != nil || strings.Join(pairs, "\x00") != strings.Join(want.payload, "\x00") {
		t.Fatalf("payload %q (%v), want %q", ev.Payload, err, want.payload)
	}
}

func oracleStream(body []byte, o meterevent.Options) (events []oracleEvent, err error) {
	var request struct {
		Events jsontext.Value `json:"events"`
	}
	if err := jsonv2.Unmarshal(body, &request, jsonv2.RejectUnknownMembers(!o.Lenient)); err != nil {
		return nil, err
	}
	if jsontext.Value(body).Kind() != '{' { // null is a struct to Unmarshal
		return nil, errRefused
	}
	var raws []jsontext.Value
	if request.Events.Kind() != '[' {
		return nil, errRefused
	}
	if err := jsonv2.Unmarshal(request.Events, &raws); err != nil || len(raws) == 0 || len(raws) > meterevent.EventsMax {
		return nil, errRefused
	}
	for _, raw := range raws {
		ev, err := oracleOne(raw, o)
		if err != nil {
			return nil, err
		}
		events = append(events, ev)
	}
	return events, nil
}

func oracleOne(raw jsontext.Value, o meterevent.Options) (ev oracleEvent, err error) {
	var fields struct {
		Name       jsontext.Value `json:"event_name"`
		Identifier jsontext.Value `json:"identifier"`
		Timestamp  jsontext.Value `json:"timestamp"`
		Payload    jsontext.Value `json:"payload"`
	}
	if raw.Kind() != '{' {
		return ev, errRefused
	}
	if err := jsonv2.Unmarshal(raw, &fields, jsonv2.RejectUnknownMembers(!o.Lenient)); err != nil {
		return ev, err
	}
	ev.raw = raw
	if ev.name, err = oracleText(fields.Name); err != nil || strings.ContainsFunc(ev.name, func(r rune) bool { return r < ' ' }) {
		return ev, errRefused
	}
	if fields.Identifier != nil && fields.Identifier.Kind() != 'n' {
		ev.hasIdentifier = true
		if ev.identifier, err = oracleText(fields.Identifier); err != nil {
			return ev, err
		}
	}
	if fields.Timestamp != nil && fields.Timestamp.Kind() != 'n' {
		ev.hasTimestamp = true
		if ev.timestampMs, err = oracleTimestamp(fields.Timestamp); err != nil {
			return ev, err
		}
	}
	ev.payload, err = oraclePayload(fields.Payload, o.CoerceNumbers)
	return ev, err
}

// oracleText is a string of 1 to 100 characters.
func oracleText(raw jsontext.Value) (text string, err error) {
	if err := jsonv2.Unmarshal(raw, &text); err != nil || raw.Kind() != '"' {
		return "", errRefused
	}
	if n := utf8.RuneCountInString(text); n < 1 || n > 100 {
		return "", errRefused
	}
	return text, nil
}

var (
	rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$`) // package time takes +24:00 as well
	seconds = regexp.MustCompile(`^-?\d{1,12}$`)
)

func oracleTimestamp(raw jsontext.Value) (ms int64, err error) {
	text := string(raw)
	if raw.Kind() == '"' {
		if err := jsonv2.Unmarshal(raw, &text); err != nil {
			return 0, err
		}
	}
	switch {
	case seconds.MatchString(text):
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, err
		}
		ms = n * 1000
	case raw.Kind() == '"' && rfc3339.MatchString(text):
		var at time.Time
		if err := at.UnmarshalText([]byte(strings.ToUpper(text))); err != nil {
			return 0, err
		}
		ms = at.UnixMilli()
	default:
		return 0, errRefused
	}
	if year := time.UnixMilli(ms).UTC().Year(); year < 1 || year > 9999 {
		return 0, errRefused
	}
	return ms, nil
}

func oraclePayload(raw jsontext.Value, coerce bool) (pairs []string, err error) {
	if raw.Kind() != '{' {
		return nil, errRefused
	}
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	for {
		token, err := d.ReadToken()
		if err == io.EOF {
			return pairs, nil
		}
		if err != nil {
			return nil, err
		}
		isName := len(pairs)%2 == 0
		switch kind := token.Kind(); {
		case kind == '{' && len(pairs) == 0 && d.StackDepth() == 1, kind == '}' && d.StackDepth() == 0:
		case kind == '"':
			text := token.String()
			if isName && (len(text) > 100 || len(pairs) == 100) || len(text) > 500 {
				return nil, errRefused
			}
			pairs = append(pairs, text)
		case kind == '0' && coerce && !strings.ContainsAny(token.String(), ".eE") && len(token.String()) <= 500:
			pairs = append(pairs, token.String())
		default:
			return nil, errRefused
		}
	}
}
