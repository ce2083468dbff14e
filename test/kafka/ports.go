package kafkatest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Brokers listen below the range from which the kernel takes the ports of outgoing connections (32768 on Linux), so that a
// killed broker finds its port free when it comes back.
const portMin, portMax = 20000, 32000

// reservePorts finds count free loopback ports and holds them, against other test processes too, until the test ends. The
// lock is a file's, one a port: a port that is merely unused at the moment may be another test's, whose broker is down.
func reservePorts(t testing.TB, count int) []int {
	t.Helper()
	dir := filepath.Join(os.TempDir(), "kafkatest-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	var ports []int
	for tries := 0; len(ports) < count; tries++ {
		if tries == 1000 {
			t.Fatalf("no free loopback port between %d and %d", portMin, portMax)
		}
		port := portMin + rand.IntN(portMax-portMin)
		lock, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(port)), os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !unused(port) {
			lock.Close()
			continue
		}
		t.Cleanup(func() { lock.Close() })
		ports = append(ports, port)
	}
	return ports
}

func unused(port int) bool {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
