package meterevent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tollgate/pkg/meterevent"
)

// readers are one that reads as it likes and one that is held to the general way. They remember what they read before,
// whatever test it was of.
type readers struct{ any, general meterevent.RecordReader }

// checkRead holds the value of a record against everything that is promised of Read. It says whether it was accepted.
func (p *readers) checkRead(t testing.TB, value []byte) (got meterevent.Record, accepted bool) {
	t.Helper()
	sent := bytes.Clone(value)
	var want meterevent.Record
	err := p.any.Read(value, &got)
	generalErr := p.general.ReadGeneral(value, &want)
	if (err == nil) != (generalErr == nil) || err != nil && err.Error() != generalErr.Error() {
		t.Fatalf("Read says %v, the general way %v, of %q", err, generalErr, value)
	}
	if !bytes.Equal(value, sent) {
		t.Fatalf("Read wrote to %q", sent)
	}
	if err != nil {
		text := err.Error()
		if len(text) > 400 || !utf8.ValidString(text) || strings.Contains(text, "body ") {
			t.Fatalf("error text %q", text)
		}
		return got, false
	}
	if !sameRecord(&got, &want) {
		t.Fatalf("Read gives\n%+v, the general way\n%+v, of\n%q", got, want, value)
	}
	p.checkJSON(t, &got, value)
	return got, true
}

func sameRecord(a, b *meterevent.Record) bool {
	return a.Adjustment == b.Adjustment && bytes.Equal(a.Business, b.Business) && a.Livemode == b.Livemode && bytes.Equal(a.EventName, b.EventName) &&
		bytes.Equal(a.Identifier, b.Identifier) && a.TimestampMs == b.TimestampMs && a.ReceivedMs == b.ReceivedMs &&
		bytes.Equal(a.Payload, b.Payload) && a.HasRequest == b.HasRequest && a.Request == b.Request
}

// checkJSON holds what was read against encoding/json. It reads into maps, because it does not care for the case of the
// names of a struct.
func (p *readers) checkJSON(t testing.TB, r *meterevent.Record, value []byte) {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(value, &members); err != nil || !utf8.Valid(value) {
		t.Fatalf("accepted %q (%v)", value, err)
	}
	text := func(name string) (s string) {
		if err := json.Unmarshal(members[name], &s); err != nil {
			t.Fatalf("accepted with %s %s: %v", name, members[name], err)
		}
		return s
	}
	at := func(name string) int64 {
		at, err := time.Parse("2006-01-02T15:04:05.000Z", text(name))
		if err != nil {
			t.Fatalf("accepted with %s %s: %v", name, members[name], err)
		}
		return at.UnixMilli()
	}
	if text("business") != string(r.Business) || text("event_name") != string(r.EventName) || at("received") != r.ReceivedMs ||
		string(members["livemode"]) != strconv.FormatBool(r.Livemode) {
		t.Fatalf("got %+v of %s", r, value)
	}
	if _, has := members["request"]; has != r.HasRequest || has && text("request") != fmt.Sprintf("%016x%016x", r.Request.Key, r.Request.Params) {
		t.Fatalf("got request %v %+v of %s", r.HasRequest, r.Request, value)
	}
	if r.Adjustment {
		var cancel map[string]json.RawMessage
		var identifier string
		if json.Unmarshal(members["cancel"], &cancel) != nil || json.Unmarshal(cancel["identifier"], &identifier) != nil ||
			identifier != string(r.Identifier) || text("object") != "meter_event_adjustment" || text("type") != "cancel" || r.Payload != nil {
			t.Fatalf("got %+v of %s", r, value)
		}
		return
	}
	var payload map[string]string
	if err := json.Unmarshal(members["payload"], &payload); err != nil {
		t.Fatalf("accepted the payload %s: %v", members["payload"], err)
	}
	if text("object") != "meter_event" || text("identifier") != string(r.Identifier) || at("timestamp") != r.TimestampMs {
		t.Fatalf("got %+v of %s", r, value)
	}
	for name, want := range payload {
		for _, p := range []*meterevent.RecordReader{&p.any, &p.general} {
			if got, ok := p.PayloadValue(r, name); !ok || string(got) != want {
				t.Fatalf("the payload's %q is %q, %v, and %q in %s", name, got, ok, want, value)
			}
		}
	}
	if _, ok := p.any.PayloadValue(r, "no such key \x00"); ok {
		t.Fatalf("a key that is not in %s", r.Payload)
	}
}

// TestWhateverARecorderWritesReadsBackEqual writes the events of generated bodies, reads them, and reads them again after
// something has happened to them.
func TestWhateverARecorderWritesReadsBackEqual(t *testing.T) {
	documents := documentCount(t)
	seed := rand.Uint64()
	t.Logf("seed %d, %d documents", seed, documents)
	g := generator{rand.New(rand.NewPCG(seed, 1))}
	d := meterevent.NewDecoder(meterevent.Options{CoerceNumbers: true})
	var rec meterevent.Recorder
	var p readers
	fast, mutated := 0, 0
	for range documents {
		events, err := d.Stream(g.body())
		if err != nil {
			continue
		}
		business, livemode, received := g.one("acct_1", "acct.demo-2", strings.Repeat("b", 64)), g.chance(50), receivedMs+g.Int64N(100_000)
		rec.Begin(business, livemode, received)
		for i := range events {
			ev := &events[i]
			if ev.Identifier == nil {
				ev.Identifier = []byte("derived")
			}
			rec.Meter(ev.Name)
			request := meterevent.Request{Key: g.Uint64(), Params: g.Uint64()}
			has := g.chance(30)
			value := rec.Append(nil, ev)
			if has {
				value = rec.AppendRequested(nil, ev, request)
			} else {
				request = meterevent.Request{}
			}
			want := meterevent.Record{
				Business: []byte(business), Livemode: livemode, EventName: ev.Name, Identifier: ev.Identifier, TimestampMs: received,
				ReceivedMs: received, Payload: ev.Payload, HasRequest: has, Request: request,
			}
			if ev.HasTimestamp {
				want.TimestampMs = ev.TimestampMs
			}
			if p.any.ReadFast(value, &meterevent.Record{}) {
				fast++
			} else if !bytes.ContainsAny(ev.Name, "\"\\") && !bytes.ContainsRune(ev.Payload, '\\') {
				t.Fatalf("the fast way does not read %q", value)
			}
			if got, ok := p.checkRead(t, value); !ok || !sameRecord(&got, &want) {
				t.Fatalf("%+v became\n%+v by\n%s", want, got, value)
			}
			for range 4 {
				if value = g.mutate(value); !g.chance(5) {
					if _, ok := p.checkRead(t, value); ok {
						mutated++
					}
				}
			}
		}
	}
	if fast == 0 || mutated == 0 {
		t.Errorf("%d records by the fast way, %d mutations accepted", fast, mutated)
	}
}

// FuzzRecord holds everything of checkRead for whatever the fuzzer invents, after a record that leaves its head.
func FuzzRecord(f *testing.F) {
	for _, value := range recordExamples(f) {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var p readers
		p.checkRead(t, value)
		p.checkRead(t, value)
		for _, example := range goldenRecords[:2] {
			if _, ok := p.checkRead(t, []byte(example)); !ok {
				t.Fatalf("after %q: %s", value, example)
			}
		}
	})
}

func recordExamples(t testing.TB) (values [][]byte) {
	for _, value := range goldenRecords {
		values = append(values, []byte(value))
	}
	text, err := os.ReadFile("../../test/schema/testdata/valid.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		values = append(values, bytes.TrimSuffix(line, []byte("\n")))
	}
	return values
}

// goldenRecords are records of every kind; the first is as a Recorder writes it.
var goldenRecords = []string{
	`{"object":"meter_event","business":"acct_demo","livemode":false,"event_name":"api_requests","identifier":"req-1","timestamp":"2026-11-21T12:00:00.000Z","received":"2026-11-21T12:00:00.123Z","payload":{"stripe_customer_id":"cus_1","value":"25"}}`,
	`{"object":"meter_event_adjustment","business":"acct_demo","livemode":true,"event_name":"api_requests","received":"2026-11-21T12:00:00.123Z","type":"cancel","cancel":{"identifier":"req-1"},"request":"0123456789abcdeffedcba9876543210"}`,
	`{"object":"meter_event","business":"acct_demo","livemode":true,"event_name":"größe","identifier":"\n","timestamp":"2026-11-21T12:00:00.000Z","received":"2026-11-21T12:00:00.000Z","payload":{"\u0061":"\u00e9\n","b":""},"request":"0123456789abcdeffedcba9876543210"}`,
	"{ \"payload\" : { \"k\" : \"v\" , \"a\" : \"b\" } , \"x\":{\"y\":[1,null,\"z\"]},\"received\":\"2026-11-21T12:00:00.123Z\",\"timestamp\":\"0001-01-01T00:00:00.000Z\",\"identifier\":\"i\",\"event_name\":\"n\\u0061\",\n\"livemode\":true,\"business\":\"acct_\\u0064emo\",\"cancel\":5,\"object\":\"meter_event\"}\n",
	`{"object":"meter_event_adjustment","payload":7,"business":"b","livemode":false,"event_name":"n","received":"9999-12-31T23:59:59.999Z","type":"cancel","cancel":{"x":1,"identifier":"\u0069"},"timestamp":null}`,
}

func TestRecordsOfAnyLayoutAreRead(t *testing.T) {
	var p readers
	for _, value := range recordExamples(t) {
		if _, ok := p.checkRead(t, value); !ok {
			var r meterevent.Record
			t.Errorf("%v: %s", p.any.Read(value, &r), value)
		}
	}
	var r meterevent.Record
	if err := p.any.Read([]byte(goldenRecords[3]), &r); err != nil || string(r.Payload) != `{"k":"v","a":"b"}` || string(r.EventName) != "na" {
		t.Errorf("%v, payload %s, name %s", err, r.Payload, r.EventName)
	}
}

func TestWhatTheSchemaRefusesIsNotReadAsARecord(t *testing.T) {
	text, err := os.ReadFile("../../test/schema/testdata/invalid.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var p readers
	for line := range bytes.Lines(text) {
		if r, ok := p.checkRead(t, line); ok && !schemaAloneRefuses(&r, line) {
			t.Errorf("read as a record: %s", line)
		}
	}
	f := func(old, with, want string) {
		t.Helper()
		value := []byte(strings.Replace(goldenRecords[0], old, with, 1))
		var r meterevent.Record
		if _, ok := p.checkRead(t, value); ok {
			t.Errorf("read as a record: %s", value)
		} else if err := p.any.Read(value, &r); err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	f(`"livemode":false,`, ``, "livemode is required.")
	f(`"livemode":false`, `"livemode":"false"`, "livemode must be a boolean, got a string.")
	f(`acct_demo`, `acct/demo`, "business must consist of letters, digits, '_', '.' and '-'.")
	f(`acct_demo`, strings.Repeat("a", 65), "business must have 1 to 64 characters.")
	f(`"req-1"`, `""`, "identifier must not be empty.")
	f(`"req-1"`, `null`, "identifier must be a string, got null.")
	f(`"object":"meter_event",`, ``, "object is required.")
	f(`"meter_event"`, `"meter"`, `object must be "meter_event" or "meter_event_adjustment".`)
	f(`12:00:00.123Z`, `12:00:00.123z`, "received must be a time like 2026-11-21T12:00:00.000Z, in the years 1 to 9999.")
	f(`2026-11-21T12:00:00.000Z`, `1795262400`, "timestamp must be a time like 2026-11-21T12:00:00.000Z, in the years 1 to 9999.")
	f(`"25"`, `25`, "payload.value must be a string, got a number.")
	f(`"value"`, `"stripe_customer_id"`, `record has the name "stripe_customer_id" twice in one object, the second before byte 251.`)
	f(`"livemode"`, `"x":1,"\u0078":2,"livemode"`, "x appears twice.")
	f(`}}`, `},"request":"0123456789ABCDEFfedcba9876543210"}`, "request must be 32 lowercase hexadecimal digits.")
	f(`}}`, `},"request":null}`, "request must be a string, got null.")
	f(`}}`, `}}}`, "record is not valid JSON at byte 244: expected nothing more, got '}'.")
	f(`{"object"`, "\xef\xbb\xbf{\"object\"", "record is not valid JSON at byte 0: expected a value, got a byte order mark.")
}

// schemaAloneRefuses is said of properties that the published schema does not list. A reader ignores them, as the schema's
// own description says.
func schemaAloneRefuses(r *meterevent.Record, line []byte) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(line, &members) != nil {
		return false
	}
	known := map[string]bool{"object": true, "business": true, "livemode": true, "event_name": true, "received": true, "request": true}
	for _, name := range []string{"identifier", "timestamp", "payload"} {
		known[name] = !r.Adjustment
	}
	for _, name := range []string{"type", "cancel"} {
		known[name] = r.Adjustment
	}
	for name := range members {
		if !known[name] {
			return true
		}
	}
	var cancel map[string]json.RawMessage
	return r.Adjustment && json.Unmarshal(members["cancel"], &cancel) == nil && len(cancel) > 1
}

func TestRecordsOfOneMeterInARowAreSaidToBe(t *testing.T) {
	var p meterevent.RecordReader
	f := func(value string, want bool) {
		t.Helper()
		var r meterevent.Record
		if err := p.Read([]byte(value), &r); err != nil || r.SameScope != want {
			t.Errorf("%v, same scope %v, of %s", err, r.SameScope, value)
		}
	}
	record := goldenRecords[0]
	f(record, false)
	f(record, true)
	f(strings.Replace(record, "req-1", "req-2", 1), true)
	f(strings.Replace(record, "false", "true", 1), false)
	f(record, false)
	f(strings.Replace(record, "api_requests", "api_requests2", 1), false)
	f(record, false)
	f(goldenRecords[1], false)
	f(record, false)
	f(goldenRecords[3], false)
	f(record, false)
	f(record, true)
}

func TestARecordWithZerosForATimeIsRefusedAlsoAsTheFirst(t *testing.T) {
	for _, at := range []string{"2026-11-21T12:00:00.123Z", "2026-11-21T12:00:00.000Z"} {
		var p readers
		if r, ok := p.checkRead(t, []byte(strings.ReplaceAll(goldenRecords[0], at, strings.Repeat("\x00", len(at))))); ok {
			t.Errorf("read as %+v", r)
		}
	}
	var p readers
	value := strings.NewReplacer("2026-11-21T12:00:00.123Z", strings.Repeat("\x00", 24), "2026-11-21T12:00:00.000Z", strings.Repeat("\x00", 24)).Replace(goldenRecords[0])
	if r, ok := p.checkRead(t, []byte(value)); ok {
		t.Errorf("read as %+v", r)
	}
}

func TestALongValueIsJudgedByItsDecodedLength(t *testing.T) {
	value := []byte(strings.Replace(goldenRecords[0], `"25"`, `"`+strings.Repeat(`\n`, 500)+`"`, 1))
	var p meterevent.RecordReader
	var r meterevent.Record
	if err := p.Read(value, &r); err != nil {
		t.Fatal(err)
	}
	for range 3 { // of 500 bytes decoded
		if got, ok := p.PayloadValue(&r, "value"); !ok || string(got) != strings.Repeat("\n", 500) {
			t.Fatalf("%q, %v", got, ok)
		}
	}
	value = bytes.Replace(value, []byte(`\n`), []byte(`\n\n`), 1)
	if err := p.Read(value, &r); err == nil {
		t.Error("501 bytes decoded are accepted")
	}
}
