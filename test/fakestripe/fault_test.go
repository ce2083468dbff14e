package fakestripe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/test/fakestripe"
)

// faults says what a client sees of each kind, and how many of a request's four events count.
var faults = []struct {
	kind    fakestripe.Kind
	status  int // 0: no answer
	code    string
	applied int64
}{
	{fakestripe.None, 200, "", 4},
	{fakestripe.Slow, 200, "", 4},
	{fakestripe.HangBefore, 200, "", 4}, // For ends before the client's patience
	{fakestripe.HangAfter, 200, "", 4},
	{fakestripe.Late, 0, "", 4},
	{fakestripe.ResetBeforeReading, 0, "", 0},
	{fakestripe.ResetBefore, 0, "", 0},
	{fakestripe.ResetPartly, 0, "", 2},
	{fakestripe.ResetAfter, 0, "", 4},
	{fakestripe.Truncated, 200, "", 4},
	{fakestripe.ErrorBefore, 500, "internal_error", 0},
	{fakestripe.ErrorPartly, 500, "internal_error", 2},
	{fakestripe.ErrorAfter, 500, "internal_error", 4},
	{fakestripe.Unavailable, 503, "service_unavailable", 0},
	{fakestripe.BadGateway, 502, "", 0},
	{fakestripe.BadGatewayAfter, 502, "", 4},
	{fakestripe.Garbage, 200, "", 4},
	{fakestripe.Empty, 200, "", 4},
	{fakestripe.RateLimited, 429, "rate_limit", 0},
	{fakestripe.LockTimeout, 429, "lock_timeout", 0},
	{fakestripe.ExpireSession, 401, "billing_meter_event_session_expired", 0},
	{fakestripe.BadKey, 401, "invalid_api_key", 0},
}

func TestEachFaultLeavesWhatItsNameSaysWithAndWithoutSockets(t *testing.T) {
	if len(faults) != len(fakestripe.Kinds) {
		t.Fatalf("%d kinds in the table, %d exist", len(faults), len(fakestripe.Kinds))
	}
	for _, socket := range []bool{false, true} {
		for i, f := range faults {
			t.Run(fmt.Sprint(f.kind, " socket=", socket), func(t *testing.T) {
				if f.kind != fakestripe.Kinds[i] {
					t.Fatalf("the table is not in the order of Kinds: %s", fakestripe.Kinds[i])
				}
				r := newRig(t, fakestripe.Config{})
				r.open()
				by, base := r.Transport(), "http://stripe"
				if socket {
					server := httptest.NewServer(r.Stripe)
					defer server.Close()
					by, base = server.Client().Transport, server.URL
				}
				if err := r.Inject(fakestripe.Fault{Kind: f.kind, Endpoint: fakestripe.Stream, Times: 1, For: 5 * time.Millisecond}); err != nil {
					t.Fatal(err)
				}
				got := do(t.Context(), by, base, http.MethodPost, streamPath, r.token, body(many("e", 4)...))
				if got.Status != f.status || got.Code != f.code || (got.Err != nil) != (f.status == 0 || f.kind == fakestripe.Truncated) {
					t.Errorf("the client sees %+v", got)
				}
				if f.kind == fakestripe.RateLimited != (got.Header.Get("Stripe-Rate-Limited-Reason") != "") {
					t.Errorf("its headers are %v", got.Header)
				}
				for r.LateRequests() > 0 {
					time.Sleep(time.Millisecond)
				}
				if got := r.State(acct).Counts[fakestripe.Counted]; got != f.applied {
					t.Errorf("%d events count, want %d", got, f.applied)
				}
				if r.Pending() != 0 {
					t.Error("the fault is still there")
				}
				again := do(t.Context(), by, base, http.MethodPost, streamPath, r.token, body(many("e", 4)...))
				if want := f.kind != fakestripe.ExpireSession; (again.Status == 200) != want {
					t.Errorf("the next request: %+v", again)
				}
				if got := r.State(acct).Counts[fakestripe.Counted]; f.kind != fakestripe.ExpireSession && got != 4 {
					t.Errorf("sent again, %d events count, want 4", got)
				}
			})
		}
	}
}

func TestAResetIsOneOverTCP(t *testing.T) {
	r := newRig(t, fakestripe.Config{})
	r.open()
	server := httptest.NewServer(r.Stripe)
	defer server.Close()
	for _, k := range []fakestripe.Kind{fakestripe.ResetBeforeReading, fakestripe.ResetAfter} {
		_ = r.Script(fakestripe.Stream, k)
		got := do(t.Context(), server.Client().Transport, server.URL, http.MethodPost, streamPath, r.token, body(many("e", 100)...))
		if got.Err == nil || !errors.Is(got.Err, syscall.ECONNRESET) && !errors.Is(got.Err, io.EOF) && !errors.Is(got.Err, syscall.EPIPE) && !errors.Is(got.Err, net.ErrClosed) && !strings.Contains(got.Err.Error(), "reset") {
			t.Errorf("%s: %v", k, got.Err)
		}
	}
	if got := do(t.Context(), r.Transport(), "http://stripe", http.MethodPost, streamPath, r.token, body(many("e", 1)...)); got.Status != 200 {
		t.Errorf("afterwards: %+v", got)
	}
}

func TestFaultsSkipCountAndPickTheirRequests(t *testing.T) {
	r := newRig(t, fakestripe.Config{})
	r.open()
	if err := r.Inject(
		fakestripe.Fault{Kind: fakestripe.Unavailable, Endpoint: fakestripe.Stream, Skip: 1, Times: 2},
		fakestripe.Fault{Kind: fakestripe.ErrorBefore, Business: "acct_2"},
	); err != nil {
		t.Fatal(err)
	}
	var got []int
	for i := range 4 {
		got = append(got, r.stream(many(fmt.Sprint("e", i), 1)...).Status)
	}
	if fmt.Sprint(got) != "[200 503 503 200]" {
		t.Errorf("the stream answers %v", got)
	}
	for range 2 {
		if got := r.do(t.Context(), http.MethodGet, v1Meters, "sk_test_2", ""); got.Status != 500 {
			t.Errorf("the other business: %+v", got)
		}
	}
	r.ClearFaults()
	if got := r.do(t.Context(), http.MethodGet, v1Meters, "sk_test_2", ""); got.Status != 200 {
		t.Errorf("without faults: %+v", got)
	}
	if err := r.Script(fakestripe.Stream, "nonsense"); err == nil {
		t.Error("a kind that does not exist is taken")
	}
	if err := r.Script(fakestripe.Stream, fakestripe.None, fakestripe.Unavailable); err != nil {
		t.Fatal(err)
	}
	if a, b := r.stream(many("x", 1)...), r.stream(many("y", 1)...); a.Status != 200 || b.Status != 503 || r.Pending() != 0 {
		t.Errorf("the script ran %d, %d, %d are left", a.Status, b.Status, r.Pending())
	}
	log := r.Requests()
	if last := log[len(log)-1]; last.Fault != fakestripe.Unavailable || last.Status != 503 || last.Endpoint != fakestripe.Stream || last.Business != acct.Business {
		t.Errorf("the log ends with %+v", last)
	}
}

func TestChancesAreTheSeeds(t *testing.T) {
	run := func(seed uint64) (trace string) {
		r := newRig(t, fakestripe.Config{Random: rand.New(rand.NewPCG(seed, 0))})
		r.open()
		for _, k := range []fakestripe.Kind{fakestripe.ResetBefore, fakestripe.ResetAfter, fakestripe.ErrorAfter, fakestripe.Unavailable, fakestripe.ResetPartly} {
			if err := r.Inject(fakestripe.Fault{Kind: k, Endpoint: fakestripe.Stream, Chance: 0.15}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 200 {
			got := r.stream(many(fmt.Sprint("e", i, "."), 2)...)
			trace += fmt.Sprint(got.Status, r.State(acct).Counts[fakestripe.Counted], " ")
		}
		return trace
	}
	if one := run(1); one != run(1) || one == run(2) || !strings.Contains(one, "503") {
		t.Errorf("seed 1 gives %s", one)
	}
}

func TestAClientThatGivesUpLearnsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fakestripe.Config{Now: time.Now})
		r.open()
		client := &http.Client{Transport: r.Transport(), Timeout: 10 * time.Second}
		send := func(identifier string) (time.Duration, error) {
			q, _ := http.NewRequest(http.MethodPost, "http://stripe"+streamPath, strings.NewReader(body(usage("sum", identifier, "1", time.Time{}))))
			q.Header.Set("Authorization", "Bearer "+r.token)
			began := time.Now()
			a, err := client.Do(q)
			if err == nil {
				a.Body.Close()
			}
			return time.Since(began), err
		}
		for _, c := range []struct {
			fault   fakestripe.Fault
			took    time.Duration
			gaveUp  bool
			applied int64 // then, and a minute later
			later   int64
		}{
			{fakestripe.Fault{Kind: fakestripe.HangBefore}, 10 * time.Second, true, 0, 0},
			{fakestripe.Fault{Kind: fakestripe.HangAfter}, 10 * time.Second, true, 1, 1},
			{fakestripe.Fault{Kind: fakestripe.HangAfter, For: 3 * time.Second}, 3 * time.Second, false, 1, 1},
			{fakestripe.Fault{Kind: fakestripe.Slow, For: 3 * time.Second}, 3 * time.Second, false, 1, 1},
			{fakestripe.Fault{Kind: fakestripe.Late, For: 30 * time.Second}, 10 * time.Second, true, 0, 1},
		} {
			before := r.State(acct).Counts[fakestripe.Counted]
			c.fault.Times, c.fault.Endpoint = 1, fakestripe.Stream
			_ = r.Inject(c.fault)
			took, err := send(fmt.Sprint(c.fault.Kind, c.fault.For))
			now := r.State(acct).Counts[fakestripe.Counted] - before
			time.Sleep(time.Minute)
			later := r.State(acct).Counts[fakestripe.Counted] - before
			if took != c.took || (err != nil) != c.gaveUp || now != c.applied || later != c.later {
				t.Errorf("%+v: %v after %v, %d events count and %d a minute later", c.fault, err, took, now, later)
			}
		}
		if got := r.State(acct).InFlight; got != 0 || r.LateRequests() != 0 {
			t.Errorf("%d requests are still there, %d late", got, r.LateRequests())
		}

		_ = r.Script(fakestripe.Stream, fakestripe.HangAfter)
		time.AfterFunc(4*time.Second, r.Release)
		if took, err := send("released"); took != 4*time.Second || err != nil {
			t.Errorf("released after %v: %v", took, err)
		}
	})
}

func TestAClientThatHangsUpOverTCPIsNotWaitedFor(t *testing.T) {
	r := newRig(t, fakestripe.Config{})
	r.open()
	server := httptest.NewServer(r.Stripe)
	defer server.Close() // waits for every handler
	for kind, applied := range map[fakestripe.Kind]int64{fakestripe.HangBefore: 0, fakestripe.HangAfter: 4} {
		before := r.State(acct).Counts[fakestripe.Counted]
		_ = r.Script(fakestripe.Stream, kind)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		got := do(ctx, server.Client().Transport, server.URL, http.MethodPost, streamPath, r.token, body(many(string(kind), 4)...))
		cancel()
		if !errors.Is(got.Err, context.DeadlineExceeded) {
			t.Errorf("%s: %+v", kind, got)
		}
		for r.State(acct).InFlight > 0 {
			time.Sleep(time.Millisecond)
		}
		if got := r.State(acct).Counts[fakestripe.Counted] - before; got != applied {
			t.Errorf("%s: %d events count, want %d", kind, got, applied)
		}
	}
}

func TestAPipeCarriesRealConnectionsThroughABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fakestripe.Config{Now: time.Now, Latency: 20 * time.Millisecond})
		pipe := fakestripe.NewPipe()
		server := &http.Server{Handler: r.Stripe}
		var served sync.WaitGroup
		served.Go(func() { _ = server.Serve(pipe) })
		by := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return pipe.Dial() }}
		r.open()
		began := time.Now()
		_ = r.Script(fakestripe.Stream, fakestripe.None, fakestripe.ResetAfter, fakestripe.Truncated)
		for i, fails := range []bool{false, true, true, false} {
			got := do(t.Context(), by, "http://stripe", http.MethodPost, streamPath, r.token, body(many("e", 10)...))
			if (got.Err != nil) != fails {
				t.Errorf("request %d: %+v", i, got)
			}
		}
		if took := time.Since(began); took != 80*time.Millisecond {
			t.Errorf("took %v", took)
		}
		r.wantCounts(map[string]int64{fakestripe.Counted: 10, fakestripe.Duplicate: 30})
		by.CloseIdleConnections()
		_ = server.Close()
		served.Wait()
		if _, err := pipe.Dial(); err == nil {
			t.Error("a closed pipe is dialled")
		}
	})
}
