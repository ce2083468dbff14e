// Package kafkatest runs a real Apache Kafka for a test: one broker, or three that elect leaders, on free loopback
// ports, with data in the test's own folder.
//
//	cluster := kafkatest.Start(t, kafkatest.Options{Nodes: 3})
//	… cluster.Brokers …
//	cluster.Kill9(1)
//	cluster.Start(1)
//	out := cluster.CLI("consume", "--bootstrap-server", cluster.Brokers[0], "--topic", "t", "--from-beginning", "--max-messages", "1")
//
// The first use on a machine fetches Kafka by Maven (kafka.sh install, some 15 s); later ones start in 2–3 s. Several test
// processes may run clusters at once: ports are reserved by file locks, the install is serialised.
//
// Without Java or Maven the test is skipped, loudly; with REQUIRE_KAFKA=1 in the environment it fails. A broker ends with
// its test, and with its test process however that ends. The logs of a failed test are kept and their place is logged.
//
// Nodes are numbered from 1. The methods of a Cluster may be called from several goroutines, for different nodes; they
// end the test by t.Fatal, so only from its own goroutine where that matters.
package kafkatest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/test/ports"
)

const (
	startMax   = 90 * time.Second
	stopMax    = 20 * time.Second
	installMax = 10 * time.Minute
	cliMax     = time.Minute
)

// Options say what to run. The zero value is one plain broker.
type Options struct {
	// Nodes is 1 (also when zero) or 3.
	Nodes int
	// Properties are appended to each broker's configuration and win over what kafka.sh writes.
	Properties map[string]string
	// Listeners are further listeners: name → security protocol (SSL, SASL_PLAINTEXT, SASL_SSL). Their addresses are
	// in Cluster.Listeners; their settings are Properties ("listener.name.<name in lower case>.…").
	Listeners map[string]string
}

// Cluster is a running Kafka.
type Cluster struct {
	// Brokers are the addresses of the plain listeners, node 1 first.
	Brokers []string
	// Listeners are the addresses of the listeners in Options.Listeners, by name, node 1 first.
	Listeners map[string][]string

	t     testing.TB
	dir   string
	env   []string
	nodes []*node
}

// Start runs a cluster and waits until it serves. The test's cleanup stops it.
func Start(t testing.TB, options Options) *Cluster {
	t.Helper()
	require(t)
	if options.Nodes == 0 {
		options.Nodes = 1
	}
	c := &Cluster{t: t, dir: t.TempDir(), Listeners: map[string][]string{}}
	install(t)

	names := slices.Sorted(maps.Keys(options.Listeners))
	var pairs []string
	for i := range options.Nodes {
		free := ports.Reserve(t, 2+len(names))
		pairs = append(pairs, fmt.Sprintf("%d:%d", free[0], free[1]))
		c.Brokers = append(c.Brokers, ports.Addr(free[0]))
		for j, name := range names {
			c.Listeners[name] = append(c.Listeners[name], ports.Addr(free[2+j]))
		}
		n := &node{number: i + 1, dir: filepath.Join(c.dir, fmt.Sprintf("n%d", i+1))}
		c.nodes = append(c.nodes, n)
		writeProperties(t, n.dir, extraProperties(options, names, free))
	}
	c.env = append(os.Environ(), "KAFKA_DIR="+c.dir, "KAFKA_PORTS="+strings.Join(pairs, " "))
	t.Cleanup(c.cleanup)

	for _, n := range c.nodes {
		if err := n.launch(c.env); err != nil {
			t.Fatalf("kafka node %d: %v", n.number, err)
		}
	}
	for _, n := range c.nodes {
		c.await(n)
	}
	return c
}

// Kill9 kills a node as kill -9 does and waits until it is gone.
func (c *Cluster) Kill9(number int) { c.t.Helper(); c.end(number, syscall.SIGKILL) }

// Stop shuts a node down in order, so that it hands over what it leads.
func (c *Cluster) Stop(number int) { c.t.Helper(); c.end(number, syscall.SIGTERM) }

// Start starts a node that was killed or stopped, on its old data and ports, and waits until it serves.
func (c *Cluster) Start(number int) {
	c.t.Helper()
	n := c.nodes[number-1]
	if err := n.launch(c.env); err != nil {
		c.t.Fatalf("kafka node %d: %v", number, err)
	}
	c.await(n)
}

// Pause stops a node's process where it stands (SIGSTOP): its sockets stay open and silent.
func (c *Cluster) Pause(number int) { c.t.Helper(); c.signal(number, syscall.SIGSTOP) }

// Resume lets a paused node go on (SIGCONT).
func (c *Cluster) Resume(number int) { c.t.Helper(); c.signal(number, syscall.SIGCONT) }

// CLI runs one of Kafka's command line tools (the names are listed in kafka.sh) and returns its standard output.
func (c *Cluster) CLI(args ...string) string {
	c.t.Helper()
	return cli(c.t, c.env, args)
}

// Tool runs a command line tool without a cluster, such as "dump" on a segment file of the journal.
func Tool(t testing.TB, args ...string) string {
	t.Helper()
	require(t)
	install(t)
	return cli(t, os.Environ(), args)
}

func cli(t testing.TB, env, args []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cliMax)
	defer cancel()
	out, err := script(ctx, env, append([]string{"cli"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *Cluster) end(number int, signal syscall.Signal) {
	c.t.Helper()
	n := c.nodes[number-1]
	c.signal(number, signal)
	select {
	case <-n.exited:
	case <-time.After(stopMax):
		// The last nodes of a quorum that is being stopped wait for a controller that has gone.
		n.process.Kill()
		<-n.exited
	}
}

func (c *Cluster) signal(number int, signal syscall.Signal) {
	c.t.Helper()
	n := c.nodes[number-1]
	if !n.running() {
		c.t.Fatalf("kafka node %d is not running", number)
	}
	if err := n.process.Signal(signal); err != nil {
		c.t.Fatalf("kafka node %d: %v: %v", number, signal, err)
	}
}

func (c *Cluster) await(n *node) {
	c.t.Helper()
	if err := n.await(startMax); err != nil {
		c.t.Fatalf("kafka node %d did not start: %v\n%s", n.number, err, n.tail())
	}
}

func (c *Cluster) cleanup() {
	for _, n := range c.nodes {
		if n.running() {
			n.process.Kill() // data and all are thrown away: no reason to wait for an orderly end
			<-n.exited
		}
	}
	if !c.t.Failed() {
		return
	}
	kept, err := os.MkdirTemp("", "kafkatest-logs-")
	if err != nil {
		c.t.Logf("the brokers' logs are lost: %v", err)
		return
	}
	for _, n := range c.nodes {
		logs, _ := filepath.Glob(filepath.Join(n.dir, "*.log"))
		for _, log := range logs {
			text, _ := os.ReadFile(log)
			os.WriteFile(filepath.Join(kept, fmt.Sprintf("n%d-%s", n.number, filepath.Base(log))), text, 0o644)
		}
	}
	c.t.Logf("the brokers' logs are kept in %s", kept)
}

// require ends a test that can not have Kafka.
func require(t testing.TB) {
	t.Helper()
	for _, tool := range []string{"java", "mvn", "bash", "flock"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if os.Getenv("REQUIRE_KAFKA") == "1" {
			t.Fatalf("needs Java and Maven (%s is not on the PATH), and REQUIRE_KAFKA=1 forbids to skip", tool)
		}
		fmt.Fprintf(os.Stderr, "SKIPPED: %s needs Java and Maven: %s is not on the PATH\n", t.Name(), tool)
		t.Skipf("SKIPPED: needs Java and Maven: %s is not on the PATH", tool)
	}
}

func install(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), installMax)
	defer cancel()
	if _, err := script(ctx, os.Environ(), "install"); err != nil {
		t.Fatal(err)
	}
}

// script runs kafka.sh and returns its standard output.
func script(ctx context.Context, env []string, args ...string) (string, error) {
	var out, errOut strings.Builder
	cmd := exec.CommandContext(ctx, scriptPath(), args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &errOut
	cmd.WaitDelay = time.Second // a tool that outlives its script must not hold us by our pipes
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kafka.sh %s: %w\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), nil
}

// scriptPath is kafka.sh beside this source file: tests run from checked-out source, in whatever folder.
func scriptPath() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "kafka.sh")
}

func extraProperties(options Options, names []string, free []int) map[string]string {
	properties := maps.Clone(options.Properties)
	if len(names) == 0 {
		return properties
	}
	if properties == nil {
		properties = map[string]string{}
	}
	advertised := "PLAINTEXT://" + ports.Addr(free[0])
	protocols := "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
	for j, name := range names {
		advertised += "," + name + "://" + ports.Addr(free[2+j])
		protocols += "," + name + ":" + options.Listeners[name]
	}
	properties["listeners"] = advertised + ",CONTROLLER://" + ports.Addr(free[1])
	properties["advertised.listeners"] = advertised
	properties["listener.security.protocol.map"] = protocols
	return properties
}

func writeProperties(t testing.TB, dir string, properties map[string]string) {
	t.Helper()
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&text, "%s=%s\n", key, properties[key])
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "extra.properties"), []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
