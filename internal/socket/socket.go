// Package socket reads and writes TCP sockets by system calls of which the Go scheduler is not told. Its one decision is
// that a call on a socket which does not block is work and not waiting. The calls of package net wake the runtime's
// monitor, which then looks every 20 µs whether one of them holds up a processor; under load that was a seventh of all the
// gateway's CPU (docs/adr/0044-sockets-without-leave-of-the-scheduler.md).
//
// A write takes the processor for as long as it copies, which is until the send buffer is full: less than a millisecond.
// Everything else is package net's: its poller does the waiting, its deadlines hold, Close ends what is under way, and errors
// are *net.OpError.
//
//	s := socket.Of(conn) // nil, unless it is a plain TCP connection
//	n, err := s.Read(buf)
//	n, err = s.Write(answer)
//	n, err = s.WriteBuffers([][]byte{head, body})
//
// One goroutine may read while another one writes, as usual; two may not do the same at once, which package net allows.
package socket

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// A Socket is a plain TCP connection: a net.Conn in whose place it may stand. Buffers go by WriteBuffers; net.Buffers would find
// package net's own way.
type Socket struct {
	*net.TCPConn
	raw syscall.RawConn

	into    []byte
	read    int
	readErr error

	from     [][]byte // what is left
	one      [1][]byte
	vectors  []syscall.Iovec
	written  int64
	writeErr error

	// Bound once: a method value made at each call would be an allocation.
	tryRead, tryWrite func(fd uintptr) (done bool)
}

// Of returns the connection as a Socket; nil when it is anything else than a *net.TCPConn, TLS above all.
func Of(c net.Conn) *Socket {
	conn, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	s := &Socket{TCPConn: conn, raw: raw}
	s.tryRead, s.tryWrite = s.readOnce, s.writeOn
	return s
}

// Await calls try, which reads from fd by Read, when there may be something to read, until it returns true. The error is that
// there is no waiting any more: a deadline, or Close.
func (s *Socket) Await(try func(fd uintptr) (done bool)) error { return named("read", s.raw.Read(try)) }

// Read is io.Reader's.
func (s *Socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.into, s.read, s.readErr = p, 0, nil
	err := s.Await(s.tryRead)
	s.into = nil
	switch {
	case err != nil:
		return 0, err
	case s.readErr == nil || s.readErr == io.EOF:
		return s.read, s.readErr
	}
	return 0, s.describe("read", s.readErr)
}

func (s *Socket) readOnce(fd uintptr) bool {
	s.read, s.readErr = Read(fd, s.into)
	return s.readErr != syscall.EAGAIN
}

// Read makes one attempt to read from a socket. The error is io.EOF at the stream's end, syscall.EAGAIN when nothing is
// there, or another syscall.Errno.
func Read(fd uintptr, p []byte) (int, error) {
	for {
		n, err := read(fd, p)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// HungUp tells whether the other side has ended the connection, as far as the kernel knows; false while there is something to
// read. It is not for while somebody reads.
func (s *Socket) HungUp() bool {
	gone := false
	err := s.raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		gone = errno == 0 && n == 0 || errno != 0 && errno != syscall.EAGAIN && errno != syscall.EINTR
	})
	return gone || err != nil
}

// vectorsMax is Linux's IOV_MAX: the most buffers of one call.
const vectorsMax = 1024

// Write is io.Writer's.
func (s *Socket) Write(p []byte) (int, error) {
	s.one[0] = p
	n, err := s.WriteBuffers(s.one[:])
	s.one[0] = nil
	return int(n), err
}

// WriteBuffers writes the buffers one behind the other, in as few calls as possible. The slice is used up. After an error n
// bytes of them were written.
func (s *Socket) WriteBuffers(buffers [][]byte) (n int64, err error) {
	if room := min(len(buffers), vectorsMax); cap(s.vectors) < room {
		s.vectors = make([]syscall.Iovec, room)
	}
	s.from, s.written, s.writeErr = buffers, 0, nil
	err = named("write", s.raw.Write(s.tryWrite))
	s.from = nil
	if err == nil && s.writeErr != nil {
		err = s.describe("write", s.writeErr)
	}
	return s.written, err
}

// writeOn writes until all is written, or the socket takes no more for now.
func (s *Socket) writeOn(fd uintptr) bool {
	for n := 0; ; {
		for len(s.from) > 0 && n >= len(s.from[0]) {
			n -= len(s.from[0])
			s.from = s.from[1:]
		}
		if len(s.from) == 0 {
			return true
		}
		s.from[0] = s.from[0][n:]
		var err error
		n, err = write(fd, s.from[:min(len(s.from), vectorsMax)], s.vectors[:cap(s.vectors)])
		switch err {
		case nil:
			s.written += int64(n)
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			s.writeErr = err
			return true
		}
	}
}

// named gives an error of the poller the operation's name; package net calls it raw-read.
func named(op string, err error) error {
	if said, ok := err.(*net.OpError); ok {
		said.Op = op
	}
	return err
}

// describe gives an error of a system call the form that package net gives it.
func (s *Socket) describe(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}
