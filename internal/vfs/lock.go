package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockedError says that another process holds a lock.
type LockedError struct {
	Path string
	PID  int // of the holder, as it wrote itself into the file; 0 when it can not be read
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is locked by another process: only one may use the directory at a time", e.Path)
	}
	return fmt.Sprintf("%s is locked by process %d: only one may use the directory at a time", e.Path, e.PID)
}

// Lock takes the exclusive lock that the file at path stands for, and writes the process's number into it. It does
// not wait: a lock held by another process, or taken twice by this one, is a *LockedError. Closing gives the lock
// back, and so does the end of the process, however it ends; the file stays.
func Lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	err = retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errors.Join(&LockedError{Path: path, PID: holder(f)}, f.Close())
	}
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "flock", Path: path, Err: err}, f.Close())
	}
	// The number only helps a person; a full disk must not keep the gateway from starting and saying so.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

func holder(f *os.File) int {
	var text [20]byte
	n, _ := f.ReadAt(text[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		return 0
	}
	return pid
}
