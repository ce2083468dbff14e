package stage

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Bounds on how long a peer takes; a virtual machine that is cold on a busy machine takes its time.
const (
	peerReadyMax = 60 * time.Second
	peerStopMax  = 5 * time.Second
	selfExtraMax = 60 * time.Second // beyond what it was asked for
)

// PeerConfig says how to run a program that is measured beside the gateway. Which words of its command and which
// variables of its environment have a meaning, is the contract in bench/peers.
type PeerConfig struct {
	Name    string
	Run     []string // with {out}
	WorkDir string
	Out     string   // where Build put its products
	Dir     string   // for its log lines, and below it a directory of its own
	Brokers []string // none: it gets no broker
	Topic   string
	OTLP    bool // it is ready when it takes an empty export, not when it says so
}

// PeerKey and PeerBusiness are who sends to peers: key and owner of all events.
const (
	PeerKey      = "sk_test_bench"
	PeerBusiness = "acct_bench"
)

// A Peer is a running server that is no gateway.
type Peer struct {
	process
	URL  string
	otlp bool
}

// StartPeer returns when the peer serves.
func StartPeer(ctx context.Context, c PeerConfig) (*Peer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &Peer{URL: "http://127.0.0.1:" + port, otlp: c.OTLP}
	if err := c.prepare(&p.process, "127.0.0.1:"+port); err != nil {
		return nil, err
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	client := http.Client{Timeout: time.Second}
	err = p.await(ctx, peerReadyMax, func() bool { return p.ready(&client) })
	if err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

func (p *Peer) ready(client *http.Client) bool {
	var res *http.Response
	var err error
	if p.otlp {
		res, err = client.Post(p.URL+"/v1/logs", "application/json", strings.NewReader(`{"resourceLogs":[]}`))
	} else {
		res, err = client.Get(p.URL + "/livez")
	}
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// Stop is SIGTERM, so that what the peer still has under way comes to its end, and kill -9 when that takes too long.
func (p *Peer) Stop() {
	if p.signal(syscall.SIGTERM) == nil {
		select {
		case <-p.exited:
		case <-time.After(peerStopMax):
		}
	}
	p.Kill()
}

// prepare fills in what a process needs.
func (c PeerConfig) prepare(p *process, listen string) error {
	own := filepath.Join(c.Dir, "own")
	if err := os.MkdirAll(own, 0o755); err != nil {
		return err
	}
	p.args = withOut(c.Run, c.Out)
	p.dir = c.WorkDir
	p.log = filepath.Join(c.Dir, c.Name+".log")
	p.env = []string{
		"PEER_LISTEN=" + listen, "PEER_KAFKA=" + strings.Join(c.Brokers, ","), "PEER_TOPIC=" + c.Topic, "PEER_KEY=" + PeerKey,
		"PEER_BUSINESS=" + PeerBusiness, "PEER_DIR=" + own,
	}
	return nil
}

// withOut puts the directory of what is built into the words of a command.
func withOut(argv []string, out string) (words []string) {
	for _, w := range argv {
		words = append(words, strings.ReplaceAll(w, "{out}", out))
	}
	return words
}

// BuildPeer runs a build command, in which {out} is a directory for its products.
func BuildPeer(ctx context.Context, argv []string, workDir, out string) error {
	if len(argv) == 0 {
		return nil
	}
	words := withOut(argv, out)
	build := exec.CommandContext(ctx, words[0], words[1:]...)
	build.Dir = workDir
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, text[max(0, len(text)-2000):])
	}
	return nil
}
