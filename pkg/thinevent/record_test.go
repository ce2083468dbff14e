package thinevent

import (
	"bytes"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"tollgate/pkg/recordbatch"
	"tollgate/pkg/stripe"
)

var update = flag.Bool("update", false, "write testdata/records.tsv")

// recordOf is the record of an event, as a log hands it out.
func recordOf(t testing.TB, e *Event) recordbatch.Record {
	t.Helper()
	var b recordbatch.Builder
	b.Reset(nil)
	b.Append(e.CreatedMs, appendRecord(nil, e))
	batch := b.Seal()
	var s recordbatch.Scanner
	if err := s.Reset(batch, 0); err != nil || !s.Next() {
		t.Fatal(err, s.Err())
	}
	return s.Record()
}

func recordsOfAllKinds(t testing.TB) []*Event {
	golden := goldenEvents(t)
	live := NewReport(&Report{
		Business: "acct_live", Livemode: true, MeterID: "mtr_<&\"ä>", StartMs: 10_000, EndMs: 20_000, Source: Source{255, 1 << 50, 1<<50 + 1},
		Codes: []CodeErrors{
			{"timestamp_in_future", 1 << 40, []Sample{{"Line\nand \"quotes\" <b>", "käse\x00"}, {"", ""}}},
			{"archived_meter", 1 << 40, nil},
		},
	}, 20_000)
	live.Context = "acct_1/acct_2"
	bare := NewPing("acct_demo", true, "ed_1", [16]byte{}, nil, 0)
	risk := NewAtRisk(&Risk{Business: "acct_demo", OldestReceivedMs: 1_800_000_000_000, OldestHappenedMs: 1_799_000_000_000, Unsent: 7, Behind: 1 << 40, Trouble: "Line\nand \"quotes\""}, 1_800_072_000_000)
	idle := NewAtRisk(&Risk{Business: "acct_demo", Livemode: true}, 1_800_072_000_001)
	golden["ping"].ID = string(stripe.AppendEventID(nil, false, [16]byte{15: 7}))
	golden["no_meter"].ID = string(stripe.AppendEventID(nil, false, [16]byte{15: 8}))
	golden["error_report"].ID = string(stripe.AppendEventID(nil, false, [16]byte{15: 9}))
	return []*Event{golden["error_report"], golden["no_meter"], golden["ping"], live, bare, risk, idle}
}

// Package schema of test/ holds the same file against the published schema.
func TestRecordsAreAsInTheGoldenFile(t *testing.T) {
	const file = "testdata/records.tsv"
	var got bytes.Buffer
	for _, e := range recordsOfAllKinds(t) {
		rec := recordOf(t, e)
		if rec.TimestampMs != e.CreatedMs {
			t.Errorf("the record of %s has the time %d", e.ID, rec.TimestampMs)
		}
		got.Write(rec.Key)
		got.WriteByte('\t')
		got.Write(rec.Value)
		got.WriteByte('\n')
	}
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("records are\n%s, want\n%s", got.Bytes(), want)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, e := range recordsOfAllKinds(t) {
		want := *e
		want.Offset = 77
		rec := recordOf(t, e)
		rec.Offset = 77
		got, err := parseRecord(&rec)
		if err != nil || !reflect.DeepEqual(got, &want) {
			t.Errorf("record: %+v, %v, want %+v", got, err, &want)
		}
		row := appendRow(nil, &want)
		if got, err := parseRow(77, row); err != nil || !reflect.DeepEqual(got, &want) {
			t.Errorf("row: %+v, %v, want %+v", got, err, &want)
		}
		for n := range len(row) - len(e.Data) + 1 {
			if got, err := parseRow(77, row[:n]); err == nil {
				t.Fatalf("%d of %d bytes of a row are read as %+v", n, len(row), got)
			}
		}
		row[rowHeadBytes-1] |= 0x80
		if _, err := parseRow(77, row); err == nil {
			t.Error("a row with a flag of a later version is read")
		}
	}
}

// Whatever is in the topic is left out or is an event that is indexed and read back as it is.
func FuzzRecord(f *testing.F) {
	for _, e := range recordsOfAllKinds(f) {
		f.Add(recordOf(f, e).Value)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := parseRecord(&recordbatch.Record{Offset: 5, Value: value})
		if err != nil {
			return
		}
		if got, err := parseRow(5, appendRow(nil, e)); err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("row: %+v, %v, want %+v", got, err, e)
		}
		rec := recordOf(t, e)
		rec.Offset = 5
		if got, err := parseRecord(&rec); err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("record: %+v, %v, want %+v", got, err, e)
		}
	})
}

func FuzzRow(f *testing.F) {
	for _, e := range recordsOfAllKinds(f) {
		f.Add(appendRow(nil, e))
	}
	f.Fuzz(func(t *testing.T, row []byte) {
		e, err := parseRow(5, row)
		if err != nil {
			return
		}
		if got, err := parseRow(5, appendRow(nil, e)); err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("%+v, %v, want %+v", got, err, e)
		}
	})
}

func TestARecordThatIsNoEventIsRefused(t *testing.T) {
	events := recordsOfAllKinds(t)
	good := recordOf(t, events[0])
	f := func(why, old, new string) {
		t.Helper()
		value := strings.Replace(string(good.Value), old, new, 1)
		if value == string(good.Value) {
			t.Fatalf("%s: %q is not in the record", why, old)
		}
		if e, err := parseRecord(&recordbatch.Record{Value: []byte(value)}); err == nil {
			t.Errorf("%s: read as %+v", why, e)
		}
	}
	f("broken JSON", `{"id"`, `{id`)
	f("another object", `v2.core.event"`, `v3.core.event"`)
	f("no id", `"id":"evt_test_0000000000000000000009"`, `"id":""`)
	f("a giant id", `evt_test_`, strings.Repeat("x", textBytesMax))
	f("no type", `"type":"v1.billing.meter.error_report_triggered"`, `"type":""`)
	f("no time", `2026-03-02T10:20:42.118Z`, `yesterday`)
	f("no mode", `"livemode":false,`, ``)
	f("no business", `"business":"acct_demo"`, `"business":null`)
	f("data that is a list", `"data":{`, `"data":[],"other":{`)
	f("no data", `"data":{`, `"other":{`)
	f("a giant object", `"id":"mtr_test_65gwFixture0001"`, `"id":"`+strings.Repeat("x", textBytesMax+1)+`"`)
	if _, err := parseRecord(&recordbatch.Record{}); err == nil {
		t.Error("a record without a value is read")
	}
	far := *events[0]
	far.CreatedMs = 1 << 60
	if far.check() == nil {
		t.Error("an event of the year 36,000,000 would be written")
	}
}
