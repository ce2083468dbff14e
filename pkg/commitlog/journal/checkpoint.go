package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"tollgate/internal/vfs"
)

// The checkpoint of a partition tells up to where its segments were durable when it was written. The file has two
// slots, at 0 and at 4096, of 48 bytes each, big-endian:
//
//	offset  bytes  field
//	     0      4  "TGck"
//	     4      4  version, 1
//	     8      8  sequence: the slot with the larger one counts
//	    16      8  base offset of the segment, which is its name
//	    24      8  position: bytes of this segment that are durable
//	    32      8  next offset: the one behind the last durable record
//	    40      4  zero
//	    44      4  CRC32C of the bytes before
//
// Marks are written to one slot until the file has been synced, and then to the other: whatever a power loss makes of
// the slot that was being written, the other one is whole.
const (
	checkpointName    = "checkpoint"
	checkpointMagic   = "TGck"
	checkpointVersion = 1
	slotBytes         = 48
	slotDistance      = 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// mark is what a checkpoint says.
type mark struct {
	base     int64
	position int64
	next     int64
}

// checkpoint belongs to the goroutine that owns its partition.
type checkpoint struct {
	fs       vfs.FS
	path     string
	file     vfs.File // nil: it has to be made anew
	sequence uint64
	slot     int64
	dirty    bool  // a mark was written and not synced
	base     int64 // of the mark written last
	// durable is the base of the segment in the last mark that is durable. The janitor reads it.
	durable atomic.Int64
	buf     [slotBytes]byte
}

func newCheckpoint(fs vfs.FS, dir string) *checkpoint {
	return &checkpoint{fs: fs, path: filepath.Join(dir, checkpointName)}
}

// read returns the newest whole mark, its slot and sequence; false when there is none.
func (c *checkpoint) read() (m mark, found bool, err error) {
	f, err := c.fs.OpenFile(c.path, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return mark{}, false, nil
	}
	if err != nil {
		return mark{}, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for slot := range int64(2) {
		var b [slotBytes]byte
		n, err := f.ReadAt(b[:], slot*slotDistance)
		if err != nil && !errors.Is(err, io.EOF) {
			return mark{}, false, err
		}
		sequence, slotMark, ok := decodeMark(b[:n])
		if ok && sequence > c.sequence {
			m, found = slotMark, true
			c.sequence, c.slot = sequence, slot
		}
	}
	return m, found, nil
}

// create makes the file anew, with the mark in it, durable. The old one stays until the new one is complete.
func (c *checkpoint) create(m mark) error {
	c.discard()
	temporary := c.path + ".tmp"
	f, err := c.fs.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	c.sequence++
	c.encode(m)
	_, err0 := f.WriteAt(0, c.buf[:])
	_, err1 := f.WriteAt(slotDistance, c.buf[:])
	if err := errors.Join(err0, err1); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := c.fs.Rename(temporary, c.path); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := c.fs.SyncDir(filepath.Dir(c.path)); err != nil {
		return errors.Join(err, f.Close())
	}
	c.file, c.slot, c.dirty = f, 0, false
	c.durable.Store(m.base)
	return nil
}

// write notes a mark without syncing it.
func (c *checkpoint) write(m mark) error {
	if c.file == nil {
		return c.create(m)
	}
	c.sequence++
	c.encode(m)
	c.dirty, c.base = true, m.base
	if _, err := c.file.WriteAt(c.slot*slotDistance, c.buf[:]); err != nil {
		c.discard()
		return err
	}
	return nil
}

// sync makes the last mark durable. A file whose sync failed is not used again.
func (c *checkpoint) sync() error {
	if c.file == nil || !c.dirty {
		return nil
	}
	if err := c.file.Sync(); err != nil {
		c.discard()
		return err
	}
	c.slot, c.dirty = 1-c.slot, false
	c.durable.Store(c.base)
	return nil
}

// discard gives the open file up; the next write makes a new one.
func (c *checkpoint) discard() {
	if c.file != nil {
		_ = c.file.Close() // whatever it says, the file is not used again
		c.file, c.dirty = nil, false
	}
}

func (c *checkpoint) encode(m mark) {
	b := append(c.buf[:0], checkpointMagic...)
	b = binary.BigEndian.AppendUint32(b, checkpointVersion)
	b = binary.BigEndian.AppendUint64(b, c.sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(m.base))
	b = binary.BigEndian.AppendUint64(b, uint64(m.position))
	b = binary.BigEndian.AppendUint64(b, uint64(m.next))
	b = binary.BigEndian.AppendUint32(b, 0)
	_ = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeMark(b []byte) (sequence uint64, m mark, ok bool) {
	if len(b) != slotBytes || string(b[:4]) != checkpointMagic ||
		binary.BigEndian.Uint32(b[4:]) != checkpointVersion ||
		binary.BigEndian.Uint32(b[slotBytes-4:]) != crc32.Checksum(b[:slotBytes-4], castagnoli) {
		return 0, mark{}, false
	}
	sequence = binary.BigEndian.Uint64(b[8:])
	m.base = int64(binary.BigEndian.Uint64(b[16:]))
	m.position = int64(binary.BigEndian.Uint64(b[24:]))
	m.next = int64(binary.BigEndian.Uint64(b[32:]))
	return sequence, m, m.base >= 0 && m.position >= 0 && m.next >= m.base
}

func (m mark) String() string {
	return fmt.Sprintf("segment %020d, %d bytes, next offset %d", m.base, m.position, m.next)
}
