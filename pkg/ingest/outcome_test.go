package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/pkg/commitlog"
)

// keyFor is a key of the given partition.
func keyFor(partition, partitions int) string {
	for i := 0; ; i++ {
		key := fmt.Sprintf("acct/testmode/meter%d", i)
		if int(commitlog.PartitionFor([]byte(key), partitions)) == partition {
			return key
		}
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if want == nil && got != nil || !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// holding is an answer that waits until it is released, and the means to see that it waits and to release it.
func holding(answer func(b *commitlog.Batch) (bool, error)) (hold func(b *commitlog.Batch) (bool, error), release func()) {
	released := make(chan struct{})
	return func(b *commitlog.Batch) (bool, error) {
		<-released
		return answer(b)
	}, sync.OnceFunc(func() { close(released) })
}

func written(*commitlog.Batch) (bool, error) { return true, nil }

func TestALoneRequestWaitsForTheLogOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(t, 3)
		log.answer = func(*commitlog.Batch) (bool, error) { time.Sleep(3 * time.Millisecond); return true, nil }
		g := open(t, log, Config{PauseMin: time.Second})
		for i := range 20 {
			start := time.Now()
			wantErr(t, "Submit", submit(g, "key", fmt.Sprint(i)), nil)
			if took := time.Since(start); took != 3*time.Millisecond {
				t.Errorf("request %d took %v", i, took)
			}
		}
	})
}

func TestAFrameGetsTheWorstOutcomeOfItsBatches(t *testing.T) {
	const partitions = 4 // each answers in its own way
	outcomes := [partitions]error{
		nil,
		fmt.Errorf("%w: too old a producer", commitlog.ErrRefused),
		fmt.Errorf("%w: disk full", commitlog.ErrUnavailable),
		fmt.Errorf("%w: connection lost", commitlog.ErrUnknown),
	}
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(t, partitions)
		log.answer = func(b *commitlog.Batch) (bool, error) {
			time.Sleep(time.Duration(7*b.Partition%5) * time.Millisecond) // the worst is not the last to answer
			return outcomes[b.Partition] == nil, outcomes[b.Partition]
		}
		g := open(t, log, Config{})
		for set := 1; set < 1<<partitions; set++ {
			var pairs []string
			var want error
			for p := range partitions {
				if set&(1<<p) != 0 {
					pairs = append(pairs, keyFor(p, partitions), "x")
					want = outcomes[p]
				}
			}
			if set&1 != 0 && set != 1 {
				want = commitlog.ErrUnknown // a part is stored: neither yes nor no is true
			}
			if got := submit(g, pairs...); !errors.Is(got, want) {
				t.Errorf("partitions %04b: %v, want %v", set, got, want)
			}
		}
	})
}

func TestALogsErrorIsNeverRoundedToSuccess(t *testing.T) {
	for _, c := range []struct{ said, want error }{
		{errors.New("something odd"), commitlog.ErrUnknown},
		{context.DeadlineExceeded, commitlog.ErrUnknown},
		{fmt.Errorf("%w: bye", commitlog.ErrClosed), commitlog.ErrUnavailable},
		{errors.Join(commitlog.ErrUnavailable, commitlog.ErrUnknown), commitlog.ErrUnknown},
	} {
		log := newFakeLog(t, 1)
		log.answer = func(*commitlog.Batch) (bool, error) { return false, c.said }
		got := submit(open(t, log, Config{}), "key", "value")
		wantErr(t, "Submit", got, c.want)
		wantErr(t, "the log's own words", got, c.said)
	}
}

func TestALogThatNeverAnswersLeavesTheOutcomeUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(t, 1)
		hold, release := holding(written)
		log.answer = hold
		g := open(t, log, Config{WaitMax: 16 * time.Second, Tickets: 2})
		start := time.Now()
		got := submit(g, "key", "value")
		wantErr(t, "Submit", got, commitlog.ErrUnknown)
		if took := time.Since(start); took < 16*time.Second || took > 17*time.Second {
			t.Errorf("answered after %v", took)
		}
		// The ticket is the log's until it answers: memory is bounded by that.
		if n := g.tickets.inUse(); n != 1 {
			t.Errorf("%d tickets in use while the log has the batch", n)
		}
		release()
		synctest.Wait()
		if n := g.tickets.inUse(); n != 0 {
			t.Errorf("%d tickets in use after the log's answer", n)
		}
		if g.metrics.orphaned.Value() != 1 {
			t.Errorf("%d orphaned requests counted", g.metrics.orphaned.Value())
		}
	})
}

// A drainer that can not go on must not keep handlers waiting, and what they are told must stay true when it can again.
func TestARequestAbandonedInItsRingIsNeverWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(t, 1)
		hold, release := holding(written)
		log.answer = hold
		// The backlog takes the first frame only, so the second one stays in its ring.
		g := open(t, log, Config{WaitMax: 16 * time.Second, FrameBytesMax: 1000, PartitionBacklogBytesMax: 1000, BacklogBytesMax: 1000})
		first := make(chan error)
		go func() { first <- submit(g, "key", strings.Repeat("1", 930)) }()
		synctest.Wait()
		wantErr(t, "in the ring", submit(g, "key", "second"), ErrTimeout)
		wantErr(t, "in the log's hands", <-first, commitlog.ErrUnknown)
		release()
		synctest.Wait()
		wantErr(t, "after that", submit(g, "key", "third"), nil)
		if got := log.values(0); len(got) != 2 || got[1] != "third" {
			t.Errorf("in the log: %.20q", got)
		}
		if g.metrics.abandoned.Value() != 1 {
			t.Errorf("%d abandoned requests counted", g.metrics.abandoned.Value())
		}
	})
}

func TestAPartitionThatIsAwayDoesNotStopOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 3
		log := newFakeLog(t, partitions)
		hold, release := holding(written)
		log.answer = func(b *commitlog.Batch) (bool, error) {
			if b.Partition == 1 {
				return hold(b)
			}
			return true, nil
		}
		g := open(t, log, Config{FrameBytesMax: 2000, PartitionBacklogBytesMax: 5000, BacklogBytesMax: 20_000})
		away, here := keyFor(1, partitions), keyFor(2, partitions)
		var wg sync.WaitGroup
		start := time.Now()
		for range 4 {
			wg.Go(func() { wantErr(t, "away, within its bound", submit(g, away, strings.Repeat("a", 1000)), nil) })
			synctest.Wait()
		}
		for range 10 {
			wantErr(t, "away, over its bound", submit(g, away, strings.Repeat("b", 1000)), ErrFull)
			wantErr(t, "away and here", submit(g, here, "b", away, strings.Repeat("b", 1000)), ErrFull)
			wantErr(t, "here", submit(g, here, strings.Repeat("c", 1000)), nil)
		}
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("that took %v", took)
		}
		release()
		wg.Wait()
		wantErr(t, "back again", submit(g, away, "d"), nil)
		for p, want := range map[int]int{1: 5, 2: 10} {
			if got := log.values(p); len(got) != want {
				t.Errorf("partition %d has %d records, want %d: %.10q", p, len(got), want, got)
			}
		}
		if n := g.metrics.fullPartition.Value(); n != 20 {
			t.Errorf("%d refusals counted", n)
		}
	})
}

func TestHoweverManyPartitionsAreAwaySomeRoomIsLeftForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions, here = 12, 11
		log := newFakeLog(t, partitions)
		hold, release := holding(written)
		log.answer = func(b *commitlog.Batch) (bool, error) {
			if b.Partition != here {
				return hold(b)
			}
			return true, nil
		}
		g := open(t, log, Config{FrameBytesMax: 2000, PartitionBacklogBytesMax: 50_000, BacklogBytesMax: 100_000})
		var wg sync.WaitGroup
		for range 100 {
			for p := range partitions - 1 {
				wg.Go(func() {
					if err := submit(g, keyFor(p, partitions), strings.Repeat("a", 1000)); err != nil && err != ErrFull {
						t.Error(err)
					}
				})
				synctest.Wait()
			}
		}
		if g.drainer.backlog < 50_000 {
			t.Errorf("the backlog is %d bytes: nothing is tested", g.drainer.backlog)
		}
		for range 100 {
			wantErr(t, "here", submit(g, keyFor(here, partitions), strings.Repeat("b", 1000)), nil)
		}
		release()
		wg.Wait()
	})
}

func TestOverEachBoundTheAnswerIsFullAtOnce(t *testing.T) {
	for name, cfg := range map[string]Config{
		"tickets": {Tickets: 3},
		"rings":   {Rings: 1, RingBytes: 1 << 11, SpareBytes: 1 << 12, FrameBytesMax: 1 << 11, PartitionBacklogBytesMax: 1 << 11, BacklogBytesMax: 1 << 11},
	} {
		synctest.Test(t, func(t *testing.T) {
			log := newFakeLog(t, 2)
			hold, release := holding(written)
			log.answer = hold
			g := open(t, log, cfg)
			start := time.Now()
			var mu sync.Mutex
			durable, full := 0, 0
			var wg sync.WaitGroup
			for range 30 {
				wg.Go(func() {
					err := submit(g, keyFor(0, 2), strings.Repeat("x", 1990))
					if err != nil && (err != ErrFull || time.Since(start) > 0) {
						t.Errorf("%s: %v after %v", name, err, time.Since(start))
					}
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						durable++
					} else {
						full++
					}
				})
				synctest.Wait()
			}
			if full == 0 || full == 30 {
				t.Errorf("%s: %d of 30 refused", name, full)
			}
			release()
			wg.Wait()
			if got := len(log.values(0)); got != durable {
				t.Errorf("%s: %d records in the log, %d answered as durable", name, got, durable)
			}
			wantErr(t, name+", room again", submit(g, "key", "x"), nil)
		})
	}
}

func TestALogThatIsNotReadyFailsRequestsAtOnceAndLosesNothingInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(t, 1)
		hold, release := holding(written)
		log.answer = hold
		g := open(t, log, Config{})
		inFlight := make(chan error)
		go func() { inFlight <- submit(g, "key", "in flight") }()
		synctest.Wait()

		reason := errors.New("the disk is full: free some")
		log.setReady(reason)
		time.Sleep(g.cfg.WaitMax/watchdogTicks + 1) // by then it is noticed, whether there is work or not
		start := time.Now()
		got := submit(g, "key", "refused")
		wantErr(t, "Submit", got, commitlog.ErrUnavailable)
		wantErr(t, "the reason", got, reason)
		wantErr(t, "Ready", g.Ready(), reason)
		if time.Since(start) != 0 {
			t.Errorf("it took %v", time.Since(start))
		}
		log.setReady(nil) // which is noticed at once
		go func() { inFlight <- submit(g, "key", "after that") }()
		release()
		wantErr(t, "after that", <-inFlight, nil)
		wantErr(t, "in flight", <-inFlight, nil)
		wantErr(t, "Ready", g.Ready(), nil)
		if got := log.values(0); len(got) != 2 {
			t.Errorf("in the log: %q", got)
		}
	})
}

func TestATopicThatIsNotKnownYetIsUnavailable(t *testing.T) {
	log := newFakeLog(t, 2)
	log.unknown.Store(true)
	g := open(t, log, Config{})
	f := g.NewFrame(1)
	f.End(append(f.Begin(keyOf("key")), "begun before it was known"...))
	wantErr(t, "Submit", submit(g, "key", "value"), commitlog.ErrUnavailable)
	wantErr(t, "Ready", g.Ready(), commitlog.ErrUnavailable)
	log.unknown.Store(false)
	wantErr(t, "Submit of a frame without partitions", g.Submit(f), commitlog.ErrUnavailable)
	wantErr(t, "Ready", g.Ready(), nil)
	wantErr(t, "Submit", submit(g, "key", "value"), nil)
}

func TestDrainAnswersWhatWasTakenAndRefusesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(t, 2)
		hold, release := holding(written)
		log.answer = hold
		g := open(t, log, Config{WaitMax: time.Hour})
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() { wantErr(t, "taken", submit(g, fmt.Sprint(i), "x"), nil) })
		}
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := g.Drain(short)
		wantErr(t, "Drain", err, context.DeadlineExceeded)
		if err == nil || !strings.Contains(err.Error(), "10 requests") {
			t.Errorf("Drain: %v", err)
		}
		wantErr(t, "Submit", submit(g, "key", "x"), ErrDraining)
		wantErr(t, "Ready", g.Ready(), ErrDraining)
		release()
		wantErr(t, "Drain again", g.Drain(t.Context()), nil)
		wg.Wait()
		wantErr(t, "Submit after Drain", submit(g, "key", "x"), ErrDraining)
		if n := len(log.values(0)) + len(log.values(1)); n != 10 {
			t.Errorf("%d records in the log", n)
		}
	})
}

func TestLargeFramesAreCutIntoBatchesAtRecords(t *testing.T) {
	log := newFakeLog(t, 2)
	log.batchBytesMax = 100_000
	g := open(t, log, Config{})
	var pairs, want []string
	for i := range 100 {
		value := fmt.Sprintf("%d:", i) + strings.Repeat("v", 100*(i%150))
		want = append(want, value)
		pairs = append(pairs, keyFor(0, 2), value)
	}
	pairs = append(pairs, keyFor(1, 2), strings.Repeat("large", 15_000), keyFor(0, 2), "the end")
	want = append(want, "the end")
	wantErr(t, "Submit", submit(g, pairs...), nil)
	got := log.values(0)
	if strings.Join(got, "") != strings.Join(want, "") || len(log.values(1)) != 1 {
		t.Errorf("%d records in partition 0, %d were sent", len(got), len(want))
	}
	if len(log.sizes) < 6 { // 495 kB and 75 kB in batches of at most 100 kB, which the fake checks
		t.Errorf("batches of %d", log.sizes)
	}
}

func TestTheLargestFrameAndTheLargestRecordFit(t *testing.T) {
	log := newFakeLog(t, 1)
	log.batchBytesMax = 1 << 20
	g := open(t, log, Config{})
	body := strings.Repeat("v", (defaultFrameBytesMax-frameHeaderBytes)/100-recordHeaderBytes-8)
	var pairs []string
	for range 100 {
		pairs = append(pairs, "key", body)
	}
	wantErr(t, "a frame of nearly 1.5 MiB", submit(g, pairs...), nil)
	wantErr(t, "a larger one", submit(g, append(pairs, "key", body)...), ErrTooLarge)

	largest := log.batchBytesMax - 100
	wantErr(t, "the largest record", submit(g, "key", strings.Repeat("v", largest)), nil)
	wantErr(t, "a larger one", submit(g, "key", strings.Repeat("v", largest+100)), ErrTooLarge)
	if n := len(log.values(0)); n != 101 {
		t.Errorf("%d records in the log", n)
	}
}

func TestABatchHasAtMostBatchRecordsMaxRecords(t *testing.T) {
	log := newFakeLog(t, 1)
	g := open(t, log, Config{BatchRecordsMax: 7})
	var pairs []string
	for i := range 50 {
		pairs = append(pairs, "key", fmt.Sprint(i))
	}
	wantErr(t, "Submit", submit(g, pairs...), nil)
	for i, n := range log.counts {
		if n > 7 || n < 7 && i < len(log.counts)-1 {
			t.Errorf("batches of %d records", log.counts)
		}
	}
}

func TestAnEmptyFrameIsDurable(t *testing.T) {
	g := open(t, newFakeLog(t, 1), Config{})
	wantErr(t, "Submit", submit(g), nil)
}

// A batch that the log can neither write nor give up (its leader is gone, and may have written it) holds its partition for
// as long as that lasts. Requests for that partition must not wait for it, nor use up the tickets of all others.
func TestAPartitionThatIsStuckIsRefusedAtOnceAndKeepsNoTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions, tickets = 3, 8
		log := newFakeLog(t, partitions)
		hold, release := holding(written)
		log.answer = func(b *commitlog.Batch) (bool, error) {
			if b.Partition == 1 {
				return hold(b)
			}
			return true, nil
		}
		g := open(t, log, Config{Tickets: tickets, WaitMax: 16 * time.Second})
		stuck, here := keyFor(1, partitions), keyFor(2, partitions)
		var wg sync.WaitGroup
		wg.Go(func() { wantErr(t, "with the log", submit(g, stuck, "first"), commitlog.ErrUnknown) })
		synctest.Wait()
		start := time.Now()
		wantErr(t, "behind it", submit(g, stuck, "behind"), commitlog.ErrUnavailable)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("the request behind a stuck batch was answered after %v", took)
		}
		start = time.Now()
		for range 10 * tickets {
			wantErr(t, "stuck", submit(g, stuck, "later"), commitlog.ErrUnavailable)
			wantErr(t, "stuck and here", submit(g, stuck, "later", here, "a"), commitlog.ErrUnavailable)
			wantErr(t, "here", submit(g, here, "b"), nil)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%d requests took %v", 30*tickets, took)
		}
		wg.Wait()
		release()
		synctest.Wait()
		wantErr(t, "back again", submit(g, stuck, "last"), nil)
		if got := log.values(1); fmt.Sprint(got) != "[first last]" {
			t.Errorf("partition 1 has %q", got)
		}
	})
}

func TestOnlyALargeBatchIsHandedOverBehindAnother(t *testing.T) {
	const least = 10_000
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(t, 2)
		log.flyingMax = 2
		hold, release := holding(written)
		log.answer = hold
		g := open(t, log, Config{BehindBytes: least})
		var all sync.WaitGroup
		for i, c := range []struct {
			values int // of 1,000 bytes each
			flying int32
		}{{1, 1}, {1, 1}, {least / 1000, 2}, {2 * least / 1000, 2}, {1, 2}} {
			pairs := slices.Repeat([]string{keyFor(1, 2), strings.Repeat("x", 1000)}, c.values)
			all.Go(func() { wantErr(t, "Submit", submit(g, pairs...), nil) })
			time.Sleep(10 * time.Millisecond)
			if n := log.flying[1].Load(); n != c.flying {
				t.Errorf("request %d, of %d values: %d batches are flying, want %d", i, c.values, n, c.flying)
			}
		}
		release()
		all.Wait()
		if !slices.Equal(log.counts, []int{1, 1 + least/1000, 1 + 2*least/1000}) {
			t.Errorf("batches of %d records", log.counts)
		}
	})
}

// A partition is stuck when the log answers nothing of it: what waits there is given up, listed or not, and an answer to
// one of two batches is an answer.
func TestAPartitionWithTwoBatchesFlyingIsStuckWithoutAnAnswer(t *testing.T) {
	const least, waitMax = 10_000, 16 * time.Second
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(t, 2) // of which one is used: else the drainer waits for a ring to fill
		log.flyingMax = 2
		answers := make(chan struct{})
		log.answer = func(*commitlog.Batch) (bool, error) { <-answers; return true, nil }
		g := open(t, log, Config{BehindBytes: least, WaitMax: waitMax, PauseMin: waitMax})
		var all sync.WaitGroup
		send := func(bytes int, want error) {
			all.Go(func() {
				wantErr(t, fmt.Sprintf("%d bytes", bytes), submit(g, keyFor(0, 2), strings.Repeat("x", bytes)), want)
			})
			synctest.Wait()
		}
		send(1, nil)
		send(least, nil)
		if n := log.flying[0].Load(); n != 2 {
			t.Errorf("%d batches are flying", n)
		}
		time.Sleep(waitMax * 3 / 8)
		answers <- struct{}{}
		time.Sleep(waitMax * 3 / 8) // for the second one longer than an answer may take, but for the first one's
		send(1, nil)
		answers <- struct{}{}
		answers <- struct{}{}
		all.Wait()

		send(1, nil)
		g.drainer.pace.crowd = crowdMax // large enough to be listed, too few to be due
		send(least, commitlog.ErrUnavailable)
		time.Sleep(waitMax * 3 / 4)
		send(1, commitlog.ErrUnavailable)
		time.Sleep(waitMax / 8) // until the watchdog has woken the drainer: one frame does not where there is a crowd
		answers <- struct{}{}
		all.Wait()
		close(answers)
		send(1, nil)
		all.Wait()
	})
}
