package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Mem is a disk in memory that can be crashed. Every file has two contents: the live one, which is what a process
// sees (the page cache), and the durable one, which a power loss leaves. Directories likewise.
//
// Its dice are rolled in the order of the calls: a test whose calls come in one order repeats exactly by its seed.
type Mem struct {
	mu     sync.Mutex
	dice   *rand.Rand
	root   *memDir
	faults Faults
	calls  int
	off    bool
}

// Faults says how a Mem misbehaves; the zero value is a disk that does not. Probabilities are of one call.
type Faults struct {
	// SyncFails is the probability that a Sync or SyncDir fails with EIO. What was to be synced is then partly
	// durable, partly not, and counts as clean all the same: a second Sync returns nil and changes nothing (Linux).
	SyncFails float64
	// WriteFails is the probability that a WriteAt stops early: with EIO, or ENOSPC, after a part of the bytes.
	WriteFails float64
	// OpenFails is the probability that OpenFile, Remove, Rename, Truncate or ReadDir fails with EIO.
	OpenFails float64
	// PreallocateUnsupported makes every Preallocate fail as on a file system that has none.
	PreallocateUnsupported bool
	// CapacityBytes bounds the sum of all files' sizes, with what is preallocated behind them; over it writes and
	// Preallocate stop with ENOSPC. 0: no bound.
	CapacityBytes int64
	// FailCalls lists calls, counted from 1 over all calls that can fail, that fail with EIO whatever the dice say.
	FailCalls []int
	// CrashAt is the call at which the machine stops: it and every later one returns ErrOff. 0: never.
	CrashAt int
}

// ErrOff is returned by every call to a disk whose machine has stopped.
var ErrOff = fmt.Errorf("the machine is off: %w", syscall.EIO)

const (
	// sectorBytes is what a disk writes whole or not at all.
	sectorBytes = 512
	// memTotalBytes is what Space calls the size of an unbounded disk.
	memTotalBytes = 1 << 40
)

// memFile is a file's content. It has no name: directories refer to it, and open files keep it alive.
type memFile struct {
	live    []byte
	durable []byte
	dirty   map[int64]struct{} // sectors, by number, in which live and durable may differ
	resized bool               // the live size is not durable
	// Blocks are reserved up to these offsets, when they lie behind the content: now, and as far as was synced.
	reserved, reservedDurable int64
}

// memDir is a directory. A pending change is one that no SyncDir has made durable.
type memDir struct {
	live    map[string]any // *memFile or *memDir
	durable map[string]any
	pending []memChange
}

// memChange is what one system call did to a directory: names that go and a name that comes, at once.
type memChange struct {
	gone string
	name string // "" for none
	node any
}

// NewMem makes an empty disk.
func NewMem(seed uint64) *Mem {
	return &Mem{dice: rand.New(rand.NewPCG(seed, 0)), root: newMemDir()}
}

func newMemDir() *memDir {
	return &memDir{live: map[string]any{}, durable: map[string]any{}}
}

// SetFaults changes how the disk misbehaves from now on. Calls are counted anew.
func (m *Mem) SetFaults(f Faults) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults, m.calls = f, 0
}

// Calls is the number of calls since SetFaults that could have failed.
func (m *Mem) Calls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

// FlipBit inverts one bit of a file, in the live and the durable content alike.
func (m *Mem) FlipBit(path string, bit int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := m.file("flip", path)
	if err != nil {
		return err
	}
	if bit/8 >= int64(len(f.live)) {
		return &os.PathError{Op: "flip", Path: path, Err: io.EOF}
	}
	f.live[bit/8] ^= 1 << (bit % 8)
	if bit/8 < int64(len(f.durable)) {
		f.durable[bit/8] ^= 1 << (bit % 8)
	}
	return nil
}

// call counts a call that can fail, and rolls for it.
func (m *Mem) call(op, path string, probability float64) error {
	m.calls++
	if m.faults.CrashAt > 0 && m.calls >= m.faults.CrashAt {
		m.off = true
	}
	if m.off {
		return &os.PathError{Op: op, Path: path, Err: ErrOff}
	}
	if slices.Contains(m.faults.FailCalls, m.calls) || (probability > 0 && m.dice.Float64() < probability) {
		return &os.PathError{Op: op, Path: path, Err: syscall.EIO}
	}
	return nil
}

// OpenFile implements FS.
func (m *Mem) OpenFile(path string, flag int) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("open", path, m.faults.OpenFails); err != nil {
		return nil, err
	}
	dir, name, err := m.parent("open", path)
	if err != nil {
		return nil, err
	}
	node, exists := dir.live[name]
	f, isFile := node.(*memFile)
	switch {
	case exists && !isFile:
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
	case exists && flag&os.O_EXCL != 0:
		return nil, &os.PathError{Op: "open", Path: path, Err: fs.ErrExist}
	case !exists && flag&os.O_CREATE == 0:
		return nil, &os.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	case !exists:
		f = &memFile{dirty: map[int64]struct{}{}}
		dir.change(memChange{name: name, node: f})
	}
	if flag&os.O_TRUNC != 0 {
		f.truncate(0)
	}
	return &memHandle{m: m, f: f, path: path}, nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("mkdir", path, m.faults.OpenFails); err != nil {
		return err
	}
	dir := m.root
	for _, name := range split(path) {
		node, exists := dir.live[name]
		if !exists {
			node = newMemDir()
			dir.change(memChange{name: name, node: node})
		}
		next, isDir := node.(*memDir)
		if !isDir {
			return &os.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
		}
		dir = next
	}
	return nil
}

// ReadDir implements FS.
func (m *Mem) ReadDir(path string) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("readdir", path, m.faults.OpenFails); err != nil {
		return nil, err
	}
	dir, err := m.dir("readdir", path)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for name, node := range dir.live {
		e := Entry{Name: name}
		switch node := node.(type) {
		case *memDir:
			e.Dir = true
		case *memFile:
			e.Bytes = int64(len(node.live))
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// Rename implements FS.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("rename", from, m.faults.OpenFails); err != nil {
		return err
	}
	f, err := m.file("rename", from)
	if err != nil {
		return err
	}
	if filepath.Dir(from) != filepath.Dir(to) {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.EXDEV}
	}
	dir, name, err := m.parent("rename", to)
	if err != nil {
		return err
	}
	dir.change(memChange{gone: filepath.Base(from), name: name, node: f})
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("remove", path, m.faults.OpenFails); err != nil {
		return err
	}
	if _, err := m.file("remove", path); err != nil {
		return err
	}
	dir, name, err := m.parent("remove", path)
	if err != nil {
		return err
	}
	dir.change(memChange{gone: name})
	return nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, err := m.dir("syncdir", path)
	if err != nil {
		return err
	}
	if err := m.call("syncdir", path, m.faults.SyncFails); err != nil {
		return err
	}
	for _, c := range dir.pending {
		c.apply(dir.durable)
	}
	dir.pending = nil
	return nil
}

// Space implements FS.
func (m *Mem) Space(path string) (Space, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("statfs", path, 0); err != nil {
		return Space{}, err
	}
	total := m.faults.CapacityBytes
	if total == 0 {
		total = memTotalBytes
	}
	return Space{Free: max(0, total-m.root.bytes()), Total: total}, nil
}

func (d *memDir) change(c memChange) {
	c.apply(d.live)
	d.pending = append(d.pending, c)
}

func (c memChange) apply(names map[string]any) {
	delete(names, c.gone)
	if c.name != "" {
		names[c.name] = c.node
	}
}

func (d *memDir) bytes() (sum int64) {
	for _, node := range d.live {
		switch node := node.(type) {
		case *memDir:
			sum += node.bytes()
		case *memFile:
			sum += node.allocated()
		}
	}
	return sum
}

// holds tells whether a file has a name in the directory or below.
func (d *memDir) holds(f *memFile) bool {
	for _, node := range d.live {
		if dir, isDir := node.(*memDir); node == any(f) || isDir && dir.holds(f) {
			return true
		}
	}
	return false
}

func split(path string) []string {
	return strings.FieldsFunc(filepath.Clean(path), func(r rune) bool { return r == filepath.Separator || r == '.' && path == "." })
}

func (m *Mem) dir(op, path string) (*memDir, error) {
	dir := m.root
	for _, name := range split(path) {
		next, isDir := dir.live[name].(*memDir)
		if !isDir {
			return nil, &os.PathError{Op: op, Path: path, Err: fs.ErrNotExist}
		}
		dir = next
	}
	return dir, nil
}

func (m *Mem) parent(op, path string) (*memDir, string, error) {
	dir, err := m.dir(op, filepath.Dir(path))
	return dir, filepath.Base(path), err
}

func (m *Mem) file(op, path string) (*memFile, error) {
	dir, name, err := m.parent(op, path)
	if err != nil {
		return nil, err
	}
	f, isFile := dir.live[name].(*memFile)
	if !isFile {
		return nil, &os.PathError{Op: op, Path: path, Err: fs.ErrNotExist}
	}
	return f, nil
}
