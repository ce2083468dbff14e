package journal

import (
	"sync/atomic"

	"tollgate/internal/vfs"
	"tollgate/pkg/recordbatch"
)

// hangingFS is a disk whose syncs hang, once told to, until released.
type hangingFS struct {
	vfs.FS
	hang    atomic.Bool
	hanging atomic.Int32
	release chan struct{}
}

func (h *hangingFS) OpenFile(path string, flag int) (vfs.File, error) {
	f, err := h.FS.OpenFile(path, flag)
	return &hangingFile{f, h}, err
}

type hangingFile struct {
	vfs.File
	h *hangingFS
}

func (f *hangingFile) Sync() error {
	if f.h.hang.Load() {
		f.h.hanging.Add(1)
		<-f.h.release
	}
	return f.File.Sync()
}

// batchAt is a batch of one record received at a time, in ms.
func batchAt(ms int64, value string) []byte {
	var b recordbatch.Builder
	b.Reset(nil)
	b.Append(ms, recordbatch.AppendBody(nil, []byte("key"), []byte(value)))
	return b.Seal()
}
