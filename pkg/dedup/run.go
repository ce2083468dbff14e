package dedup

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"

	"tollgate/internal/vfs"
)

// header is page 0 of a run:
//
//	0   magic "tolldup\x01"        8   u32 level         12  u32 bits of an ID in the filter
//	16  u64 sequence number        24  u64 entries
//	32  i64 first offset           40  i64 last offset     the range, and what entries count from
//	48  i64 first minute           56  i64 last minute
//	64  u64 blocks of the filter   72  u64 pages of fences   80  u64 pages of entries
type header struct {
	level            int
	seq              uint64
	count            int64
	offsets, minutes limits
	probe            probe
	fencePages       int64 // reserved; what is used follows from entryPages
	entryPages       int64
}

const magic = "tolldup\x01"

func (h *header) base() base { return base{h.offsets.low, h.minutes.low} }

func (h *header) filterPage() int64 { return 1 }
func (h *header) fencePage() int64  { return 1 + ceilDiv(int64(h.probe.blocks), pageBlocks) }
func (h *header) entryPage() int64  { return h.fencePage() + h.fencePages }
func (h *header) pages() int64      { return h.entryPage() + h.entryPages }

func (h *header) encode(p []byte) {
	le := binary.LittleEndian
	copy(p, magic)
	le.PutUint32(p[8:], uint32(h.level))
	le.PutUint32(p[12:], uint32(h.probe.bits))
	for i, v := range []uint64{
		h.seq, uint64(h.count), uint64(h.offsets.low), uint64(h.offsets.high), uint64(h.minutes.low), uint64(h.minutes.high),
		h.probe.blocks, uint64(h.fencePages), uint64(h.entryPages),
	} {
		le.PutUint64(p[16+8*i:], v)
	}
}

// decode reads a header whose checksum was good; it returns why it can not be one.
func (h *header) decode(p []byte) string {
	le := binary.LittleEndian
	if string(p[:len(magic)]) != magic {
		return fmt.Sprintf("its first bytes are %q and not those of version 1", p[:len(magic)])
	}
	h.level, h.probe.bits = int(le.Uint32(p[8:])), int(le.Uint32(p[12:]))
	h.seq, h.count = le.Uint64(p[16:]), int64(le.Uint64(p[24:]))
	h.offsets = limits{int64(le.Uint64(p[32:])), int64(le.Uint64(p[40:]))}
	h.minutes = limits{int64(le.Uint64(p[48:])), int64(le.Uint64(p[56:]))}
	h.probe.blocks, h.fencePages, h.entryPages = le.Uint64(p[64:]), int64(le.Uint64(p[72:])), int64(le.Uint64(p[80:]))
	switch {
	case h.count <= 0 || h.entryPages != ceilDiv(h.count, pageEntries) || h.fencePages < ceilDiv(h.entryPages, pageFences),
		h.probe.blocks == 0 || h.probe.blocks > 1<<40 || h.probe.bits < quickBits || h.probe.bits > entryBitsMax/2,
		h.offsets.low > h.offsets.high || h.minutes.low > h.minutes.high:
		return "its header contradicts itself"
	}
	return ""
}

// run is an immutable file of entries. What changes of it is how much of it is in memory, and who uses it.
type run struct {
	header
	pageFile
	resident atomic.Pointer[resident]
	views    int // that it is in; guarded by Index.mu
}

// resident is the part of a run that makes look-ups fast, when there is memory for it.
type resident struct {
	filter filter
	fences []uint32
}

func runName(seq uint64, offsets limits) string {
	return fmt.Sprintf("run-%016x-%d-%d", seq, offsets.low, offsets.high)
}

func (r *run) name() string { return filepath.Base(r.path) }

func openRun(fs vfs.FS, path string, seq uint64) (*run, error) {
	f, err := fs.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("dedup: %w", err)
	}
	r := &run{pageFile: pageFile{file: f, path: path, seq: seq}}
	if err := r.readHeader(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return r, nil
}

func (r *run) readHeader() error {
	page := make([]byte, pageBytes)
	if err := r.read(page, 0); err != nil {
		return err
	}
	if why := r.header.decode(page); why != "" {
		return &RotError{r.path, 0, why}
	}
	size, err := r.file.Size()
	if err != nil {
		return fmt.Errorf("dedup: %s: %w", r.path, err)
	}
	if want := r.pages() * pageBytes; size != want || r.header.seq != r.pageFile.seq {
		return &RotError{r.path, -1, fmt.Sprintf("it has %d bytes and sequence number %d instead of %d and %d", size, r.header.seq, want, r.pageFile.seq)}
	}
	return nil
}

// residentBytes is what load would take.
func (r *run) residentBytes() int64 { return int64(r.probe.blocks)*blockBytes + r.entryPages*4 }

// load takes filter and fences into memory.
func (r *run) load(buf []byte) error {
	m := &resident{filter: filter{words: alloc[uint64](int(r.probe.blocks * blockWords)), probe: r.probe}, fences: make([]uint32, r.entryPages)}
	in := newPageReader(&r.pageFile, r.filterPage(), r.fencePage(), buf)
	for rest := m.filter.words; len(rest) > 0; {
		p, err := in.next()
		if err != nil {
			return err
		}
		n := min(pageBlocks*blockWords, len(rest))
		for i := range rest[:n] {
			rest[i] = binary.LittleEndian.Uint64(p[8*i:])
		}
		rest = rest[n:]
	}
	if err := r.readFences(buf, m.fences); err != nil {
		return err
	}
	r.resident.Store(m)
	return nil
}

// readFences reads all fences, into a slice for all of them or for nothing but their checksums.
func (r *run) readFences(buf []byte, into []uint32) error {
	in := newPageReader(&r.pageFile, r.fencePage(), r.fencePage()+ceilDiv(r.entryPages, pageFences), buf)
	for range ceilDiv(r.entryPages, pageFences) {
		p, err := in.next()
		if err != nil {
			return err
		}
		n := min(pageFences, len(into))
		for i := range into[:n] {
			into[i] = binary.LittleEndian.Uint32(p[4*i:])
		}
		into = into[n:]
	}
	return nil
}

// pages for look-ups; a goroutine holds one for as long as one look-up.
var pagePool = sync.Pool{New: func() any { return new([pageBytes]byte) }}

// maybe asks the filter, in memory or on disk.
func (r *run) maybe(id ID) (bool, error) {
	if m := r.resident.Load(); m != nil {
		return m.filter.maybe(id), nil
	}
	page := pagePool.Get().(*[pageBytes]byte)
	defer pagePool.Put(page)
	block := int64(r.probe.block(id))
	if err := r.read(page[:], r.filterPage()+block/pageBlocks); err != nil {
		return false, err
	}
	b := blockAt(page[:], block%pageBlocks)
	return r.probe.all(&b, id[1]), nil
}

// maybeEach appends those of the positions in among whose ID may be in the run.
func (r *run) maybeEach(qs []query, among, maybe []int) ([]int, error) {
	if m := r.resident.Load(); m != nil {
		return m.filter.each(qs, among, maybe), nil
	}
	for _, i := range among {
		is, err := r.maybe(qs[i].id)
		if err != nil {
			return nil, err
		}
		if is {
			maybe = append(maybe, i)
		}
	}
	return maybe, nil
}

// ask answers a question from the entries: nearly always by reading one page. It tells whether the ID is there at all.
func (r *run) ask(q *query) (known bool, err error) {
	page := pagePool.Get().(*[pageBytes]byte)
	defer pagePool.Put(page)
	n, err := r.startPage(q.id, page)
	if err != nil {
		return false, err
	}
	for ; n < r.entryPages; n++ {
		if err := r.read(page[:], r.entryPage()+n); err != nil {
			return false, err
		}
		entries := r.entriesOf(n)
		i := sort.Search(entries, func(i int) bool { return compareIDs(slotAt(page[:], i).id, q.id) >= 0 })
		for ; i < entries; i++ {
			s := slotAt(page[:], i)
			if s.id != q.id {
				return known, nil
			}
			known = true
			q.see(r.base(), s.meta)
		}
	}
	return known, nil
}

// entriesOf is how many entries a page holds.
func (r *run) entriesOf(page int64) int { return int(min(pageEntries, r.count-page*pageEntries)) }

// startPage is the page in which an ID's entries begin if there are any: the last one that starts with a smaller ID, or
// the first of all.
func (r *run) startPage(id ID, page *[pageBytes]byte) (int64, error) {
	if m := r.resident.Load(); m != nil {
		key := uint32(id[0] >> 32)
		return int64(max(0, sort.Search(len(m.fences), func(i int) bool { return m.fences[i] >= key })-1)), nil
	}
	// The IDs are uniform: where it should be is a few pages from where it is. low starts with a smaller ID, high does not.
	low, high := int64(-1), r.entryPages
	guess := shareOf(id[0], r.entryPages)
	for step := int64(1); high-low > 1; {
		if err := r.read(page[:], r.entryPage()+guess); err != nil {
			return 0, err
		}
		first, last := slotAt(page[:], 0).id, slotAt(page[:], r.entriesOf(guess)-1).id
		switch {
		case compareIDs(first, id) >= 0:
			high = guess
			// As far back as the entries' density says, and doubling, so that no distribution takes for ever.
			guess -= max(step, shareOf(first[0]-id[0], r.entryPages))
			step *= 2
		case compareIDs(last, id) >= 0:
			return guess, nil
		default:
			low = guess
			guess += max(1, shareOf(id[0]-last[0], r.entryPages))
		}
		if guess <= low || guess >= high {
			guess = low + (high-low)/2
		}
	}
	return max(low, 0), nil
}

// shareOf is the part of n that a hash is of all hashes.
func shareOf(hash uint64, n int64) int64 { return int64(probe{blocks: uint64(n)}.block(ID{hash})) }

func blockAt(page []byte, i int64) (b [blockWords]uint64) {
	p := page[i*blockBytes : i*blockBytes+blockBytes]
	for i := range b {
		b[i] = binary.LittleEndian.Uint64(p[8*i:])
	}
	return b
}

func slotAt(page []byte, i int) slot {
	p := page[i*slotBytes : i*slotBytes+slotBytes]
	le := binary.LittleEndian
	return slot{ID{le.Uint64(p), le.Uint64(p[8:])}, le.Uint64(p[16:])}
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }
