package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/internal/invariants"
	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// TestCrashesDuringCompactionLeaveTheStateAsItWas writes keys and tombstones, compacts on a disk whose power goes or
// that fails at any call, and compares what is left with everything that was ever appended. TOLLGATE_SEEDS sets how many
// seeds it tries, TOLLGATE_SEED repeats a single one.
func TestCrashesDuringCompactionLeaveTheStateAsItWas(t *testing.T) {
	first, seeds := uint64(1), uint64(2000)
	if invariants.Enabled {
		seeds = 200
	}
	f := func(name string, to *uint64) {
		if text := os.Getenv(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			*to = n
		}
	}
	f("TOLLGATE_SEEDS", &seeds)
	if f("TOLLGATE_SEED", &first); os.Getenv("TOLLGATE_SEED") != "" {
		seeds = first
	}
	for seed := first; seed <= seeds; seed++ {
		logf := func(string, ...any) {}
		if first == seeds {
			logf = t.Logf
		}
		if err := simulateCompaction(seed, logf); err != nil {
			t.Fatalf("TOLLGATE_SEED=%d: %v", seed, err)
		}
	}
	t.Logf("%d rewrites, %d power losses in a compaction, %d failures, %d records gone of %d",
		compactTally.rewrites.Load(), compactTally.cuts.Load(), compactTally.failures.Load(), compactTally.gone.Load(), compactTally.records.Load())
	if seeds >= 200 && (compactTally.cuts.Load() == 0 || compactTally.gone.Load() == 0 || compactTally.failures.Load() == 0) {
		t.Error("the test does not test that")
	}
}

var compactTally struct{ rewrites, cuts, failures, gone, records atomic.Uint64 }

// compactSim knows all that was appended.
type compactSim struct {
	dice    *rand.Rand
	disk    *vfs.Mem
	cfg     Config
	now     time.Time
	keys    int
	history []recordbatch.Record // by offset
}

func simulateCompaction(seed uint64, logf func(string, ...any)) error {
	s := &compactSim{keys: 2 + int(seed%12), dice: rand.New(rand.NewPCG(seed, 9)), disk: vfs.NewMem(seed), now: time.UnixMilli(1_000_000_000_000)}
	ages := []time.Duration{0, 10 * time.Minute, 3 * time.Hour, 40 * time.Hour}
	s.cfg = Config{
		Dir: "journal", SegmentBytes: 1 << 20, BatchBytesMax: 2048, ReserveBytes: 1,
		Topics: []TopicConfig{{
			Name: topic, Partitions: 1, Compact: true, CompactAge: ages[s.dice.IntN(len(ages))],
			SegmentBytes: int64(200 << s.dice.IntN(5)),
		}},
		Now: func() time.Time { return s.now }, Notify: func(n Notice) {
			logf("notice: %v", n)
			switch n.What {
			case Compacted:
				compactTally.rewrites.Add(1)
			case CompactionFailed:
				compactTally.failures.Add(1)
			}
		},
	}
	for range 2 + s.dice.IntN(5) {
		if err := s.life(logf); err != nil {
			return err
		}
	}
	return nil
}

func (s *compactSim) life(logf func(string, ...any)) error {
	s.cfg.FS = s.disk
	j, err := open(s.cfg)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err := s.check(j); err != nil {
		return fmt.Errorf("after opening: %w", err)
	}
	off := false
	for range s.dice.IntN(40) {
		if err := s.appendSome(j); err != nil {
			return err
		}
		if s.dice.IntN(4) > 0 {
			continue
		}
		if off = s.compactSome(j, logf); off {
			break
		}
		if err := s.check(j); err != nil {
			return fmt.Errorf("in life: %w", err)
		}
	}
	switch s.dice.IntN(3) {
	case 0:
		logf("power loss")
		s.disk = s.disk.Crash()
	case 1:
		logf("kill")
		s.disk = s.disk.Kill()
	default:
		logf("close")
		j.step()
		j.abandon()
		s.disk = s.disk.Kill()
	}
	var report strings.Builder
	if faults, err := Verify(s.disk, s.cfg.Dir, &report); faults != 0 || err != nil {
		return fmt.Errorf("%d faults, %w\n%s", faults, err, report.String())
	}
	return nil
}

// appendSome appends a batch, or lets time pass.
func (s *compactSim) appendSome(j *Journal) error {
	s.now = s.now.Add(time.Duration(s.dice.IntN(20)) * time.Minute)
	if s.dice.IntN(6) == 0 {
		s.now = s.now.Add(30 * time.Hour)
	}
	var records []kv
	for range 1 + s.dice.IntN(4) {
		r := kv{key: fmt.Sprint("key", s.dice.IntN(s.keys))}
		if s.dice.IntN(4) > 0 {
			r.value = fmt.Appendf(nil, "%d-%s", len(s.history)+len(records), strings.Repeat("v", s.dice.IntN(150)))
		}
		records = append(records, r)
	}
	b := keyed(s.now, records...)
	j.Append([]*commitlog.Batch{b})
	j.step()
	if b.Err != nil || b.Base != int64(len(s.history)) {
		return fmt.Errorf("an append at offset %d, want %d: %w", b.Base, len(s.history), b.Err)
	}
	for i, r := range records {
		s.history = append(s.history, recordbatch.Record{
			Offset: b.Base + int64(i), TimestampMs: s.now.UnixMilli(), Key: []byte(r.key), Value: r.value,
		})
	}
	compactTally.records.Add(uint64(len(records)))
	return nil
}

// compactSome compacts on a disk that may fail. True when its power went.
func (s *compactSim) compactSome(j *Journal, logf func(string, ...any)) (off bool) {
	var faults vfs.Faults
	switch s.dice.IntN(5) {
	case 0, 1:
		faults.CrashAt = 1 + s.dice.IntN(1+s.dice.IntN(120))
	case 2:
		for range 1 + s.dice.IntN(3) {
			faults.FailCalls = append(faults.FailCalls, 1+s.dice.IntN(60))
		}
	case 3:
		faults.SyncFails = s.dice.Float64()
	}
	logf("compact with %+v", faults)
	s.disk.SetFaults(faults)
	for range 1 + s.dice.IntN(3) {
		j.compact(j.partitions[0])
	}
	_, err := s.disk.ReadDir(".")
	if errors.Is(err, vfs.ErrOff) {
		compactTally.cuts.Add(1)
		return true
	}
	s.disk.SetFaults(vfs.Faults{})
	return false
}

// check compares what a reader finds with all that was appended.
func (s *compactSim) check(j *Journal) error {
	oldest, next := j.partitions[0].bounds()
	if oldest != 0 || next != int64(len(s.history)) {
		return fmt.Errorf("bounds %d to %d, want 0 to %d", oldest, next, len(s.history))
	}
	there := make([]bool, next)
	if next > 0 {
		if err := s.read(j, there); err != nil {
			return err
		}
	}
	want, got := map[string]string{}, map[string]string{}
	newest := map[string]int64{}
	for i, r := range s.history {
		fold(want, r)
		if there[i] {
			fold(got, r)
		}
		newest[string(r.Key)] = r.Offset
	}
	if !maps.Equal(want, got) {
		return fmt.Errorf("the state is %.30q, want %.30q", got, want)
	}
	for i, r := range s.history {
		if there[i] {
			continue
		}
		compactTally.gone.Add(1)
		age := s.now.Sub(time.UnixMilli(r.TimestampMs))
		hidden := newest[string(r.Key)] > r.Offset
		old := r.Value == nil && age > max(tombstoneAgeMin, s.cfg.Topics[0].CompactAge)
		if age <= s.cfg.Topics[0].CompactAge && s.cfg.Topics[0].CompactAge > 0 || !hidden && !old {
			return fmt.Errorf("offset %d is gone: key %s, %v old, superseded %t, tombstone %t", i, r.Key, age, hidden, r.Value == nil)
		}
	}
	return nil
}

func fold(state map[string]string, r recordbatch.Record) {
	if r.Value == nil {
		delete(state, string(r.Key))
	} else {
		state[string(r.Key)] = string(r.Value)
	}
}

// read notes which records are there, each as it was appended.
func (s *compactSim) read(j *Journal, there []bool) (err error) {
	r, err := j.NewReader(topic, 0, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for last := int64(-1); last < int64(len(there))-1; {
		records, err := r.Next(context.Background())
		if err != nil {
			return err
		}
		for _, record := range records {
			was := s.history[record.Offset]
			if record.Offset <= last || string(record.Key) != string(was.Key) || string(record.Value) != string(was.Value) ||
				(record.Value == nil) != (was.Value == nil) || record.TimestampMs != was.TimestampMs {
				return fmt.Errorf("after offset %d comes %s, appended was %s", last, show(record), show(was))
			}
			last = record.Offset
			there[last] = true
		}
	}
	return nil
}
