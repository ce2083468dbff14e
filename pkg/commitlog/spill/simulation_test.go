package spill

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/logtest"
)

var seeds = flag.Int("spill.seeds", 200, "how many seeds the simulation runs")

const (
	simTopic      = "usage"
	simPartitions = 2
	simBatches    = 40
	simMaxBytes   = 4 << 10
)

// slowFS is a disk whose fsyncs take time.
type slowFS struct {
	*vfs.Mem
	sync func() time.Duration
}

type slowFile struct {
	vfs.File
	fs *slowFS
}

func (s *slowFS) OpenFile(path string, flag int) (vfs.File, error) {
	f, err := s.Mem.OpenFile(path, flag)
	if err != nil {
		return nil, err
	}
	return slowFile{f, s}, nil
}

func (f slowFile) Sync() error {
	time.Sleep(f.fs.sync())
	return f.File.Sync()
}

// handedOver is what the ledger knows of one batch.
type handedOver struct {
	values   []string
	answered bool
	err      error
}

// simulation is one seed: a load, a broker that comes and goes, and a process that is killed on a machine that may lose power.
type simulation struct {
	t      *testing.T
	dice   *rand.Rand
	k      *broker
	mem    *vfs.Mem
	client *client
	log    *Log
	slow   time.Duration

	mu     sync.Mutex
	life   int // of the process
	ledger [simPartitions][]*handedOver
	tally  *tally
}

// tally counts over all seeds, so that the simulation is known to reach what it is for.
type tally struct {
	acked, spilled, unavailable, unknown, unanswered, kills int
}

func (s *simulation) chance(p float64) bool { return s.dice.Float64() < p }

func (s *simulation) start() {
	s.client = newClient(s.k, simPartitions, time.Second)
	fs := &slowFS{Mem: s.mem, sync: func() time.Duration {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.slow
	}}
	for {
		log, err := Open(Config{
			Kafka: s.client, Topic: simTopic, Dir: "spill", FS: fs, MaxBytes: simMaxBytes, SegmentBytes: 8 << 10,
			ReserveBytes: 1, DrainBytes: 600, Random: func() float64 { return 0.5 },
			Notify: s.notify,
		})
		if err == nil {
			s.log = log
			return
		}
		s.mem.SetFaults(vfs.Faults{}) // the disk is mended, and the process started again
		if s.chance(0.02) {
			s.t.Fatalf("open: %v", err)
		}
	}
}

// notify: a broker that loses nothing never disagrees with a sequence.
func (s *simulation) notify(n Notice) {
	if n.Kind == NoticeResent {
		s.t.Errorf("partition %d: %s: %s", n.Partition, n.Kind, n.Text)
	}
}

// end ends the process: in order, by kill -9, or with the machine.
func (s *simulation) end() {
	old := s.log
	switch s.dice.IntN(3) {
	case 0:
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Duration(s.dice.IntN(3000))*time.Millisecond)
		defer cancel()
		s.mem.SetFaults(vfs.Faults{})
		_ = old.Close(ctx)
		s.client.kill()
		s.mem = s.mem.Kill()
	case 1:
		s.abandon(s.mem.Kill)
	case 2:
		s.abandon(s.mem.Crash)
	}
	s.tally.kills++
}

func (s *simulation) abandon(after func() *vfs.Mem) {
	s.mu.Lock()
	s.life++
	s.mu.Unlock()
	s.client.kill()
	s.mem = after()
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	go s.log.Close(ctx) // what is left of it ends by itself, unheard
}

func (s *simulation) append(partition int32, n int) {
	h := &handedOver{}
	for i := range 1 + s.dice.IntN(3) {
		h.values = append(h.values, fmt.Sprintf("%d/%d/%d", partition, n, i))
	}
	b := logtest.NewBatch(simTopic, partition, h.values...)
	s.mu.Lock()
	life := s.life
	s.ledger[partition] = append(s.ledger[partition], h)
	s.mu.Unlock()
	b.Done = func(b *commitlog.Batch) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if life != s.life {
			return // its process is dead: nobody has heard of it
		}
		if h.answered {
			s.t.Errorf("%v was answered twice", h.values)
		}
		h.answered, h.err = true, b.Err
		if b.Err == nil && b.Base < 0 {
			s.tally.spilled++
		}
	}
	s.log.Append([]*commitlog.Batch{b})
}

// chaos changes one thing.
func (s *simulation) chaos() {
	switch s.dice.IntN(9) {
	case 0, 1, 2:
		s.k.mu.Lock()
		s.k.up = !s.k.up
		s.k.mu.Unlock()
	case 3:
		s.k.mu.Lock()
		s.k.lose = []float64{0, 0.1, 0.9}[s.dice.IntN(3)]
		s.k.mu.Unlock()
	case 4:
		s.mu.Lock()
		s.slow = []time.Duration{0, 5 * time.Millisecond, 700 * time.Millisecond}[s.dice.IntN(3)]
		s.mu.Unlock()
	case 5:
		f := vfs.Faults{}
		switch s.dice.IntN(3) {
		case 0:
			f.CapacityBytes = int64(1 + s.dice.IntN(5000))
		case 1:
			f.SyncFails, f.WriteFails, f.OpenFails = 0.05, 0.05, 0.05
		}
		s.mem.SetFaults(f)
	case 6:
		s.end()
		s.start()
	}
}

func (s *simulation) run() {
	s.start()
	for n := range simBatches {
		for p := range int32(simPartitions) {
			if s.chance(0.9) {
				s.append(p, n)
			}
		}
		if s.chance(0.25) {
			s.chaos()
		}
		if state := s.log.State(); state.Bytes > simMaxBytes+simPartitions*400 || state.Bytes < 0 {
			s.t.Fatalf("%d bytes are spilled of %d", state.Bytes, simMaxBytes)
		}
		if s.chance(0.8) {
			time.Sleep(time.Duration(s.dice.IntN(400)) * time.Millisecond)
		}
	}
	s.mend()
	time.Sleep(time.Minute) // until the dead ones have come to their ends
	s.check()
}

// mend makes all well and waits until nothing is spilled.
func (s *simulation) mend() {
	s.k.mu.Lock()
	s.k.up, s.k.lose = true, 0
	s.k.mu.Unlock()
	s.mem.SetFaults(vfs.Faults{})
	s.mu.Lock()
	s.slow = 0
	s.mu.Unlock()
	if s.chance(0.3) {
		s.end()
		s.start()
	}
	for range 600 {
		time.Sleep(500 * time.Millisecond)
		if s.quiet() {
			break
		}
	}
	if state := s.log.State(); state.Mode != Direct || state.Bytes != 0 {
		s.t.Errorf("nothing is wrong any more, and the spill is %+v", state)
	}
	if err := s.log.Close(s.t.Context()); err != nil {
		s.t.Errorf("close: %v", err)
	}
}

func (s *simulation) quiet() bool {
	s.log.mu.Lock()
	open := s.log.open
	s.log.mu.Unlock()
	return open == 0 && s.log.State().Mode == Direct
}

func (s *simulation) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	for p := range simPartitions {
		at := map[string]int{}
		for i, value := range s.k.logs[p] {
			if was, there := at[value]; there {
				s.t.Errorf("%s is at offsets %d and %d", value, was, i)
			}
			at[value] = i
		}
		last := -1
		for _, h := range s.ledger[p] {
			s.count(h)
			for _, value := range h.values {
				i, there := at[value]
				switch {
				case h.answered && h.err == nil && !there:
					s.t.Errorf("%s was acknowledged and is not in Kafka", value)
				case h.answered && h.err != nil && !errors.Is(h.err, commitlog.ErrUnknown) && there:
					s.t.Errorf("%s is in Kafka, and was answered: %v", value, h.err)
				case h.answered && h.err == nil && i < last:
					s.t.Errorf("%s is at %d, behind one at %d that was handed over later", value, i, last)
				case h.answered && h.err == nil:
					last = i
				}
			}
		}
	}
}

func (s *simulation) count(h *handedOver) {
	switch {
	case !h.answered:
		s.tally.unanswered++
	case h.err == nil:
		s.tally.acked++
	case errors.Is(h.err, commitlog.ErrUnknown):
		s.tally.unknown++
	default:
		s.tally.unavailable++
	}
}

func TestWhateverHappensAcknowledgedBatchesAreInKafkaOnceAndInOrder(t *testing.T) {
	var total tally
	for seed := range uint64(*seeds) {
		synctest.Test(t, func(t *testing.T) {
			s := &simulation{
				t: t, dice: rand.New(rand.NewPCG(seed, 1)), k: newBroker(seed, simPartitions), mem: vfs.NewMem(seed), tally: &total,
			}
			s.run()
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d seeds: %+v", *seeds, total)
	if total.spilled == 0 || total.unavailable == 0 || total.kills == 0 {
		t.Errorf("the simulation does not reach what it is for: %+v", total)
	}
}
