package opened

// keptMs is for how long a use of a key holds: 30 days, as keys of Stripe's v2 API.
const keptMs = 30 * 24 * 60 * 60 * 1000

// entry is a use of a key, in 64 bytes.
type entry struct {
	createdMs  int64
	next       uint64 // the number of the next entry of the same key; 0: none
	key, id    [16]byte
	apiKey     [8]byte
	signingKey [4]byte
	lifeMs     uint32
}

func (e *entry) over(nowMs int64) bool { return nowMs-e.createdMs > keptMs }

// table is the newest entries, in the order of the log, and where those of a key are.
//
//	ring   …| 7 | 8 | 9 |…      entry n is at n modulo the ring's length
//	first  key a ─▶ 7 ─next─▶ 9     by the keys of one business, with several of its API keys
//	       key b ─▶ 8
//
// The oldest entry of all is the first of its key: chains are in the order of the log, too.
type table struct {
	max          int
	ring         []entry // as long as a power of two
	oldest, next uint64  // numbers count from 1, so that 0 is none
	first        map[[16]byte]uint64
}

func newTable(most int) *table {
	return &table{max: most, oldest: 1, next: 1, first: make(map[[16]byte]uint64)}
}

func (t *table) len() int { return int(t.next - t.oldest) }

func (t *table) at(n uint64) *entry { return &t.ring[n&uint64(len(t.ring)-1)] }

// find returns the first use of a key by an API key that holds at that time, or nil.
func (t *table) find(key [16]byte, apiKey [8]byte, atMs int64) *entry {
	for n := t.first[key]; n != 0; {
		e := t.at(n)
		if e.apiKey == apiKey && !e.over(atMs) {
			return e
		}
		n = e.next
	}
	return nil
}

// used says whether a use of a key by any API key holds at that time.
func (t *table) used(key [16]byte, atMs int64) bool {
	for n := t.first[key]; n != 0; {
		e := t.at(n)
		if !e.over(atMs) {
			return true
		}
		n = e.next
	}
	return false
}

// add folds a use, and returns the one that holds: it, or an earlier one. It is valid until the next add.
func (t *table) add(e entry) *entry {
	if earlier := t.find(e.key, e.apiKey, e.createdMs); earlier != nil {
		return earlier
	}
	if t.len() == t.max {
		t.drop()
	}
	if t.len() == len(t.ring) {
		t.grow()
	}
	n := t.next
	t.next++
	at := t.at(n)
	*at = e
	last := t.first[e.key]
	if last == 0 {
		t.first[e.key] = n
		return at
	}
	for t.at(last).next != 0 {
		last = t.at(last).next
	}
	t.at(last).next = n
	return at
}

// forget drops what does not hold any more by the clock here, from the oldest on.
func (t *table) forget(nowMs int64) {
	for t.oldest < t.next && t.at(t.oldest).over(nowMs) {
		t.drop()
	}
}

func (t *table) drop() {
	e := t.at(t.oldest)
	if e.next == 0 {
		delete(t.first, e.key)
	} else {
		t.first[e.key] = e.next
	}
	t.oldest++
}

const ringEntriesMin = 1 << 10

func (t *table) grow() {
	old := *t
	t.ring = make([]entry, min(max(2*len(old.ring), ringEntriesMin), t.max))
	for n := old.oldest; n < old.next; n++ {
		*t.at(n) = *old.at(n)
	}
}
