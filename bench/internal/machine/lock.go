package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile is in the system's place for temporary files, where every working copy of a machine finds it.
const lockFile = "tollgate-timing.lock"

// Alone waits until no other run of this machine is being timed, and keeps others waiting until release is called. It
// calls waiting, once, when it has to wait. The lock is the kernel's, an flock: it ends with its process however that
// ends, and flock(1) keeps other work away while a run is timed, or runs away while it goes on.
//
// A process below a flock(1) that has the lock has it too, by a file that it was born with, and does not wait for it.
func Alone(ctx context.Context, waiting func(file string)) (release func(), err error) {
	name := filepath.Join(os.TempDir(), lockFile)
	f, err := openLock(name)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case err == nil:
		return func() { f.Close() }, nil
	case inherited(name):
		f.Close()
		return func() {}, nil
	case !errors.Is(err, syscall.EWOULDBLOCK):
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	if waiting != nil {
		waiting(name)
	}
	// Waiting in the kernel, and not asking again and again, is what gives each its turn.
	locked := make(chan error, 1)
	go func() {
		err := error(syscall.EINTR)
		for errors.Is(err, syscall.EINTR) {
			err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		}
		locked <- err
	}()
	select {
	case err := <-locked:
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		go func() { // nobody waits for it any more
			<-locked
			f.Close()
		}()
		return nil, ctx.Err()
	}
}

// openLock opens the file for reading, which is enough for an flock: another user may have made it, whose umask forbids
// us to write, and in a directory such as /tmp the kernel forbids O_CREATE on what is another's (fs.protected_regular).
func openLock(name string) (*os.File, error) {
	f, err := os.Open(name)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	f, err = os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o644)
	if errors.Is(err, os.ErrExist) { // somebody was faster
		return os.Open(name)
	}
	return f, err
}

// inherited says whether this process was born with a descriptor of the lock file that has the lock. Taking it again by
// that one succeeds then, as an flock belongs to the opened file and not to the process. Descriptors that this process
// opened itself end with an exec, as Go opens all, and do not count.
func inherited(name string) bool {
	name, err := filepath.EvalSymlinks(name) // as the kernel names what is open
	if err != nil {
		return false
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return false
	}
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			continue
		}
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || target != name {
			continue
		}
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
		if errno != 0 || flags&syscall.FD_CLOEXEC != 0 {
			continue
		}
		if syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return true
		}
	}
	return false
}
