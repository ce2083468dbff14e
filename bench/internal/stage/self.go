package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// SelfReport is what a program says that makes its own load.
type SelfReport struct {
	Records    uint64  `json:"records"`
	Bytes      uint64  `json:"bytes"`
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
	RSSMaxMiB  float64 `json:"-"`
}

// RunPeer runs a program that makes its own load for a time, in batches of so many bytes, and reads what it says. The
// rate is in records a second; 0 is as fast as it can.
func RunPeer(ctx context.Context, c PeerConfig, length time.Duration, batchBytes int, rate float64) (SelfReport, error) {
	var p process
	var said SelfReport
	if err := c.prepare(&p, ""); err != nil {
		return said, err
	}
	p.env = append(p.env, "PEER_SECONDS="+strconv.FormatFloat(length.Seconds(), 'g', -1, 64), "PEER_BATCH_BYTES="+strconv.Itoa(batchBytes))
	if rate > 0 {
		p.env = append(p.env, "PEER_RATE="+strconv.FormatFloat(rate, 'f', 0, 64))
	}
	if err := p.start(); err != nil {
		return said, err
	}
	defer p.Kill()
	select {
	case <-p.exited:
	case <-ctx.Done():
		return said, ctx.Err()
	case <-time.After(length + selfExtraMax):
		return said, fmt.Errorf("%s did not end within %s; see %s", c.Name, length+selfExtraMax, p.log)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return said, fmt.Errorf("%s ended with code %d: %s", c.Name, code, p.lastLine(""))
	}
	if err := json.Unmarshal([]byte(p.lastLine("{")), &said); err != nil || said.Seconds <= 0 {
		return said, fmt.Errorf("%s did not say at its end what it did: %q; see %s", c.Name, p.lastLine(""), p.log)
	}
	if said.CPUSeconds == 0 {
		said.CPUSeconds = (p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()).Seconds()
	}
	if usage, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		said.RSSMaxMiB = float64(usage.Maxrss) / 1024
	}
	return said, nil
}

// lastLine is the last one that the process printed with this beginning, "" when there is none.
func (p *process) lastLine(beginning string) (last string) {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(log) {
		if line = bytes.TrimSpace(line); len(line) > 0 && bytes.HasPrefix(line, []byte(beginning)) {
			last = string(line)
		}
	}
	return last
}
