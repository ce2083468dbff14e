package httpd

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// TestHostileHTTPIsRefusedOnceAndTheConnectionClosed is the table to repeat on every change of the HTTP library. Behind
// each request stands a second one, good in itself, which a server that misread the first one's end would answer.
func TestHostileHTTPIsRefusedOnceAndTheConnectionClosed(t *testing.T) {
	f := newFixture(t, nil)
	token := f.token(testKey)
	const path = "/v2/billing/meter_event_stream"
	authorization := "Authorization: Bearer " + token + "\r\n"
	length := "Content-Length: " + strconv.Itoa(len(oneEvent)) + "\r\n"
	smuggled := "POST " + path + " HTTP/1.1\r\nHost: smuggled\r\n" + authorization + length + "\r\n" + oneEvent
	// head makes a request out of header lines; every line brings its own end.
	head := func(lines ...string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: a\r\n" + authorization + strings.Join(lines, "") + "\r\n"
	}
	chunked := func(body string) string { return head("Transfer-Encoding: chunked\r\n") + body }
	size := fmt.Sprintf("%x", len(oneEvent))

	rows := []struct {
		name, request string
	}{
		// Content-Length.
		{"two Content-Lengths that differ", head(length, "Content-Length: 5\r\n") + oneEvent},
		{"two Content-Lengths that agree", head(length, length) + oneEvent},
		{"two Content-Lengths in one line", head("Content-Length: 5, 5\r\n") + "hello"},
		{"Content-Length in another case twice", head(length, "CONTENT-LENGTH: 5\r\n") + oneEvent},
		{"Content-Length with a plus", head("Content-Length: +5\r\n") + "hello"},
		{"Content-Length with a minus", head("Content-Length: -5\r\n") + "hello"},
		{"Content-Length of minus zero", head("Content-Length: -0\r\n")},
		{"Content-Length in hex", head("Content-Length: 0x5\r\n") + "hello"},
		{"Content-Length with a space inside", head("Content-Length: 1 1\r\n") + "hello world"},
		{"Content-Length with a form feed", head("Content-Length: \f5\r\n") + "hello"},
		{"Content-Length with letters", head("Content-Length: 5a\r\n") + "hello"},
		{"Content-Length with a point", head("Content-Length: 5.0\r\n") + "hello"},
		{"Content-Length with an underscore", head("Content-Length: 1_0\r\n") + "hello"},
		{"an empty Content-Length", head("Content-Length:\r\n")},
		{"Content-Length of two to the 64th and five", head("Content-Length: 18446744073709551621\r\n") + "hello"},
		{"Content-Length of two to the 63rd", head("Content-Length: 9223372036854775808\r\n") + "hello"},
		{"Content-Length that wraps to five after many digits", head("Content-Length: 340282366920938463463374607431768211461\r\n") + "hello"},
		{"Content-Length of a thousand nines", head("Content-Length: "+strings.Repeat("9", 1000)+"\r\n") + "hello"},
		{"Content-Length of five behind a thousand zeros", head("Content-Length: "+strings.Repeat("0", 1000)+"5\r\n") + "hello"},
		{"Content-Length in other digits", head("Content-Length: ٥\r\n") + "hello"},
		{"Content-Length with a body that is longer than any", head("Content-Length: 1048577\r\n") + strings.Repeat(" ", 1<<20+1)},
		{"a body that ends early", head("Content-Length: 100000\r\n") + oneEvent},
		// Transfer-Encoding.
		{"Content-Length before chunked", head("Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n"},
		{"chunked before Content-Length", head("Transfer-Encoding: chunked\r\n", "Content-Length: 4\r\n") + "0\r\n\r\n"},
		{"chunked and a Content-Length of zero", head("Transfer-Encoding: chunked\r\n", "Content-Length: 0\r\n") + "0\r\n\r\n"},
		{"chunked twice", head("Transfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n"},
		{"chunked twice in one line", head("Transfer-Encoding: chunked, chunked\r\n") + "0\r\n\r\n"},
		{"identity", head("Transfer-Encoding: identity\r\n", length) + oneEvent},
		{"identity alone", head("Transfer-Encoding: identity\r\n") + oneEvent},
		{"gzip and chunked", head("Transfer-Encoding: gzip, chunked\r\n") + "0\r\n\r\n"},
		{"chunked before identity", head("Transfer-Encoding: chunked, identity\r\n") + "0\r\n\r\n"},
		{"an unknown coding", head("Transfer-Encoding: xchunked\r\n", length) + oneEvent},
		{"chunked with a vertical tab", head("Transfer-Encoding: \vchunked\r\n", length) + oneEvent},
		{"chunked in quotes", head("Transfer-Encoding: \"chunked\"\r\n") + "0\r\n\r\n"},
		{"chunked with a parameter", head("Transfer-Encoding: chunked;q=1\r\n") + "0\r\n\r\n"},
		{"an empty Transfer-Encoding", head("Transfer-Encoding:\r\n", length) + oneEvent},
		{"a space before the colon of Transfer-Encoding", head("Transfer-Encoding : chunked\r\n", length) + oneEvent},
		{"a tab before the colon of Transfer-Encoding", head("Transfer-Encoding\t: chunked\r\n", length) + oneEvent},
		{"chunked on HTTP/1.0", "POST " + path + " HTTP/1.0\r\n" + authorization + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"chunked on HTTP/1.0 that is kept alive", "POST " + path + " HTTP/1.0\r\nConnection: keep-alive\r\n" + authorization + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		// Line ends and continued lines.
		{"a request line that ends in LF", "POST " + path + " HTTP/1.1\nHost: a\r\n" + authorization + length + "\r\n" + oneEvent},
		{"a header that ends in LF", head("X: y\n", length) + oneEvent},
		{"a head that ends in LF LF", "POST " + path + " HTTP/1.1\r\nHost: a\r\n" + authorization + "Content-Length: 0\n\n"},
		{"a head that ends in CR LF LF", "POST " + path + " HTTP/1.1\r\nHost: a\r\n" + authorization + "Content-Length: 0\r\n\n"},
		{"CR alone as a line end", "POST " + path + " HTTP/1.1\rHost: a\rContent-Length: 0\r\r"},
		{"CR inside a value", head("X: a\rTransfer-Encoding: chunked\r\n", length) + oneEvent},
		{"a header that goes on in the next line", head("X: a\r\n b\r\n", length) + oneEvent},
		{"chunked in a continued line", head("Transfer-Encoding:\r\n chunked\r\n", length) + oneEvent},
		{"a Content-Length that goes on in the next line", head("Content-Length: 1\r\n\t1\r\n") + "hello world"},
		{"a head that begins with a space", "POST " + path + " HTTP/1.1\r\n Host: a\r\n\r\n"},
		{"an empty line before the request", "\r\n" + head(length) + oneEvent},
		// Headers.
		{"a header without colon", head("nocolon\r\n", length) + oneEvent},
		{"a header without name", head(": x\r\n", length) + oneEvent},
		{"a space before a colon", head("X : y\r\n", length) + oneEvent},
		{"NUL in a name", head("X\x00Y: y\r\n", length) + oneEvent},
		{"NUL in a value", head("X: a\x00b\r\n", length) + oneEvent},
		{"a control character in a value", head("X: a\x01b\r\n", length) + oneEvent},
		{"DEL in a value", head("X: a\x7fb\r\n", length) + oneEvent},
		{"a name with brackets", head("X[]: y\r\n", length) + oneEvent},
		{"Authorization twice", head(authorization, length) + oneEvent},
		{"no Host", "POST " + path + " HTTP/1.1\r\n" + authorization + length + "\r\n" + oneEvent},
		{"an empty Host", "POST " + path + " HTTP/1.1\r\nHost:\r\n" + authorization + length + "\r\n" + oneEvent},
		{"two Hosts", "POST " + path + " HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + authorization + length + "\r\n" + oneEvent},
		{"a Host that is none", "POST " + path + " HTTP/1.1\r\nHost: a b/c\r\n" + authorization + length + "\r\n" + oneEvent},
		{"17 KiB of one header", head("X: "+strings.Repeat("x", 17<<10)+"\r\n", length) + oneEvent},
		{"17 KiB of many headers", head(strings.Repeat("X: y\r\n", 17<<10/6), length) + oneEvent},
		{"101 headers", head(strings.Repeat("X: y\r\n", 101), length) + oneEvent},
		{"a target of 17 KiB", "POST /" + strings.Repeat("x", 17<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"a line without end", "POST " + strings.Repeat("x", 64<<10)},
		// Request lines.
		{"a full URL as target", "POST http://a" + path + " HTTP/1.1\r\nHost: b\r\n" + authorization + length + "\r\n" + oneEvent},
		{"an authority as target", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"},
		{"an asterisk as target", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"a target without slash", "POST v2/billing HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"no target", "POST HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"two spaces behind the method", "POST  " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"two spaces before the version", "POST " + path + "  HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"a space in the target", "POST /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"a tab in the request line", "POST\t" + path + "\tHTTP/1.1\r\nHost: a\r\n\r\n"},
		{"a control character in the target", "POST /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"NUL in the target", "POST /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"NUL in the method", "PO\x00ST " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"a method of brackets", "P[]T " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"no version", "POST " + path + "\r\nHost: a\r\n\r\n"},
		{"HTTP/0.9", "GET /\r\n"},
		{"HTTP/2.0", "POST " + path + " HTTP/2.0\r\nHost: a\r\n\r\n"},
		{"HTTP/1.2", "POST " + path + " HTTP/1.2\r\nHost: a\r\n\r\n"},
		{"HTTP/1.10", "POST " + path + " HTTP/1.10\r\nHost: a\r\n\r\n"},
		{"a version in lower case", "POST " + path + " http/1.1\r\nHost: a\r\n\r\n"},
		{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		{"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 100)},
		// Bodies where none belongs.
		{"GET with a Content-Length", "GET " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: " + strconv.Itoa(len(smuggled)) + "\r\n\r\n"},
		{"HEAD with a Content-Length", "HEAD " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"},
		{"GET with chunks", "GET " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		// Chunks.
		{"a chunk extension", chunked(size + ";a=b\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk extension with LF", chunked(size + ";\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk extension with CR", chunked(size + ";a\rb\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk size behind a space", chunked(" " + size + "\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk size before a space", chunked(size + " \r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk size with 0x", chunked("0x" + size + "\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk size with a plus", chunked("+" + size + "\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk size with a minus", chunked("-1\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk size with an underscore", chunked("1_0\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"an empty chunk size", chunked("\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk size that is no hex", chunked("xyz\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk size that wraps 64 bits", chunked("1000000000000000" + size + "\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk size that is negative in 64 bits", chunked("ffffffffffffffff\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk size that wraps 32 bits", chunked("1000000" + size + "\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk size of many zeros", chunked(strings.Repeat("0", 20) + size + "\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk size that ends in LF", chunked(size + "\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk size that ends in CR", chunked(size + "\r" + oneEvent + "\r\n0\r\n\r\n")},
		{"a chunk without line end", chunked(size + "\r\n" + oneEvent + "0\r\n\r\n")},
		{"a chunk that ends in LF", chunked(size + "\r\n" + oneEvent + "\n0\r\n\r\n")},
		{"a chunk that is longer than its size", chunked("5\r\n" + oneEvent + "\r\n0\r\n\r\n")},
		{"a last chunk that ends in LF", chunked(size + "\r\n" + oneEvent + "\r\n0\n\n")},
		{"a last chunk without its empty line", chunked(size + "\r\n" + oneEvent + "\r\n0\r\n")},
		{"a trailer", chunked(size + "\r\n" + oneEvent + "\r\n0\r\nX: y\r\n\r\n")},
		{"Content-Length in a trailer", chunked(size + "\r\n" + oneEvent + "\r\n0\r\nContent-Length: 5\r\n\r\n")},
		{"a trailer without end", chunked(size + "\r\n" + oneEvent + "\r\n0\r\nX: " + strings.Repeat("y", 64<<10))},
		{"chunks of one byte without end", chunked(strings.Repeat("1\r\nx\r\n", 1<<17))},
		{"chunks that are larger than a body may be", chunked(strings.Repeat("10000\r\n"+strings.Repeat("x", 1<<16)+"\r\n", 17) + "0\r\n\r\n")},
		{"one chunk that is larger than a body may be", chunked("fffffff\r\n" + strings.Repeat("x", 2<<20))},
		{"chunks that end early", chunked("fff\r\n" + oneEvent)},
		// Expect.
		{"an unknown Expect", head("Expect: 200-ok\r\n", "Connection: close\r\n", length) + oneEvent},
	}
	if len(rows) < 100 {
		t.Errorf("only %d rows", len(rows))
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f := &fixture{t: t, srv: f.srv, addr: f.addr, log: f.log}
			answers := f.raw(row.request + smuggled)
			if len(answers) > 1 {
				t.Fatalf("%d answers: %d %s, then %d %s", len(answers), answers[0].status, answers[0].body, answers[1].status, answers[1].body)
			}
			for _, a := range answers {
				if a.status < 400 || a.status > 499 {
					t.Errorf("answered %d %s", a.status, a.body)
				}
				if !strings.HasPrefix(row.request, "HEAD") {
					a.failure(t)
				}
				if !a.close {
					t.Errorf("the connection is kept after %d %s", a.status, a.body)
				}
			}
			if n := len(f.records()); n > 0 {
				t.Errorf("%d events were stored", n)
			}
		})
	}
	if f.srv.bodyBytes.Load() != 0 {
		t.Errorf("%d bytes of bodies are still held", f.srv.bodyBytes.Load())
	}
}
