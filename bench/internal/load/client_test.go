package load

import (
	"context"
	"net"
	"net/url"
	"testing"
	"time"
)

// answered gives a client one raw answer, in pieces, and returns what it made of it.
func answered(t *testing.T, pieces ...string) (answer, error, bool) {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		theirs.Read(make([]byte, 1))
		for _, p := range pieces {
			theirs.Write([]byte(p))
		}
	}()
	u, _ := url.Parse("http://127.0.0.1")
	c := client{url: u, conn: ours, answerMax: 5 * time.Second}
	a, err := c.exchange(context.Background(), []byte("x"), time.Now())
	kept := c.conn != nil
	c.close()
	return a, err, kept
}

func TestAnAnswerIsReadInWhateverPiecesItComes(t *testing.T) {
	for _, pieces := range [][]string{
		{"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"},
		{"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r", "\n{", "}"},
		{"H", "TTP/1.1 200 \r\nServer: x\r\nCONTENT-LENGTH: 2 \r\n\r\n", "{}"},
	} {
		a, err, kept := answered(t, pieces...)
		if err != nil || a.status != 200 || string(a.body) != "{}" || !kept {
			t.Errorf("%q reads as %d %q, %v, kept %v", pieces, a.status, a.body, err, kept)
		}
	}
	if a, err, kept := answered(t, "HTTP/1.1 503 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"); err != nil || a.status != 503 || kept {
		t.Errorf("a last answer: %d, %v, kept %v", a.status, err, kept)
	}
}

func TestWhatIsNotPlainlyAnAnswerIsAnError(t *testing.T) {
	for _, text := range []string{
		"",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}{}",
		"HTTP/1.1 200 OK\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\n{}",
	} {
		if a, err, kept := answered(t, text); err == nil || kept {
			t.Errorf("%q reads as %d %q", text, a.status, a.body)
		}
	}
}

func TestOnlyLoopbackIsLoadedUnasked(t *testing.T) {
	for _, target := range []string{"http://127.0.0.1:8080", "http://[::1]:8080/base", "http://localhost"} {
		if err := CheckLoopback(target); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
	for _, target := range []string{"http://" + "192.0.2.1", "http://" + "0.0.0.0:8080", "ftp://127.0.0.1", "127.0.0.1:8080", ""} {
		if CheckLoopback(target) == nil {
			t.Errorf("%q would be loaded", target)
		}
	}
}

func TestASchedulesTimesAreEvenAndItsSessionsInterleaved(t *testing.T) {
	c := Config{Rate: 1000, Batch: 10, Sessions: 4, Duration: time.Second}
	start := time.Now()
	seen := map[time.Duration]bool{}
	for i := range c.Sessions {
		s := newSchedule(c, start, i, c.shares()[i])
		n := 0
		for due, ok := s.next(); ok; due, ok = s.next() {
			seen[due.Sub(start)] = true
			n++
		}
		if n != 25 {
			t.Errorf("session %d has %d times a second", i, n)
		}
	}
	for i := range 100 {
		if at := time.Duration(i) * 10 * time.Millisecond; !seen[at] {
			t.Errorf("nothing is due at %v", at)
		}
	}
}
