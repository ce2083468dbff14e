package ledger

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestALedgerComesBackFromItsFile(t *testing.T) {
	dice := rand.New(rand.NewPCG(3, 4))
	want := make([][]Outcome, 7)
	l := &Ledger{Run: 0xdeadbeef}
	for i := range want {
		lane := &Lane{}
		for range dice.IntN(500) * i {
			o, n := Outcome(dice.IntN(int(outcomes))), 1+dice.IntN(100)
			lane.Add(o, n)
			want[i] = append(want[i], slices.Repeat([]Outcome{o}, n)...)
		}
		l.Lanes = append(l.Lanes, lane)
	}
	file := filepath.Join(t.TempDir(), "ledger")
	if err := l.Save(file); err != nil {
		t.Fatal(err)
	}
	got, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.Run != l.Run || len(got.Lanes) != len(l.Lanes) {
		t.Fatalf("run %x with %d lanes", got.Run, len(got.Lanes))
	}
	for i, lane := range got.Lanes {
		var outcomes []Outcome
		for r := range lane.Runs() {
			if r.First != uint64(len(outcomes)) {
				t.Fatalf("lane %d: a run begins at %d and not at %d", i, r.First, len(outcomes))
			}
			outcomes = append(outcomes, slices.Repeat([]Outcome{r.Outcome}, int(r.Events))...)
		}
		if !slices.Equal(outcomes, want[i]) {
			t.Errorf("lane %d differs", i)
		}
		if lane.Sent() != l.Lanes[i].Sent() || lane.Acked() != l.Lanes[i].Acked() {
			t.Errorf("lane %d: sent %d acked %d", i, lane.Sent(), lane.Acked())
		}
	}
}

func TestAHundredMillionAcknowledgedEventsAreAFewBytes(t *testing.T) {
	l := &Ledger{Lanes: []*Lane{{}}}
	for range 1_000_000 {
		l.Lanes[0].Add(Acked, 100)
	}
	file := filepath.Join(t.TempDir(), "ledger")
	if err := l.Save(file); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(file); info.Size() > 64 {
		t.Errorf("%d bytes", info.Size())
	}
}

func TestADamagedLedgerIsRefused(t *testing.T) {
	l := &Ledger{Run: 7, Lanes: []*Lane{{}}}
	l.Lanes[0].Add(Acked, 100)
	l.Lanes[0].Add(Unknown, 1)
	file := filepath.Join(t.TempDir(), "ledger")
	if err := l.Save(file); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		rotten := slices.Clone(whole)
		rotten[i] ^= 0x10
		if _, err := parse(rotten); err == nil {
			t.Errorf("a ledger with byte %d changed was read", i)
		}
		if _, err := parse(whole[:i]); err == nil {
			t.Errorf("a ledger cut to %d bytes was read", i)
		}
	}
}

func TestAnIdentifierSaysLaneAndSequence(t *testing.T) {
	for _, c := range []struct {
		lane     int
		sequence uint64
	}{{0, 0}, {1, 1}, {LanesMax - 1, SequenceMax - 1}, {42, 1234}} {
		id := AppendIdentifier(nil, 0x5f3a01c9, c.lane, 99)
		PutSequence(id, c.sequence)
		lane, sequence, ok := ParseIdentifier(id)
		if !ok || lane != c.lane || sequence != c.sequence || len(id) != IdentifierBytes {
			t.Errorf("%s reads as %d, %d, %v", id, lane, sequence, ok)
		}
	}
	if id := AppendIdentifier(nil, 0x5f3a01c9, 42, 1234); string(id) != "tgb-5f3a01c9-002a-00000004d2" {
		t.Errorf("the documented example is %s", id)
	}
	for _, id := range []string{"", "req-1", "tgb-5f3a01c9-002a-00000004dg", "tgb-5f3a01c9-002a_00000004d2", "tgb-5f3a01c9-002a-00000004d22"} {
		if _, _, ok := ParseIdentifier([]byte(id)); ok {
			t.Errorf("%q passes for one of ours", id)
		}
	}
}
