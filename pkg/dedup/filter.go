package dedup

import "math/bits"

// filter is a blocked Bloom filter: the bits of an ID are all in one block, which is one cache line, so that a question
// costs one miss. The block grows with the ID's first word, as everything in a run does: a filter is built front to
// back beside the entries, and may be longer than memory.
type filter struct {
	words   []uint64 // eight a block
	probe   probe
	touched uint64 // the writer's; keeps its touching from being compiled away
}

// probe is the shape of a filter.
type probe struct {
	blocks uint64
	bits   int // of an ID, at least quickBits
}

const (
	blockWords = 8
	blockBytes = blockWords * 8
	indexBits  = 9 // of a bit within a block of 512
	perWord    = 7 // indexes that one word of a hash gives

	// quickBits are tested without a branch; all but a few in a hundred of the new ones fall there.
	quickBits = 4
	// More than 24 bits an entry gain nothing that a read now and then does not cost; with fewer than 8 most questions
	// would end in a read.
	entryBitsMax = 24
	entryBitsMin = 8
)

// shape sizes a filter for up to n entries of so many bits each.
func shape(n int64, entryBits int) probe {
	return probe{
		blocks: uint64(max(1, (n*int64(entryBits)+blockBytes*8-1)/(blockBytes*8))),
		bits:   max(quickBits, entryBits/2),
	}
}

// entryBits is how many bits an entry gets when so many are to share so many bytes; a third is left for growth.
func entryBits(bytes, entries int64) int {
	return int(min(max(bytes*8*3/4/max(entries, 1), entryBitsMin), entryBitsMax))
}

func (p probe) block(id ID) uint64 {
	high, _ := bits.Mul64(id[0], p.blocks)
	return high
}

// again is a second word of indexes, from the first.
func again(h uint64) uint64 {
	h *= 0x9E3779B97F4A7C15
	return h ^ h>>32
}

// quick tells whether the first quickBits of an ID are set in its block.
func quick(b *[blockWords]uint64, h uint64) bool {
	a := b[h>>6&7] >> (h & 63)
	h >>= indexBits
	a &= b[h>>6&7] >> (h & 63)
	h >>= indexBits
	a &= b[h>>6&7] >> (h & 63)
	h >>= indexBits
	a &= b[h>>6&7] >> (h & 63)
	return a&1 != 0
}

// all tells whether all bits of an ID are set in its block.
func (p probe) all(b *[blockWords]uint64, h uint64) bool {
	w := h
	for i := range p.bits {
		if i == perWord {
			w = again(h)
		}
		if b[w>>6&7]>>(w&63)&1 == 0 {
			return false
		}
		w >>= indexBits
	}
	return true
}

// set sets the bits of an ID.
func (p probe) set(b *[blockWords]uint64, h uint64) {
	w := h
	for i := range p.bits {
		if i == perWord {
			w = again(h)
		}
		b[w>>6&7] |= 1 << (w & 63)
		w >>= indexBits
	}
}

// maybe tells that an ID may be in the run; false: it surely is not.
func (f *filter) maybe(id ID) bool {
	i := f.probe.block(id) * blockWords
	b := (*[blockWords]uint64)(f.words[i : i+blockWords])
	return quick(b, id[1]) && f.probe.all(b, id[1])
}

// each appends those of the positions in among whose ID may be in the run. It touches all blocks first, so that their misses
// overlap: of a filter in main memory it then costs 20 ns a question instead of 35. It is the writer's alone.
func (f *filter) each(qs []query, among, maybe []int) []int {
	words, p, sum := f.words, f.probe, uint64(0)
	for _, i := range among {
		sum += words[p.block(qs[i].id)*blockWords]
	}
	f.touched = sum
	for _, i := range among {
		at := p.block(qs[i].id) * blockWords
		b := (*[blockWords]uint64)(words[at : at+blockWords])
		if quick(b, qs[i].id[1]) && p.all(b, qs[i].id[1]) {
			maybe = append(maybe, i)
		}
	}
	return maybe
}
