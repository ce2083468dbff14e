package journal

import (
	"errors"
	"fmt"
	"io"

	"tollgate/internal/vfs"
	"tollgate/pkg/recordbatch"
)

// walker goes through the batches of a segment file, from a position on, and stops at the first that is not right.
// Every look at a segment's bytes is one of two walks: full ones read and check everything, the others only headers.
type walker struct {
	file     vfs.File
	size     int64 // bytes of the file that may be looked at
	position int64 // of the next batch
	offset   int64 // that it must begin with
	limit    int64 // offset at which the segment ends, whatever follows; -1: at size
	buf      []byte
	bufStart int64 // position of buf[0]
	header   recordbatch.Header
	batch    []byte // of a full walk; valid until the next step
	fault    string // why the walk stopped early; empty at a sound end
	err      error  // the disk's
}

func newWalker(f vfs.File, size, position, offset, limit int64) *walker {
	return &walker{file: f, size: size, position: position, offset: offset, limit: limit, bufStart: position}
}

// next looks at the next batch and goes past it. It returns the batch's position.
func (w *walker) next(full bool) (position int64, ok bool) {
	if !w.look(full) {
		return 0, false
	}
	position = w.position
	w.position += int64(w.header.Length)
	w.offset = w.header.NextOffset()
	return position, true
}

// look leaves the header of the next batch and, when full, its bytes. False at the end, and when it is not right.
func (w *walker) look(full bool) bool {
	if w.fault != "" || w.err != nil || w.offset == w.limit {
		return false
	}
	if w.position == w.size {
		if w.limit >= 0 {
			w.fault = fmt.Sprintf("the file ends with offset %d, the next segment begins with %d", w.offset, w.limit)
		}
		return false
	}
	head := w.bytes(recordbatch.HeaderBytes, full)
	if w.err != nil {
		return false
	}
	h, err := recordbatch.ParseHeader(head)
	switch {
	case err != nil && !errors.Is(err, recordbatch.ErrShort):
		w.fault = err.Error()
	case len(head) < recordbatch.HeaderBytes || w.position+int64(h.Length) > w.size:
		w.fault = "the file ends in the middle of a batch"
	case h.BaseOffset != w.offset:
		w.fault = fmt.Sprintf("a batch begins with offset %d instead of %d", h.BaseOffset, w.offset)
	case w.limit >= 0 && h.NextOffset() > w.limit:
		w.fault = fmt.Sprintf("a batch reaches offset %d, the next segment begins with %d", h.NextOffset(), w.limit)
	case full:
		w.check(int(h.Length))
	}
	w.header = h
	return w.fault == "" && w.err == nil
}

func (w *walker) check(length int) {
	w.batch = w.bytes(length, true)
	if w.err != nil {
		return
	}
	if _, err := recordbatch.Verify(w.batch); err != nil {
		w.fault = err.Error()
	}
}

// bytes returns n bytes from the walker's position on, fewer at the end of the file. ahead reads a good deal more at
// once, for a walk that will want it.
func (w *walker) bytes(n int, ahead bool) []byte {
	start := w.position - w.bufStart
	if start >= 0 && start+int64(n) <= int64(len(w.buf)) {
		return w.buf[start : start+int64(n)]
	}
	want := n
	if ahead {
		want = max(n, readBytes)
	}
	want = int(min(int64(want), w.size-w.position))
	if want > cap(w.buf) {
		w.buf = make([]byte, want)
	}
	w.buf, w.bufStart = w.buf[:want], w.position
	got, err := w.file.ReadAt(w.buf, w.position)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	w.buf = w.buf[:got]
	return w.buf[:min(n, got)]
}

// rot describes where and why the walk stopped.
func (w *walker) rot(path string) error {
	return &RotError{File: path, Position: w.position, Reason: w.fault}
}
