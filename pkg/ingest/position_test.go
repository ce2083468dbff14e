package ingest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/pkg/commitlog"
)

// submitAt is submit by SubmitAt.
func submitAt(g *Ingester, pairs ...string) (Position, error) {
	f := g.NewFrame(g.NowMs())
	for i := 0; i < len(pairs); i += 2 {
		f.End(append(f.Begin(keyOf(pairs[i])), pairs[i+1]...))
	}
	return g.SubmitAt(f)
}

// at is the value at a position.
func (l *fakeLog) at(p Position) string {
	if values := l.values(int(p.Partition)); p.Offset >= 0 && p.Offset < int64(len(values)) {
		return values[p.Offset]
	}
	return fmt.Sprintf("nothing at %+v", p)
}

func TestThePositionIsTheLastRecordsHoweverTheFrameIsCut(t *testing.T) {
	const partitions = 3
	log := newFakeLog(t, partitions)
	g := open(t, log, Config{BatchRecordsMax: 4})
	var wg sync.WaitGroup
	for c := range 16 { // so that a batch holds several frames
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(9, uint64(c)))
			for i := range 100 {
				var pairs []string
				for j := range 1 + dice.IntN(10) { // up to three batches of a partition, and several partitions
					pairs = append(pairs, keyFor(dice.IntN(partitions), partitions), fmt.Sprintf("%d/%d/%d", c, i, j))
				}
				p, err := submitAt(g, pairs...)
				wantErr(t, "SubmitAt", err, nil)
				if got, want := log.at(p), pairs[len(pairs)-1]; got != want {
					t.Errorf("at %+v is %s, want %s", p, got, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestALogThatDoesNotKnowWhereLeavesTheOffsetUnknown(t *testing.T) {
	log := newFakeLog(t, 2)
	log.baseless.Store(true)
	g := open(t, log, Config{BatchRecordsMax: 2})
	key := keyFor(1, 2)
	p, err := submitAt(g, key, "a", key, "b", key, "c", key, "d")
	wantErr(t, "SubmitAt", err, nil)
	if want := (Position{Partition: 1, Offset: -1}); p != want {
		t.Errorf("position %+v, want %+v", p, want)
	}
	log.baseless.Store(false)
	if p, err := submitAt(g, key, "e"); err != nil || p != (Position{Partition: 1, Offset: 4}) {
		t.Errorf("the next one is at %+v, %v", p, err)
	}
}

func TestWhatIsNotKnownToBeInTheLogHasNoPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(t, 1)
		hold, release := holding(written)
		log.answer = hold
		g := open(t, log, Config{WaitMax: 16 * time.Second, FrameBytesMax: 1000, PartitionBacklogBytesMax: 1000, BacklogBytesMax: 1000})
		want := func(what string, p Position, got, err error) {
			t.Helper()
			wantErr(t, what, got, err)
			if p != nowhere {
				t.Errorf("%s: position %+v", what, p)
			}
		}
		p, err := g.SubmitAt(g.NewFrame(g.NowMs()))
		want("an empty frame", p, err, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			p, err := submitAt(g, "key", strings.Repeat("1", 930))
			want("orphaned", p, err, commitlog.ErrUnknown)
		})
		synctest.Wait()
		p, err = submitAt(g, "key", "second")
		want("abandoned", p, err, ErrTimeout)
		wg.Wait()
		release()
		synctest.Wait()
		// The slots are used anew, and what the log said too late is not theirs.
		for i := range 3 {
			if p, err := submitAt(g, "key", "more"); err != nil || p != (Position{Offset: int64(1 + i)}) {
				t.Errorf("after that: %+v, %v", p, err)
			}
		}
		log.answer = func(*commitlog.Batch) (bool, error) { return false, commitlog.ErrUnavailable }
		p, err = submitAt(g, "key", "refused")
		want("unavailable", p, err, commitlog.ErrUnavailable)
	})
}

// Few slots, a watchdog that comes early, batches of several frames, a log of every mood: whoever is told a position
// must find its own record there.
func TestAPositionIsNeverAnothersUnderRace(t *testing.T) {
	const partitions = 2
	log := newFakeLog(t, partitions)
	calm := make(chan struct{})
	log.answer = moody(4, 1, calm)
	g := open(t, log, Config{Tickets: 10, WaitMax: 30 * time.Millisecond, BatchRecordsMax: 7})
	told, late := 0, 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for c := range 12 {
		wg.Go(func() {
			key := keyFor(c%partitions, partitions)
			for i := range 400 {
				value := fmt.Sprintf("%d/%d", c, i)
				p, err := submitAt(g, key, "x", key, value)
				mu.Lock()
				switch {
				case err == nil:
					told++
				case errors.Is(err, commitlog.ErrUnknown), errors.Is(err, ErrTimeout):
					late++
				}
				mu.Unlock()
				if err == nil && log.at(p) != value {
					t.Errorf("at %+v is %s, want %s", p, log.at(p), value)
				}
				if err != nil && p != nowhere {
					t.Errorf("%v, and position %+v", err, p)
				}
				if err != nil && !errors.Is(err, commitlog.ErrUnknown) {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	close(calm)
	if told < 100 || late == 0 {
		t.Errorf("%d told, %d too late: the test does not test that", told, late)
	}
}
