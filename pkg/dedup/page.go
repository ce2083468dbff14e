package dedup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"tollgate/internal/vfs"
)

// A file of a run is pages, each with its own checksum, which covers where it belongs as well:
//
//	0           4092       4096
//	+-----------+----------+
//	| payload   | CRC-32C  |
//	+-----------+----------+
//
//	page 0       header (run.go)
//	the filter   63 blocks of 64 bytes a page
//	the fences   1,023 × u32 a page: the upper half of the first word of each page of entries
//	the entries  170 × 24 bytes a page, in the order of their IDs
//
// All numbers are little-endian.
const (
	pageBytes    = 4096
	payloadBytes = pageBytes - 4

	pageEntries = payloadBytes / slotBytes
	pageBlocks  = payloadBytes / blockBytes
	pageFences  = payloadBytes / 4
)

// RotError says that a file does not hold what was written into it.
type RotError struct {
	Path   string
	Page   int64 // -1 when it is not one page's
	Reason string
}

func (e *RotError) Error() string {
	at := ""
	if e.Page >= 0 {
		at = fmt.Sprintf(" page %d", e.Page)
	}
	return fmt.Sprintf("dedup: %s%s: %s: the file is damaged; nothing of it is used or removed. The duplicate index "+
		"can be rebuilt from the log when its directory is moved away (gateway state rebuild)", e.Path, at, e.Reason)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pageSum is the checksum of a page's payload at its place in the run with a sequence number.
func pageSum(seq uint64, page int64, payload []byte) uint32 {
	seed := uint32(seq)*0x9E3779B1 ^ uint32(page)*0x85EBCA6B
	return crc32.Update(seed, castagnoli, payload)
}

// pageFile reads pages of one file.
type pageFile struct {
	file vfs.File
	path string
	seq  uint64
}

// read reads pages into buf, which is a whole number of them, and checks them.
func (p *pageFile) read(buf []byte, page int64) error {
	n, err := p.file.ReadAt(buf, page*pageBytes)
	if n < len(buf) {
		if err == nil || errors.Is(err, io.EOF) {
			return &RotError{p.path, page + int64(n/pageBytes), "it ends too soon"}
		}
		return fmt.Errorf("dedup: %s: %w", p.path, err)
	}
	for at := 0; at < len(buf); at += pageBytes {
		payload := buf[at : at+payloadBytes]
		number := page + int64(at/pageBytes)
		if binary.LittleEndian.Uint32(buf[at+payloadBytes:]) != pageSum(p.seq, number, payload) {
			return &RotError{p.path, number, "its checksum is another"}
		}
	}
	return nil
}

// pageReader reads a section of a file front to back.
type pageReader struct {
	file      *pageFile
	page, end int64
	buf       []byte // as long as its capacity allows
	at, n     int
}

func newPageReader(file *pageFile, page, end int64, buf []byte) *pageReader {
	return &pageReader{file: file, page: page, end: end, buf: buf}
}

// next returns the payload of the next page, valid until the call after it.
func (r *pageReader) next() ([]byte, error) {
	if r.at == r.n {
		pages := min(int64(len(r.buf)/pageBytes), r.end-r.page)
		if pages <= 0 {
			return nil, io.EOF
		}
		r.at, r.n = 0, int(pages)*pageBytes
		if err := r.file.read(r.buf[:r.n], r.page); err != nil {
			r.n = 0
			return nil, err
		}
		r.page += pages
	}
	payload := r.buf[r.at : r.at+payloadBytes]
	r.at += pageBytes
	return payload, nil
}

// pageWriter writes a section of a file front to back.
type pageWriter struct {
	file      vfs.File
	seq       uint64
	page      int64 // of buf's first
	buf       []byte
	n         int
	syncBytes int64 // written since the last Sync
}

// syncEvery bounds what is written and not yet on its way to the disk, so that the last Sync does not stop everything
// else on that disk.
const syncEvery = 32 << 20

// payload is that of the page that comes next, zeroed when it is new.
func (w *pageWriter) payload() []byte { return w.buf[w.n : w.n+payloadBytes] }

// done ends that page.
func (w *pageWriter) done() error {
	page := w.page + int64(w.n/pageBytes)
	binary.LittleEndian.PutUint32(w.buf[w.n+payloadBytes:], pageSum(w.seq, page, w.payload()))
	w.n += pageBytes
	if w.n == len(w.buf) {
		return w.flush()
	}
	return nil
}

func (w *pageWriter) flush() error {
	if w.n == 0 {
		return nil
	}
	if _, err := w.file.WriteAt(w.page*pageBytes, w.buf[:w.n]); err != nil {
		return err
	}
	w.page += int64(w.n / pageBytes)
	w.syncBytes += int64(w.n)
	clear(w.buf[:w.n])
	w.n = 0
	if w.syncBytes >= syncEvery {
		w.syncBytes = 0
		return w.file.Sync()
	}
	return nil
}
