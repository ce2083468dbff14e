package webhook

import (
	"bufio"
	"bytes"
	"os"
	"testing"
	"time"
	"unique"

	"tollgate/pkg/recordbatch"
)

// The schema of the topic is held against the same lines, by test/schema.
func TestRecordsHaveTheFormOfTheirSchema(t *testing.T) {
	golden, err := os.ReadFile("../../test/schema/testdata/cursors_valid.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for s := bufio.NewScanner(bytes.NewReader(golden)); s.Scan(); {
		if bytes.Contains(s.Bytes(), []byte(`"object":"destination_`)) {
			lines = append(lines, s.Text())
		}
	}
	p := place{business: "acct_demo", id: "ed_test_1"}
	ms := func(hour, milli int) int64 {
		return time.Date(2026, 11, 21, hour, 0, 0, milli*1e6, time.UTC).UnixMilli()
	}
	why := unique.Make("HTTP 500")
	cursors := []cursor{{next: 17}, {next: 17, failing: failing{sinceMs: ms(11, 0), reason: why}}}
	deliveries := []delivery{
		{key: "evt_test_1", offset: 12, tries: 2, firstMs: ms(11, 0), dueMs: ms(12, 123), reason: why},
		{key: "evt_test_1/0123", offset: 12, firstMs: ms(12, 123), dueMs: ms(12, 123), resend: true},
	}
	if len(lines) != len(cursors)+len(deliveries) {
		t.Fatalf("%d golden lines", len(lines))
	}
	for i, c := range cursors {
		value := appendCursor(nil, p, c, "4ZQKX7", ms(12, 123))
		if string(value) != lines[i] {
			t.Errorf("%s, want %s", value, lines[i])
		}
		got, ours, err := parseRecord(recordbatch.Record{Key: []byte("destination/acct_demo/testmode/ed_test_1"), Value: value})
		if err != nil || !ours || got.cursor == nil || *got.cursor != c || got.place != p || cursorKey(p) != "destination/acct_demo/testmode/ed_test_1" {
			t.Errorf("%s is read as %+v, %t, %v", value, got, ours, err)
		}
	}
	for i, d := range deliveries {
		value := appendDelivery(nil, p, &d)
		if want := lines[len(cursors)+i]; string(value) != want {
			t.Errorf("%s, want %s", value, want)
		}
		got, ours, err := parseRecord(recordbatch.Record{Key: []byte(deliveryKey(p, d.key)), Value: value})
		if err != nil || !ours || got.waiting == nil || *got.waiting != d || got.place != p {
			t.Errorf("%s is read as %+v, %t, %v", value, got, ours, err)
		}
	}
	if key := deliveryKey(place{"acct_demo", "ed_1", true}, "evt_1/0123"); key != "delivery/acct_demo/livemode/ed_1/evt_1/0123" {
		t.Errorf("a resend's key is %s", key)
	}
}
