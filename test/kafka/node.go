package kafkatest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// node is one broker process. launch, await and the signals of one node are for one goroutine at a time.
type node struct {
	number  int
	dir     string
	process *os.Process
	exited  chan struct{} // closed when the process has ended and was waited for
}

func (n *node) running() bool {
	if n.exited == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// launch starts the broker as a child that the kernel kills when we die (childAttributes). The kernel means the thread
// that started it, hence one locked goroutine for the life of the child.
func (n *node) launch(env []string) error {
	if n.running() {
		return errors.New("it is running")
	}
	out, err := os.OpenFile(filepath.Join(n.dir, "out.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	// "run" moves the last run's log away as well; until it has, "started" in it would be the last run's.
	if err := os.Rename(n.log(), strings.TrimSuffix(n.log(), ".log")+fmt.Sprintf(".%d.log", time.Now().UnixNano())); err != nil && !os.IsNotExist(err) {
		return err
	}
	cmd := exec.Command(scriptPath(), "run", strconv.Itoa(n.number))
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = env, out, out, childAttributes()
	started, exited := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	n.process, n.exited = cmd.Process, exited
	return nil
}

// await waits until the broker has said that it serves.
func (n *node) await(max time.Duration) error {
	for deadline := time.Now().Add(max); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if text, err := os.ReadFile(n.log()); err == nil && strings.Contains(string(text), "Kafka Server started") {
			return nil
		}
		if !n.running() {
			return errors.New("its process ended")
		}
	}
	return fmt.Errorf("not within %v", max)
}

func (n *node) log() string { return filepath.Join(n.dir, "server.log") }

// tail is the end of what the broker said.
func (n *node) tail() string {
	var text strings.Builder
	for _, name := range []string{"out.log", "server.log"} {
		b, _ := os.ReadFile(filepath.Join(n.dir, name))
		fmt.Fprintf(&text, "--- %s\n%s\n", name, b[max(0, len(b)-4000):])
	}
	return text.String()
}
