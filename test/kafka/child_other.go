//go:build !linux

package kafkatest

import "syscall"

// childAttributes: only Linux kills the child of a process that dies; elsewhere a broker may have to be ended by hand
// after a test that was killed.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
