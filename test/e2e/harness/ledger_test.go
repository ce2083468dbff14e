package harness

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// faults is a test that notes what it is failed with.
type faults struct {
	testing.TB
	said []string
}

func (f *faults) Helper()             {}
func (f *faults) Logf(string, ...any) {}
func (f *faults) Error(args ...any)   { f.said = append(f.said, fmt.Sprint(args...)) }
func (f *faults) Errorf(form string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(form, args...))
}

// The fault tests prove as much as this finds.
func TestALedgerFindsWhatIsMissingDoubledOutOfOrderOrOfAnotherTime(t *testing.T) {
	l := Ledger{name: "load", events: 2, acked: [][]bool{{true, false, true}, {true}}, Besides: []string{"mine"}}
	whole := func() (log []Event) {
		for _, id := range []string{
			"load/0/000000/000", "load/1/000000/000", "load/0/000000/001", "load/1/000000/001",
			"load/0/000001/001", "load/0/000002/000", "load/0/000002/001", "mine", "load/0/0/0",
		} {
			log = append(log, Event{Identifier: id, Name: "m", Received: "2026-11-26T00:00:00.001Z", RecordMs: time.Date(2026, 11, 26, 0, 0, 0, 1e6, time.UTC).UnixMilli()})
		}
		return log
	}
	if n := l.Acked(); n != 7 {
		t.Errorf("%d events were acknowledged, want 7", n)
	}
	for _, c := range []struct {
		what   string
		change func(log []Event) []Event
		once   bool
		want   string // how the one fault begins; empty: none
	}{
		{"nothing is wrong", func(log []Event) []Event { return log }, true, ""},
		{"one of a load is missing", func(log []Event) []Event { return log[1:] }, true, "1 of 7 acknowledged identifiers are missing from the log, for example load/0/000000/000"},
		{"one of the test is missing", func(log []Event) []Event { return slices.Delete(log, 7, 8) }, true, "1 of 7 acknowledged identifiers are missing from the log, for example mine"},
		{"what was not acknowledged is missing", func(log []Event) []Event { return slices.Delete(log, 4, 5) }, true, ""},
		{"one is there three times", func(log []Event) []Event { return append(log, log[0], log[0]) }, true, "1 identifiers are in the log more than once, for example load/0/000000/000"},
		{"another's is there twice", func(log []Event) []Event { return append(log, log[8]) }, true, "1 identifiers are in the log more than once, for example load/0/0/0"},
		{"what was not acknowledged is there twice", func(log []Event) []Event { return append(log, log[4]) }, true, "1 identifiers are in the log more than once"},
		{"one is there twice and may be", func(log []Event) []Event { return append(log, log[0]) }, false, ""},
		{"two of a client are in the other order", func(log []Event) []Event { log[0], log[6] = log[6], log[0]; return log }, true, "client 0, meter m: load/0/000000/001 stands after load/0/000002/001"},
		{"the same of two meters", func(log []Event) []Event { log[0], log[6] = log[6], log[0]; log[0].Name = "n"; return log }, true, "client 0, meter m: load/0/000000/000 stands after load/0/000002/000"},
		{"what was not acknowledged is in another order", func(log []Event) []Event {
			log[0], log[4] = log[4], log[0]
			log[4], log[2] = log[2], log[4]
			return log
		}, true, ""},
		{"one has another time", func(log []Event) []Event { log[3].RecordMs++; return log }, true, "load/1/000000/001: received"},
		{"one has no time", func(log []Event) []Event { log[8].Received = ""; return log }, true, "load/0/0/0: received"},
	} {
		var f faults
		l.Check(&f, slices.Values(c.change(whole())), c.once)
		if c.want == "" && len(f.said) > 0 || c.want != "" && (len(f.said) != 1 || !strings.HasPrefix(f.said[0], c.want)) {
			t.Errorf("%s: it says %q, want %q", c.what, f.said, c.want)
		}
	}
}
