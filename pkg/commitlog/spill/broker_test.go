package spill

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/logtest"
	kafkatest "tollgate/test/kafka"
)

var (
	awayFor = flag.Duration("spill.away", 6*time.Second, "how long the real broker is away")
	rate    = flag.Int("spill.rate", 20_000, "records a second while it is")
)

const (
	loadTopic      = "usage"
	loadPartitions = 4
	loadRecords    = 250 // a batch
)

// load appends at a fixed rate, whatever becomes of it, and notes what was answered.
type load struct {
	log     *Log
	over    atomic.Bool
	writers sync.WaitGroup
	mu      sync.Mutex
	sent    [loadPartitions]int
	faults  []error
	slowest time.Duration
	spilled int
}

func (l *load) run(partition int32) {
	tick := time.NewTicker(time.Second * loadRecords * loadPartitions / time.Duration(*rate))
	defer tick.Stop()
	padding := strings.Repeat("x", 150)
	for !l.over.Load() {
		<-tick.C
		values := make([]string, loadRecords)
		for i := range values {
			values[i] = fmt.Sprintf("%d %s", l.sent[partition]+i, padding)
		}
		l.sent[partition] += loadRecords
		b := logtest.NewBatch(loadTopic, partition, values...)
		began := time.Now()
		l.writers.Add(1)
		b.Done = func(b *commitlog.Batch) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.slowest = max(l.slowest, time.Since(began))
			if b.Err != nil {
				l.faults = append(l.faults, b.Err)
			} else if b.Base < 0 {
				l.spilled++
			}
			l.writers.Done()
		}
		l.log.Append([]*commitlog.Batch{b})
	}
}

func TestARealBrokerThatGoesAwayUnderLoad(t *testing.T) {
	for _, way := range []struct {
		name     string
		away, on func(c *kafkatest.Cluster)
	}{
		{"killed", func(c *kafkatest.Cluster) { c.Kill9(1) }, func(c *kafkatest.Cluster) { c.Start(1) }},
		{"paused", func(c *kafkatest.Cluster) { c.Pause(1) }, func(c *kafkatest.Cluster) { c.Resume(1) }},
	} {
		t.Run(way.name, func(t *testing.T) {
			c := kafkatest.Start(t, kafkatest.Options{})
			log := openOn(t, c.Brokers, filepath.Join(t.TempDir(), "spill"), loadTopic, loadPartitions)
			defer log.Close(t.Context())
			l := &load{log: log}
			var running sync.WaitGroup
			for p := range int32(loadPartitions) {
				running.Go(func() { l.run(p) })
			}
			time.Sleep(2 * time.Second)
			way.away(c)
			time.Sleep(*awayFor)
			state := log.State()
			way.on(c)
			backAt := time.Now()
			time.Sleep(2 * time.Second)
			for log.State().Mode != Direct && time.Since(backAt) < 2*time.Minute {
				time.Sleep(10 * time.Millisecond)
			}
			drained := time.Since(backAt)
			l.over.Store(true)
			running.Wait()
			l.writers.Wait()
			if len(l.faults) > 0 {
				t.Errorf("%d batches were not taken, one of them: %v", len(l.faults), l.faults[0])
			}
			if state.Mode != Spilling || l.spilled == 0 {
				t.Errorf("while the broker was away: %+v, %d batches spilled", state, l.spilled)
			}
			l.compare(t)
			t.Logf("%d records a second; away %v: %d MB spilled; %d of %d batches acknowledged here; slowest answer %v; direct again %v after the broker served",
				*rate, *awayFor, state.Bytes>>20, l.spilled, (l.sent[0]+l.sent[1]+l.sent[2]+l.sent[3])/loadRecords, l.slowest.Round(time.Millisecond), drained.Round(time.Millisecond))
		})
	}
}

// compare reads Kafka: every record once and in order.
func (l *load) compare(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for p := range int32(loadPartitions) {
		_, next, err := l.log.Bounds(ctx, loadTopic, p)
		if err != nil || next != int64(l.sent[p]) {
			t.Errorf("partition %d ends at %d, %d records were sent (%v)", p, next, l.sent[p], err)
			continue
		}
		r, err := l.log.NewReader(loadTopic, p, 0)
		if err != nil {
			t.Fatal(err)
		}
		for at := int64(0); at < next; {
			records, err := r.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, record := range records {
				if want := fmt.Sprintf("%d ", at); !strings.HasPrefix(string(record.Value), want) {
					t.Fatalf("partition %d holds %.20q at offset %d", p, record.Value, at)
				}
				at++
			}
		}
		r.Close()
	}
}
