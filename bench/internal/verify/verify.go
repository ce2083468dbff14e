// Package verify compares a ledger with a log: what was acknowledged must be there.
//
// A Tally holds a bit for each event that was sent, so that 100 M events take 12 MiB. Visit may be called by any
// number of goroutines at once; Verdict when they are done.
//
//	tally := verify.NewTally(book)
//	stats, err := logs.Journal(ctx, dir, topic, func(v []byte) { tally.Visit(v) })
//	verdict := tally.Verdict()
package verify

import (
	"bytes"
	"math/bits"
	"sync/atomic"

	"tollgate/bench/internal/ledger"
)

// Tally marks the events of one run as they are found.
type Tally struct {
	book       *ledger.Ledger
	prefix     []byte     // what stands before lane and number in a record of this run
	needle     []byte     // its end, from a byte on that is rare in front of it: searching for a quote costs three times as much
	found      [][]uint64 // by lane, a bit an event; written atomically
	duplicated atomic.Uint64
	strange    atomic.Uint64
}

const field = `"identifier":"`

// NewTally prepares for the events of a ledger.
func NewTally(book *ledger.Ledger) *Tally {
	t := &Tally{book: book}
	t.prefix = append(t.prefix, field...)
	t.prefix = append(t.prefix, ledger.AppendIdentifier(nil, book.Run, 0, 0)[:ledger.PrefixBytes]...)
	t.needle = t.prefix[bytes.LastIndexByte(t.prefix[:len(t.prefix)-1], '-'):]
	for _, lane := range book.Lanes {
		t.found = append(t.found, make([]uint64, (lane.Sent()+63)/64))
	}
	return t
}

// Visit takes the value of a record and says whether it is of this run.
func (t *Tally) Visit(value []byte) bool {
	rest := t.identifier(value)
	if rest == nil {
		return false
	}
	if len(rest) <= ledger.IdentifierBytes || rest[ledger.IdentifierBytes] != '"' {
		t.strange.Add(1)
		return true
	}
	t.mark(rest[:ledger.IdentifierBytes])
	return true
}

// mark notes that an event was found.
func (t *Tally) mark(identifier []byte) {
	lane, sequence, ok := ledger.ParseIdentifier(identifier)
	if !ok || lane >= len(t.found) || sequence >= t.book.Lanes[lane].Sent() {
		t.strange.Add(1)
		return
	}
	bit := uint64(1) << (sequence & 63)
	if atomic.OrUint64(&t.found[lane][sequence>>6], bit)&bit != 0 {
		t.duplicated.Add(1)
	}
}

// identifier returns the value from where an identifier of this run begins, nil when it has none.
func (t *Tally) identifier(value []byte) []byte {
	for at := 0; ; {
		i := bytes.Index(value[at:], t.needle)
		if i < 0 {
			return nil
		}
		at += i + len(t.needle)
		if bytes.HasSuffix(value[:at], t.prefix) {
			return value[at-ledger.PrefixBytes:]
		}
	}
}

// Verdict is the comparison. Sent = Acked + Refused + Unknown, in events.
type Verdict struct {
	Sent         uint64   `json:"sent"`
	Acked        uint64   `json:"acknowledged"`
	Found        uint64   `json:"found"`   // of the acknowledged
	Missing      uint64   `json:"missing"` // of the acknowledged: must be 0
	Examples     []string `json:"missing_examples,omitempty"`
	Duplicated   uint64   `json:"duplicated"` // copies beyond the first
	Refused      uint64   `json:"refused"`
	RefusedFound uint64   `json:"refused_but_found"` // answered as not stored, and stored
	Unknown      uint64   `json:"unknown"`
	UnknownFound uint64   `json:"unknown_but_found"`
	Strange      uint64   `json:"never_sent_but_found"` // of this run by their identifier: must be 0
}

// OK: nothing acknowledged is missing, and nothing was made up.
func (v *Verdict) OK() bool { return v.Missing == 0 && v.Strange == 0 }

// Add makes it the verdict on another run as well.
func (v *Verdict) Add(o *Verdict) {
	v.Sent += o.Sent
	v.Acked += o.Acked
	v.Found += o.Found
	v.Missing += o.Missing
	v.Examples = append(v.Examples, o.Examples...)
	v.Duplicated += o.Duplicated
	v.Refused += o.Refused
	v.RefusedFound += o.RefusedFound
	v.Unknown += o.Unknown
	v.UnknownFound += o.UnknownFound
	v.Strange += o.Strange
}

const examplesMax = 5 // of each run

// Verdict counts, when everything was visited.
func (t *Tally) Verdict() *Verdict {
	v := &Verdict{Duplicated: t.duplicated.Load(), Strange: t.strange.Load()}
	for i, lane := range t.book.Lanes {
		for r := range lane.Runs() {
			found := countBits(t.found[i], r.First, r.Events)
			v.Sent += r.Events
			switch r.Outcome {
			case ledger.Acked:
				v.Acked += r.Events
				v.Found += found
				v.Missing += r.Events - found
				t.examples(v, i, r, found)
			case ledger.Refused:
				v.Refused += r.Events
				v.RefusedFound += found
			case ledger.Unknown:
				v.Unknown += r.Events
				v.UnknownFound += found
			}
		}
	}
	return v
}

// countBits counts the bits from first on.
func countBits(words []uint64, first, n uint64) (count uint64) {
	for n > 0 {
		in := first & 63
		take := min(n, 64-in)
		mask := ^uint64(0) >> (64 - take) << in
		count += uint64(bits.OnesCount64(words[first>>6] & mask))
		first += take
		n -= take
	}
	return count
}

// examples names the first few that are missing.
func (t *Tally) examples(v *Verdict, lane int, r ledger.Run, found uint64) {
	if found == r.Events {
		return
	}
	for s := r.First; s < r.First+r.Events && len(v.Examples) < examplesMax; s++ {
		if t.found[lane][s>>6]&(1<<(s&63)) == 0 {
			v.Examples = append(v.Examples, string(ledger.AppendIdentifier(nil, t.book.Run, lane, s)))
		}
	}
}
