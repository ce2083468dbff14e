package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/stripe/stripe-go/v85"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/opened"
)

// openSession opens a session with an Idempotency-Key.
func (f *fixture) openSession(secret, key string) *answer {
	f.t.Helper()
	return f.do(call{path: sessionPath, key: secret, body: "{}", header: map[string]string{"Idempotency-Key": key}})
}

func (a *answer) isReplayOf(first *answer) bool {
	return a.status == 200 && a.body == first.body && a.header.Get(headerReplayed) == "true"
}

// failsForKey expects that a key which was used for something else is refused.
func (f *fixture) failsForKey(secret, key string, calls ...call) {
	f.t.Helper()
	for _, c := range calls {
		c.key, c.header = secret, map[string]string{"Idempotency-Key": key}
		a := f.do(c)
		if e := a.failure(f.t); a.status != 400 || e.Type != "idempotency_error" || e.Code != "idempotency_error" {
			f.t.Errorf("%s: %d %s", c.path, a.status, a.body)
		}
	}
}

// otherUses is what else a key of v2 may be used for.
func otherUses() []call {
	return []call{
		{path: eventsPath, body: oneMeterEvent},
		{path: adjustmentsPath, body: oneAdjustment},
		{path: destinationsPath, body: aDestination + `,"name":"a"}`},
		{path: destinationsPath + "/ed_1/ping"},
	}
}

func TestASessionIsAnsweredAgainForThirtyDays(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	f := newFixture(t, func(c *Config) { c.Now = now })
	first, again := f.openSession(testKey, "k1"), f.openSession(testKey, "k1")
	if first.status != 200 || first.header.Get(headerReplayed) != "" || !again.isReplayOf(first) {
		t.Errorf("%s, and again %s %v", first.body, again.body, again.header)
	}
	others := map[string]*answer{
		"another key": f.openSession(testKey, "k2"), "live": f.openSession(liveKey, "k1"),
		"another business": f.openSession(otherKey, "k1"), "another API key": f.openSession(eventsOnlyKey, "k1"),
	}
	for what, a := range others {
		if a.status != 200 || a.body == first.body || a.header.Get(headerReplayed) != "" {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	if a := f.openSession(eventsOnlyKey, "k1"); !a.isReplayOf(others["another API key"]) {
		t.Errorf("another API key's again: %d %s", a.status, a.body)
	}
	f.failsForKey(testKey, "k1", otherUses()...)
	f.failsForKey(eventsOnlyKey, "k1", call{path: eventsPath, body: oneMeterEvent})
	ahead.Store(int64(16 * time.Minute))
	if a := f.openSession(testKey, "k1"); !a.isReplayOf(first) {
		t.Errorf("a session that has ended: %d %s", a.status, a.body)
	}
	ahead.Store(int64(30*24*time.Hour - time.Minute))
	if a := f.openSession(testKey, "k1"); !a.isReplayOf(first) {
		t.Errorf("before 30 days are over: %d %s", a.status, a.body)
	}
	ahead.Store(int64(30*24*time.Hour + time.Minute))
	if a := f.openSession(testKey, "k1"); a.status != 200 || a.body == first.body || a.header.Get(headerReplayed) != "" {
		t.Errorf("after 30 days: %d %s", a.status, a.body)
	}
}

func TestASessionWithoutAKeyWritesNothing(t *testing.T) {
	log := newControlLog()
	f := newFixture(t, func(c *Config) { c.Opened = openOpened(t, log, nil) })
	if a := f.do(call{path: sessionPath, key: testKey, body: "{}"}); a.status != 200 {
		t.Fatal(a.body)
	}
	f.openSession(testKey, "k")
	if _, n, _ := log.Bounds(t.Context(), "", 0); n != 1 {
		t.Errorf("%d records", n)
	}
}

// gateways are two on one log, with the same signing keys if they are shared.
func gateways(t *testing.T, shared bool) (a, b *fixture, log *controlLog) {
	t.Helper()
	log = newControlLog()
	on := func(c *Config) { c.Opened = openOpened(t, log, nil) }
	a, b = newFixture(t, on), newFixture(t, on)
	if shared {
		b.shareKeys(a)
	}
	return a, b, log
}

func (f *fixture) shareKeys(with *fixture) {
	f.t.Helper()
	if err := f.sessions.Update(nil, with.signing); err != nil {
		f.t.Fatal(err)
	}
}

func TestTheOtherGatewayAnswersWithTheSameBytes(t *testing.T) {
	a, b, log := gateways(t, true)
	first := a.openSession(testKey, "k")
	if again := b.openSession(testKey, "k"); !again.isReplayOf(first) {
		t.Errorf("%s, and elsewhere %d %s", first.body, again.status, again.body)
	}
	b.failsForKey(testKey, "k", otherUses()...)
	// And so does one that has just started on the log.
	late := newFixture(t, func(c *Config) { c.Opened = openOpened(t, log, nil) })
	late.shareKeys(a)
	if again := late.openSession(testKey, "k"); !again.isReplayOf(first) {
		t.Errorf("%s, and after a start %d %s", first.body, again.status, again.body)
	}
}

func TestOfRequestsAtTheSameTimeOnTwoGatewaysOneOpensTheSession(t *testing.T) {
	a, b, _ := gateways(t, true)
	for round := range 20 {
		const each = 4
		answers := make([]*answer, 2*each)
		var group sync.WaitGroup
		for i := range answers {
			group.Go(func() {
				f := []*fixture{a, b}[i%2]
				got, err := f.try(call{path: sessionPath, key: testKey, body: "{}", header: map[string]string{"Idempotency-Key": fmt.Sprint(round)}})
				if err != nil {
					got = &answer{body: err.Error()}
				}
				answers[i] = got
			})
		}
		group.Wait()
		firsts := 0
		for _, got := range answers {
			if got.status != 200 || got.body != answers[0].body {
				t.Fatalf("%d %s beside %s", got.status, got.body, answers[0].body)
			}
			if got.header.Get(headerReplayed) == "" {
				firsts++
			}
		}
		if firsts != 1 {
			t.Fatalf("%d of the answers are the first", firsts)
		}
	}
}

func TestGatewaysWithoutTheSameSigningKeysAnswerTheSameSession(t *testing.T) {
	a, b, _ := gateways(t, false)
	type session struct {
		ID, Created string
		Token       string `json:"authentication_token"`
		ExpiresAt   string `json:"expires_at"`
	}
	open := func(f *fixture) (s session) {
		if err := json.Unmarshal([]byte(f.openSession(testKey, "k").body), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	first, second := open(a), open(b)
	for i, token := range []string{first.Token, second.Token} {
		session, err := []*fixture{a, b}[i].sessions.Verify([]byte(token), time.Now().UnixMilli())
		if err != nil || session.Business != "acct_demo" {
			t.Errorf("gateway %d does not take its token: %+v %v", i, session, err)
		}
	}
	if first.Token == second.Token {
		t.Error("they can sign for each other")
	}
	if second.Token = first.Token; first != second {
		t.Errorf("%+v, and elsewhere %+v", first, second)
	}
}

// away is an Opened whose log is.
type away struct {
	*opened.Opened
	err  error
	wait bool // until it is given up
}

func (o *away) Open(ctx context.Context, s opened.Session) (opened.Session, error) {
	if o.wait {
		<-ctx.Done()
	}
	return opened.Session{}, o.err
}

func TestASessionOpensAlthoughTheLogIsAway(t *testing.T) {
	for _, o := range []*away{
		{err: fmt.Errorf("no broker: %w", commitlog.ErrUnavailable)}, {err: fmt.Errorf("no answer: %w", commitlog.ErrUnknown), wait: true},
	} {
		var ahead atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		o.Opened = openOpened(t, newControlLog(), now)
		f := newFixture(t, func(c *Config) { c.Opened, c.Now, c.SessionWaitMax = o, now, 20*time.Millisecond })
		first := f.openSession(testKey, "k")
		if first.status != 200 || first.header.Get(headerReplayed) != "" {
			t.Fatalf("%v: %d %s", o.err, first.status, first.body)
		}
		if again := f.openSession(testKey, "k"); !again.isReplayOf(first) {
			t.Errorf("%v: %s, and again %d %s", o.err, first.body, again.status, again.body)
		}
		f.failsForKey(testKey, "k", otherUses()...)
		if a := f.openSession(eventsOnlyKey, "k"); a.status != 200 || a.body == first.body || a.header.Get(headerReplayed) != "" {
			t.Errorf("another API key: %d %s", a.status, a.body)
		}
		late, unavailable := f.srv.metrics.unsharedLate.Value(), f.srv.metrics.unsharedAway.Value()
		if late+unavailable != 2 || (late == 2) != errors.Is(o.err, commitlog.ErrUnknown) {
			t.Errorf("%v: %d late and %d away are counted", o.err, late, unavailable)
		}
		ahead.Store(int64(16 * time.Minute))
		if a := f.openSession(testKey, "k"); a.status != 200 || a.body == first.body {
			t.Errorf("%v: a session that has ended: %d %s", o.err, a.status, a.body)
		}
	}
}

func TestOfRequestsAtTheSameTimeWhileTheLogIsAwayOneOpensTheSession(t *testing.T) {
	o := &away{Opened: openOpened(t, newControlLog(), nil), err: commitlog.ErrUnknown, wait: true}
	f := newFixture(t, func(c *Config) { c.Opened, c.SessionWaitMax = o, 50*time.Millisecond })
	answers := make(chan *answer, 8)
	for range cap(answers) {
		go func() {
			a, err := f.try(call{path: sessionPath, key: testKey, body: "{}", header: map[string]string{"Idempotency-Key": "k"}})
			if err != nil {
				a = &answer{body: err.Error()}
			}
			answers <- a
		}()
	}
	first := <-answers
	for range cap(answers) - 1 {
		if a := <-answers; a.status != 200 || a.body != first.body {
			t.Errorf("%d %s beside %s", a.status, a.body, first.body)
		}
	}
}

func TestTheStripeSDKIsAnsweredTheSameSessionElsewhere(t *testing.T) {
	a, b, _ := gateways(t, true)
	open := func(f *fixture) (*sdk.V2BillingMeterEventSession, http.Header) {
		p := &sdk.V2BillingMeterEventSessionCreateParams{}
		p.SetIdempotencyKey("k")
		s, err := f.newSDK(testKey).V2BillingMeterEventSessions.Create(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return s, s.LastResponse.Header
	}
	first, header := open(a)
	again, replayed := open(b)
	if !bytes.Equal(first.LastResponse.RawJSON, again.LastResponse.RawJSON) || again.AuthenticationToken == "" ||
		header.Get(headerReplayed) != "" || replayed.Get(headerReplayed) != "true" {
		t.Errorf("%s %v, and elsewhere %s %v", first.LastResponse.RawJSON, header, again.LastResponse.RawJSON, replayed)
	}
	if err := b.newSDK(again.AuthenticationToken).V2BillingMeterEventStreams.Create(t.Context(), streamParams(1)); err != nil {
		t.Error(err)
	}
}

func TestSessionsThatAreKnownHereAloneAreBoundedAndTheOldestGoesFirst(t *testing.T) {
	a := sessionAnswers{byKey: map[[16]byte]sessionAnswer{}}
	name := func(i int) [16]byte { return [16]byte{byte(i), byte(i >> 8), byte(i >> 16)} }
	for i := range sessionAnswersMax + 10 {
		a.keep(name(i), sessionAnswer{body: []byte{1}, expiresMs: 1000}, 0)
	}
	if len(a.byKey) != sessionAnswersMax || a.has(name(9), 0) || !a.has(name(10), 0) {
		t.Errorf("%d answers", len(a.byKey))
	}
	a.keep(name(1), sessionAnswer{expiresMs: 2000}, 1000)
	if len(a.byKey) != 1 || len(a.order) != 1 {
		t.Errorf("%d answers after all have ended", len(a.byKey))
	}
}
