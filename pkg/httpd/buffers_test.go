package httpd

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"tollgate/internal/invariants"
)

// TestConnectionsThatWaitHoldLittle: what was read into is given back, and the library keeps no body for a connection,
// whether its requests were taken or refused.
func TestConnectionsThatWaitHoldLittle(t *testing.T) {
	if invariants.Enabled {
		t.Skip("SKIPPED: the race detector holds memory of its own")
	}
	const conns = 200
	f := newFixture(t, func(c *Config) {
		c.Policy = &Policy{Default: Limits{Events: limitMax, StreamEvents: limitMax}}
	})
	f.log.keep = false
	token := f.token(testKey)
	huge := streamRequest(token, strings.Repeat(" ", 500<<10))
	for _, row := range []struct {
		name, request string
		status        int
	}{
		{"a batch", streamRequest(token, batchOf(100)), 200},
		{"a batch of large events", streamRequest(token, wideBatchOf(100)), 200},
		{"a large body that is refused", huge, 400},
		{"a large body that is refused unread", strings.Replace(huge, "application/json", "text/plain", 1), 415},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := heap()
			for range conns {
				nc := f.dial()
				write(t, nc, row.request)
				resp, err := http.ReadResponse(bufio.NewReaderSize(nc, 512), nil)
				if err != nil || resp.StatusCode != row.status {
					t.Fatal(resp, err)
				}
			}
			if each := (heap() - before) / conns; each > 10<<10 {
				t.Errorf("a connection holds %d bytes", each)
			}
		})
	}
}

// heap is what is in use, pools emptied.
func heap() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestABodyIsReadHoweverItIsCutAndWhereverItFits: around the sizes of both buffers, in segments of any size, with a
// second request behind it.
func TestABodyIsReadHoweverItIsCutAndWhereverItFits(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Policy = &Policy{Default: Limits{Events: limitMax, StreamEvents: limitMax}}
	})
	token := f.token(testKey)
	small, large := f.srv.buffers.small.bytes, bodyLargeBytes
	for _, size := range []int{1000, small - 700, small - 1, small, small + 1, smallBodyBytes, smallBodyBytes + 1, large - 1, large, large + 1, 2 * large} {
		for _, step := range []int{100, 5000, small - 1, small, 1 << 20} {
			request := streamRequest(token, padded(oneEvent, size))
			nc := f.dial()
			br := bufio.NewReader(nc)
			for rest := request + streamRequest(token, oneEvent); len(rest) > 0; {
				n := min(step, len(rest))
				write(t, nc, rest[:n])
				rest = rest[n:]
				if step == 5000 {
					time.Sleep(time.Millisecond)
				}
			}
			for i := range 2 {
				if status, err := skipAnswer(br); string(status[:]) != "200" {
					t.Fatalf("a body of %d bytes in steps of %d: answer %d: %s %v", size, step, i, status, err)
				}
			}
			_ = nc.Close()
		}
	}
	if n := len(f.records()); n != 2*11*5 {
		t.Errorf("%d records", n)
	}
	waitFor(t, "no body is held", func() bool { return f.srv.bodyBytes.Load() == 0 })
}

func padded(body string, size int) string {
	return body + strings.Repeat(" ", size-len(body))
}

// TestALargeBufferIsForCredentialsAndWithinTheBudget: what may be sent without them is read all the same, and refused in
// its turn.
func TestALargeBufferIsForCredentialsAndWithinTheBudget(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.BodyBytesMax, c.BodiesBytesMax = 100<<10, 100<<10 })
	token, large := f.token(testKey), int64(f.srv.buffers.large.bytes)
	begun := func(token string, size int) net.Conn {
		nc := f.dial()
		request := streamRequest(token, padded(oneEvent, size))
		write(t, nc, request[:len(request)-1])
		return nc
	}
	ends := func(nc net.Conn, status int) {
		t.Helper()
		write(t, nc, " ")
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil || resp.StatusCode != status || resp.Close || resp.Header.Get("Idempotency-Key") == "" {
			t.Errorf("%v %v", resp, err)
		}
	}
	stranger := begun("nonsense", 30_000)
	time.Sleep(50 * time.Millisecond)
	if held := f.srv.bodyBytes.Load(); held != 0 {
		t.Errorf("%d bytes are held for a stranger", held)
	}
	first := begun(token, 30_000)
	waitFor(t, "a large buffer is held", func() bool { return f.srv.bodyBytes.Load() == large })
	second := begun(token, 30_000)
	ends(stranger, 401)
	ends(second, 200)
	ends(first, 200)
	waitFor(t, "the budget is free again", func() bool { return f.srv.bodyBytes.Load() == 0 })
	third := begun(token, 60_000)
	waitFor(t, "no more is held for a body that must ask", func() bool { return f.srv.bodyBytes.Load() == large })
	ends(third, 200)
	waitFor(t, "the budget is free once more", func() bool { return f.srv.bodyBytes.Load() == 0 })
}

// TestALargeBodyThatEndsEarlyIsToldSo, in a large buffer as in the library's.
func TestALargeBodyThatEndsEarlyIsToldSo(t *testing.T) {
	f := newFixture(t, nil)
	for _, size := range []int{10_000, 30_000, 60_000, 200_000} {
		request := streamRequest(f.token(testKey), padded(oneEvent, size))
		answers := f.raw(request[:len(request)-5000])
		if len(answers) != 1 || answers[0].status != 400 || !answers[0].close || answers[0].header.Get("Idempotency-Key") == "" {
			t.Errorf("%d bytes: %v", size, fmt.Sprint(answers))
		}
	}
	if n := len(f.records()); n > 0 {
		t.Errorf("%d events were stored", n)
	}
}
