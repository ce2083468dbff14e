package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"syscall"
)

// memHandle is an open file of a Mem.
type memHandle struct {
	m      *Mem
	f      *memFile
	path   string
	closed bool
}

func (h *memHandle) call(op string, probability float64) error {
	if h.closed {
		return &os.PathError{Op: op, Path: h.path, Err: fs.ErrClosed}
	}
	return h.m.call(op, h.path, probability)
}

func (h *memHandle) ReadAt(p []byte, offset int64) (int, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.call("read", 0); err != nil {
		return 0, err
	}
	if offset >= int64(len(h.f.live)) {
		return 0, io.EOF
	}
	n := copy(p, h.f.live[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *memHandle) WriteAt(offset int64, buffers ...[]byte) (int64, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	fault := h.call("write", h.m.faults.WriteFails)
	if h.closed || h.m.off {
		return 0, fault
	}
	data := slices.Concat(buffers...)
	if fault != nil {
		data = data[:h.m.dice.IntN(len(data)+1)]
	}
	if room := h.m.room(); room >= 0 {
		grows := offset + int64(len(data)) - h.f.allocated()
		if grows > room {
			data = data[:max(0, int64(len(data))-(grows-room))]
			fault = &os.PathError{Op: "write", Path: h.path, Err: syscall.ENOSPC}
		}
	}
	h.f.write(offset, data)
	h.m.writeBack(h.f)
	return int64(len(data)), fault
}

func (h *memHandle) Sync() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	err := h.call("fdatasync", h.m.faults.SyncFails)
	switch {
	case h.closed || h.m.off:
		return err
	case err != nil:
		h.m.loseSome(h.f)
		return err
	}
	h.f.sync()
	return nil
}

func (h *memHandle) Truncate(size int64) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.call("truncate", h.m.faults.OpenFails); err != nil {
		return err
	}
	h.f.truncate(size)
	return nil
}

func (h *memHandle) Preallocate(offset, length int64) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	err := h.call("fallocate", 0)
	switch {
	case err != nil:
		return err
	case h.m.faults.PreallocateUnsupported:
		return &os.PathError{Op: "fallocate", Path: h.path, Err: syscall.EOPNOTSUPP}
	}
	end := offset + length
	if room := h.m.room(); room >= 0 && end-h.f.allocated() > room {
		end = h.f.allocated() + room // ext4 keeps what it got
		err = &os.PathError{Op: "fallocate", Path: h.path, Err: syscall.ENOSPC}
	}
	h.f.reserved = max(h.f.reserved, end)
	return err
}

// Forget is no call that can fail: it is not counted. Linux would begin to write
// what is not durable, which nobody wants, so here it is a bug.
func (h *memHandle) Forget(offset, length int64) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.closed {
		return
	}
	for s := range h.f.dirty {
		if from := s * sectorBytes; from >= offset && from+sectorBytes <= offset+length {
			panic(fmt.Sprintf("BUG: vfs: %s is to be forgotten from %d to %d, where it is not durable", h.path, offset, offset+length))
		}
	}
}

func (h *memHandle) Size() (int64, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.call("stat", 0); err != nil {
		return 0, err
	}
	return int64(len(h.f.live)), nil
}

// Nameless is no call that can fail: it is not counted.
func (h *memHandle) Nameless() bool {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return !h.closed && !h.m.off && !h.m.root.holds(h.f)
}

func (h *memHandle) Close() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.closed {
		return &os.PathError{Op: "close", Path: h.path, Err: fs.ErrClosed}
	}
	h.closed = true
	return nil
}

// room is how many bytes still fit; -1 for any number.
func (m *Mem) room() int64 {
	if m.faults.CapacityBytes == 0 {
		return -1
	}
	return max(0, m.faults.CapacityBytes-m.root.bytes())
}

func (f *memFile) write(offset int64, data []byte) {
	if len(data) == 0 {
		return
	}
	f.extend(offset + int64(len(data)))
	copy(f.live[offset:], data)
	f.touch(offset, offset+int64(len(data)))
}

// extend makes the file at least so long; what is new reads as zeros.
func (f *memFile) extend(size int64) {
	before := int64(len(f.live))
	if size <= before {
		return
	}
	f.live = append(f.live, make([]byte, size-before)...)
	f.resized = true
	f.touch(before, size)
}

// allocated is how much of the disk the file takes.
func (f *memFile) allocated() int64 { return max(int64(len(f.live)), f.reserved) }

func (f *memFile) truncate(size int64) {
	if size <= int64(len(f.live)) {
		f.reserved = 0 // as ext4, XFS and tmpfs do, also when the size stays
	}
	if size == int64(len(f.live)) {
		return // as in Linux: it makes nothing dirty
	}
	f.extend(size)
	f.live = f.live[:size:size]
	f.resized = true
	maps.DeleteFunc(f.dirty, func(s int64, _ struct{}) bool { return s*sectorBytes >= size })
	f.touch(size/sectorBytes*sectorBytes, size) // what the last sector held behind the new end is gone
}

// touch marks the sectors from one byte to another dirty.
func (f *memFile) touch(from, to int64) {
	for s := from / sectorBytes; s*sectorBytes < to; s++ {
		f.dirty[s] = struct{}{}
	}
}

// sync makes durable what is dirty, and only that: bytes that a failed sync has lost stay lost.
func (f *memFile) sync() {
	if f.resized {
		f.resize(int64(len(f.live)))
	}
	for s := range f.dirty {
		f.keep(s)
	}
	clear(f.dirty)
	f.resized = false
	f.reservedDurable = f.reserved
}

// keep makes one sector of the live content durable, within the durable size.
func (f *memFile) keep(sector int64) {
	from := min(sector*sectorBytes, int64(len(f.live)))
	to := min(from+sectorBytes, int64(len(f.live)), int64(len(f.durable)))
	if from < to {
		copy(f.durable[from:to], f.live[from:to])
	}
}

// resize sets the durable size; new bytes are zero until their sector is kept.
func (f *memFile) resize(size int64) {
	if grow := size - int64(len(f.durable)); grow > 0 {
		f.durable = append(f.durable, make([]byte, grow)...)
	}
	f.durable = f.durable[:size:size]
}
