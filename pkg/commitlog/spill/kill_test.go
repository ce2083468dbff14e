package spill

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/logtest"
	kafkatest "tollgate/test/kafka"
)

// The environment by which a test process becomes the gateway that is to be killed: broker, directory, and the round, or
// "drain" to end when all is in Kafka.
const (
	childBroker = "SPILL_CHILD_BROKER"
	childDir    = "SPILL_CHILD_DIR"
	childRound  = "SPILL_CHILD_ROUND"
)

// TestMain turns the test binary into that gateway when child asks for it.
func TestMain(m *testing.M) {
	broker := os.Getenv(childBroker)
	if broker == "" {
		os.Exit(m.Run())
	}
	log, err := openLog([]string{broker}, os.Getenv(childDir), loadTopic, loadPartitions, func(n Notice) {
		if n.Kind == NoticeResent || n.Kind == NoticeStuck {
			panic(fmt.Sprintf("partition %d: %s: %s", n.Partition, n.Kind, n.Text))
		}
	})
	if err != nil {
		panic(err)
	}
	if round := os.Getenv(childRound); round != "drain" {
		appendForEver(log, round)
	}
	for log.State().Mode != Direct || log.State().Bytes > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if err := log.Close(context.Background()); err != nil {
		panic(err)
	}
}

// appendForEver says on standard output what was acknowledged.
func appendForEver(log *Log, round string) {
	var mu sync.Mutex
	for n := 0; ; n++ {
		for p := range int32(loadPartitions) {
			values := make([]string, 1+n%20)
			for i := range values {
				values[i] = fmt.Sprintf("%s/%d/%d/%d", round, p, n, i)
			}
			b := logtest.NewBatch(loadTopic, p, values...)
			b.Done = func(b *commitlog.Batch) {
				mu.Lock()
				defer mu.Unlock()
				if b.Err == nil {
					fmt.Printf("acked %d %s .\n", p, strings.Join(values, " "))
				}
			}
			log.Append([]*commitlog.Batch{b})
		}
		time.Sleep(3 * time.Millisecond)
	}
}

// child starts a gateway.
func child(t *testing.T, broker, dir, round string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childBroker+"="+broker, childDir+"="+dir, childRound+"="+round)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, &out
}

func TestKillsOfGatewayAndBroker(t *testing.T) {
	const rounds = 6
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	c := kafkatest.Start(t, kafkatest.Options{})
	dir := filepath.Join(t.TempDir(), "spill")
	var acked [loadPartitions][]string
	for round := range rounds {
		gateway, out := child(t, c.Brokers[0], dir, fmt.Sprint(round))
		wait := func() { time.Sleep(time.Duration(300+dice.IntN(2500)) * time.Millisecond) }
		wait()
		up := true
		for range dice.IntN(3) {
			if up {
				c.Kill9(1)
			} else {
				c.Start(1)
			}
			up = !up
			wait()
			wait()
		}
		if err := gateway.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = gateway.Wait() // killed
		if !up {
			c.Start(1)
		}
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var p int
			rest, ok := strings.CutPrefix(lines.Text(), "acked ")
			if strings.HasPrefix(lines.Text(), "panic") {
				t.Fatalf("round %d: %s", round, out)
			}
			rest, whole := strings.CutSuffix(rest, " .")
			if !ok || !whole {
				continue
			}
			number, values, _ := strings.Cut(rest, " ")
			if _, err := fmt.Sscan(number, &p); err != nil {
				t.Fatal(err)
			}
			acked[p] = append(acked[p], strings.Fields(values)...)
		}
	}
	last, out := child(t, c.Brokers[0], dir, "drain")
	if err := last.Wait(); err != nil {
		t.Fatalf("draining: %v: %s", err, out)
	}
	log := openOn(t, c.Brokers, dir, loadTopic, loadPartitions)
	defer log.Close(t.Context())
	total := 0
	for p := range int32(loadPartitions) {
		// The log is ready with what is known from the disk, before Kafka has been asked for anything.
		_, next, err := log.Bounds(t.Context(), loadTopic, p)
		for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			_, next, err = log.Bounds(t.Context(), loadTopic, p)
		}
		if err != nil {
			t.Fatal(err)
		}
		at := map[string]int{}
		for i, value := range logtest.Read(t, log, loadTopic, p, 0, int(next)) {
			if was, twice := at[value]; twice {
				t.Errorf("%s is at %d and %d", value, was, i)
			}
			at[value] = i
		}
		slices.SortFunc(acked[p], func(a, b string) int { return slices.Compare(numbersOf(a), numbersOf(b)) })
		before := -1
		for _, value := range acked[p] {
			i, there := at[value]
			if !there {
				t.Fatalf("%s was acknowledged and is not in Kafka", value)
			}
			if i < before {
				t.Fatalf("%s is at %d, before one at %d that was handed over earlier", value, i, before)
			}
			before = i
		}
		total += len(acked[p])
	}
	if total == 0 {
		t.Error("nothing was acknowledged")
	}
	t.Logf("%d records acknowledged in %d lives", total, rounds)
}

// numbersOf is the place of a value in the order of the hand-over.
func numbersOf(value string) []int {
	n := make([]int, 4)
	if _, err := fmt.Sscanf(value, "%d/%d/%d/%d", &n[0], &n[1], &n[2], &n[3]); err != nil {
		panic(err)
	}
	return n
}
