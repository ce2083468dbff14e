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

// What a request was told decides what may be in the log, also of a request that was cut into several batches.
//
//	nil                                              every record once
//	ErrFull, ErrTimeout, ErrDraining, ErrTooLarge    none
//	ErrUnavailable, ErrRefused                       none
//	ErrUnknown                                       anything, but nothing twice
func TestWhatARequestIsToldIsTrueOverRandomFaults(t *testing.T) {
	told := make(map[error]int)
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) { faults(t, seed, 40, told) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for _, err := range outcomes {
		if told[err] == 0 {
			t.Errorf("no request was ever told %v: the test does not test that", err)
		}
	}
	t.Logf("told: %v", told)
}

// outcomes are what a request can be told here.
var outcomes = []error{nil, ErrFull, ErrTimeout, ErrTooLarge, commitlog.ErrUnavailable, commitlog.ErrRefused, commitlog.ErrUnknown}

// The same on real time and cores, where goroutines race.
func TestWhatARequestIsToldIsTrueUnderRace(t *testing.T) {
	for seed := range uint64(3) {
		faults(t, 1000+seed, 60, make(map[error]int))
		if t.Failed() {
			t.Fatalf("seed %d", 1000+seed)
		}
	}
}

// moody answers after random times with random outcomes; so many of a hundred batches it keeps for longer than anybody
// waits, or until calm is closed.
func moody(seed uint64, kept int, calm chan struct{}) func(b *commitlog.Batch) (bool, error) {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, 77))
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return dice.IntN(n)
	}
	return func(*commitlog.Batch) (bool, error) {
		switch mood := roll(100); {
		case mood < 10: // at once
		case mood < 13:
			time.Sleep(time.Duration(roll(100)) * time.Millisecond)
		case mood < 13+kept:
			select {
			case <-calm:
			case <-time.After(time.Second):
			}
		default:
			time.Sleep(time.Duration(roll(2000)) * time.Microsecond)
		}
		switch roll(12) {
		case 0:
			return false, fmt.Errorf("%w: no leader", commitlog.ErrUnavailable)
		case 1:
			return false, fmt.Errorf("%w: no such thing", commitlog.ErrRefused)
		case 2:
			return roll(2) == 0, fmt.Errorf("%w: connection lost", commitlog.ErrUnknown)
		case 3:
			return roll(2) == 0, errors.New("an error without a name")
		}
		return true, nil
	}
}

// request is one request of a client, its records' values, and what it was told.
type request struct {
	partition int
	values    []string
	err       error
}

func faults(t *testing.T, seed uint64, requestsEach int, told map[error]int) {
	dice := rand.New(rand.NewPCG(seed, 5))
	partitions := 1 + dice.IntN(4)
	log := newFakeLog(t, partitions)
	log.batchBytesMax = 2000 << dice.IntN(4)
	calm := make(chan struct{})
	partitionBacklog := 4096 << dice.IntN(4)
	backlog, kept := partitionBacklog*(1+dice.IntN(3)), 1
	if seed%4 == 0 {
		// Batches that the log keeps fill the whole backlog, and frames time out in their rings.
		partitionBacklog, backlog, kept = 4096, 4096, 30
	}
	log.answer = moody(seed, kept, calm)
	behind := dice.IntN(2) * (1 + dice.IntN(2000))
	if behind > 0 {
		log.flyingMax = 2
	}
	g := open(t, log, Config{
		Rings: 1 + dice.IntN(3), RingBytes: 8192, SpareBytes: 8192 << dice.IntN(3), FrameBytesMax: 4096,
		Tickets: 4 + dice.IntN(40), WaitMax: 50 * time.Millisecond, BatchRecordsMax: 1 + dice.IntN(20),
		PartitionBacklogBytesMax: partitionBacklog, BacklogBytesMax: backlog,
		BehindBytes: behind, PauseMin: time.Duration(1+dice.IntN(1000)) * time.Microsecond,
	})
	clients := make([][]request, 24)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() { clients[c] = client(g, seed, c, partitions, requestsEach) })
	}
	// Somewhere on the way the log says that it is not ready, and then that it is.
	wg.Go(func() {
		for range 5 {
			time.Sleep(20 * time.Millisecond)
			log.setReady(errors.New("flapping"))
			time.Sleep(time.Millisecond)
			log.setReady(nil)
		}
	})
	wg.Wait()
	close(calm)
	wantErr(t, "Drain", g.Drain(t.Context()), nil)
	if n := g.tickets.inUse(); n != 0 || g.rings.Used() != 0 || g.drainer.backlog != 0 || g.drainer.flying != 0 {
		t.Errorf("after Drain: %d tickets, %d bytes in rings, %d in the backlog, %d flying", n, g.rings.Used(), g.drainer.backlog, g.drainer.flying)
	}
	for c, requests := range clients {
		check(t, log, c, requests)
		for _, r := range requests {
			for _, err := range outcomes {
				if r.err == err || err != nil && errors.Is(r.err, err) {
					told[err]++
					break
				}
			}
		}
	}
}

// client sends requests one after the other, each of up to 30 records of one key.
func client(g *Ingester, seed uint64, number, partitions, requests int) (sent []request) {
	dice := rand.New(rand.NewPCG(seed, uint64(number)+100))
	partition := dice.IntN(partitions)
	key := keyFor(partition, partitions)
	for i := range requests {
		r := request{partition: partition}
		var pairs []string
		for j := range 1 + dice.IntN(30)>>dice.IntN(5) {
			value := fmt.Sprintf("%d/%d/%d/%s", number, i, j, strings.Repeat("x", dice.IntN(160)))
			r.values = append(r.values, value)
			pairs = append(pairs, key, value)
		}
		r.err = submit(g, pairs...)
		if errors.Is(r.err, ErrFull) || errors.Is(r.err, commitlog.ErrUnavailable) {
			time.Sleep(time.Duration(dice.IntN(20)) * time.Millisecond)
		}
		sent = append(sent, r)
	}
	return sent
}

// check compares what a client was told with its records in the log, and the order of what it knows to be there (G5).
func check(t *testing.T, log *fakeLog, number int, requests []request) {
	t.Helper()
	at := make(map[string]int) // place in the log
	prefix := fmt.Sprintf("%d/", number)
	for i, v := range log.values(requests[0].partition) {
		if !strings.HasPrefix(v, prefix) {
			continue
		}
		if _, twice := at[v]; twice {
			t.Errorf("twice in the log: %.20s", v)
		}
		at[v] = i
	}
	last := -1
	for i, r := range requests {
		there := 0
		for _, v := range r.values {
			place, ok := at[v]
			if !ok {
				continue
			}
			there++
			if r.err == nil {
				if place < last {
					t.Errorf("client %d, request %d is out of order", number, i)
				}
				last = place
			}
		}
		switch {
		case r.err == nil && there != len(r.values):
			t.Errorf("client %d, request %d was answered as durable: %d of %d records are in the log", number, i, there, len(r.values))
		case errors.Is(r.err, ErrFull), errors.Is(r.err, ErrTimeout), errors.Is(r.err, ErrDraining), errors.Is(r.err, ErrTooLarge),
			errors.Is(r.err, commitlog.ErrUnavailable), errors.Is(r.err, commitlog.ErrRefused):
			if there != 0 {
				t.Errorf("client %d, request %d was told %v: %d records are in the log", number, i, r.err, there)
			}
		case r.err != nil && !errors.Is(r.err, commitlog.ErrUnknown):
			t.Errorf("client %d, request %d: an error without a name: %v", number, i, r.err)
		}
	}
}
