package stripe

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	created = 1795262400000 // 2026-11-21T12:00:00.000Z
	later   = created + 15*60*1000
)

var sampleRandom = [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 0xf8, 9, 10, 11, 12, 13, 14, 15}

func sampleObjects() [][]byte {
	event := MeterEvent{
		EventName: []byte("api_requests"), Identifier: []byte("order-17"), Payload: []byte(`{"stripe_customer_id":"cus_1","value":"25"}`),
		CreatedMs: created + 1999, TimestampMs: created - 1,
	}
	cancel := Adjustment{Random: sampleRandom, EventName: []byte("api_requests"), CancelIdentifier: []byte("order-17"), Status: Pending, CreatedMs: created}
	whole := cancel
	whole.CancelIdentifier, whole.Status, whole.Livemode = nil, Complete, true
	meter := Meter{
		ID: "mtr_test_1", DisplayName: "API \"requests\"", EventName: "api_requests", Formula: "sum", CustomerKey: "stripe_customer_id",
		ValueKey: "value", CreatedMs: created, UpdatedMs: later, Active: true,
	}
	asleep := meter
	asleep.ID, asleep.Formula, asleep.EventTimeWindow, asleep.Active, asleep.DeactivatedMs, asleep.Livemode = "mtr_2", "last", "hour", false, later, true
	fate := UsageEvent{
		Identifier: "order-17", EventName: "api_requests", Status: "counted", Topic: "tollgate.usage", Partition: 3, Offset: 1 << 40,
		ReceivedMs: created, TimestampMs: created - 1, Duplicate: &UsageRecord{3, 1<<40 + 7, later},
	}
	refused := UsageEvent{
		Identifier: `"`, EventName: "a", Livemode: true, Status: "refused", Topic: "tollgate.usage", ReceivedMs: created, Code: "no_meter",
		Message: "No meter.", CancelledBy: &UsageRecord{Offset: 1, ReceivedMs: created},
	}
	return [][]byte{
		AppendSummary(nil, &Summary{Bits: sampleRandom, Meter: "mtr_test_1", Value: "12345678901234567890.5", StartMs: created, EndMs: later}),
		AppendSummary(nil, &Summary{Meter: "mtr_1", Value: "-1", Livemode: true}),
		AppendUsageEvent(nil, &fate),
		AppendUsageEvent(nil, &refused),
		AppendMeter(nil, &meter),
		AppendMeter(nil, &asleep),
		AppendList(nil, []byte("/v1/billing/meters"), nil, false, AppendMeter),
		AppendList(nil, []byte("/v1/billing/meters"), []Meter{meter, asleep}, true, AppendMeter),
		AppendSession(nil, &Session{Random: sampleRandom, Token: []byte("tgst_abc"), CreatedMs: created, ExpiresMs: later}),
		AppendSession(nil, &Session{Random: sampleRandom, Token: []byte("tgst_abc"), CreatedMs: created, ExpiresMs: later, Livemode: true}),
		AppendV2MeterEvent(nil, &event),
		AppendV1MeterEvent(nil, &event),
		AppendV2Adjustment(nil, &cancel),
		AppendV1Adjustment(nil, &cancel),
		AppendV1Adjustment(nil, &whole),
	}
}

func TestObjectsAreAsInTheGoldenFile(t *testing.T) {
	got := append(bytes.Join(sampleObjects(), []byte("\n")), '\n')
	compareGolden(t, "testdata/objects.golden", got)
	for _, object := range sampleObjects() {
		if !json.Valid(object) {
			t.Errorf("not JSON: %s", object)
		}
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	prefix := []byte("before ")
	for _, got := range [][]byte{
		AppendSession(prefix, &Session{}), AppendV1Adjustment(prefix, &Adjustment{}), AppendMeter(prefix, &Meter{}), AppendSummary(prefix, &Summary{}), AppendUsageEvent(prefix, &UsageEvent{}),
		AppendList(prefix, nil, nil, false, AppendMeter), NoCredentials().AppendV1(prefix),
		appendID(prefix, sessionPrefix, true, sampleRandom), AppendRequestID(prefix, sampleRandom), appendTime(prefix, 0),
	} {
		if !bytes.HasPrefix(got, prefix) {
			t.Errorf("%s", got)
		}
	}
}

func TestTimesHaveOneWidth(t *testing.T) {
	f := func(ms int64, want string) {
		t.Helper()
		if got := string(appendTime(nil, ms)); got != want {
			t.Errorf("%d: got %s, want %s", ms, got, want)
		}
	}
	f(created, "2026-11-21T12:00:00.000Z")
	f(created+7, "2026-11-21T12:00:00.007Z")
	f(0, "1970-01-01T00:00:00.000Z")
	f(-1, "1969-12-31T23:59:59.999Z")
	if unixSeconds(-1) != -1 || unixSeconds(1999) != 1 {
		t.Error("seconds are not rounded down")
	}
}

func TestIDsKeepEveryBit(t *testing.T) {
	f := func(random [16]byte, want string) {
		t.Helper()
		if got := string(appendID(nil, sessionPrefix, false, random)); got != "mtes_test_"+want {
			t.Errorf("got %s, want …%s", got, want)
		}
	}
	f([16]byte{}, "0000000000000000000000")
	f([16]byte{7: 1, 15: 61}, "0000000000100000000000"[:21]+"z")
	f([16]byte(bytes.Repeat([]byte{0xff}, 16)), "LygHa16AHYFLygHa16AHYF") // 2^64-1, twice
	if got := string(AppendRequestID(nil, [16]byte{})); got != "req_0000000000000000000000" {
		t.Error(got)
	}
	seen := make(map[string]bool)
	for i := range 128 {
		var random [16]byte
		random[i/8] = 1 << (i % 8)
		id := string(appendID(nil, adjustmentPrefix, true, random))
		if seen[id] || len(id) != len(adjustmentPrefix)+idTextBytes {
			t.Errorf("bit %d: %s", i, id)
		}
		seen[id] = true
	}
}

func FuzzParseSummaryID(f *testing.F) {
	f.Add("mtrusg_test_001IYT0XLWRLIHjtKzAfTb", false)
	f.Add("mtrusg_LygHa16AHYFLygHa16AHYF", true)
	f.Add("mtrusg_LygHa16AHYGLygHa16AHYF", true)
	f.Add("mtrusg_zzzzzzzzzzzzzzzzzzzzzz", true)
	f.Add("mtr_1", true)
	f.Fuzz(func(t *testing.T, id string, livemode bool) {
		read, ok := ParseSummaryID(id, livemode)
		if written := string(appendID(nil, summaryPrefix, livemode, read)); ok && written != id {
			t.Fatalf("%q was read and is written as %q", id, written)
		}
		if again, ok := ParseSummaryID(string(appendID(nil, summaryPrefix, livemode, read)), livemode); !ok || again != read {
			t.Fatalf("%v was written and is read as %v", read, again)
		}
	})
}

func FuzzAppendQuoted(f *testing.F) {
	for _, seed := range []string{"", "plain", "\"\\\n\r\t\b\f\x00\x1f\x7f", "grüße 世界 😀", "\xff", "a\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\u2028\u2029<>&"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quoted := appendQuoted([]byte("x"), text)[1:]
		if string(appendQuoted(nil, []byte(text))) != string(quoted) {
			t.Fatal("string and bytes differ")
		}
		if !utf8.Valid(quoted) {
			t.Fatalf("not UTF-8: %q", quoted)
		}
		var got string
		if err := json.Unmarshal(quoted, &got); err != nil {
			t.Fatalf("%q: %v", quoted, err)
		}
		// One U+FFFD for each bad byte, as a range over the string has it; encoding/json reads valid text unchanged.
		if want := string([]rune(text)); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestNothingIsAllocatedForAnAnswer(t *testing.T) {
	buf := make([]byte, 0, 4096)
	event := MeterEvent{EventName: []byte("api_requests"), Identifier: []byte("i"), Payload: []byte("{}"), CreatedMs: created, TimestampMs: created}
	session := Session{Token: []byte("tgst_abc"), CreatedMs: created, ExpiresMs: later}
	meter := Meter{ID: "mtr_1", EventName: "api_requests"}
	refusal := Overloaded()
	f := func(what string, do func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, do); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	f("v2 meter event", func() { AppendV2MeterEvent(buf, &event) })
	f("v1 meter event", func() { AppendV1MeterEvent(buf, &event) })
	f("session", func() { AppendSession(buf, &session) })
	f("meter", func() { AppendMeter(buf, &meter) })
	f("request id", func() { AppendRequestID(buf, sampleRandom) })
	f("refusal", func() { refusal.AppendV2(buf) })
	f("headers", func() {
		for _, value := range refusal.Headers {
			if value == "" {
				t.Error("empty header")
			}
		}
	})
}

func BenchmarkRefusal(b *testing.B) {
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = Overloaded().AppendV2(buf[:0])
	}
}

func BenchmarkAppendQuoted(b *testing.B) {
	buf := make([]byte, 0, 1024)
	text := []byte(strings.Repeat("stripe_customer_id ", 5))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		buf = appendQuoted(buf[:0], text)
	}
}

func BenchmarkRequestID(b *testing.B) {
	buf := make([]byte, 0, 64)
	random := [16]byte{}
	for n := uint64(0); b.Loop(); n += math.MaxUint64 / 61 {
		random[0] = byte(n)
		buf = AppendRequestID(buf[:0], random)
	}
}
