// Package harness runs the real gateway binary for the tests in test/ and bench/: it builds it once a test process,
// starts and ends it in every way there is, sends it load, and keeps the ledger of what was acknowledged.
//
// It knows the gateway only from outside: command line, HTTP, signals, files, what it prints. It imports nothing of
// pkg/, so that a fault there can not hide here.
//
//	g := harness.Start(t, harness.Options{})          // embedded journal, own data dir, ready when Start returns
//	load := harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Key: harness.TestKey})
//	g.Kill()                                           // kill -9
//	acked := load.Stop()
//
// A Gateway and a Load may be used from several goroutines. Nothing outlives the test: t.Cleanup ends what still runs.
package harness

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tollgate/test/ports"
)

// TestKey is the API key that Start configures unless Options say otherwise.
const (
	TestKey      = "sk_test_harness"
	TestBusiness = "acct_e2e"
)

// startMax is how long a gateway may take until it is ready, on two busy cores with a race-free binary.
const startMax = 30 * time.Second

// Options say how to start a gateway. The zero value is the embedded journal in a folder of the test.
type Options struct {
	DataDir string
	Listen  string // default: a free port of 127.0.0.1
	Admin   string // default: likewise
	APIKeys string // default: TestBusiness:TestKey; "-": none
	Args    []string
	Env     []string
	Wrap    []string // a command to run it under, such as strace
	NoWait  bool     // return at once: it may never become ready
}

// Gateway is one process.
type Gateway struct {
	URL, Admin string // base URLs
	DataDir    string
	Options    Options

	tb     testing.TB
	cmd    *exec.Cmd
	out    safeBuffer
	logs   safeBuffer
	exited chan struct{}
	code   int
}

// Start runs `gateway serve` and waits until it is ready, or at least alive when Kafka is away: see Options.NoWait.
func Start(tb testing.TB, o Options) *Gateway {
	tb.Helper()
	if o.DataDir == "" {
		o.DataDir = tb.TempDir()
	}
	if o.Listen == "" {
		o.Listen = freeAddr(tb)
	}
	if o.APIKeys == "" {
		o.APIKeys = TestBusiness + ":" + TestKey
	}
	if o.Admin == "" {
		o.Admin = freeAddr(tb)
	}
	args := append(append([]string{}, o.Wrap...), Binary(tb), "serve",
		"--listen", o.Listen, "--admin-listen", o.Admin, "--data-dir", o.DataDir)
	if o.APIKeys != "-" {
		args = append(args, "--api-keys", o.APIKeys)
	}
	args = append(args, o.Args...)
	g := &Gateway{URL: "http://" + o.Listen, Admin: "http://" + o.Admin, DataDir: o.DataDir, Options: o, tb: tb, exited: make(chan struct{})}
	g.cmd = exec.Command(args[0], args[1:]...)
	g.cmd.Env = append(os.Environ(), o.Env...)
	g.cmd.Stdout, g.cmd.Stderr = &g.out, &g.logs
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go g.own(started)
	if err := <-started; err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		g.Kill()
		if tb.Failed() {
			tb.Logf("gateway %s printed:\n%s%s", o.Listen, tail(g.out.String()), tail(g.logs.String()))
		}
	})
	if !o.NoWait {
		g.WaitReady(startMax)
	}
	return g
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	return ports.Addr(ports.Reserve(tb, 1)[0])
}

// own starts the process and waits for its end, on one thread: the kernel ends the process with the thread that started
// it (Pdeathsig), so that nothing outlives a test that crashes.
func (g *Gateway) own(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := g.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	err = g.cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		g.code = exit.ExitCode() // -1 when a signal ended it
	default:
		g.code = -2
	}
	close(g.exited)
}

// Restart starts the same gateway again on the same addresses and data dir, after it has ended.
func (g *Gateway) Restart() *Gateway {
	g.tb.Helper()
	return Start(g.tb, g.Options)
}

// PID is the process started; under Options.Wrap that is the wrapper.
func (g *Gateway) PID() int { return g.cmd.Process.Pid }

// Kill is kill -9, and waits until the process is gone. It may be called again.
func (g *Gateway) Kill() {
	_ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL) // its group: under a wrapper the gateway is the child
	<-g.exited
}

// Signal sends a signal to the process.
func (g *Gateway) Signal(s syscall.Signal) { _ = syscall.Kill(-g.cmd.Process.Pid, s) }

// Wait returns the exit code, or fails the test after max.
func (g *Gateway) Wait(max time.Duration) int {
	g.tb.Helper()
	select {
	case <-g.exited:
		return g.code
	case <-time.After(max):
		g.tb.Fatalf("the gateway still runs after %s", max)
		return 0
	}
}

// Term drains with SIGTERM and returns the exit code and how long that took.
func (g *Gateway) Term() (code int, took time.Duration) {
	g.tb.Helper()
	start := time.Now()
	g.Signal(syscall.SIGTERM)
	code = g.Wait(15 * time.Second)
	return code, time.Since(start)
}

// Stdout and Logs are what was printed so far.
func (g *Gateway) Stdout() string { return g.out.String() }
func (g *Gateway) Logs() string   { return g.logs.String() }

// WaitLog waits for a log line that holds text.
func (g *Gateway) WaitLog(text string, max time.Duration) {
	g.tb.Helper()
	Eventually(g.tb, max, "a log line with "+text, func() bool { return strings.Contains(g.logs.String(), text) })
}

// WaitReady waits until /readyz answers 200.
func (g *Gateway) WaitReady(max time.Duration) {
	g.tb.Helper()
	last := ""
	for end := time.Now().Add(max); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case <-g.exited:
			g.tb.Fatalf("the gateway ended with code %d before it was ready:\n%s", g.code, g.logs.String())
		default:
		}
		status, body := g.Readyz()
		if status == http.StatusOK {
			return
		}
		last = fmt.Sprint(status, " ", body)
	}
	g.tb.Fatalf("not ready after %s: %s\n%s", max, last, tail(g.logs.String()))
}

// Readyz asks once; status 0 when nobody answers.
func (g *Gateway) Readyz() (status int, body string) { return get(g.Admin + "/readyz") }

// Metric is the sum of the samples of a metric whose line contains all of the label texts.
func (g *Gateway) Metric(name string, labels ...string) float64 {
	g.tb.Helper()
	_, text := get(g.Admin + "/metrics")
	sum := 0.0
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		line := s.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || !strings.HasPrefix(line, name) || len(line) == len(name) || line[len(name)] != '{' && line[len(name)] != ' ' {
			continue
		}
		ok := true
		for _, l := range labels {
			ok = ok && strings.Contains(line, l)
		}
		var v float64
		if _, err := fmt.Sscan(line[at+1:], &v); ok && err == nil {
			sum += v
		}
	}
	return sum
}

// Command runs another command of the binary, such as "journal", "verify", and returns what it printed and its code.
func Command(tb testing.TB, args ...string) (stdout, stderr string, code int) {
	tb.Helper()
	cmd := exec.Command(Binary(tb), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		tb.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Eventually polls until cond holds, or fails the test after max.
func Eventually(tb testing.TB, max time.Duration, what string, cond func() bool) {
	tb.Helper()
	for end := time.Now().Add(max); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if cond() {
			return
		}
	}
	tb.Fatalf("not within %s: %s", max, what)
}

// safeBuffer collects what a process prints while a test reads it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// tail is the end of a text, enough to see what went wrong.
func tail(s string) string {
	const most = 8 << 10
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}
