package socket

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

// pair returns both ends of a connection on loopback, the first one as a Socket too.
func pair(t testing.TB) (*Socket, net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return Of(near), near, far
}

func TestWhatIsWrittenArrivesInOrder(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	fill := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(dice.Uint32())
		}
		return b
	}
	many := make([][]byte, 3*vectorsMax)
	for i := range many {
		many[i] = fill(dice.IntN(3)) // some are empty
	}
	for name, buffers := range map[string][][]byte{
		"none":                       {},
		"one":                        {fill(100)},
		"empty ones between":         {nil, fill(10), {}, fill(1), nil},
		"more than one call takes":   many,
		"more than the socket takes": {fill(100), fill(9 << 20), nil, fill(5 << 20), fill(7)},
	} {
		t.Run(name, func(t *testing.T) {
			s, near, far := pair(t)
			want := slices.Concat(buffers...)
			go func() {
				n, err := s.WriteBuffers(buffers)
				if err != nil || n != int64(len(want)) {
					t.Errorf("%d bytes of %d, %v", n, len(want), err)
				}
				near.Close()
			}()
			time.Sleep(10 * time.Millisecond) // so that a full socket is met
			got, err := io.ReadAll(far)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes of %d arrived, or others; %v", len(got), len(want), err)
			}
		})
	}
}

func TestReadingWaitsAndEnds(t *testing.T) {
	s, near, far := pair(t)
	go func() {
		time.Sleep(5 * time.Millisecond)
		far.Write([]byte("hello"))
		far.Close()
	}()
	var buf [3]byte
	var got []byte
	for {
		n, err := s.Read(buf[:])
		got = append(got, buf[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil || n == 0 {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	if string(got) != "hello" {
		t.Errorf("read %q", got)
	}
	if n, err := s.Read(nil); n != 0 || err != nil {
		t.Errorf("into nothing: %d, %v", n, err)
	}
	near.Close()
	if _, err := s.Read(buf[:]); !errors.Is(err, net.ErrClosed) {
		t.Errorf("of a closed one: %v", err)
	}
}

func TestDeadlinesAndCloseEndWhatIsUnderWay(t *testing.T) {
	large := make([]byte, 64<<20)
	for name, call := range map[string]func(s *Socket) error{
		"read":  func(s *Socket) error { _, err := s.Read(make([]byte, 1)); return err },
		"write": func(s *Socket) error { _, err := s.Write(large); return err },
	} {
		t.Run(name, func(t *testing.T) {
			s, near, _ := pair(t)
			near.SetDeadline(time.Now().Add(5 * time.Millisecond))
			var op *net.OpError
			if err := call(s); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &op) || op.Op != name {
				t.Errorf("after its deadline: %v", err)
			}
			near.SetDeadline(time.Time{})
			time.AfterFunc(5*time.Millisecond, func() { near.Close() })
			if err := call(s); !errors.Is(err, net.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

func TestErrorsAreThoseOfPackageNet(t *testing.T) {
	s, near, far := pair(t)
	far.(*net.TCPConn).SetLinger(0) // a reset
	far.Close()
	_, err := s.Read(make([]byte, 1))
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "read" || op.Addr.String() != near.RemoteAddr().String() || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v", err)
	}
	n, err := s.Write([]byte("x"))
	if !errors.As(err, &op) || op.Op != "write" || !errors.Is(err, syscall.EPIPE) || n != 0 {
		t.Errorf("write: %d, %v", n, err)
	}
}

// What could not be written in full says how much of it was.
func TestAWriteThatFailsTellsHowMuchWasWritten(t *testing.T) {
	s, _, far := pair(t)
	go func() {
		io.CopyN(io.Discard, far, 1<<20)
		far.(*net.TCPConn).SetLinger(0)
		far.Close()
	}()
	n, err := s.WriteBuffers([][]byte{make([]byte, 1<<20), make([]byte, 64<<20)})
	if err == nil || n < 1<<20 || n >= 65<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestAwaitTriesWhenThereIsSomething(t *testing.T) {
	s, _, far := pair(t)
	tries, got := 0, ""
	err := s.Await(func(fd uintptr) bool {
		tries++
		var b [4]byte
		n, err := Read(fd, b[:])
		if tries == 1 {
			far.Write([]byte("x"))
		}
		got = string(b[:n])
		return err != syscall.EAGAIN
	})
	if err != nil || got != "x" || tries != 2 {
		t.Errorf("%d tries, %q, %v", tries, got, err)
	}
}

func TestAnEndThatNobodyReadsIsSeen(t *testing.T) {
	s, near, far := pair(t)
	near.SetDeadline(time.Now().Add(-time.Second)) // of an earlier call
	if s.HungUp() {
		t.Error("an idle connection is said to have ended")
	}
	far.Write([]byte("x"))
	far.Close()
	near.SetDeadline(time.Time{})
	var b [2]byte
	if n, err := s.Read(b[:]); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	for end := time.Now().Add(5 * time.Second); !s.HungUp(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the end of a connection goes unnoticed")
		}
	}
	near.Close()
	if !s.HungUp() {
		t.Error("a connection that we have closed is said to be there")
	}
}

func TestOnlyPlainConnectionsAreSockets(t *testing.T) {
	_, near, _ := pair(t)
	if Of(tls.Client(near, &tls.Config{})) != nil {
		t.Error("TLS is a Socket")
	}
	one, _ := net.Pipe()
	if Of(one) != nil {
		t.Error("a pipe is a Socket")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	s, _, far := pair(t)
	back := Of(far)
	message, buf, buffers := make([]byte, 100), make([]byte, 1000), make([][]byte, 3)
	if n := testing.AllocsPerRun(100, func() {
		s.Write(message)
		buffers[0], buffers[1], buffers[2] = message, message, message
		s.WriteBuffers(buffers)
		for got := 0; got < 400; {
			n, err := back.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkEcho is a request and an answer of 100 bytes over loopback, both ends in this process.
func BenchmarkEcho(b *testing.B) {
	bench := func(b *testing.B, of func(net.Conn) io.ReadWriter) {
		_, near, far := pair(b)
		go func() {
			peer, buf := of(far), make([]byte, 1000)
			for {
				n, err := peer.Read(buf)
				if err != nil {
					return
				}
				peer.Write(buf[:n])
			}
		}()
		s, buf := of(near), make([]byte, 1000)
		b.ReportAllocs()
		for b.Loop() {
			s.Write(buf[:100])
			if _, err := io.ReadFull(s, buf[:100]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("socket", func(b *testing.B) { bench(b, func(c net.Conn) io.ReadWriter { return Of(c) }) })
	b.Run("net", func(b *testing.B) { bench(b, func(c net.Conn) io.ReadWriter { return c }) })
}
