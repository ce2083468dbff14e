package control

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/records.tsv")

// one of each kind, with and without what may be absent.
func samples() []*proposal {
	at := time.Date(2026, 11, 21, 12, 0, 0, 7e6, time.UTC).UnixMilli()
	k := &Idempotency{API: "v2", Key: `order "7" / <ü>`, Fingerprint: [16]byte{0xab, 15: 0xcd}}
	live := Change{Business: "acct_demo", Livemode: true}
	with := func(change Change, f func(*Change)) Change {
		f(&change)
		return change
	}
	const id, ed = "mtr_test_000000000000000000000g", "ed_test_000000000000000000000g"
	settings := &Settings{
		Name: "Größe", Description: "<all>", EnabledEvents: []string{"v1.billing.meter.no_meter_found"},
		Metadata: map[string]string{"team": "billing", "ü\n": "\u2028"}, URL: "https://example.com/?a=1&b=<2>",
	}
	return []*proposal{
		{object: objectMeter, id: [16]byte{1}, atMs: at, newID: id, change: create("requests", nil)},
		{object: objectMeter, id: [16]byte{2}, atMs: at, newID: "mtr_1", change: with(live, func(c *Change) {
			c.Create = &NewMeter{`Tokens & "more" <käse>`, "tokens/\n\u2028", Last, "cust", "n", Day}
			c.Idempotency = k
		})},
		{object: objectDisplayName, id: [16]byte{3}, atMs: at, change: rename(id, "Other", nil)},
		{object: objectDisplayName, id: [16]byte{4}, atMs: at, change: rename(id, "Other", key("k", 1))},
		{object: objectStatus, id: [16]byte{5}, atMs: at, change: status(id, false, nil)},
		{object: objectStatus, id: [16]byte{6}, atMs: at, change: status(id, true, k)},
		{object: objectUnchanged, id: [16]byte{7}, atMs: at, change: status(id, true, k)},
		{object: objectMark, id: [16]byte{8}, atMs: at},
		{object: objectUnchanged, id: [16]byte{9}, atMs: at, change: rename(id, "", k)},
		{object: objectDestination, id: [16]byte{10}, atMs: at, newID: ed, change: Change{Business: "acct_demo", CreateDestination: newDestination()}},
		{object: objectDestination, id: [16]byte{11}, atMs: at, newID: "ed_1", change: with(live, func(c *Change) {
			c.CreateDestination = newTopic()
			c.Idempotency = k
		})},
		{object: objectDestinationSettings, id: [16]byte{12}, atMs: at, settings: settings, change: Change{
			Business: "acct_demo", UpdateDestination: &DestinationUpdate{ID: ed},
		}},
		{object: objectDestinationStatus, id: [16]byte{13}, atMs: at, change: with(live, func(c *Change) {
			c.DestinationStatus = &DestinationStatus{ID: "ed_1", Reason: `<delivery> failed for "72 h"`}
		})},
		{object: objectDestinationStatus, id: [16]byte{14}, atMs: at, change: with(live, func(c *Change) {
			c.DestinationStatus = &DestinationStatus{ID: "ed_1", Enabled: true}
			c.Idempotency = k
		})},
		{object: objectDestinationSecret, id: [16]byte{15}, atMs: at, change: with(live, func(c *Change) {
			c.RollSecret = &SecretRoll{ID: "ed_1", Secret: "whsec_new+/="}
		})},
		{object: objectDestinationSecret, id: [16]byte{16}, atMs: at, oldSecret: "whsec_old", change: with(live, func(c *Change) {
			c.RollSecret = &SecretRoll{"ed_1", "whsec_new", at + 24*hourMs}
		})},
		{object: objectDestinationDeleted, id: [16]byte{17}, atMs: at, change: with(live, func(c *Change) {
			c.RemoveDestination = &DestinationRemoval{"ed_1"}
			c.Idempotency = k
		})},
		{object: objectDestinationUnchanged, id: [16]byte{18}, atMs: at, change: with(live, func(c *Change) {
			c.DestinationStatus = &DestinationStatus{ID: "ed_1", Enabled: true}
			c.Idempotency = k
		})},
		{object: objectDestinationUnchanged, id: [16]byte{19}, atMs: at, settings: settings, change: with(live, func(c *Change) {
			c.UpdateDestination = &DestinationUpdate{ID: "ed_1"}
			c.Idempotency = k
		})},
	}
}

func TestRecordsAreTheGoldenOnes(t *testing.T) {
	var got strings.Builder
	for _, p := range samples() {
		k, v := p.encode()
		fmt.Fprintf(&got, "%s\t%s\n", k, v)
	}
	const file = "testdata/records.tsv"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got.String() != string(want) {
		t.Errorf("the records are\n%s%v", got.String(), err)
	}
}

func TestARecordReadsAsItWasWritten(t *testing.T) {
	for _, p := range samples() {
		k, v := p.encode()
		got, err := decode(k, v)
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%s: got %+v %v, want %+v", v, got, err, p)
		}
	}
}

func TestALaterVersionsPropertiesAreIgnored(t *testing.T) {
	for _, p := range samples() {
		k, v := p.encode()
		if _, err := decode(k, []byte(strings.Replace(string(v), "{", `{"color":"blue",`, 1))); err != nil {
			t.Errorf("%s: %v", v, err)
		}
	}
}

// Whatever lies in the log, a fold goes on, and what it accepts it would write the same way.
func FuzzDecode(f *testing.F) {
	for _, p := range samples() {
		k, v := p.encode()
		f.Add(k, v)
	}
	f.Add([]byte("mark"), []byte(`{"object":"mark"}`))
	f.Add([]byte{}, []byte("null"))
	f.Fuzz(func(t *testing.T, k, v []byte) {
		p, err := decode(k, v)
		if err != nil {
			return
		}
		if !json.Valid(v) {
			t.Fatalf("%q is accepted", v)
		}
		s := foldAll(nil)
		s.apply(&proposal{object: objectMeter, newID: "m", change: create("requests", nil)})
		s.apply(&proposal{object: objectDestination, newID: "ed_1", change: Change{Business: acct, CreateDestination: newDestination()}})
		s.apply(p)
		s.snapshot()
		k2, v2 := p.encode()
		again, err := decode(k2, v2)
		if err != nil || string(k2) != string(k) || !reflect.DeepEqual(again, p) {
			t.Fatalf("%q %q is written as %q %q: %v", k, v, k2, v2, err)
		}
	})
}
