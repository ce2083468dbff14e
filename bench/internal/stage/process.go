// Package stage runs what a scenario is played on: the gateway's binary and a Kafka broker, each as a child process on
// loopback with its data in a folder of the scenario. Children end with this process, however that ends.
//
//	gateway, err := stage.StartGateway(ctx, stage.GatewayConfig{Binary: …, Dir: …})
//	defer gateway.Kill()
//
// The methods of one Gateway or Kafka are called by one goroutine at a time; PID by any.
package stage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// A process is a child that can be started again with the same command.
type process struct {
	args   []string
	env    []string
	dir    string // working directory; "": this process's
	log    string // file for what it prints
	cmd    *exec.Cmd
	pid    atomic.Int64
	exited chan struct{}
}

// start returns when the child runs.
func (p *process) start() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close() // the child has its own
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Dir = p.dir
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.exited = make(chan struct{})
	started := make(chan error)
	go own(p.cmd, started, p.exited)
	if err := <-started; err != nil {
		return err
	}
	p.pid.Store(int64(p.cmd.Process.Pid))
	return nil
}

// own starts a child and waits for its end on one thread, as the kernel ends the child with the thread that started it.
func own(cmd *exec.Cmd, started chan<- error, exited chan<- struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(exited)
	err := cmd.Start()
	started <- err
	if err == nil {
		_ = cmd.Wait() // how it ended is in ProcessState
	}
}

// PID is the process, for reading its cost; another one after a restart.
func (p *process) PID() int { return int(p.pid.Load()) }

// Kill is kill -9, and waits until the process is gone. It may be called again.
func (p *process) Kill() {
	if p.signal(syscall.SIGKILL) == nil {
		<-p.exited
	}
}

// signal sends one to the process and its children, and never to a process that has the number of one that ended.
func (p *process) signal(s syscall.Signal) error {
	select {
	case <-p.exited:
		return os.ErrProcessDone
	default:
		return syscall.Kill(-p.PID(), s)
	}
}

// await calls ready until it says so, the process ends, or max is over.
func (p *process) await(ctx context.Context, max time.Duration, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, max)
	defer cancel()
	for !ready() {
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended before it was ready: %v; see %s", p.args[0], p.cmd.ProcessState, p.log)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; see %s", p.args[0], ctx.Err(), p.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// Ports lie below the range of outgoing connections, so that a killed server finds its port free when it comes back.
const (
	portMin, portMax = 10000, 32000
	portTries        = 1000
)

// freePort is one that nobody listens on now.
func freePort() (string, error) {
	for range portTries {
		port := strconv.Itoa(portMin + rand.IntN(portMax-portMin))
		if ln, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, ln.Close()
		}
	}
	return "", errors.New("no free port on loopback")
}
