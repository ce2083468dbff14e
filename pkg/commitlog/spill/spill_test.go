package spill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/journal"
	"tollgate/pkg/commitlog/kafkalog"
	"tollgate/pkg/commitlog/logtest"
)

// openOn opens a spill in front of a Kafka, and waits until it knows its partitions.
func openOn(t testing.TB, brokers []string, dir, topic string, partitions int) *Log {
	t.Helper()
	log, err := openLog(brokers, dir, topic, partitions, func(n Notice) {
		if n.Kind == NoticeResent || n.Kind == NoticeStuck {
			t.Errorf("partition %d: %s: %s", n.Partition, n.Kind, n.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func openLog(brokers []string, dir, topic string, partitions int, notify func(Notice)) (*Log, error) {
	kafka, err := kafkalog.Open(kafkalog.Config{
		Brokers: brokers, Topics: []kafkalog.TopicConfig{{Name: topic, Partitions: partitions, HandBack: true}},
		StallMax: 2 * time.Second, DialTimeout: time.Second,
	})
	if err != nil {
		return nil, err
	}
	log, err := Open(Config{Kafka: kafka, Topic: topic, Dir: dir, Notify: notify})
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); log.Partitions(topic) == 0 || log.Ready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("not ready: %w", log.Ready())
		}
	}
	return log, nil
}

func TestConformance(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	topics := 0
	logtest.Run(t, func(t *testing.T) logtest.Opened {
		topics++
		topic, dir := fmt.Sprintf("topic-%d", topics), filepath.Join(t.TempDir(), "spill")
		again := func() commitlog.Log {
			log := openOn(t, c.ListenAddrs(), dir, topic, 2)
			for log.kafka.Ready() != nil { // one that was open before is ready without Kafka, and would spill
				time.Sleep(5 * time.Millisecond)
			}
			return log
		}
		return logtest.Opened{Log: again(), Topic: topic, Reopen: again}
	})
}

// away is a spill in front of a Kafka that is away, in virtual time.
type away struct {
	*testing.T
	k   *broker
	fs  *vfs.Mem
	log *Log
}

func newAway(t *testing.T, maxBytes int64) *away {
	a := &away{T: t, k: newBroker(1, 2), fs: vfs.NewMem(1)}
	a.k.up = false
	a.open(newClient(a.k, 2, time.Second), maxBytes)
	return a
}

func (a *away) open(kafka Kafka, maxBytes int64) {
	a.Helper()
	log, err := Open(Config{Kafka: kafka, Topic: simTopic, Dir: "spill", FS: a.fs, MaxBytes: maxBytes, ReserveBytes: 1})
	if err != nil {
		a.Fatal(err)
	}
	a.log = log
}

// append appends one record and returns its outcome and how long that took.
func (a *away) append(partition int32, value string) (time.Duration, error) {
	began := time.Now()
	err := commitlog.AppendWait(a.Context(), a.log, logtest.NewBatch(simTopic, partition, value))
	return time.Since(began), err
}

// back brings Kafka back and waits until all is in it.
func (a *away) back() {
	a.Helper()
	a.k.mu.Lock()
	a.k.up = true
	a.k.mu.Unlock()
	time.Sleep(time.Minute)
	if s := a.log.State(); s.Mode != Direct || s.Bytes != 0 {
		a.Errorf("a minute after Kafka is back: %+v", s)
	}
}

func (a *away) close() {
	a.Helper()
	if err := a.log.Close(a.Context()); err != nil {
		a.Errorf("close: %v", err)
	}
}

func TestAFullSpillRefusesAtOnceAndTakesAgainWhenDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAway(t, 1000)
		var err error
		var took time.Duration
		taken := 0
		for ; taken < 100; taken++ {
			if took, err = a.append(0, "record"); err != nil {
				break
			}
		}
		if taken < 5 || !errors.Is(err, commitlog.ErrUnavailable) || took > 0 || !strings.Contains(err.Error(), "spill.max_bytes") {
			t.Errorf("after %d batches the answer is %v, after %v", taken, err, took)
		}
		synctest.Wait() // for a try to drain that may have just begun
		if s := a.log.State(); s.Mode != Spilling || s.Reason == nil || s.Partitions != 1 || !s.Full {
			t.Errorf("full: %+v", s)
		}
		// Also when a smaller batch might fit.
		if err := a.log.Ready(); !errors.Is(err, commitlog.ErrUnavailable) || !strings.Contains(err.Error(), "spill.max_bytes") {
			t.Errorf("full, and ready says: %v", err)
		}
		a.back()
		if _, err := a.append(0, "after"); err != nil || len(a.k.logs[0]) != taken+1 {
			t.Errorf("after draining: %v, and Kafka holds %d of %d", err, len(a.k.logs[0]), taken+1)
		}
		a.close()
	})
}

func TestTheFirstAppendWaitsForKafkasPatienceAndTheOthersForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAway(t, 1<<20)
		if took, err := a.append(0, "first"); err != nil || took > 2*time.Second {
			t.Errorf("first: %v after %v", err, took)
		}
		for i := range 10 {
			if took, err := a.append(0, fmt.Sprint(i)); err != nil || took > 0 {
				t.Errorf("%d: %v after %v", i, err, took)
			}
		}
		if err := a.log.Ready(); err != nil {
			t.Errorf("ready: %v", err)
		}
		time.Sleep(time.Hour)
		if s := a.log.State(); time.Since(s.Oldest) < time.Hour || s.Bytes == 0 {
			t.Errorf("after an hour: %+v", s)
		}
		a.back()
		a.close()
	})
}

func TestWhatIsSpilledIsTakenUpByTheNextProcessWithoutKafka(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAway(t, 1<<20)
		for i := range 3 {
			if _, err := a.append(1, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		before := a.log.State()
		a.close()
		a.open(&shy{client: newClient(a.k, 2, time.Second)}, 1<<20)
		if n, s := a.log.Partitions(simTopic), a.log.State(); n != 2 || s.Bytes != before.Bytes || s.Partitions != 1 {
			t.Errorf("%d partitions, %+v; before: %+v", n, s, before)
		}
		if took, err := a.append(1, "3"); err != nil || took > 0 {
			t.Errorf("append: %v after %v", err, took)
		}
		a.back()
		if got := strings.Join(a.k.logs[1], " "); got != "0 1 2 3" {
			t.Errorf("Kafka holds %q", got)
		}
		a.close()
	})
}

func TestWhoGoesOnWithoutTheSpillIsToldWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAway(t, 1<<20)
		left := func(want Left) {
			t.Helper()
			if got, err := Waiting(a.fs, "spill"); err != nil || got != want {
				t.Errorf("waiting: %+v, %v; want %+v", got, err, want)
			}
		}
		if got, err := Waiting(a.fs, "nowhere"); err != nil || got != (Left{}) {
			t.Errorf("without a folder: %+v, %v", got, err)
		}
		if _, err := a.append(1, "one"); err != nil {
			t.Fatal(err)
		}
		bytes := a.log.State().Bytes
		a.close()
		left(Left{simTopic, bytes})
		a.open(newClient(a.k, 2, time.Second), 1<<20)
		a.back()
		a.close()
		left(Left{simTopic, 0})
		kafka := newClient(a.k, 2, time.Second)
		if _, err := Open(Config{Kafka: kafka, Topic: "other", Dir: "spill", FS: a.fs}); err == nil || !strings.Contains(err.Error(), simTopic) {
			t.Errorf("opened for another topic: %v", err)
		}
	})
}

func TestWhatIsAcknowledgedIsKnownToBeInKafkaOnlyWhenItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAway(t, 1<<20)
		asOf := func(read, want time.Time) {
			t.Helper()
			if got := a.log.AsOf(read); !got.Equal(want) {
				t.Errorf("who has read Kafka at %v knows what was acknowledged before %v, want %v", read, got, want)
			}
		}
		start := time.Now()
		asOf(start, start)
		if !a.log.Direct(0) || !a.log.Direct(1) || a.log.Direct(2) || a.log.Direct(-1) {
			t.Error("at the start not both partitions are direct, or others are")
		}
		time.Sleep(time.Minute)
		for p := range int32(2) {
			if _, err := a.append(p, "spilled"); err != nil {
				t.Fatal(err)
			}
		}
		if a.log.Direct(0) || a.log.Direct(1) {
			t.Error("a partition that is spilled is direct")
		}
		began := a.log.AsOf(time.Now())
		if began.Before(start.Add(time.Minute)) || began.After(start.Add(time.Minute+2*time.Second)) {
			t.Errorf("what was acknowledged before %v is said to be in Kafka", began)
		}
		time.Sleep(time.Minute)
		asOf(time.Now(), began)
		asOf(start, start)
		// The next process has it from the disk.
		a.close()
		a.open(newClient(a.k, 2, time.Second), 1<<20)
		if got := a.log.AsOf(time.Now()); got.After(began.Add(time.Second)) {
			t.Errorf("after a restart what was acknowledged before %v is said to be in Kafka", got)
		}
		began = a.log.AsOf(time.Now())
		asOf(time.Now(), began)
		reading := time.Now()
		time.Sleep(time.Second)
		a.back()
		asOf(time.Now(), time.Now())
		asOf(reading, began)
		if !a.log.Direct(0) || !a.log.Direct(1) {
			t.Error("what was drained is not direct")
		}
		a.close()
	})
}

func TestRotIsRefusedAndWhatARepairKeepsIsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, rotten := range []int{0, 2, 4} { // of five batches
			a := newAway(t, 1<<20)
			for i := range 5 {
				if _, err := a.append(0, fmt.Sprintf("value-%d", i)); err != nil {
					t.Fatal(err)
				}
			}
			a.close()
			a.rot("spill/"+simTopic+"-0/00000000000000000000.log", fmt.Sprintf("value-%d", rotten))
			_, err := Open(Config{Kafka: newClient(a.k, 2, time.Second), Topic: simTopic, Dir: "spill", FS: a.fs})
			if _, other := Waiting(a.fs, "spill"); !errors.As(err, new(*journal.RotError)) || !errors.As(other, new(*journal.RotError)) {
				t.Fatalf("batch %d is rotten: open says %v, waiting says %v", rotten, err, other)
			}
			if err := journal.Repair(a.fs, "spill", time.Now(), io.Discard); err != nil {
				t.Fatal(err)
			}
			a.open(newClient(a.k, 2, time.Second), 1<<20)
			a.back()
			want := slices.Delete([]string{"value-0", "value-1", "value-2", "value-3", "value-4"}, rotten, rotten+1)
			if got := a.k.logs[0]; !slices.Equal(got, want) {
				t.Errorf("batch %d was rotten: Kafka holds %q", rotten, got)
			}
			a.close()
		}
	})
}

// rot changes a bit of a file.
func (a *away) rot(path, within string) {
	a.Helper()
	f, err := a.fs.OpenFile(path, os.O_RDONLY)
	if err != nil {
		a.Fatal(err)
	}
	defer f.Close()
	text := make([]byte, 1<<16)
	n, _ := f.ReadAt(text, 0)
	at := strings.Index(string(text[:n]), within)
	if at < 0 {
		a.Fatalf("%s does not hold %s", path, within)
	}
	if err := a.fs.FlipBit(path, 8*int64(at)); err != nil {
		a.Fatal(err)
	}
}

func TestEpisodesAreBoundedAndTheOldestPutTogether(t *testing.T) {
	now := time.Unix(0, 0)
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	l := &Log{cfg: Config{Now: func() time.Time { return now }}}
	for i := range episodesMax + 10 {
		l.left(at(100 * i))
		now = at(100*i + 10)
		l.returned()
	}
	if len(l.episodes) != episodesMax {
		t.Errorf("%d episodes are remembered", len(l.episodes))
	}
	for read, want := range map[int]int{5: 0, 950: 0, 1005: 0, 1050: 1050, 1105: 1100, 1150: 1150, 4105: 4100, 4110: 4110} {
		if got := l.AsOf(at(read)); !got.Equal(at(want)) {
			t.Errorf("read at %d: %d, want %d", read, got.Unix(), want)
		}
	}
}

// shy is a Kafka that has not been reached since the start: it knows no partitions.
type shy struct{ *client }

func (*shy) Partitions(string) int { return 0 }

// script is a Kafka that gives batches back when the test says so.
type script struct {
	*client
	mu   sync.Mutex
	have []*commitlog.Batch
}

func (s *script) Append(set []*commitlog.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.have = append(s.have, set...)
}

func TestABatchThatOneBehindItHasOvertakenIsNotSpilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAway(t, 1<<20)
		a.close()
		s := &script{client: newClient(a.k, 2, time.Second)}
		a.open(s, 1<<20)
		var batches []*commitlog.Batch
		for i := range 3 {
			b := logtest.NewBatch(simTopic, 0, fmt.Sprint(i))
			b.Base = -2
			b.Done = func(*commitlog.Batch) {}
			batches = append(batches, b)
		}
		a.log.Append(batches)
		for i, err := range []error{commitlog.ErrUnavailable, nil, commitlog.ErrUnavailable} {
			s.have[i].Err, s.have[i].Base = err, int64(i)
			s.have[i].Done(s.have[i])
		}
		synctest.Wait()
		if !errors.Is(batches[0].Err, commitlog.ErrUnavailable) || batches[1].Err != nil || batches[2].Err != nil || batches[2].Base != -1 {
			t.Errorf("the outcomes are %v, %v, %v", batches[0].Err, batches[1].Err, batches[2].Err)
		}
		a.back()
		if got := strings.Join(a.k.logs[0], " "); got != "2" {
			t.Errorf("Kafka holds %q beside what it had", got)
		}
		a.close()
	})
}

func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAway(t, 1<<20)
		if _, err := a.append(0, "spilled"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := a.log.Close(ctx); err != nil || time.Since(began) > 4*time.Second {
			t.Errorf("close: %v after %v", err, time.Since(began))
		}
		if err := a.log.Close(ctx); !errors.Is(err, commitlog.ErrClosed) {
			t.Errorf("close again: %v", err)
		}
	})
}
