package httpd

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestABucketNeverGrantsMoreThanRateAndBurst is the property of the limit: in any stretch of time t, at most
// rate × t + burst tokens are granted, and what is refused is refused whole.
func TestABucketNeverGrantsMoreThanRateAndBurst(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 2))
	for range 200 {
		perSecond := 1 + random.IntN(20_000)
		var b bucket
		type grant struct{ at, n int64 }
		var grants []grant
		now := int64(0)
		for range 300 {
			now += random.Int64N(int64(20 * time.Millisecond))
			n := 1 + random.IntN(100)
			left, ok := b.take(now, n, perSecond)
			if !ok {
				continue
			}
			if random.IntN(4) == 0 { // the other bucket refused; its answer took a while
				now += random.Int64N(int64(30 * time.Millisecond))
				b.giveBack(func() int64 { return now }, left, n, perSecond)
				continue
			}
			grants = append(grants, grant{now, int64(n)})
		}
		for i := range grants {
			total := int64(0)
			for _, g := range grants[i:] {
				total += g.n
				if allowed := float64(perSecond) * (float64(g.at-grants[i].at)/1e9 + 1 + 1e-6); float64(total) > allowed+1e-6 {
					t.Fatalf("seed %d: at %d/s %d tokens within %v, allowed %.1f", seed, perSecond, total, time.Duration(g.at-grants[i].at), allowed)
				}
			}
		}
	}
}

func TestABucketGrantsItsWholeRate(t *testing.T) {
	var b bucket
	granted := 0
	for now := int64(0); now < int64(10*time.Second); now += int64(time.Millisecond) {
		for {
			if _, ok := b.take(now, 7, 1000); !ok {
				break
			}
			granted += 7
		}
	}
	if granted < 10_980 || granted > 11_000 { // 10 s and a burst
		t.Errorf("granted %d", granted)
	}
}

func TestARefusedRequestIsChargedNothing(t *testing.T) {
	var b bucket
	if _, ok := b.take(0, 60, 100); !ok {
		t.Fatal("60 of 100 refused")
	}
	if _, ok := b.take(0, 41, 100); ok {
		t.Fatal("101 of 100 granted")
	}
	if _, ok := b.take(0, 40, 100); !ok {
		t.Fatal("the refused 41 were charged")
	}
}

func TestGivingBackNeverFillsABucketTwice(t *testing.T) {
	var b bucket
	left, _ := b.take(0, 50, 100)
	now := int64(2 * time.Second) // the clock has refilled them meanwhile
	if _, ok := b.take(now, 100, 100); !ok {
		t.Fatal("a full bucket refused its burst")
	}
	b.giveBack(func() int64 { return now }, left, 50, 100)
	if _, ok := b.take(now, 1, 100); ok {
		t.Error("what was given back had been refilled already")
	}
}

func TestManyAtOnceGetOneBurst(t *testing.T) {
	const perSecond = 10_000
	table := newSessionBuckets(64)
	clock := func() int64 { return 0 }
	var granted atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if _, _, c := table.take(clock, 42, 0, 7, perSecond); c == charged {
					granted.Add(7)
				}
			}
		})
	}
	wg.Wait()
	if n := granted.Load(); n != perSecond/7*7 {
		t.Errorf("granted %d of %d", n, perSecond)
	}
}

// TestSessionsTakeTurnsInASmallTable: a session that is not in debt gives its slot to another, and none ever gets more
// than its rate, even when eight times as many sessions as slots come and go at once.
func TestSessionsTakeTurnsInASmallTable(t *testing.T) {
	const sessions, perSecond = 64, 1000
	table := newSessionBuckets(1)
	start := time.Now()
	clock := func() int64 { return int64(time.Since(start)) }
	var granted [sessions]atomic.Int64
	var noRoom atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 3))
			for time.Since(start) < 300*time.Millisecond {
				i := random.IntN(sessions)
				switch _, _, c := table.take(clock, uint64(i+1)<<32, clock(), 3, perSecond); c {
				case charged:
					granted[i].Add(3)
				case chargeNoRoom:
					noRoom.Add(1)
				}
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	total := int64(0)
	for i := range granted {
		n := granted[i].Load()
		total += n
		if allowed := int64(elapsed.Seconds()*perSecond) + perSecond; n > allowed {
			t.Errorf("session %d got %d, allowed %d", i, n, allowed)
		}
	}
	if total == 0 || noRoom.Load() == 0 {
		t.Errorf("granted %d, %d without room: the test tested nothing", total, noRoom.Load())
	}
}

func TestANewRateKeepsWhatWasUsed(t *testing.T) {
	var b bucket
	if _, ok := b.take(0, 100, 100); !ok {
		t.Fatal("burst refused")
	}
	if _, ok := b.take(0, 1, 1000); ok {
		t.Error("a higher limit filled an empty bucket")
	}
	if _, ok := b.take(int64(time.Second)/2, 500, 1000); !ok {
		t.Error("after half a second, half of the new limit is refused")
	}
	if _, ok := b.take(int64(time.Second)/2, 1, 10); ok {
		t.Error("a lower limit filled an empty bucket")
	}
}

// limited is a server with small limits and a clock that a test moves.
func limited(t *testing.T) (f *fixture, advance func(time.Duration)) {
	var now atomic.Pointer[time.Time]
	start := time.Now()
	now.Store(&start)
	f = newFixture(t, func(c *Config) {
		c.Now = func() time.Time { return *now.Load() }
		c.Policy = &Policy{Default: Limits{Events: 500, StreamEvents: 200, SyncEvents: 3}}
	})
	return f, func(d time.Duration) {
		next := now.Load().Add(d)
		now.Store(&next)
	}
}

func TestLimitsAreCountedInEventsPerSessionAndBusiness(t *testing.T) {
	f, advance := limited(t)
	a, b, c := f.token(testKey), f.token(testKey), f.token(testKey)
	other := f.token(otherKey)
	send := func(token string, events int) *answer {
		return f.do(call{path: streamPath, key: token, body: batchOf(events)})
	}
	refused := func(x *answer, reason, saying string) {
		t.Helper()
		e := x.failure(t)
		if x.status != 429 || e.Type != "rate_limit" || e.Code != "rate_limit" || !strings.Contains(e.Message, saying) {
			t.Errorf("%d %s", x.status, x.body)
		}
		if x.header.Get("Stripe-Rate-Limited-Reason") != reason || x.header.Get("Stripe-Should-Retry") != "true" || x.header.Get("Retry-After") != "1" {
			t.Errorf("headers %v", x.header)
		}
	}
	granted := func(x *answer) {
		t.Helper()
		if x.status != 200 {
			t.Errorf("%d %s", x.status, x.body)
		}
	}
	granted(send(a, 100))
	granted(send(a, 90))
	refused(send(a, 11), "endpoint-rate", "this meter event session may send 200")
	granted(send(a, 10)) // the refused 11 were charged nothing
	granted(send(b, 100))
	granted(send(b, 100))
	granted(send(c, 100)) // the business has sent its 500
	refused(send(c, 1), "global-rate", "this account may send 500")
	granted(send(other, 100)) // another business is not concerned
	advance(100 * time.Millisecond)
	granted(send(c, 50))                          // 50 of the business are back; c had 100 left, and the refusal cost it nothing
	refused(send(c, 1), "global-rate", "account") // and no more
	advance(100 * time.Millisecond)
	refused(send(a, 41), "endpoint-rate", "session") // 40 of the session are back
	granted(send(a, 40))
}

func TestSyncEndpointsHaveBucketsOfTheirOwn(t *testing.T) {
	f, advance := limited(t)
	v2 := call{path: eventsPath, key: testKey, body: oneMeterEvent}
	v1 := call{path: v1EventsPath, key: testKey, body: formEvent}
	for _, c := range []call{v2, v1} {
		for range 3 {
			if a := f.do(c); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		if a := f.do(c); a.status != 429 {
			t.Errorf("the fourth event: %d %s", a.status, a.body)
		}
	}
	a := f.do(v1)
	if e := a.failure(t); e.Type != "invalid_request_error" || e.Code != "rate_limit" {
		t.Errorf("v1's form of the refusal: %s", a.body)
	}
	if a := f.do(call{path: adjustmentsPath, key: testKey, body: oneAdjustment}); a.status != 200 {
		t.Errorf("an adjustment is not an event of that endpoint: %d %s", a.status, a.body)
	}
	advance(time.Second)
	if a := f.do(v2); a.status != 200 {
		t.Errorf("a second later: %d", a.status)
	}
}

func TestAReloadOfLimitsKeepsWhatWasUsed(t *testing.T) {
	f, _ := limited(t)
	token := f.token(testKey)
	for range 2 {
		if a := f.do(call{path: streamPath, key: token, body: batchOf(100)}); a.status != 200 {
			t.Fatal(a.body)
		}
	}
	for range 3 {
		if err := f.srv.SetPolicy(&Policy{Default: Limits{Events: 500, StreamEvents: 200}}); err != nil {
			t.Fatal(err)
		}
		if a := f.do(call{path: streamPath, key: token, body: oneEvent}); a.status != 429 {
			t.Fatalf("the session's bucket was filled by a reload: %d", a.status)
		}
	}
	if err := f.srv.SetPolicy(&Policy{Default: Limits{Events: -1}}); err == nil {
		t.Error("a negative limit was taken")
	}
	if err := f.srv.SetPolicy(&Policy{Businesses: map[string]Business{"acct_demo": {Spread: map[string]int{"a": 1000}}}}); err == nil {
		t.Error("a spread of 1000 was taken")
	}
	// Doubled while 200 of 500 were used: two fifths of a second's worth stay used, so 600 of 1000 are left.
	if err := f.srv.SetPolicy(&Policy{Default: Limits{Events: 1000, StreamEvents: 100}}); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if a := f.do(call{path: streamPath, key: f.token(testKey), body: batchOf(100)}); a.status != 200 {
			t.Fatal(a.body)
		}
	}
	if a := f.do(call{path: streamPath, key: f.token(testKey), body: oneEvent}); a.status != 429 {
		t.Errorf("more than the new limit: %d", a.status)
	}
}

func BenchmarkCharge(b *testing.B) {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], 12345678901234567890)
	table := newSessionBuckets(1 << 16)
	clock := func() int64 { return 0 }
	now := int64(0)
	for b.Loop() {
		now += int64(time.Second)
		if _, _, c := table.take(clock, sessionHash(&id), now, 100, 10_000); c != charged {
			b.Fatal(c)
		}
	}
}
