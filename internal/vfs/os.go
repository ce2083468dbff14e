package vfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// OS is the machine's file system.
var OS FS = osFS{}

const (
	fileMode = 0o600
	dirMode  = 0o700
	// buffersMax is Linux's IOV_MAX: the most buffers of one pwritev.
	buffersMax = 1024
)

type osFS struct{}

func (osFS) OpenFile(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, fileMode)
	if err != nil {
		return nil, err
	}
	// A file system that does not count names says 0 from the start.
	names, err := osFile{f: f}.names()
	return osFile{f: f, counted: err == nil && names > 0}, nil
}

func (osFS) MkdirAll(path string) error { return os.MkdirAll(path, dirMode) }

func (osFS) ReadDir(path string) ([]Entry, error) {
	list, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(list))
	for _, e := range list {
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // removed since
		}
		if err == nil && e.Type()&os.ModeSymlink != 0 {
			// What it leads to: a folder may have been moved to a larger disk.
			info, err = os.Stat(filepath.Join(path, e.Name()))
			if errors.Is(err, os.ErrNotExist) { // to a disk that is not mounted
				entries = append(entries, Entry{Name: e.Name()})
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, Entry{Name: e.Name(), Dir: info.IsDir(), Bytes: info.Size()})
	}
	return entries, nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) Remove(path string) error { return os.Remove(path) }

func (osFS) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (osFS) Space(path string) (Space, error) {
	var s unix.Statfs_t
	err := retry(func() error { return unix.Statfs(path, &s) })
	if err != nil {
		return Space{}, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return Space{Free: int64(s.Bavail) * s.Frsize, Total: int64(s.Blocks) * s.Frsize}, nil
}

// osFile is an *os.File whose bulk calls go to the kernel directly: package os knows neither pwritev nor fdatasync.
type osFile struct {
	f       *os.File
	counted bool // the file system counts a file's names
}

func (f osFile) ReadAt(p []byte, offset int64) (int, error) { return f.f.ReadAt(p, offset) }

func (f osFile) Truncate(size int64) error { return f.f.Truncate(size) }

func (f osFile) Preallocate(offset, length int64) error {
	err := f.control(func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, offset, length) })
	if err != nil {
		return &os.PathError{Op: "fallocate", Path: f.f.Name(), Err: err}
	}
	return nil
}

func (f osFile) Forget(offset, length int64) {
	_ = f.control(func(fd int) error { return unix.Fadvise(fd, offset, length, unix.FADV_DONTNEED) })
}

func (f osFile) Close() error { return f.f.Close() }

func (f osFile) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Nameless() bool {
	if !f.counted {
		return false
	}
	names, err := f.names()
	return err == nil && names == 0
}

func (f osFile) names() (n uint64, err error) {
	var s unix.Stat_t
	err = f.control(func(fd int) error { return unix.Fstat(fd, &s) })
	return uint64(s.Nlink), err
}

func (f osFile) Sync() error {
	err := f.control(unix.Fdatasync)
	if err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.f.Name(), Err: err}
	}
	return nil
}

func (f osFile) WriteAt(offset int64, buffers ...[]byte) (written int64, err error) {
	var skip int // bytes of buffers[0] that are written already
	for len(buffers) > 0 {
		if skip == len(buffers[0]) {
			buffers, skip = buffers[1:], 0
			continue
		}
		var n int
		err := f.control(func(fd int) (err error) {
			if skip > 0 || len(buffers) == 1 {
				n, err = unix.Pwrite(fd, buffers[0][skip:], offset+written)
			} else {
				n, err = unix.Pwritev(fd, buffers[:min(len(buffers), buffersMax)], offset+written)
			}
			return err
		})
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return written, &os.PathError{Op: "pwrite", Path: f.f.Name(), Err: err}
		}
		written += int64(n)
		for n > 0 && n >= len(buffers[0])-skip { // whole buffers are done with
			n -= len(buffers[0]) - skip
			buffers, skip = buffers[1:], 0
		}
		skip += n
	}
	return written, nil
}

// control calls fn with the file descriptor, which stays open meanwhile, until a signal no longer interrupts it.
func (f osFile) control(fn func(fd int) error) error {
	conn, err := f.f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	outer := conn.Control(func(fd uintptr) {
		inner = retry(func() error { return fn(int(fd)) })
	})
	return errors.Join(outer, inner)
}

func retry(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
