package dedup

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tollgate/internal/vfs"
)

func TestAFilterNeverSaysNewOfWhatItKnows(t *testing.T) {
	const n = 50_000
	// The share of new ones that pass, twice over: of a hundred thousand.
	worst := map[int]int{8: 4800, 12: 900, 16: 180, 24: 12}
	every := make([]int, n)
	for i := range every {
		every[i] = i
	}
	for _, bits := range []int{8, 12, 16, 24} {
		f := filter{probe: shape(n, bits)}
		f.words = make([]uint64, f.probe.blocks*blockWords)
		for i := range uint64(n) {
			id := mix(i)
			at := f.probe.block(id) * blockWords
			f.probe.set((*[blockWords]uint64)(f.words[at:at+blockWords]), id[1])
		}
		var qs []query
		for i := range uint64(n) {
			if !f.maybe(mix(i)) {
				t.Fatalf("%d bits: %d is called new", bits, i)
			}
			qs = append(qs, query{id: mix(i)})
		}
		if got := f.each(qs, every, nil); len(got) != n {
			t.Errorf("%d bits: each finds %d of %d", bits, len(got), n)
		}
		passed := 0
		for i := range uint64(100_000) {
			if f.maybe(mix(n + i)) {
				passed++
			}
		}
		t.Logf("%d bits: %d of 100,000 new ones pass", bits, passed)
		if passed > worst[bits] {
			t.Errorf("%d bits: %d of 100,000 new ones pass, more than %d", bits, passed, worst[bits])
		}
	}
}

func TestATableGivesItsEntriesInOrderAlsoWhenTheyWrapAround(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		x := newTable(20 + dice.IntN(2000))
		want := []slot{}
		ids := x.entriesMax() * dice.IntN(101) / 100
		for i := range ids {
			id := ID{dice.Uint64(), dice.Uint64()}
			switch dice.IntN(4) {
			case 0:
				id[0] = math.MaxUint64 - dice.Uint64N(1<<60) // the last slots, and over the end
			case 1:
				id[0] = dice.Uint64N(1 << 58)
			case 2:
				if i > 0 {
					id = want[dice.IntN(i)].id // once more at a later offset
				}
			}
			for x.crowded(1) {
				x.slots = x.grown()
			}
			q := query{id: id, offset: anyOffset}
			at := x.ask(&q)
			known := slices.ContainsFunc(want, func(s slot) bool { return s.id == id })
			if q.found != known {
				t.Fatalf("found %v, known %v", q.found, known)
			}
			x.put(at, id, int64(i), 5, 0)
			want = append(want, slot{id, x.base.pack(int64(i), 5, 0)})
		}
		slices.SortFunc(want, compareSlots)
		got := []slot{}
		if err := x.each(func(s slot) error { got = append(got, s); return nil }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d slots: %d entries come out of %d, or not in order", len(x.slots), len(got), len(want))
		}
	}
}

// TestAPageIsFoundWithAndWithoutFences also asks for IDs that are not there, and of runs whose IDs are not uniform.
func TestAPageIsFoundWithAndWithoutFences(t *testing.T) {
	dice := rand.New(rand.NewPCG(3, 4))
	disk := vfs.NewMem(1)
	for round := range 24 {
		n := 1 + dice.IntN(3000)
		var slots []slot
		mask := []uint64{math.MaxUint64, 1<<40 - 1, 1 << 63, 3 << 40}[round%4]
		h := header{seq: uint64(round), count: int64(n), offsets: limits{0, int64(n)}, minutes: limits{0, 0}}
		for i := range n {
			slots = append(slots, slot{ID{dice.Uint64() & mask, dice.Uint64() & 7}, h.base().pack(int64(i), 0, 0)})
		}
		slices.SortFunc(slots, compareSlots)
		b, err := newBuilder(disk, ".", h, 12, pageBytes*(1+dice.IntN(3)))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range slots {
			if err := b.add(s); err != nil {
				t.Fatal(err)
			}
		}
		r, err := b.finish()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			for range 100 {
				id := slots[dice.IntN(n)].id
				if dice.IntN(3) == 0 {
					id = ID{dice.Uint64() & mask, dice.Uint64()}
				}
				last := int64(-1)
				for _, s := range slots {
					if s.id == id {
						last = max(last, h.base().offsetOf(s.meta))
					}
				}
				q := query{id: id, offset: anyOffset}
				known, err := r.ask(&q)
				if err != nil || known != (last >= 0) || q.found != known || known && q.entry.Offset != last {
					t.Fatalf("round %d: %x: %+v %v %v, want %d", round, id, q.entry, known, err, last)
				}
				if maybe, err := r.maybe(id); err != nil || known && !maybe {
					t.Fatalf("round %d: %x: maybe %v %v", round, id, maybe, err)
				}
			}
			if err := r.load(make([]byte, pageBytes)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
