package dedup

import (
	"cmp"
	"math/bits"

	"tollgate/internal/invariants"
)

// table holds the newest entries: open addressing, linear probing, one ID in as many slots as it has entries. An ID's
// home grows with its first word, so that the slots are nearly in the order of a run: sealing sorts only what lies between two
// empty slots, and growing reads and writes forwards.
type table struct {
	slots    []slot
	slotsMax int
	count    int
	base     base
	touched  uint64 // keeps warm from being compiled away
	// The ranges of what is in it, for the run that it becomes.
	offsets, minutes limits
}

// limits is a range with both ends in it.
type limits struct{ low, high int64 }

func (l *limits) take(v int64, first bool) {
	if first || v < l.low {
		l.low = v
	}
	if first || v > l.high {
		l.high = v
	}
}

func (l limits) join(o limits) limits { return limits{min(l.low, o.low), max(l.high, o.high)} }

const (
	tableSlotsMin = 1 << 10
	// Of ten slots seven are used at most: a search for what is not there then looks at six slots in the mean.
	loadTenths = 7
	// The base lies before the first entry, since a replay may bring an older record that was not known yet.
	slackOffsets = 1 << (offsetBits - 1)
	slackMinutes = 1 << 10
)

func newTable(slotsMax int) *table {
	// So that doubling ends at the bound and not shortly before it.
	n := slotsMax
	for n >= 2*tableSlotsMin {
		n = (n + 1) / 2
	}
	return &table{slots: alloc[slot](n), slotsMax: slotsMax}
}

func (t *table) bytes() int64 { return int64(len(t.slots)) * slotBytes }

// entriesMax is how many entries the table holds when it is as large as it may be.
func (t *table) entriesMax() int { return t.slotsMax / 10 * loadTenths }

// crowded tells that the table has to grow before n more entries; that it may is the caller's to know.
func (t *table) crowded(n int) bool {
	return len(t.slots) < t.slotsMax && t.count+n > len(t.slots)/10*loadTenths
}

// grown returns the table's slots in twice the room.
func (t *table) grown() []slot {
	bigger := table{slots: alloc[slot](min(2*len(t.slots), t.slotsMax))}
	for _, s := range t.slots {
		if s.meta == 0 {
			continue
		}
		i := bigger.home(s.id)
		for bigger.slots[i].meta != 0 {
			if i++; i == len(bigger.slots) {
				i = 0
			}
		}
		bigger.slots[i] = s
	}
	return bigger.slots
}

func (t *table) home(id ID) int {
	high, _ := bits.Mul64(id[0], uint64(len(t.slots)))
	return int(high)
}

// warm touches what ask will, so that the misses overlap: a search often goes on in the next cache line.
func (t *table) warm(qs []query) {
	var sum uint64
	for i := range qs {
		at := t.home(qs[i].id)
		sum += t.slots[at].meta + t.slots[min(at+3, len(t.slots)-1)].meta
	}
	t.touched = sum
}

// ask answers a question, and returns the empty slot at which its search ended.
func (t *table) ask(q *query) int {
	i := t.home(q.id)
	for {
		s := &t.slots[i]
		if s.meta == 0 {
			return i
		}
		if s.id == q.id {
			q.see(t.base, s.meta)
		}
		if i++; i == len(t.slots) {
			i = 0
		}
	}
}

// fitting is how many of the first items can be packed; the first entry of all sets the base.
func (t *table) fitting(items []Item) int {
	b := t.base
	if t.count == 0 {
		b = baseFor(items[0].Offset, minuteOf(items[0].NowMs))
	}
	for n := range items {
		if !b.fits(items[n].Offset, minuteOf(items[n].NowMs)) {
			return n
		}
	}
	return len(items)
}

func baseFor(offset, minute int64) base { return base{offset - slackOffsets, minute - slackMinutes} }

// put fills the slot at which ask ended. There has to be room.
func (t *table) put(i int, id ID, offset, minute int64, kind uint8) {
	first := t.count == 0
	if first {
		t.base = baseFor(offset, minute)
	}
	if invariants.Enabled {
		invariants.Check(t.slots[i].meta == 0 && t.count < t.entriesMax() && t.base.fits(offset, minute),
			"slot %d of %d, %d entries, offset %d, minute %d after %v", i, len(t.slots), t.count, offset, minute, t.base)
	}
	t.slots[i] = slot{id, t.base.pack(offset, minute, kind)}
	t.count++
	t.offsets.take(offset, first)
	t.minutes.take(minute, first)
}

// reset empties the table. It keeps its size: what filled it once will again.
func (t *table) reset() {
	clear(t.slots)
	t.count = 0
}

// each calls fn with every entry in the order of a run. The table stays as it is, since it is read meanwhile.
func (t *table) each(fn func(slot) error) error {
	// An ID whose home is near the end may lie at the start; it comes last.
	var wrapped, cluster []slot
	i := 0
	for ; i < len(t.slots) && t.slots[i].meta != 0; i++ {
		if t.home(t.slots[i].id) > i {
			wrapped = append(wrapped, t.slots[i])
		} else {
			cluster = append(cluster, t.slots[i])
		}
	}
	for ; i <= len(t.slots); i++ {
		if i < len(t.slots) && t.slots[i].meta != 0 {
			cluster = append(cluster, t.slots[i])
			continue
		}
		if i == len(t.slots) {
			cluster = append(cluster, wrapped...)
		}
		sortNearly(cluster)
		for _, s := range cluster {
			if err := fn(s); err != nil {
				return err
			}
		}
		cluster = cluster[:0]
	}
	return nil
}

// sortNearly sorts what is nearly in order, each slot a few places from its own: a third of a seal's time was in a sort
// that does not know that.
func sortNearly(slots []slot) {
	for i := 1; i < len(slots); i++ {
		s, j := slots[i], i
		for ; j > 0 && compareSlots(s, slots[j-1]) < 0; j-- {
			slots[j] = slots[j-1]
		}
		slots[j] = s
	}
}

// compareSlots orders by ID, and entries of one ID by offset when their base is the same.
func compareSlots(a, b slot) int {
	if c := compareIDs(a.id, b.id); c != 0 {
		return c
	}
	return cmp.Compare(a.meta&(1<<offsetBits-1), b.meta&(1<<offsetBits-1))
}

func compareIDs(a, b ID) int {
	if a[0] != b[0] {
		return cmp.Compare(a[0], b[0])
	}
	return cmp.Compare(a[1], b[1])
}
