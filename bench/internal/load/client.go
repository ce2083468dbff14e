package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"
)

// A client is one keep-alive connection and reads HTTP/1.1 answers that have a Content-Length. It is one goroutine's.
//
// net/http would cost more than the server that is to be measured. What this one does not understand, chunked answers
// among it, is an error and never taken for an acknowledgement.
type client struct {
	url       *url.URL
	answerMax time.Duration
	conn      net.Conn
	deadline  time.Time
	buf       []byte
}

// An answer's body is valid until the next exchange.
type answer struct {
	status int
	body   []byte
}

const (
	answerBytesMax = 16 << 10
	dialMax        = 5 * time.Second
)

var (
	errDial       = errors.New("connect")
	errUnreadable = errors.New("the answer is not plainly HTTP/1.1 with a Content-Length")
)

// exchange sends a request and reads its answer, over a new connection if there is none. An error that wraps errDial
// means that nothing was sent.
func (c *client) exchange(ctx context.Context, request []byte, now time.Time) (answer, error) {
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			return answer{}, fmt.Errorf("%w: %w", errDial, err)
		}
		c.deadline = time.Time{}
	}
	// Setting a deadline costs as much as patching ten events: it is renewed when a quarter of it is over.
	if c.deadline.Sub(now) < c.answerMax {
		c.deadline = now.Add(c.answerMax + c.answerMax/4)
		if err := c.conn.SetDeadline(c.deadline); err != nil {
			c.close()
			return answer{}, err
		}
	}
	if _, err := c.conn.Write(request); err != nil {
		c.close()
		return answer{}, err
	}
	a, closes, err := c.read()
	if err != nil || closes {
		c.close()
	}
	return a, err
}

func (c *client) dial(ctx context.Context) (err error) {
	d := net.Dialer{Timeout: dialMax}
	if c.url.Scheme == "https" {
		c.conn, err = (&tls.Dialer{NetDialer: &d}).DialContext(ctx, "tcp", hostPort(c.url))
	} else {
		c.conn, err = d.DialContext(ctx, "tcp", hostPort(c.url))
	}
	if err != nil {
		c.conn = nil // an interface that holds a nil *tls.Conn is not nil
	}
	return err
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// read reads one answer. With one request in flight everything that arrives belongs to it.
func (c *client) read() (a answer, closes bool, err error) {
	if c.buf == nil {
		c.buf = make([]byte, answerBytesMax)
	}
	filled, want := 0, -1
	bodyAt := 0
	for want < 0 || filled < want {
		if filled == len(c.buf) {
			return a, true, errUnreadable
		}
		n, err := c.conn.Read(c.buf[filled:])
		filled += n
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) && filled > 0 {
				err = io.ErrUnexpectedEOF
			}
			return a, true, err
		}
		if want >= 0 {
			continue
		}
		end := bytes.Index(c.buf[:filled], []byte("\r\n\r\n"))
		if end < 0 {
			continue
		}
		var length int
		if a.status, length, closes, err = parseHead(c.buf[:end+2]); err != nil {
			return a, true, err
		}
		bodyAt = end + 4
		want = bodyAt + length
	}
	if filled > want {
		return a, true, errUnreadable
	}
	a.body = c.buf[bodyAt:want]
	return a, closes, nil
}

// parseHead reads a status line and the fields that matter, each line ended by CR LF.
func parseHead(head []byte) (status, length int, closes bool, err error) {
	if len(head) < 13 || string(head[:8]) != "HTTP/1.1" || head[8] != ' ' {
		return 0, 0, true, errUnreadable
	}
	status, ok := number(head[9:12])
	if !ok {
		return 0, 0, true, errUnreadable
	}
	length = -1
	_, rest, _ := bytes.Cut(head, []byte("\r\n"))
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		switch line[0] | 0x20 {
		case 'c', 't':
			name, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimSpace(value)
			switch {
			case bytes.EqualFold(name, []byte("content-length")):
				if length, ok = number(value); !ok {
					return 0, 0, true, errUnreadable
				}
			case bytes.EqualFold(name, []byte("connection")):
				closes = bytes.EqualFold(value, []byte("close"))
			case bytes.EqualFold(name, []byte("transfer-encoding")):
				return 0, 0, true, errUnreadable
			}
		}
	}
	if length < 0 || length > answerBytesMax {
		return 0, 0, true, errUnreadable
	}
	return status, length, closes, nil
}

func number(text []byte) (n int, ok bool) {
	if len(text) == 0 || len(text) > 9 {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
