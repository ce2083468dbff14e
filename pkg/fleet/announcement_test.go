package fleet

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

// The schema of the topic is held against the same line, by test/schema.
func TestAnAnnouncementHasTheFormOfItsSchema(t *testing.T) {
	golden, err := os.ReadFile("../../test/schema/testdata/cursors_valid.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(golden, []byte("\n"))
	want := announcement{
		Object: ownerObject, Partition: 3, Gateway: "4ZQKX7", Address: "10.0.0.5:9191",
		Since: "2026-11-21T11:00:00.000Z", At: "2026-11-21T12:00:00.123Z",
	}
	key, value := want.record()
	if string(key) != "usage/3" || !bytes.Equal(value, line) {
		t.Errorf("%s %s, want %s", key, value, line)
	}
	got, at, ours, err := parseAnnouncement(key, value)
	if got != want || !ours || err != nil || !at.Equal(time.Date(2026, 11, 21, 12, 0, 0, 123e6, time.UTC)) {
		t.Errorf("%+v at %v, %t, %v", got, at, ours, err)
	}
}

func TestAnAnnouncementThatNamesNobodyIsRefused(t *testing.T) {
	good := `{"object":"usage_owner","partition":3,"gateway":"g","address":"h:1","since":"","at":"2026-11-21T12:00:00.123Z"}`
	f := func(key, value string) {
		t.Helper()
		if a, _, ours, err := parseAnnouncement([]byte(key), []byte(value)); !ours || err == nil {
			t.Errorf("%s %s gives %+v", key, value, a)
		}
	}
	f("usage/4", good)
	f("usage/-3", strings.Replace(good, "3", "-3", 1))
	f("usage/x", good)
	f("usage/3", "")
	f("usage/3", "{}")
	f("usage/3", strings.Replace(good, `"g"`, `""`, 1))
	f("usage/3", strings.Replace(good, "h:1", "", 1))
	f("usage/3", strings.Replace(good, "h:1", strings.Repeat("h", 301), 1))
	f("usage/3", strings.Replace(good, "2026", "", 1))
	if _, _, ours, _ := parseAnnouncement([]byte("webhook/3"), []byte(good)); ours {
		t.Error("another room's cursor is taken for an announcement")
	}
	if a, _, ours, err := parseAnnouncement([]byte("usage/3"), nil); a.Gateway != "" || a.Partition != 3 || !ours || err != nil {
		t.Errorf("a tombstone gives %+v, %t, %v", a, ours, err)
	}
}
