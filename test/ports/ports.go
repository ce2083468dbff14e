// Package ports gives tests loopback ports that stay theirs while nobody listens on them, so that a gateway or a broker
// that is killed finds its port free when it comes back.
//
//	addr := ports.Addr(ports.Reserve(t, 1)[0])
//
// It may be used by several test processes at once. It will not listen.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// The range lies below the one from which the kernel takes the ports of outgoing connections (32768 on Linux): one of
// those could be on a port while its server is down.
const portMin, portMax = 10000, 32000

// triesMax bounds the search; nearly all ports of the range are free.
const triesMax = 1000

// Reserve finds count free ports of 127.0.0.1 and holds them until the test ends. What holds a port is a file lock: that
// a port is unused at the moment may just mean that another test's server is down.
func Reserve(tb testing.TB, count int) []int {
	tb.Helper()
	dir := filepath.Join(os.TempDir(), "tollgate-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		tb.Fatal(err)
	}
	var list []int
	for tries := 0; len(list) < count; tries++ {
		if tries == triesMax {
			tb.Fatalf("no free loopback port between %d and %d", portMin, portMax)
		}
		port := portMin + rand.IntN(portMax-portMin)
		lock, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			tb.Fatal(err)
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !unused(port) {
			lock.Close()
			continue
		}
		tb.Cleanup(func() { lock.Close() })
		list = append(list, port)
	}
	return list
}

// Addr is the address of a port.
func Addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func unused(port int) bool {
	ln, err := net.Listen("tcp", Addr(port))
	if err != nil {
		return false
	}
	ln.Close()
	return true
}
