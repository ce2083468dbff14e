package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// SlowDisk makes a process's fsyncs take longer, by strace: the kernel does what is asked for, and strace holds the
// thread back before it learns so. Every system call of the process is slower meanwhile, as strace looks at each.
type SlowDisk struct {
	process
}

const (
	attachMax = 10 * time.Second
	detachMax = 10 * time.Second
)

// FindStrace returns where strace is.
func FindStrace() (string, error) {
	path, err := exec.LookPath("strace")
	if err != nil {
		return "", errors.New("a slow disk needs strace, and there is none: install it (apt-get install strace)")
	}
	return path, nil
}

// SlowDown returns when each fsync of the process takes longer by the delay, until Mend.
func SlowDown(ctx context.Context, pid int, delay time.Duration, dir string) (*SlowDisk, error) {
	strace, err := FindStrace()
	if err != nil {
		return nil, err
	}
	d := &SlowDisk{}
	d.log = filepath.Join(dir, "strace.log")
	if err := os.Remove(d.log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // the last life's lines would say that it is attached
	}
	d.args = []string{
		strace, "-f", "-p", strconv.Itoa(pid), "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
		"-e", fmt.Sprintf("inject=fsync,fdatasync:delay_exit=%d", delay.Microseconds()),
	}
	if err := d.start(); err != nil {
		return nil, err
	}
	err = d.await(ctx, attachMax, func() bool {
		log, err := os.ReadFile(d.log)
		return err == nil && bytes.Contains(log, []byte(" attached"))
	})
	if err != nil {
		d.Kill() // the kernel lets go of the process then
		return nil, err
	}
	return d, nil
}

// Mend lets go of the process, which goes on as if nothing had been.
func (d *SlowDisk) Mend() error {
	if err := d.signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("strace ended by itself: %w; see %s", err, d.log)
	}
	select {
	case <-d.exited:
		return nil
	case <-time.After(detachMax):
		d.Kill()
		return fmt.Errorf("strace did not let go within %s", detachMax)
	}
}
