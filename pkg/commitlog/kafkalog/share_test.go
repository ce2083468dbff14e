package kafkalog

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func TestShare(t *testing.T) {
	f := func(name string, candidates []candidate, want map[string][]int32) {
		t.Helper()
		if got := share(candidates); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	all := func(n int, offset int64) map[int32]int64 {
		held := map[int32]int64{}
		for p := range int32(n) {
			held[p] = offset
		}
		return held
	}
	f("nobody", nil, map[string][]int32{})
	f("one", []candidate{{"a", 3, nil}}, map[string][]int32{"a": {0, 1, 2}})
	f("no state", []candidate{{"b", 4, nil}, {"a", 4, nil}}, map[string][]int32{"a": {0, 1}, "b": {2, 3}})
	f("more members than partitions", []candidate{{"a", 1, nil}, {"b", 1, all(1, 1)}}, map[string][]int32{"a": nil, "b": {0}})
	f("each its own", []candidate{{"a", 4, map[int32]int64{1: 5, 3: 5}}, {"b", 4, map[int32]int64{0: 5, 2: 5}}},
		map[string][]int32{"a": {1, 3}, "b": {0, 2}})
	f("who holds all gives up what the other holds an older state of",
		[]candidate{{"a", 6, all(6, 1000)}, {"b", 6, map[int32]int64{1: 700, 3: 700, 4: 700}}},
		map[string][]int32{"a": {0, 2, 5}, "b": {1, 3, 4}})
	f("the odd one goes to who holds it", []candidate{{"a", 3, nil}, {"b", 3, all(3, 1)}},
		map[string][]int32{"a": {2}, "b": {0, 1}})
	f("partitions that one does not know", []candidate{{"a", 4, nil}, {"b", 2, all(2, 9)}},
		map[string][]int32{"a": {2, 3}, "b": {0, 1}})
}

func TestSharesAreEvenTotalAndTheSameForAnyOrder(t *testing.T) {
	for seed := range uint64(500) {
		dice := rand.New(rand.NewPCG(seed, 1))
		n := 1 + dice.IntN(40)
		var candidates []candidate
		for i := range 1 + dice.IntN(8) {
			c := candidate{id: fmt.Sprint("m", i), partitions: n, held: map[int32]int64{}}
			for p := range int32(n) {
				if dice.IntN(2) == 0 {
					c.held[p] = int64(dice.IntN(1000))
				}
			}
			candidates = append(candidates, c)
		}
		got := share(candidates)
		seen := map[int32]bool{}
		for _, numbers := range got {
			if len(numbers) < n/len(candidates) || len(numbers) > n/len(candidates)+1 || !slices.IsSorted(numbers) {
				t.Fatalf("seed %d: %d of %d partitions to one of %d members: %v", seed, len(numbers), n, len(candidates), numbers)
			}
			for _, p := range numbers {
				if seen[p] {
					t.Fatalf("seed %d: partition %d has two owners", seed, p)
				}
				seen[p] = true
			}
		}
		if len(seen) != n || len(got) != len(candidates) {
			t.Fatalf("seed %d: %d of %d partitions, %d of %d members", seed, len(seen), n, len(got), len(candidates))
		}
		dice.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
		if again := share(candidates); !reflect.DeepEqual(got, again) {
			t.Fatalf("seed %d: in another order %v instead of %v", seed, again, got)
		}
	}
}

// Of two members the best share is known: the partitions sorted by what each saves.
func TestAShareOfTwoSavesAsMuchAsCanBe(t *testing.T) {
	for seed := range uint64(300) {
		dice := rand.New(rand.NewPCG(seed, 2))
		n := 2 * (1 + dice.IntN(10))
		a, b := candidate{"a", n, map[int32]int64{}}, candidate{"b", n, map[int32]int64{}}
		var gains []int64
		best := int64(0)
		for p := range int32(n) {
			a.held[p], b.held[p] = int64(dice.IntN(100)), int64(dice.IntN(100))
			best += b.held[p]
			gains = append(gains, a.held[p]-b.held[p])
		}
		slices.Sort(gains)
		for _, gain := range gains[n/2:] {
			best += gain
		}
		saved := int64(0)
		for id, numbers := range share([]candidate{a, b}) {
			for _, p := range numbers {
				saved += map[string]candidate{"a": a, "b": b}[id].held[p]
			}
		}
		if saved != best {
			t.Errorf("seed %d: %d saved, the best is %d", seed, saved, best)
		}
	}
}

func TestAThousandPartitionsAreSharedAtOnce(t *testing.T) {
	const n, members = 1000, 10
	var candidates []candidate
	dice := rand.New(rand.NewPCG(1, 3))
	for i := range members {
		c := candidate{id: fmt.Sprint(i), partitions: n, held: map[int32]int64{}}
		for p := range int32(n) {
			c.held[p] = dice.Int64N(1 << 40)
		}
		candidates = append(candidates, c)
	}
	for _, numbers := range share(candidates) {
		if len(numbers) != n/members {
			t.Errorf("%d partitions", len(numbers))
		}
	}
}

func FuzzHeld(f *testing.F) {
	f.Add(encodeHeld(12, map[int32]int64{0: 1, 3: 500, 11: 1 << 40}))
	f.Add(encodeHeld(0, nil))
	f.Add([]byte{heldVersion, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Add([]byte{heldVersion, 2, 2, 1, 1, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		partitions, held, err := decodeHeld(b)
		if err != nil {
			return
		}
		for p, offset := range held {
			if p < 0 || int(p) >= partitions || offset < 0 || offset > heldOffsetMax {
				t.Fatalf("partition %d of %d, offset %d", p, partitions, offset)
			}
			if offset == 0 {
				delete(held, p) // is not written
			}
		}
		n, again, err := decodeHeld(encodeHeld(partitions, held))
		if err != nil || n != partitions || !reflect.DeepEqual(held, again) {
			t.Fatalf("%v becomes %v, %v", held, again, err)
		}
	})
}

func TestHeldIsWrittenInFewBytesAndReadBack(t *testing.T) {
	held := map[int32]int64{0: 1_000_000_000, 5: 7, 11: 1, 12: 5, 3: 0, -1: 3}
	b := encodeHeld(12, held)
	if len(b) > 16 {
		t.Errorf("%d bytes", len(b))
	}
	partitions, got, err := decodeHeld(b)
	if want := map[int32]int64{0: 1_000_000_000, 5: 7, 11: 1}; err != nil || partitions != 12 || !reflect.DeepEqual(got, want) {
		t.Errorf("read back: %d, %v, %v", partitions, got, err)
	}
	for _, bad := range [][]byte{nil, {2}, {1}, {1, 3, 1}, {1, 3, 1, 1}, {1, 3, 1, 9, 1}, append(b, 0)} {
		if _, _, err := decodeHeld(bad); err == nil {
			t.Errorf("% x is read", bad)
		}
	}
}
