package main

import "syscall"

const (
	// connsMaxDefault is how many public connections may be open where file descriptors do not bound them.
	connsMaxDefault = 16384
	// filesReserve is how many file descriptors connections leave to the log, the admin listener and files being read.
	filesReserve = 64
)

// connsMax bounds the public connections, such that the log always finds a file descriptor: without one it can not
// begin its next segment, and would be refused by its own clients' connections for as long as they stay.
func connsMax() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return connsMaxDefault
	}
	return connsWithin(limit.Cur)
}

func connsWithin(files uint64) int {
	if files >= connsMaxDefault+filesReserve {
		return connsMaxDefault
	}
	return max(1, int(files)-filesReserve)
}
