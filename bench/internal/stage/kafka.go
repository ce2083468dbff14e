package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Kafka is one real broker, run by test/kafka/kafka.sh.
type Kafka struct {
	process
	Brokers []string
	node    string // its folder
}

const brokerMax = 90 * time.Second

// StartKafka returns when the broker serves. The first time on a machine Kafka is fetched by Maven.
func StartKafka(ctx context.Context, dir string) (*Kafka, error) {
	root, err := ModuleRoot()
	if err != nil {
		return nil, err
	}
	script := filepath.Join(root, "test", "kafka", "kafka.sh")
	if out, err := exec.CommandContext(ctx, script, "install").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("kafka.sh install, which needs Java and Maven: %w\n%s", err, out)
	}
	port, errPort := freePort()
	controller, errController := freePort()
	if err := errors.Join(errPort, errController); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "kafka")
	k := &Kafka{Brokers: []string{"127.0.0.1:" + port}, node: filepath.Join(data, "n1")}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	k.args = []string{script, "run", "1"} // which becomes the broker's own process
	k.env = []string{"KAFKA_DIR=" + data, "KAFKA_PORTS=" + port + ":" + controller}
	k.log = filepath.Join(data, "out.log")
	return k, k.Start(ctx)
}

// Start runs the broker, again after a Kill, and returns when it serves.
func (k *Kafka) Start(ctx context.Context) error {
	served := filepath.Join(k.node, "server.log")
	if err := os.Remove(served); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // the last life's log would say that this one serves
	}
	if err := k.start(); err != nil {
		return err
	}
	err := k.await(ctx, brokerMax, func() bool {
		log, err := os.ReadFile(served)
		return err == nil && bytes.Contains(log, []byte("Kafka Server started"))
	})
	if err != nil {
		k.Kill()
	}
	return err
}

// Pause stops the broker where it stands; Continue lets it go on.
func (k *Kafka) Pause() error    { return k.signal(syscall.SIGSTOP) }
func (k *Kafka) Continue() error { return k.signal(syscall.SIGCONT) }

// ConfigureKafka writes settings for a broker that StartKafka will start in the same directory; they win over others.
func ConfigureKafka(dir string, properties map[string]string) error {
	node := filepath.Join(dir, "kafka", "n1")
	if err := os.MkdirAll(node, 0o755); err != nil {
		return err
	}
	var text []byte
	for name, value := range properties {
		text = fmt.Appendf(text, "%s=%s\n", name, value)
	}
	return os.WriteFile(filepath.Join(node, "extra.properties"), text, 0o644)
}
