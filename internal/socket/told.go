//go:build race

package socket

import "syscall"

// With the race detector the calls are package syscall's own, which tell it what they read and write, and that what was
// done before a write comes before what is done after the read of it.

func read(fd uintptr, p []byte) (int, error) { return syscall.Read(int(fd), p) }

func write(fd uintptr, buffers [][]byte, _ []syscall.Iovec) (int, error) {
	n, err := syscall.Write(int(fd), buffers[0])
	return max(n, 0), err
}
