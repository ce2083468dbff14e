package httpd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// BenchmarkWholePath is the cost of everything between a socket and a log that discards: framing guard, parser, token,
// decoder, limits, record encoding, ring, batch with CRC, ticket. Beside it stands the same HTTP library with a handler that only
// has the body read. Both are loaded by another process over loopback, in turns, so that a noisy machine is noisy to
// both; CPU is this process's user and system time for a request, and the figures are medians of the turns.
//
//	go test -run - -bench WholePath -benchtime 1x ./pkg/httpd
//
// Requirement: at most 2.5 times the bare server at 100 events a request, 1.25 times at one.
func BenchmarkWholePath(b *testing.B) {
	for _, events := range []int{100, 10, 1} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) { wholePath(b, events) })
	}
}

const (
	loadEnv    = "HTTPD_TEST_LOAD" // the address, in the child that is to be the client
	loadConns  = 64
	loadRound  = 400 * time.Millisecond
	loadRounds = 12
)

func wholePath(b *testing.B, events int) {
	procs := runtime.GOMAXPROCS(benchProcs())
	defer runtime.GOMAXPROCS(procs)
	f := newFixture(b, func(c *Config) {
		c.Policy = &Policy{Default: Limits{Events: limitMax, StreamEvents: limitMax}}
	})
	f.log.keep = false
	bare, stop := bareServer(b)
	defer stop()
	request := streamRequest(f.token(testKey), batchOf(events))

	var bareCost, ours, ratio []float64 // of each round: nanoseconds a request
	answered := 0
	for range b.N * loadRounds {
		var cost [2]float64
		for i, addr := range []string{bare, f.addr} {
			before := cpuTime()
			n := load(b, addr, request)
			cost[i] = float64(cpuTime()-before) / float64(n)
			answered += i * n
		}
		bareCost, ours, ratio = append(bareCost, cost[0]), append(ours, cost[1]), append(ratio, cost[1]/cost[0])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(bareCost), "bare-cpu-ns/req")
	b.ReportMetric(median(ours), "cpu-ns/req")
	b.ReportMetric(median(ratio), "ratio")
	b.ReportMetric(median(ours)/float64(events), "cpu-ns/event")
	b.ReportMetric(float64(answered)/(float64(len(ours))*loadRound.Seconds()), "req/s")
}

// median is what a neighbour's burst of work does not move.
func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// benchProcs is how many cores the server may use: one, as the requirement says, unless HTTPD_BENCH_PROCS says else.
func benchProcs() int {
	if n, err := strconv.Atoi(os.Getenv("HTTPD_BENCH_PROCS")); err == nil {
		return n
	}
	return 1
}

func bareServer(b *testing.B) (addr string, stop func()) {
	srv := &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) {
			if len(ctx.PostBody()) == 0 {
				b.Error("no body")
			}
			ctx.SetContentType("application/json")
			ctx.SetBodyString("{}")
		},
		ReadBufferSize: 16 << 10, MaxRequestBodySize: 1 << 20, NoDefaultServerHeader: true,
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = srv.Serve(ln) }()
	return ln.Addr().String(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = srv.ShutdownWithContext(ctx)
	}
}

// streamRequest is a request as an SDK sends it, but for the framing: with Content-Length.
func streamRequest(token, body string) string {
	return "POST /v2/billing/meter_event_stream HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" +
		"User-Agent: Stripe/v1 GoBindings/85.0.0\r\nAuthorization: Bearer " + token + "\r\n" +
		"Content-Type: application/json\r\nIdempotency-Key: 1795294370123456789_x7dQ2kLmN0pRsTuVwXyZ12\r\n" +
		"Stripe-Version: 2026-07-29.dahlia\r\nAccept-Encoding: gzip\r\n" +
		"Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

func cpuTime() time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		panic(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// load has a child process send the request again and again for a round, and returns how many were answered.
func load(b *testing.B, addr, request string) int {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestMain$")
	cmd.Env = append(os.Environ(), loadEnv+"="+addr, "GOMAXPROCS=1")
	cmd.Stdin = strings.NewReader(request)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatal("load: ", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || n == 0 {
		b.Fatalf("load said %q", out)
	}
	return n
}

// TestMain turns the test binary into the load client when load asks for it.
func TestMain(m *testing.M) {
	if addr := os.Getenv(loadEnv); addr != "" {
		request, err := io.ReadAll(os.Stdin)
		if err != nil {
			panic(err)
		}
		fmt.Println(drive(addr, request))
		return
	}
	os.Exit(m.Run())
}

func drive(addr string, request []byte) int64 {
	var answered atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(loadRound)
	for range loadConns {
		wg.Go(func() {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				panic(err)
			}
			defer nc.Close()
			br := bufio.NewReader(nc)
			for time.Now().Before(end) {
				if _, err := nc.Write(request); err != nil {
					panic(err)
				}
				status, err := skipAnswer(br)
				if err != nil || status != [3]byte{'2', '0', '0'} {
					panic(fmt.Sprint("status ", status, err))
				}
				answered.Add(1)
			}
		})
	}
	wg.Wait()
	return answered.Load()
}

// skipAnswer reads an answer whose body is "{}".
func skipAnswer(br *bufio.Reader) (status [3]byte, err error) {
	line, err := br.ReadSlice('\n')
	if err != nil || len(line) < 12 {
		return status, err
	}
	copy(status[:], line[9:])
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return status, err
		}
		if len(line) == 2 {
			break
		}
	}
	_, err = br.Discard(2)
	return status, err
}
