package stage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
)

// Bounds on how long a gateway takes.
const (
	readyMax = 60 * time.Second
	drainMax = 15 * time.Second
)

// Gateway is a running gateway.
type Gateway struct {
	process
	URL     string
	DataDir string
	admin   string
}

// GatewayConfig says how to start one.
type GatewayConfig struct {
	Binary  string
	Dir     string         // for its data, configuration and log lines
	Config  map[string]any // of its configuration file
	Brokers []string       // none: the journal
}

// BuildGateway builds the working copy's gateway into a directory.
func BuildGateway(ctx context.Context, dir string) (binary string, err error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "gateway")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "./cmd/gateway")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/gateway: %w\n%s", err, out)
	}
	return binary, nil
}

// ModuleRoot is where the working copy's go.mod is, above the current directory.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("run it within a working copy: there is no go.mod above this directory")
		}
	}
}

// StartGateway returns when the gateway is ready.
func StartGateway(ctx context.Context, c GatewayConfig) (*Gateway, error) {
	port, errPort := freePort()
	adminPort, errAdmin := freePort()
	if err := errors.Join(errPort, errAdmin); err != nil {
		return nil, err
	}
	g := &Gateway{URL: "http://127.0.0.1:" + port, admin: "http://127.0.0.1:" + adminPort, DataDir: filepath.Join(c.Dir, "data")}
	config := maps.Clone(c.Config)
	if config == nil {
		config = map[string]any{}
	}
	config["listen"], config["admin_listen"], config["data_dir"] = "127.0.0.1:"+port, "127.0.0.1:"+adminPort, g.DataDir
	if len(c.Brokers) > 0 {
		kafka, _ := config["kafka"].(map[string]any)
		kafka = maps.Clone(kafka)
		if kafka == nil {
			kafka = map[string]any{}
		}
		kafka["brokers"] = c.Brokers
		config["kafka"] = kafka
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(c.Dir, "gateway.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	g.args = []string{c.Binary, "serve", "--config", file}
	g.log = filepath.Join(c.Dir, "gateway.log")
	return g, g.Start(ctx)
}

// Start runs the gateway, again after a Kill, and returns when it is ready.
func (g *Gateway) Start(ctx context.Context) error {
	if err := g.start(); err != nil {
		return err
	}
	client := http.Client{Timeout: time.Second}
	err := g.await(ctx, readyMax, func() bool {
		res, err := client.Get(g.admin + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	if err != nil {
		g.Kill()
	}
	return err
}

// MetricsURL is where its metrics are.
func (g *Gateway) MetricsURL() string { return g.admin + "/metrics" }

// Drain ends the gateway by SIGTERM, as an operator does, and fails when that is not exit code 0 in good time.
func (g *Gateway) Drain() error {
	if err := g.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-g.exited:
	case <-time.After(drainMax):
		g.Kill()
		return fmt.Errorf("the gateway did not drain within %s", drainMax)
	}
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the gateway ended its drain with code %d; see %s", code, g.log)
	}
	return nil
}

// Metrics reads the gateway's metrics that have no labels, sums and counts of histograms among them.
func (g *Gateway) Metrics(ctx context.Context) (map[string]float64, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, g.admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.Do(q)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, errors.New("/metrics answers " + res.Status)
	}
	all := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		name, text, ok := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(text, 64); ok && err == nil && !strings.Contains(name, "{") {
			all[name] = v
		}
	}
	return all, lines.Err()
}
