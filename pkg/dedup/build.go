package dedup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tollgate/internal/invariants"
	"tollgate/internal/vfs"
)

// builder writes a run, whose entries come in order. It holds three buffers and nothing that grows.
type builder struct {
	header
	fs       vfs.FS
	file     vfs.File
	tmp      string
	path     string
	blocks   uint64 // of the filter that were begun; the last one is block
	block    [blockWords]uint64
	filter   pageWriter
	fences   pageWriter
	entries  pageWriter
	nBlocks  int // in the filter's open page
	nFences  int
	nEntries int
	last     slot
}

const tmpSuffix = ".tmp"

// newBuilder begins a run of at most h.count entries within the ranges of h.
func newBuilder(fs vfs.FS, dir string, h header, entryBits, bufferBytes int) (*builder, error) {
	h.probe = shape(h.count, entryBits)
	h.fencePages = ceilDiv(ceilDiv(h.count, pageEntries), pageFences)
	b := &builder{header: h, fs: fs, path: filepath.Join(dir, runName(h.seq, h.offsets))}
	b.tmp = b.path + tmpSuffix
	f, err := fs.OpenFile(b.tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, fmt.Errorf("dedup: %w", err)
	}
	b.file = f
	section := func(page int64) pageWriter {
		return pageWriter{file: f, seq: h.seq, page: page, buf: make([]byte, bufferBytes)}
	}
	b.filter, b.fences, b.entries = section(h.filterPage()), section(h.fencePage()), section(h.entryPage())
	b.blocks, b.header.count = 1, 0
	return b, nil
}

// add appends an entry whose offset and minute count from the builder's base.
func (b *builder) add(s slot) error {
	if invariants.Enabled {
		invariants.Check(b.count == 0 || compareSlots(b.last, s) < 0, "%v comes after %v", s, b.last)
		b.last = s
	}
	if b.nEntries == 0 {
		if err := b.fence(uint32(s.id[0] >> 32)); err != nil {
			return err
		}
	}
	p := b.entries.payload()[b.nEntries*slotBytes:]
	le := binary.LittleEndian
	le.PutUint64(p, s.id[0])
	le.PutUint64(p[8:], s.id[1])
	le.PutUint64(p[16:], s.meta)
	b.count++
	if b.nEntries++; b.nEntries == pageEntries {
		b.nEntries = 0
		b.entryPages++
		if err := b.entries.done(); err != nil {
			return err
		}
	}
	for at := b.probe.block(s.id); b.blocks <= at; {
		if err := b.nextBlock(); err != nil {
			return err
		}
	}
	b.probe.set(&b.block, s.id[1])
	return nil
}

func (b *builder) fence(v uint32) error {
	binary.LittleEndian.PutUint32(b.fences.payload()[4*b.nFences:], v)
	if b.nFences++; b.nFences == pageFences {
		b.nFences = 0
		return b.fences.done()
	}
	return nil
}

// nextBlock ends the filter's open block and begins the next one.
func (b *builder) nextBlock() error {
	p := b.filter.payload()[b.nBlocks*blockBytes:]
	for i, w := range b.block {
		binary.LittleEndian.PutUint64(p[8*i:], w)
	}
	clear(b.block[:])
	b.blocks++
	if b.nBlocks++; b.nBlocks == pageBlocks {
		b.nBlocks = 0
		return b.filter.done()
	}
	return nil
}

// finish makes the run durable under its name, and opens it.
func (b *builder) finish() (*run, error) {
	err := b.write()
	if err == nil {
		err = b.fs.Rename(b.tmp, b.path)
	}
	if err == nil {
		err = b.fs.SyncDir(filepath.Dir(b.path))
	}
	if err != nil {
		b.abandon()
		return nil, fmt.Errorf("dedup: %s: %w", b.path, err)
	}
	_ = b.file.Close() // it is synced
	r, err := openRun(b.fs, b.path, b.seq)
	if err != nil {
		_ = b.fs.Remove(b.path)
	}
	return r, err
}

func (b *builder) write() error {
	for b.blocks <= b.probe.blocks {
		if err := b.nextBlock(); err != nil {
			return err
		}
	}
	if b.nEntries > 0 {
		b.entryPages++
		if err := b.entries.done(); err != nil {
			return err
		}
	}
	if b.nBlocks > 0 {
		if err := b.filter.done(); err != nil {
			return err
		}
	}
	if b.nFences > 0 {
		if err := b.fences.done(); err != nil {
			return err
		}
	}
	if err := errors.Join(b.entries.flush(), b.filter.flush(), b.fences.flush()); err != nil {
		return err
	}
	head := pageWriter{file: b.file, seq: b.seq, buf: make([]byte, pageBytes)}
	b.encode(head.payload())
	if err := head.done(); err != nil {
		return err
	}
	return b.file.Sync()
}

// abandon gives up a run that no manifest names. What it can not remove, the next Open will.
func (b *builder) abandon() {
	_ = b.file.Close()
	_ = b.fs.Remove(b.tmp)
	_ = b.fs.Remove(b.path)
}
