package opened

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/propose"
)

func TestTheFirstUseOfAKeyHoldsOnEveryGateway(t *testing.T) {
	log, now := newLog(t), newClock()
	a, b := ready(t, testConfig(log, now)), ready(t, testConfig(log, now))
	at := now.now().UnixMilli()
	want := session(1, at)
	if first := mustOpen(t, a, want); first != want {
		t.Fatalf("the first use got %+v, not %+v", first, want)
	}
	if got, ok := find(a, want, at); !ok || got != want {
		t.Errorf("who opened it finds %+v", got)
	}
	if first := mustOpen(t, b, session(1, at+5)); first != want {
		t.Errorf("elsewhere the key opened %+v", first)
	}
	if got, ok := find(b, want, at); !ok || got != want || !b.Used(want.Key, at) {
		t.Errorf("it finds %+v there", got)
	}
	other := session(1, at)
	other.APIKey = [8]byte{2}
	if first := mustOpen(t, b, other); first != other {
		t.Errorf("another API key got %+v", first)
	}
	for _, s := range []Session{want, other} {
		if got, ok := find(b, s, at); !ok || got != s {
			t.Errorf("beside each other they are %+v", got)
		}
	}
	if _, ok := find(b, session(2, at), at); ok || b.Used([16]byte{2}, at) {
		t.Error("a key that nobody used is known")
	}
}

func TestOfProposersThatRaceOneOpensTheSession(t *testing.T) {
	log, now := newLog(t), newClock()
	gateways := []*Opened{ready(t, testConfig(log, now)), ready(t, testConfig(log, now)), ready(t, testConfig(log, now))}
	at := now.now().UnixMilli()
	for round := range 50 {
		answers := make([]Session, 2*len(gateways))
		own := make([]bool, len(answers))
		var group sync.WaitGroup
		for i := range answers {
			s := session(byte(round), at)
			group.Go(func() {
				first, err := gateways[i%len(gateways)].Open(within(t), s)
				if err != nil {
					t.Error(err)
				}
				answers[i], own[i] = first, first == s
			})
		}
		group.Wait()
		winners := 0
		for i := range answers {
			if answers[i] != answers[0] {
				t.Fatalf("one got %+v, another %+v", answers[0], answers[i])
			}
			if own[i] {
				winners++
			}
		}
		if winners != 1 {
			t.Fatalf("%d of them opened it", winners)
		}
	}
}

func TestAKillLosesNoSession(t *testing.T) {
	disk, now := vfs.NewMem(1), newClock()
	o := ready(t, testConfig(openJournal(t, disk), now))
	at := now.now().UnixMilli()
	var all []Session
	for i := range byte(20) {
		all = append(all, mustOpen(t, o, session(i, at)))
	}
	again := ready(t, testConfig(openJournal(t, disk.Crash()), now))
	for _, want := range all {
		if got, ok := find(again, want, at); !ok || got != want {
			t.Errorf("after a kill it is %+v, not %+v", got, want)
		}
	}
}

func TestAKeyIsFreeAfterThirtyDays(t *testing.T) {
	log, now := newLog(t), newClock()
	o := ready(t, testConfig(log, now))
	at := now.now().UnixMilli()
	old := mustOpen(t, o, session(1, at))
	if got, ok := find(o, old, at+keptMs); !ok || got != old {
		t.Errorf("to its last moment it is %+v", got)
	}
	if _, ok := find(o, old, at+keptMs+1); ok || o.Used(old.Key, at+keptMs+1) {
		t.Error("it is known for longer")
	}
	now.advance(30*24*time.Hour + time.Second)
	fresh := session(1, now.now().UnixMilli())
	if first := mustOpen(t, o, fresh); first != fresh {
		t.Errorf("the key still opens %+v", first)
	}
	if known, _ := o.Stats(); known != 1 {
		t.Errorf("%d uses are remembered, want the one that holds", known)
	}
	// And so it is for who reads all of it.
	if got, ok := find(ready(t, testConfig(log, now)), fresh, fresh.CreatedMs); !ok || got != fresh {
		t.Errorf("after a start it is %+v", got)
	}
}

func TestTheOldestIsForgottenFirstAlsoByWhoStarts(t *testing.T) {
	log, now := newLog(t), newClock()
	cfg := testConfig(log, now)
	cfg.KeysMax = 4
	o := ready(t, cfg)
	at := now.now().UnixMilli()
	var all []Session
	for i := range byte(11) {
		all = append(all, mustOpen(t, o, session(i, at)))
	}
	for _, o := range []*Opened{o, ready(t, cfg)} {
		if known, skipped := o.Stats(); known != 4 || skipped != 0 {
			t.Errorf("%d are known, %d were skipped", known, skipped)
		}
		for i, s := range all {
			if got, ok := find(o, s, at); ok != (i >= 7) || ok && got != s {
				t.Errorf("session %d: %v %+v", i, ok, got)
			}
		}
	}
}

// TestALogThatEndsWithoutARecordStopsNobody: of a journal that was repaired, or a partition that was cut, the last offsets
// have no record, so that the fold does not come to the end that it was told. A session is another record.
func TestALogThatEndsWithoutARecordStopsNobody(t *testing.T) {
	log, now := newLog(t), newClock()
	log.set(func() { log.beyond = 5 })
	a, b := open(t, testConfig(log, now)), open(t, testConfig(log, now))
	want := session(1, now.now().UnixMilli())
	if first := mustOpen(t, a, want); first != want {
		t.Errorf("it opened %+v, not %+v", first, want)
	}
	if first := mustOpen(t, b, session(1, want.CreatedMs)); first != want {
		t.Errorf("elsewhere the key opened %+v", first)
	}
	if a.Ready() == nil {
		t.Error("the fold came to an end that is not there")
	}
}

var errAway = errors.New("the broker is away")

func TestWithoutTheLogTheAnswerIsSoonThatItIsAway(t *testing.T) {
	log, now := newLog(t), newClock()
	log.set(func() { log.away = errAway })
	o := open(t, testConfig(log, now))
	refused := func(what string, want error) {
		t.Helper()
		start := time.Now()
		_, err := o.Open(within(t), session(1, now.now().UnixMilli()))
		if !errors.Is(err, commitlog.ErrUnavailable) || !errors.Is(err, want) || time.Since(start) > waitMax/2 {
			t.Errorf("%s it got %v", what, err)
		}
	}
	eventually(t, "it knows why", func() bool { return errors.Is(o.Ready(), errAway) })
	refused("before it is loaded", errAway)
	log.set(func() { log.away = nil })
	eventually(t, "it is loaded", func() bool { return o.Ready() == nil })
	mustOpen(t, o, session(2, now.now().UnixMilli()))
	log.set(func() { log.away = errAway })
	refused("later", errAway)
	log.set(func() { log.away = nil })
	mustOpen(t, o, session(3, now.now().UnixMilli()))
	if err := o.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	refused("after Close", commitlog.ErrClosed)
}

func TestARecordThatComesLateNamesTheSessionThatWasAnswered(t *testing.T) {
	log, now := newLog(t), newClock()
	o := ready(t, testConfig(log, now))
	hold := make(chan struct{})
	log.set(func() { log.hold = hold })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	s := session(1, now.now().UnixMilli())
	if _, err := o.Open(ctx, s); !errors.Is(err, commitlog.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("without a verdict it got %v", err)
	}
	if o.Used(s.Key, s.CreatedMs) {
		t.Error("the fold knows what it has not read")
	}
	close(hold)
	eventually(t, "the record is folded", func() bool { got, ok := find(o, s, s.CreatedMs); return ok && got == s })
}

func TestWhatTheFoldHasReadIsKnownWhateverTheLogAnswers(t *testing.T) {
	log, now := newLog(t), newClock()
	o := ready(t, testConfig(log, now))
	log.set(func() { log.answer = commitlog.ErrUnknown })
	s := session(1, now.now().UnixMilli())
	if first, err := o.Open(within(t), s); err == nil && first != s || err != nil && !errors.Is(err, commitlog.ErrUnknown) {
		t.Errorf("it got %+v %v", first, err)
	}
	eventually(t, "the record is folded", func() bool { got, ok := find(o, s, s.CreatedMs); return ok && got == s })
}

func TestSessionsThatWaitAreBounded(t *testing.T) {
	log, now := newLog(t), newClock()
	cfg := testConfig(log, now)
	cfg.InFlightMax = 2
	o := ready(t, cfg)
	hold := make(chan struct{})
	log.set(func() { log.hold = hold })
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for i := range byte(2) {
		group.Go(func() {
			if _, err := o.Open(ctx, session(i, now.now().UnixMilli())); !errors.Is(err, commitlog.ErrUnknown) {
				t.Errorf("it got %v", err)
			}
		})
	}
	eventually(t, "both wait", func() bool { return log.holds() == 2 })
	full := func() {
		t.Helper()
		if _, err := o.Open(within(t), session(9, now.now().UnixMilli())); !errors.Is(err, commitlog.ErrUnavailable) || !strings.Contains(err.Error(), "waiting") {
			t.Errorf("the third got %v", err)
		}
	}
	full()
	cancel()
	group.Wait()
	full() // the log has both still
	log.set(func() { log.hold = nil })
	close(hold)
	eventually(t, "a free place", func() bool {
		_, err := o.Open(within(t), session(9, now.now().UnixMilli()))
		return err == nil
	})
}

func TestCloseEndsWhoWaits(t *testing.T) {
	log, now := newLog(t), newClock()
	o := ready(t, testConfig(log, now))
	hold := make(chan struct{})
	defer close(hold)
	log.set(func() { log.hold = hold })
	failed := make(chan error, 1)
	go func() {
		_, err := o.Open(within(t), session(1, now.now().UnixMilli()))
		failed <- err
	}()
	eventually(t, "it waits", func() bool { return log.holds() == 1 })
	if err := o.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, commitlog.ErrUnknown) || !errors.Is(err, commitlog.ErrClosed) {
		t.Errorf("it got %v", err)
	}
}

func TestWhatIsNoSessionIsSkippedAndCounted(t *testing.T) {
	log, now := newLog(t), newClock()
	at := now.now().UnixMilli()
	good := session(1, at)
	value := string(encode(&good))
	bad := []string{"", "null", "[]", strings.Replace(value, object, "meter", 1), strings.Replace(value, `"livemode":false,`, "", 1)}
	for i := range value {
		bad = append(bad, value[:i])
	}
	for _, cut := range []string{`"business":"acct_demo"`, `"session":"`, `"api_key":"0`, `"signing_key":"0`, `"idempotency_key":"0`, `"created":"2`, `"expires":"2`} {
		name, _, _ := strings.Cut(cut, ":")
		bad = append(bad, strings.Replace(value, cut, name+`:"x`, 1))
	}
	for _, life := range []int64{0, -1, lifeMsMax + 1} {
		s := good
		s.ExpiresMs = s.CreatedMs + life
		bad = append(bad, string(encode(&s)))
		if _, err := ready(t, testConfig(log, now)).Open(within(t), s); !errors.Is(err, commitlog.ErrRefused) {
			t.Errorf("a session of %d ms got %v", life, err)
		}
	}
	write := propose.New[struct{}](propose.Config{Log: log, Topic: topic, InFlightMax: 1})
	for _, v := range append(bad, value) {
		b := write.Batch(propose.Record{Value: []byte(v)}, nil)
		if err := commitlog.AppendWait(within(t), log, b); err != nil {
			t.Fatal(err)
		}
	}
	cfg := testConfig(log, now)
	var mu sync.Mutex
	told := 0
	cfg.Notify = func(n Notice) {
		mu.Lock()
		defer mu.Unlock()
		if n.What == Skipped && n.Err != nil && n.What.String() != "" {
			told++
		}
	}
	o := ready(t, cfg)
	if got, ok := find(o, good, at); !ok || got != good {
		t.Errorf("behind them it finds %+v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if known, skipped := o.Stats(); known != 1 || skipped != int64(len(bad)) || told != len(bad) {
		t.Errorf("%d are known; %d were skipped and %d told, of %d", known, skipped, told, len(bad))
	}
}

func TestARecordHasNoCredentialAndIsReadBackTheSame(t *testing.T) {
	s := Session{
		Business: "acct_demo", Livemode: true, Key: [16]byte{1, 15: 2}, APIKey: [8]byte{3, 7: 4}, ID: [16]byte{5, 15: 6},
		SigningKey: [4]byte{7, 3: 8}, CreatedMs: noon.UnixMilli(), ExpiresMs: noon.UnixMilli() + 900_001,
	}
	const want = `{"object":"meter_event_session","business":"acct_demo","livemode":true,` +
		`"idempotency_key":"01000000000000000000000000000002","api_key":"0300000000000004",` +
		`"session":"05000000000000000000000000000006","signing_key":"07000008",` +
		`"created":"2026-11-21T12:00:00.000Z","expires":"2026-11-21T12:15:00.001Z"}`
	value := encode(&s)
	if string(value) != want { // as docs/schema/sessions.schema.json has it, which test/schema holds against this
		t.Errorf("the record is %s", value)
	}
	if got, err := decode(value); err != nil || *got != s {
		t.Errorf("read back it is %+v, %v", got, err)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	log := newLog(t)
	for what, cfg := range map[string]Config{
		"Log": {Topic: topic}, "Topic": {Log: log}, "KeysMax": {Log: log, Topic: topic, KeysMax: 3}, "InFlightMax": {Log: log, Topic: topic, InFlightMax: -1},
	} {
		if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
