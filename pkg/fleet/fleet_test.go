package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/pkg/usage"
)

var anyQuery = usage.Query{Limit: 100}

func TestEitherOfTwoGatewaysAnswersForAllPartitions(t *testing.T) {
	log := newLog(4)
	a, b := join(t, log, newWorker(0, 2)), join(t, log, newWorker(1, 3))
	for _, m := range []*member{a, b} {
		m.ready(t)
		got, err := m.Totals(t.Context(), anyQuery)
		if err != nil {
			t.Fatal(err)
		}
		want := usage.Totals{AsOfMs: 997, Windows: []usage.WindowTotal{
			{StartMs: 100_000, EndMs: 160_000, Value: "0.4"},
			{StartMs: 3000, EndMs: 4000, Value: "1"},
			{StartMs: 2000, EndMs: 3000, Value: "1"},
			{StartMs: 1000, EndMs: 2000, Value: "1"},
			{StartMs: 0, EndMs: 1000, Value: "1"},
		}}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("totals are %v, want %v", got, want)
		}
		for p := range int32(4) {
			v, err := m.Verdict(t.Context(), usage.VerdictQuery{Partition: p, Offset: 70 + int64(p)})
			if err != nil || v.ReceivedMs != 70+int64(p) {
				t.Errorf("the verdict of partition %d is %v, %v", p, v, err)
			}
		}
	}
}

func TestAFateIsTheStrongestOfAllPartitions(t *testing.T) {
	log := newLog(3)
	w, v := newWorker(0), newWorker(1, 2)
	w.fates[0] = usage.Fate{Status: usage.NotFound, CancelledBy: &usage.Place{Offset: 9}, AsOfMs: 30}
	v.fates[1] = usage.Fate{Status: usage.Accepted, Partition: 1, AsOfMs: 20}
	v.fates[2] = usage.Fate{Status: usage.Counted, Partition: 2, Offset: 7, AsOfMs: 40}
	a := join(t, log, w)
	join(t, log, v)
	a.ready(t)
	f, err := a.Fate(t.Context(), usage.FateQuery{Identifier: "i"})
	if err != nil || f.Status != usage.Counted || f.Offset != 7 || f.AsOfMs != 20 {
		t.Errorf("the fate is %+v, %v", f, err)
	}
}

func TestAPartitionThatMovesIsAskedOfItsNewOwner(t *testing.T) {
	log := newLog(2)
	a, b, c := join(t, log, newWorker()), join(t, log, newWorker(0, 1)), join(t, log, newWorker())
	a.ready(t)
	// The new owner announces itself before anybody asks: a must not need to have noticed.
	b.worker.run(0)
	c.worker.run(1)
	until(t, "c is known to run partition 1", func() bool {
		o, _ := a.board.owner(1)
		return o.address == c.address
	})
	if _, err := a.Totals(t.Context(), anyQuery); err != nil {
		t.Fatal(err)
	}
	if c.asked(1) != 1 {
		t.Errorf("c was asked %d times", c.asked(1))
	}
}

func TestAnOwnerThatHasGivenBackAPartitionSaysSoAndTheNewOneIsAsked(t *testing.T) {
	log := newLog(2)
	a, b := join(t, log, newWorker()), join(t, log, newWorker(0, 1))
	a.ready(t)
	// b keeps what it runs on the board and has given partition 1 back; c takes it while the question is on its way.
	slow := make(chan struct{})
	b.worker.set(func() { b.worker.slow = slow })
	answered := make(chan error, 1)
	go func() {
		got, err := a.Totals(t.Context(), anyQuery)
		if err == nil && (len(got.Windows) != 3 || got.Windows[0].Value != "0.2") {
			err = fmt.Errorf("totals are %v", got)
		}
		answered <- err
	}()
	until(t, "b is asked", func() bool { return b.asked(0) > 0 })
	b.worker.run(0)
	c := join(t, log, newWorker(1))
	until(t, "c has announced itself", func() bool { o, _ := c.board.owner(1); return o.address == c.address })
	close(slow)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if c.asked(1) != 1 {
		t.Errorf("c was asked %d times for partition 1", c.asked(1))
	}
}

func (m *member) asked(p int32) int {
	m.worker.mu.Lock()
	defer m.worker.mu.Unlock()
	return m.worker.asked[p]
}

func TestAPartitionThatNobodyRunsIsAwayAndNeverLeftOut(t *testing.T) {
	log := newLog(3)
	a, b := join(t, log, newWorker(0)), join(t, log, newWorker(1, 2))
	a.ready(t)
	b.worker.run(1)
	_, err := a.Totals(t.Context(), anyQuery)
	if !errors.Is(err, ErrOwnerAway) || !strings.Contains(err.Error(), "partition 2") {
		t.Errorf("totals without partition 2: %v", err)
	}
	if _, err := a.Verdict(t.Context(), usage.VerdictQuery{Partition: 2}); !errors.Is(err, ErrOwnerAway) {
		t.Errorf("a verdict without its owner: %v", err)
	}
	if v, err := a.Verdict(t.Context(), usage.VerdictQuery{Partition: 1}); err != nil || v.Outcome != usage.OutcomeNew {
		t.Errorf("a partition that is there answers %v, %v", v, err)
	}
}

func TestAnOwnerThatWasKilledIsAwayAtOnceAndUntilAnotherTakesOver(t *testing.T) {
	log := newLog(2)
	a, b := join(t, log, newWorker(0)), join(t, log, newWorker(1))
	a.ready(t)
	if _, err := a.Totals(t.Context(), anyQuery); err != nil {
		t.Fatal(err)
	}
	b.cancel()
	b.server.Close()
	start := time.Now()
	if _, err := a.Totals(t.Context(), anyQuery); !errors.Is(err, ErrOwnerAway) {
		t.Errorf("the owner is gone, and the totals are %v", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v to notice", took)
	}
	// Who needs a verdict must not write its record first.
	if err := a.Available(1); !errors.Is(err, ErrOwnerAway) {
		t.Errorf("nobody listens there, and the partition is available: %v", err)
	}
	a.worker.run(0, 1)
	if got, err := a.Totals(t.Context(), anyQuery); err != nil || len(got.Windows) != 3 {
		t.Errorf("after the take-over: %v, %v", got, err)
	}
}

func TestAnAnnouncementThatIsNotFreshIsNotAskedFor(t *testing.T) {
	log := newLog(2)
	var mu sync.Mutex
	now := time.Now()
	a := join(t, log, newWorker(0), func(c *Config) {
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	b := join(t, log, newWorker(1))
	a.ready(t)
	b.leave(t)
	mu.Lock()
	now = now.Add(time.Minute)
	mu.Unlock()
	if err := a.Available(1); !errors.Is(err, ErrOwnerAway) || !strings.Contains(err.Error(), b.address) {
		t.Errorf("an announcement of a minute ago: %v", err)
	}
}

// Other rooms keep theirs in the same topic.
func TestWhatIsNoAnnouncementIsPassedOver(t *testing.T) {
	log := newLog(1)
	for _, key := range []string{"destination/acct_demo/testmode/ed_1", "delivery/acct_demo/testmode/ed_1/evt_1", ""} {
		log.put(t, []byte(key), []byte(`{"object":"destination_cursor"}`))
		log.put(t, []byte(key), nil)
	}
	a := join(t, log, newWorker())
	log.put(t, []byte("usage/first"), nil)
	if err := a.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if bad, faults := a.counts.badAnnouncements.Value(), a.counts.readFaults.Value(); bad != 1 || faults != 0 {
		t.Errorf("%d records are called bad announcements, with %d faults; one is", bad, faults)
	}
}

// What lies in the log when a gateway starts may be of any age, whenever it was read.
func TestAnOldAnnouncementDoesNotBecomeFreshByBeingReadLate(t *testing.T) {
	log := newLog(2)
	old := announcement{Object: ownerObject, Partition: 1, Gateway: "gone", Address: "127.0.0.1:1", Since: "", At: time.Now().Add(-time.Hour).UTC().Format(timeForm)}
	key, value := old.record()
	log.put(t, key, value)
	a := join(t, log, newWorker(0))
	until(t, "it is read", func() bool { _, ok := a.board.owner(1); return ok })
	if err := a.Available(1); !errors.Is(err, ErrOwnerAway) {
		t.Errorf("an announcement of an hour ago: %v", err)
	}
}

// So is what others wrote while this gateway could not read.
func TestAnAnnouncementOfATimeWithoutTheLogIsAsOldAsItSays(t *testing.T) {
	log := newLog(2)
	a := join(t, log, newWorker(0))
	until(t, "the log is read", func() bool { return a.follower.Ready() == nil })
	log.fail(errors.New("the brokers are away"))
	until(t, "it is not read", func() bool { return a.counts.readFaults.Value() > 0 })
	log.fail(nil)
	old := announcement{Object: ownerObject, Partition: 1, Gateway: "gone", Address: "127.0.0.1:1", At: time.Now().Add(-time.Hour).UTC().Format(timeForm)}
	key, value := old.record()
	log.put(t, key, value)
	until(t, "it is read", func() bool { _, ok := a.board.owner(1); return ok })
	if err := a.Available(1); !errors.Is(err, ErrOwnerAway) {
		t.Errorf("an announcement of an hour ago: %v", err)
	}
}

func TestAnAnnouncementThatLandsLateIsCorrectedByTheOwner(t *testing.T) {
	log := newLog(2)
	a, b := join(t, log, newWorker(0)), join(t, log, newWorker(1))
	a.ready(t)
	late := announcement{Object: ownerObject, Partition: 1, Gateway: "before", Address: "127.0.0.1:1", At: time.Now().UTC().Format(timeForm)}
	key, value := late.record()
	log.put(t, key, value)
	until(t, "b has said it again", func() bool {
		o, _ := a.board.owner(1)
		return o.address == b.address && o.offset > 2
	})
}

func TestAWrongSecretIsRefusedOnBothSides(t *testing.T) {
	log := newLog(2)
	a := join(t, log, newWorker(0))
	b := join(t, log, newWorker(1), func(c *Config) { c.Secret = "another secret !" })
	a.ready(t)
	_, err := a.Totals(t.Context(), anyQuery)
	if !errors.Is(err, ErrOwnerAway) || !strings.Contains(err.Error(), "internal_secret") {
		t.Errorf("another secret: %v", err)
	}
	for _, given := range []string{"", "Bearer", "Bearer ", secret, "Bearer " + secret[1:], "Bearer " + secret + "x", "Basic " + secret} {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+a.address+pathTotals, strings.NewReader(`{}`))
		if given != "" {
			req.Header.Set("Authorization", given)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("Authorization %q: %s", given, res.Status)
		}
	}
	if n := b.counts.strangers.Value(); n == 0 {
		t.Error("questions with a wrong secret are not counted")
	}
}

func TestAnOwnerThatIsSlowIsAwayAfterAskMax(t *testing.T) {
	log := newLog(2)
	a := join(t, log, newWorker(0), func(c *Config) { c.AskMax = 50 * time.Millisecond })
	b := join(t, log, newWorker(1))
	a.ready(t)
	slow := make(chan struct{})
	defer close(slow)
	b.worker.set(func() { b.worker.slow = slow })
	start := time.Now()
	_, err := a.Totals(t.Context(), anyQuery)
	if !errors.Is(err, ErrOwnerAway) || !strings.Contains(err.Error(), "in time") {
		t.Errorf("a slow owner: %v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := a.Totals(ctx, anyQuery); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's own time is over: %v", err)
	}
}

func TestAnOwnerWithAFaultFailsTheQuestionAndIsNotCalledAway(t *testing.T) {
	log := newLog(2)
	a, b := join(t, log, newWorker(0)), join(t, log, newWorker(1))
	a.ready(t)
	b.worker.set(func() { b.worker.fault = errors.New("the store is damaged") })
	_, err := a.Totals(t.Context(), anyQuery)
	if err == nil || errors.Is(err, ErrOwnerAway) || !strings.Contains(err.Error(), "the store is damaged") {
		t.Errorf("a fault of another worker: %v", err)
	}
}

func TestAnOwnersErrorMeansTheSameToTheAsker(t *testing.T) {
	log := newLog(2)
	a, b := join(t, log, newWorker(0)), join(t, log, newWorker(1))
	a.ready(t)
	b.worker.set(func() {
		b.worker.fault = fmt.Errorf("as it was asked: %w", &usage.IncompleteError{Partition: 1, FromMs: 5, ToMs: 7})
	})
	_, err := a.Totals(t.Context(), anyQuery)
	var incomplete *usage.IncompleteError
	if !errors.As(err, &incomplete) || *incomplete != (usage.IncompleteError{Partition: 1, FromMs: 5, ToMs: 7}) {
		t.Errorf("an incomplete window arrives as %v", err)
	}
	b.worker.set(func() { b.worker.fault = usage.ErrNoTrace })
	if _, err := a.Verdict(t.Context(), usage.VerdictQuery{Partition: 1}); !errors.Is(err, usage.ErrNoTrace) {
		t.Errorf("no trace arrives as %v", err)
	}
}

func TestBigAnswersArriveWhole(t *testing.T) {
	log := newLog(2)
	a, b := join(t, log, newWorker(0)), join(t, log, newWorker(1))
	a.ready(t)
	const n = 10_000
	long := strings.Repeat("9", 200)
	for p, w := range map[int32]*fakeWorker{0: a.worker, 1: b.worker} {
		all := usage.Totals{}
		for i := range int64(n) {
			all.Windows = append(all.Windows, usage.WindowTotal{StartMs: (n - i) * 1000, EndMs: (n-i)*1000 + 1000, Value: long})
		}
		w.set(func() { w.totals[p] = all })
	}
	got, err := a.Totals(t.Context(), usage.Query{Limit: n})
	if err != nil || len(got.Windows) != n || got.More {
		t.Fatalf("%d windows, more %t: %v", len(got.Windows), got.More, err)
	}
	want := "1" + strings.Repeat("9", 199) + "8"
	for _, w := range got.Windows {
		if w.Value != want {
			t.Fatalf("the sum is %s", w.Value)
		}
	}
}

func TestAnAnswerBeyondTheBoundIsRefused(t *testing.T) {
	log := newLog(2)
	a, b := join(t, log, newWorker(0)), join(t, log, newWorker(1))
	a.ready(t)
	b.worker.set(func() {
		b.worker.totals[1] = usage.Totals{Windows: []usage.WindowTotal{{Value: strings.Repeat("9", answerBytesMax)}}}
	})
	if _, err := a.Totals(t.Context(), anyQuery); err == nil || !strings.Contains(err.Error(), "ask for less") {
		t.Errorf("an answer of 8 MiB: %v", err)
	}
}

func TestMalformedQuestionsAreRefused(t *testing.T) {
	a := join(t, newLog(2), newWorker(0, 1))
	for body, want := range map[string]int{
		`{"partitions":[0,0]}`: http.StatusBadRequest,
		`{"partitions":[1,0]}`: http.StatusBadRequest,
		`{"partitions":[2]}`:   http.StatusBadRequest,
		`{"partitions":[-1]}`:  http.StatusBadRequest,
		`[`:                    http.StatusBadRequest,
		`{"x":"` + strings.Repeat("x", 70_000) + `"}`: http.StatusBadRequest,
		`{"partitions":[]}`:                           http.StatusMisdirectedRequest,
		`{"partitions":[0,1]}`:                        http.StatusOK,
	} {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+a.address+pathTotals, strings.NewReader(body))
		req.Header.Set("Authorization", bearer+secret)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%.40s: %s, want %d", body, res.Status, want)
		}
	}
}

// An owner that answers for more than it was asked would be counted twice.
func TestAnAnswerForPartitionsNotAskedIsNotAdded(t *testing.T) {
	log := newLog(2)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	liar := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		write(w, 200, response[usage.Totals]{Partitions: []int32{0, 1}})
	})}
	go func() { _ = liar.Serve(ln) }()
	defer liar.Close()
	key, value := announcement{Object: ownerObject, Partition: 1, Gateway: "liar", Address: ln.Addr().String(), At: time.Now().UTC().Format(timeForm)}.record()
	log.put(t, key, value)
	a := join(t, log, newWorker(0))
	a.ready(t)
	if got, err := a.Totals(t.Context(), anyQuery); !errors.Is(err, ErrOwnerAway) {
		t.Errorf("an answer for partitions that were not asked: %v, %v", got, err)
	}
}

func TestWithoutAListenerOnlyAllOfItsOwnPartitionsCanBeAsked(t *testing.T) {
	w := newWorker(0, 1)
	f, err := Open(Config{Log: newLog(2), UsageTopic: usageTopic, Worker: w})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Totals(t.Context(), anyQuery); err != nil || got.Windows[0].Value != "0.2" {
		t.Errorf("all partitions are here: %v, %v", got, err)
	}
	w.run(0)
	if _, err := f.Totals(t.Context(), anyQuery); !errors.Is(err, ErrOwnerAway) || !strings.Contains(err.Error(), "internal_listen") {
		t.Errorf("a partition is elsewhere: %v", err)
	}
	w.set(func() { w.damage = errors.New("the store is damaged") })
	if _, err := f.Totals(t.Context(), anyQuery); !errors.Is(err, ErrOwnerAway) || !errors.Is(err, w.damage) {
		t.Errorf("the worker's own state is damaged: %v", err)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestATopicThatIsNotKnownYetHasNoOwners(t *testing.T) {
	f, err := Open(Config{Log: newLog(0), UsageTopic: usageTopic, Worker: newWorker()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Fate(t.Context(), usage.FateQuery{}); !errors.Is(err, ErrOwnerAway) {
		t.Errorf("no partitions are known: %v", err)
	}
}

func TestALogThatFailsForAWhileIsFollowedAgain(t *testing.T) {
	log := newLog(2)
	a, b := join(t, log, newWorker(0)), join(t, log, newWorker(1))
	a.ready(t)
	log.fail(errors.New("the brokers are away"))
	until(t, "the fault is counted", func() bool {
		return a.counts.readFaults.Value() > 0 && b.counts.announceFaults.Value() > 0
	})
	if _, err := a.Totals(t.Context(), anyQuery); err != nil {
		t.Errorf("owners that are known and answer need no log: %v", err)
	}
	log.fail(nil)
	o, _ := a.board.owner(1)
	until(t, "b is announced anew", func() bool { now, _ := a.board.owner(1); return now.offset > o.offset })
}

func TestQuestionsWhileEveryPartitionWandersAreAnsweredWholeOrNotAtAll(t *testing.T) {
	const partitions = 6
	log := newLog(partitions)
	members := []*member{join(t, log, newWorker(0, 1, 2, 3, 4, 5)), join(t, log, newWorker()), join(t, log, newWorker())}
	members[1].ready(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			var runs [3][]int32
			for p := range int32(partitions) {
				m := (i + int(p)/2) % 3
				runs[m] = append(runs[m], p)
			}
			for _, m := range members { // given back by all before anybody takes
				m.worker.run()
			}
			for n, m := range members {
				m.worker.run(runs[n]...)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	whole, away := 0, 0
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		got, err := members[whole%3].Totals(t.Context(), anyQuery)
		switch {
		case errors.Is(err, ErrOwnerAway):
			away++
		case err != nil:
			t.Fatal(err)
		case got.Windows[0].Value != "0.6" || len(got.Windows) != partitions+1:
			t.Fatalf("totals are %v", got)
		default:
			whole++
		}
	}
	close(stop)
	wg.Wait()
	if whole == 0 {
		t.Error("no question was answered")
	}
	t.Logf("%d answers, %d times away", whole, away)
}
