package kafkatest

import "syscall"

// childAttributes: a broker in a process group of its own, so that an interrupt at the terminal reaches the test and not
// the broker behind its back, and killed by the kernel when the test process dies without cleaning up.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
