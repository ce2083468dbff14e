package httpd

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/pkg/auth"
	"tollgate/pkg/stripe"
)

var testWireLimits = wireLimits{headBytesMax: 1 << 10, headLinesMax: 20}

// pieces is a client's connection: each Read gives at most step bytes.
type pieces struct {
	net.Conn
	stream []byte
	step   int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.stream) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.stream[:min(p.step, len(p.stream))])
	p.stream = p.stream[n:]
	return n, nil
}

func (p *pieces) RemoteAddr() net.Addr { return nil }

// wireServer has what a connection needs to read, with testKey's credentials and a budget for large buffers.
var wireServer = sync.OnceValue(func() *Server {
	keys, err := auth.NewKeys([]auth.KeySpec{{Business: "acct_demo", Secret: testKey}})
	if err != nil {
		panic(err)
	}
	signing, err := auth.NewSigningKeys(rand.Reader, time.Now())
	if err != nil {
		panic(err)
	}
	sessions, err := auth.NewSessions(auth.SessionConfig{}, keys, signing)
	if err != nil {
		panic(err)
	}
	dice, err := newDice(rand.Reader)
	if err != nil {
		panic(err)
	}
	s := &Server{
		cfg:        Config{BodyBytesMax: smallBodyBytes, BodiesBytesMax: 1 << 20, Sessions: sessions},
		dice:       dice,
		wireLimits: testWireLimits,
	}
	s.buffers.small.bytes = testWireLimits.headBytesMax + 64
	s.buffers.large.bytes = testWireLimits.headBytesMax + bodyLargeBytes
	s.purses = &purses{accepted: newServerMetrics(nil, s).accepted, byID: make(map[string]*purse)}
	s.tenants.Store(newTenants(&Policy{}, s.purses))
	return s
})

// passAll reads a connection as the library does, by buffers of its size, and returns what the client wrote of the
// requests that came through: the heads as they were, and the bodies. enlarged counts the large buffers that they had.
func passAll(stream []byte, step int) (passed []byte, c *conn, enlarged int, r *stripe.Error) {
	srv := wireServer()
	c = srv.newConn(&pieces{stream: stream, step: step})
	defer c.giveBack()
	defer c.endBody()
	buf := make([]byte, libraryBufferBytes)
	for {
		atHead := c.wire.state == wireHead
		n, err := c.Read(buf)
		switch {
		case c.refusal != nil:
			return passed, c, enlarged, c.refusal
		case err != nil:
			return passed, c, enlarged, nil
		case atHead:
			head, _, body := c.current()
			if c.from == &srv.buffers.large {
				enlarged++
			}
			passed = append(append(passed, head...), body...)
			if n > libraryHeadMax {
				panic("a head longer than libraryHeadMax")
			}
			var h fasthttp.RequestHeader
			if err := h.Read(bufio.NewReader(bytes.NewReader(buf[:n]))); err != nil {
				panic(fmt.Sprintf("the library does not read %q: %v", buf[:n], err))
			}
		default:
			passed = append(passed, buf[:n]...)
		}
	}
}

const (
	wireGet     = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
	wirePost    = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
	wireChunked = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n006\r\n world\r\n0\r\n\r\n"
	wireOld     = "POST /a HTTP/1.0\r\nContent-Length: 0\r\n\r\n"
)

// wireLarge has a body that needs a large buffer, and looks like requests.
var wireLarge = "POST " + eventsPath + " HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + testKey + "\r\nContent-Length: 1400\r\n\r\n" +
	strings.Repeat(wireGet, 50)

func TestTheWirePassesWholeRequestsHoweverTheyAreCut(t *testing.T) {
	stream := strings.Repeat(wireGet+wirePost+wireLarge+wireChunked+wireOld, 3)
	for step := 1; step <= len(stream); step++ {
		passed, c, enlarged, r := passAll([]byte(stream), step)
		if r != nil || string(passed) != stream || c.wire.state != wireHead || enlarged != 3 {
			t.Fatalf("in steps of %d: passed %d of %d bytes, state %d, %d large buffers, %v", step, len(passed), len(stream), c.wire.state, enlarged, r)
		}
	}
}

func TestTheWireRefusesTheSameHoweverItIsCut(t *testing.T) {
	for _, bad := range []string{
		"POST /a HTTP/1.1\nHost: a\r\n\r\n", "GET /a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 30) + "\r\n",
		"POST /a HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 2000) + "\r\n\r\n",
	} {
		good := wirePost + wireLarge
		stream := good + bad + wireGet
		for step := 1; step <= len(stream); step++ {
			passed, _, _, r := passAll([]byte(stream), step)
			if r == nil || string(passed) != good {
				t.Fatalf("%.60q in steps of %d: passed %q, %v", bad, step, passed, r)
			}
		}
	}
}

func TestTheWireStopsInsideABadBody(t *testing.T) {
	head := wireChunked[:strings.Index(wireChunked, "5\r\nhello")]
	for _, bad := range []string{"5;a=b\r\n", "5\r\nhelloX", "fffffffff", "g", "5\n", "5\r\nhello\r\n0\r\nX: y\r\n\r\n"} {
		for step := 1; step < 200; step++ {
			passed, c, _, r := passAll([]byte(head+bad+wireGet), step)
			if r == nil || !c.midBody || !strings.HasPrefix(head+bad, string(passed)) {
				t.Fatalf("%q in steps of %d: passed %q, %v", bad, step, passed, r)
			}
		}
	}
}

// FuzzWire holds the guard against an independent reading of the same grammar: whatever passes is a sequence of whole
// requests whose ends two parsers agree on.
func FuzzWire(f *testing.F) {
	for _, seed := range []string{
		wireGet, wirePost, wireChunked, wireOld, wireGet + wirePost, wireChunked + "GARBAGE",
		wireLarge, wireLarge + wireLarge + wireChunked, wireLarge[:len(wireLarge)-1], wireLarge + "GARBAGE",
		"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
		"POST /a HTTP/1.1\r\nHost: a\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		f.Add([]byte(seed), uint8(7))
	}
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		passed, c, _, r := passAll(stream, int(step)+1)
		whole, wholeConn, _, wholeRefusal := passAll(stream, len(stream)+1)
		if (r == nil) != (wholeRefusal == nil) {
			t.Fatalf("in steps: %v, at once: %v", r, wholeRefusal)
		}
		if r == nil && (!bytes.Equal(passed, whole) || c.wire.state != wholeConn.wire.state) {
			t.Fatalf("in steps %q, at once %q", passed, whole)
		}
		if !bytes.HasPrefix(stream, passed) {
			t.Fatalf("passed %q of %q", passed, stream)
		}
		if err := readStrictly(passed); err != nil {
			t.Fatalf("%q passed: %v", passed, err)
		}
	})
}

// readStrictly is a second implementation of the wire's grammar, by splitting text. A request that is cut short at the
// end of its body is fine: the rest was yet to come.
func readStrictly(stream []byte) error {
	for len(stream) > 0 {
		head, rest, found := bytes.Cut(stream, []byte("\r\n\r\n"))
		if !found {
			return fmt.Errorf("half a head: %q", stream)
		}
		lines := strings.Split(string(head), "\r\n")
		length, chunked := 0, false
		for _, line := range lines {
			if strings.ContainsAny(line, "\n") {
				return fmt.Errorf("LF in %q", line)
			}
		}
		for _, line := range lines[1:] {
			name, value, _ := strings.Cut(line, ":")
			value = strings.Trim(value, " \t")
			switch strings.ToLower(name) {
			case "content-length":
				if _, err := fmt.Sscanf(value, "%d", &length); err != nil || fmt.Sprint(length) != strings.TrimLeft(value, "0") && length != 0 {
					return fmt.Errorf("length %q", value)
				}
			case "transfer-encoding":
				chunked = strings.EqualFold(value, "chunked")
				if !chunked {
					return fmt.Errorf("coding %q", value)
				}
			}
		}
		if chunked && length > 0 {
			return fmt.Errorf("both framings in %q", head)
		}
		stream = rest
		if !chunked {
			stream = stream[min(length, len(stream)):]
			continue
		}
		var err error
		if stream, err = readChunks(stream); err != nil {
			return err
		}
	}
	return nil
}

func readChunks(stream []byte) ([]byte, error) {
	for len(stream) > 0 {
		line, rest, found := bytes.Cut(stream, []byte("\r\n"))
		if !found {
			return nil, nil // the rest is to come
		}
		var n int
		if _, err := fmt.Sscanf(string(line), "%x", &n); err != nil {
			return nil, fmt.Errorf("chunk size %q: %w", line, err)
		}
		if n == 0 {
			if len(rest) >= 2 && string(rest[:2]) != "\r\n" {
				return nil, fmt.Errorf("trailer %q", rest)
			}
			return rest[min(2, len(rest)):], nil
		}
		if len(rest) < n+2 {
			return nil, nil
		}
		if string(rest[n:n+2]) != "\r\n" {
			return nil, fmt.Errorf("chunk of %d bytes ends in %q", n, rest[n:n+2])
		}
		stream = rest[n+2:]
	}
	return nil, nil
}

func BenchmarkWireHead(b *testing.B) {
	request := []byte(streamRequest(strings.Repeat("t", 150), "{}"))
	w := wire{limits: &wireLimits{headBytesMax: 16 << 10, headLinesMax: headLinesMax}}
	b.SetBytes(int64(len(request)))
	for b.Loop() {
		w.again()
		if n, r := w.readHead(request); n != len(request)-2 || r != nil {
			b.Fatal(n, r)
		}
		w.state = wireHead
	}
}

func TestPlainFindsEveryControlCharacterWhereverItStands(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				b := bytes.Repeat([]byte{'x'}, length)
				b[at] = byte(c)
				if got, want := plain(b), c >= ' ' && c != 0x7f; got != want {
					t.Fatalf("%q: %v", b, got)
				}
				if got, want := plainButTabs(b), c >= ' ' && c != 0x7f || c == '\t'; got != want {
					t.Fatalf("%q with tabs: %v", b, got)
				}
			}
		}
	}
}
