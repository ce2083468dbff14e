package vfs

import (
	"maps"
	"slices"
)

// pageSectors is the number of sectors that the kernel writes back together, most of the time.
const pageSectors = 8

// Crash returns the disk as a power loss would leave it: what was synced, and of the rest a random part, in no
// order. The disk itself goes off: whatever still runs on it gets ErrOff.
func (m *Mem) Crash() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.off = true
	next := NewMem(m.dice.Uint64())
	next.root = m.crashDir(m.root, map[*memFile]*memFile{})
	return next
}

// Kill returns the disk as the sudden end of the process alone would leave it: nothing that was written is lost, and
// nothing is durable that was not. The disk itself goes off.
func (m *Mem) Kill() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.off = true
	next := NewMem(m.dice.Uint64())
	next.root = m.root
	return next
}

// Clone returns a copy of the disk as it is, without its faults.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := NewMem(m.dice.Uint64())
	next.root = cloneNode(m.root, map[any]any{}).(*memDir)
	return next
}

// cloneNode copies a file or directory; copies holds what was copied already, since a file may have several names.
func cloneNode(node any, copies map[any]any) any {
	if done, ok := copies[node]; ok {
		return done
	}
	if f, ok := node.(*memFile); ok {
		c := &memFile{
			live: slices.Clone(f.live), durable: slices.Clone(f.durable), dirty: maps.Clone(f.dirty), resized: f.resized,
			reserved: f.reserved, reservedDurable: f.reservedDurable,
		}
		copies[node] = c
		return c
	}
	d, c := node.(*memDir), newMemDir()
	copies[node] = c
	for name, n := range d.live {
		c.live[name] = cloneNode(n, copies)
	}
	for name, n := range d.durable {
		c.durable[name] = cloneNode(n, copies)
	}
	for _, change := range d.pending {
		if change.node != nil {
			change.node = cloneNode(change.node, copies)
		}
		c.pending = append(c.pending, change)
	}
	return c
}

// crashDir copies a directory: its durable names, and a random part of the pending changes, each whole or not at all.
func (m *Mem) crashDir(d *memDir, files map[*memFile]*memFile) *memDir {
	left := newMemDir()
	names := maps.Clone(d.durable)
	kept := m.rate()
	for _, c := range d.pending {
		if m.dice.Float64() < kept {
			c.apply(names)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch node := names[name].(type) {
		case *memDir:
			left.live[name] = m.crashDir(node, files)
		case *memFile:
			if files[node] == nil {
				files[node] = m.crashFile(node)
			}
			left.live[name] = files[node]
		}
	}
	left.durable = maps.Clone(left.live)
	return left
}

func (m *Mem) crashFile(f *memFile) *memFile {
	left := &memFile{live: f.live, durable: slices.Clone(f.durable), dirty: f.dirty, resized: f.resized}
	m.keepSome(left)
	reserved := f.reservedDurable
	if reserved != f.reserved && m.dice.IntN(2) == 0 {
		reserved = f.reserved
	}
	return &memFile{
		live: left.durable, durable: slices.Clone(left.durable), dirty: map[int64]struct{}{},
		reserved: reserved, reservedDurable: reserved,
	}
}

// writeBack is the kernel writing dirty sectors back whenever it likes: now and then, so that a sector which is
// written several times between two syncs may be durable in any of its versions.
func (m *Mem) writeBack(f *memFile) {
	if m.dice.IntN(8) == 0 {
		m.keepSome(f)
	}
}

// loseSome is a failed sync: some dirty sectors became durable, none of them is dirty any more, and the page cache
// may have been read anew from the disk.
func (m *Mem) loseSome(f *memFile) {
	m.keepSome(f)
	clear(f.dirty)
	f.resized = false
	if m.dice.IntN(4) == 0 {
		f.live = slices.Clone(f.durable)
	}
}

// keepSome makes a random part of what is dirty durable: a size, and sectors or whole pages.
func (m *Mem) keepSome(f *memFile) {
	if f.resized {
		m.keepSize(f)
	}
	unit := int64(1)
	if m.dice.IntN(2) == 0 {
		unit = pageSectors
	}
	kept := m.rate()
	decided := map[int64]bool{}
	for _, s := range slices.Sorted(maps.Keys(f.dirty)) {
		keep, known := decided[s/unit]
		if !known {
			keep = m.dice.Float64() < kept
			decided[s/unit] = keep
		}
		if keep {
			f.keep(s)
		}
	}
}

// keepSize picks the durable size: the old one, the new one, or one between.
func (m *Mem) keepSize(f *memFile) {
	from, to := int64(len(f.durable)), int64(len(f.live))
	switch m.dice.IntN(4) {
	case 0:
	case 1:
		low, high := min(from, to), max(from, to)
		f.resize(low + m.dice.Int64N(high-low+1))
	default:
		f.resize(to)
	}
}

// rate is the share of things that survive one crash: often none or all, since the middle hides such cases.
func (m *Mem) rate() float64 {
	switch m.dice.IntN(4) {
	case 0:
		return 0
	case 1:
		return 1
	}
	return m.dice.Float64()
}
