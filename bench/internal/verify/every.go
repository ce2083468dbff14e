package verify

import (
	"bytes"

	"tollgate/bench/internal/ledger"
)

// VisitEvery takes the value of a record that may hold many events, in whatever form, as a program writes it that knows
// nothing of meter events: each identifier of this run in it is an event. It says whether there was one.
func (t *Tally) VisitEvery(value []byte) bool {
	prefix := t.prefix[len(field):]
	seen := false
	for {
		i := bytes.Index(value, prefix)
		if i < 0 {
			return seen
		}
		seen = true
		value = value[i:]
		id := value[:min(len(value), ledger.IdentifierBytes)]
		t.mark(id)
		value = value[len(id):]
	}
}
