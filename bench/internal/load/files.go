package load

import (
	"fmt"
	"syscall"
)

// filesBeside are the process's files that are no connection of a load.
const filesBeside = 64

// allowFiles sees to it that this process may open so many connections, or says what the machine's owner has to raise.
// The limit below which a process may raise its own is raised by Go itself at the start.
func allowFiles(connections int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil // then connecting will say so
	}
	need := uint64(connections + filesBeside)
	if limit.Cur >= need {
		return nil
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: need, Max: max(need, limit.Max)}); err != nil {
		return fmt.Errorf("%d connections need %d open files, and this process may have %d: raise the limit (ulimit -Hn)",
			connections, need, limit.Max)
	}
	return nil
}
