package sdk

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/test/e2e/harness"
)

// cutter is a TCP proxy that, when armed, lets one more request through and closes the client's connection in place of
// the answer: what a load balancer's restart looks like from both sides.
type cutter struct {
	ln    net.Listener
	armed atomic.Bool
	cuts  atomic.Int64
}

func newCutter(t *testing.T, target string) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	c := &cutter{ln: ln}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go c.pipe(conn, target)
		}
	}()
	return c
}

func (c *cutter) pipe(conn net.Conn, target string) {
	defer conn.Close()
	up, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return
	}
	defer up.Close()
	go func() { _, _ = io.Copy(up, conn) }()
	buf := make([]byte, 16<<10)
	for {
		n, err := up.Read(buf)
		if err != nil {
			return
		}
		if c.armed.CompareAndSwap(true, false) { // the gateway has answered: the client will never know
			c.cuts.Add(1)
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}

// Go's transport sends a POST again when a reused connection drops and the request has an Idempotency-Key, also with
// retries 0: the caller sees one success, the gateway two requests. Events without identifier must become the same
// event both times.
func TestARequestReplayedByTheTransportHasTheSameIdentifiers(t *testing.T) {
	t.Parallel()
	forEachRetrySetting(t, func(t *testing.T, retries int64) {
		g := harness.Start(t, harness.Options{})
		proxy := newCutter(t, strings.TrimPrefix(g.URL, "http://"))
		url := "http://" + proxy.ln.Addr().String()
		sender := client(url, session(t, client(url, harness.TestKey, retries)).AuthenticationToken, retries)
		if err := stream(t.Context(), sender, event("warm")); err != nil { // the connection is now a reused one
			t.Fatal(err)
		}
		proxy.armed.Store(true)
		if err := stream(t.Context(), sender, event(""), event(""), event("given")); err != nil {
			t.Fatalf("the caller sees the dropped connection: %v", err)
		}
		if proxy.cuts.Load() != 1 {
			t.Fatal("no connection was cut")
		}
		g.Term()
		found := harness.DumpJournal(t, g.DataDir)
		if len(found) != 1+3+3 {
			t.Fatalf("the log holds %d records, want the request twice: %+v", len(found), found)
		}
		for i := range 3 {
			if a, b := found[1+i].Identifier, found[4+i].Identifier; a != b || a == "" {
				t.Errorf("event %d is %q the first time and %q the second", i, a, b)
			}
		}
		if found[1].Identifier == found[2].Identifier {
			t.Error("two events of one request have the same identifier")
		}
	})
}
