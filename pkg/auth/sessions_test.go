package auth

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

const (
	ttlMs   = 15 * 60 * 1000
	graceMs = 30 * 1000
)

// desk is a gateway's auth with a clock that stands still, and one key.
type desk struct {
	*Sessions
	now     time.Time
	keys    *Keys
	signing *SigningKeys
}

var demoKey = KeySpec{Business: "acct_demo", Secret: "sk_test_123"}

func newDesk(t testing.TB, config SessionConfig, specs ...KeySpec) *desk {
	t.Helper()
	if specs == nil {
		specs = []KeySpec{demoKey}
	}
	d := &desk{now: noon, keys: mustKeys(t, specs...), signing: mustSigning(t)}
	config.Now = func() time.Time { return d.now }
	var err error
	if d.Sessions, err = NewSessions(config, d.keys, d.signing); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) mint(t testing.TB, secret string) (Session, []byte) {
	t.Helper()
	key, err := d.Keys().Authenticate(bearer(secret))
	if err != nil {
		t.Fatal(err)
	}
	session, token, err := d.Mint(key, key.Business)
	if err != nil {
		t.Fatal(err)
	}
	return session, token
}

func (d *desk) nowMs() int64 { return d.now.UnixMilli() }

// refused verifies twice, since the second time a cache might know better.
func (d *desk) refused(t testing.TB, token []byte, nowMs int64, want error) {
	t.Helper()
	for range 2 {
		if session, err := d.Verify(token, nowMs); session != nil || !errors.Is(err, want) {
			t.Errorf("%.30q…: got %+v, %v; want %v", token, session, err, want)
		}
	}
}

func (d *desk) accepted(t testing.TB, token []byte, nowMs int64, want Session) {
	t.Helper()
	for range 2 {
		session, err := d.Verify(token, nowMs)
		if err != nil {
			t.Errorf("%.30q…: %v", token, err)
		} else if *session != want {
			t.Errorf("got %+v, want %+v", *session, want)
		}
	}
}

func TestATokenSaysWhatWasMinted(t *testing.T) {
	for _, spec := range []KeySpec{
		demoKey,
		{Business: "a", Secret: "rk_live_1"},
		{Business: strings.Repeat("b", BusinessBytesMax-1), Secret: "sk_live_2"},
		{Business: strings.Repeat("b", BusinessBytesMax), Secret: "rk_test_3"},
	} {
		d := newDesk(t, SessionConfig{}, spec)
		session, token := d.mint(t, spec.Secret)
		if session.Business != spec.Business || session.Livemode != strings.Contains(spec.Secret, "live") ||
			session.CreatedMs != noon.UnixMilli() || session.ExpiresMs != session.CreatedMs+ttlMs || session.ID == [16]byte{} {
			t.Errorf("%+v", session)
		}
		d.accepted(t, token, d.nowMs(), session)
	}
}

// What the wire promises of a token: at most 400 bytes, URL-safe, not like an API key.
func TestATokenFitsIntoAHeader(t *testing.T) {
	d := newDesk(t, SessionConfig{}, KeySpec{Business: strings.Repeat("b", BusinessBytesMax), Secret: "sk_live_2"})
	for range 100 {
		_, token := d.mint(t, "sk_live_2")
		if len(token) > 400 || len(token) != tokenBytesMax {
			t.Fatalf("%d bytes", len(token))
		}
		for _, c := range token {
			if !isAlphanumeric(c) && c != '_' && c != '-' {
				t.Fatalf("%q in %s", c, token)
			}
		}
		for _, prefix := range []string{"sk_", "rk_", "pk_"} {
			if bytes.HasPrefix(token, []byte(prefix)) {
				t.Fatalf("%s", token)
			}
		}
	}
	if tokenBytesMax*4/3+len("Basic ")+4 > authorizationBytesMax {
		t.Error("the longest token does not fit into a Basic header")
	}
}

func TestATokenLivesUntilItsGraceIsOver(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	session, token := d.mint(t, demoKey.Secret)
	for _, cached := range []bool{false, true} {
		d.accepted(t, token, session.ExpiresMs-1, session)
		d.accepted(t, token, session.ExpiresMs, session)
		d.accepted(t, token, session.ExpiresMs+graceMs-1, session)
		d.refused(t, token, session.ExpiresMs+graceMs, ErrExpired)
		d.refused(t, token, session.ExpiresMs+graceMs+1, ErrExpired)
		d.refused(t, token, math.MaxInt64, ErrExpired)
		// Created at another gateway, whose clock is ahead of ours.
		d.accepted(t, token, session.CreatedMs-60_000, session)
		if !cached {
			if err := d.Update(nil, nil); err != nil {
				t.Fatal(err)
			}
			d.refused(t, token, session.ExpiresMs+graceMs, ErrExpired) // and without the cache
		}
	}
}

func TestEveryAlteredTokenIsRefused(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	session, token := d.mint(t, demoKey.Secret)
	d.accepted(t, token, d.nowMs(), session) // so that the true one is in the cache
	try := func(altered []byte) {
		t.Helper()
		if bytes.Equal(altered, token) {
			return
		}
		if got, err := d.Verify(altered, d.nowMs()); err == nil {
			t.Fatalf("accepted\n%s, a variant of\n%s, as %+v", altered, token, got)
		}
	}
	alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= \r\n\x00\xff."
	for i := range token {
		for _, c := range []byte(alphabet) {
			altered := bytes.Clone(token)
			altered[i] = c
			try(altered)
			try(append(append(bytes.Clone(token[:i]), c), token[i:]...)) // inserted
		}
		try(token[:i])
		try(token[i:])
		try(append(bytes.Clone(token[:i]), token[i+1:]...))
	}
	for _, tail := range []string{"=", "==", "A", "AA", "AAAA", "\n", "\r\n", " ", strings.Repeat("A", 500)} {
		try(append(bytes.Clone(token), tail...))
		try(append([]byte(tail), token...))
	}
	try(bytes.ToLower(token))
	try(nil)
}

// Base64 has bits to spare in its last character, and decoders that overlook them: one token, one spelling.
func TestATokenHasOneSpelling(t *testing.T) {
	for n := 1; n <= 6; n++ {
		business := strings.Repeat("b", n)
		d := newDesk(t, SessionConfig{}, KeySpec{Business: business, Secret: "sk_test_1"})
		_, token := d.mint(t, "sk_test_1")
		raw, err := base64.RawURLEncoding.DecodeString(string(token[len(tokenPrefix):]))
		if err != nil {
			t.Fatal(err)
		}
		spellings := 0
		for c := range 128 {
			altered := bytes.Clone(token)
			altered[len(altered)-1] = byte(c)
			if again, err := base64.RawURLEncoding.DecodeString(string(altered[len(tokenPrefix):])); err != nil || !bytes.Equal(again, raw) {
				continue
			}
			spellings++
			if _, err := d.Verify(altered, d.nowMs()); (err == nil) != bytes.Equal(altered, token) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
		spareBits := (len(raw)*8+5)/6*6 - len(raw)*8
		if want := 1 << spareBits; spellings != want {
			t.Errorf("%d raw bytes: tried %d spellings, want %d", len(raw), spellings, want)
		}
	}
}

// Every bit of what is signed matters, also when the text is perfect base64.
func TestEveryBitIsUnderTheMAC(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	_, token := d.mint(t, demoKey.Secret)
	raw, _ := base64.RawURLEncoding.DecodeString(string(token[len(tokenPrefix):]))
	for bit := range len(raw) * 8 {
		altered := bytes.Clone(raw)
		altered[bit/8] ^= 1 << (bit % 8)
		text := base64.RawURLEncoding.AppendEncode([]byte(tokenPrefix), altered)
		want := ErrNotAToken
		if at := bit / 8; at >= offKeyID && at < offMode {
			want = ErrUnknownSigningKey
		}
		d.refused(t, text, d.nowMs(), want)
	}
}

// Line breaks are nothing to a base64 decoder: a long text can hold a short token.
func TestATokenOfLineBreaksIsRefused(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	_, token := d.mint(t, demoKey.Secret)
	_, foreign := newDesk(t, SessionConfig{}).mint(t, demoKey.Secret) // its signing key is not ours
	for keep := len(tokenPrefix) + 8; keep < len(token); keep++ {
		breaks := strings.Repeat("\n", len(token)-keep)
		d.refused(t, append(bytes.Clone(token[:keep]), breaks...), d.nowMs(), ErrNotAToken)
		if _, err := d.Verify(append(bytes.Clone(foreign[:keep]), breaks...), d.nowMs()); err == nil {
			t.Errorf("accepted %d characters of a foreign token", keep)
		}
	}
}

// A gateway that shares the signing keys but has other API keys may sign what ours would not: its claims are checked
// against the keys that we have.
func TestASignedTokenOfAnotherBusinessOrModeIsRefused(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	session, _ := d.mint(t, demoKey.Secret)
	f := func(want error, change func(*Session)) {
		t.Helper()
		altered := session
		change(&altered)
		token := appendToken(nil, d.signing.signer(), &altered)
		if _, err := d.Verify(token, d.nowMs()); err != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	f(nil, func(*Session) {})
	f(ErrRevoked, func(s *Session) { s.Business = "acct_demo2" })
	f(ErrRevoked, func(s *Session) { s.Business = "acct_dem" })
	f(ErrRevoked, func(s *Session) { s.Livemode = true })
	f(ErrRevoked, func(s *Session) { s.KeyID[0]++ })
	f(ErrExpired, func(s *Session) { s.ExpiresMs = math.MinInt64 })
}

func TestWhatIsNoTokenIsToldApart(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	for text, want := range map[string]error{
		"": ErrNotAToken, "x": ErrNotAToken, "tgst_": ErrNotAToken, "tgst_AAAA": ErrNotAToken, "token_abc": ErrNotAToken, "eyJhbGciOiJub25lIn0.e30.": ErrNotAToken,
		"sk_test_123": ErrKeyAsToken, "rk_live_123": ErrKeyAsToken, "pk_test_123": ErrKeyAsToken,
		"tgst_" + strings.Repeat("A", 150): ErrNotAToken, "tgst_" + strings.Repeat("A", 1<<16): ErrNotAToken,
	} {
		d.refused(t, []byte(text), d.nowMs(), want)
	}
}

func TestATokenEndsWithTheKeyItCameFrom(t *testing.T) {
	other := KeySpec{Business: "acct_other", Secret: "sk_test_other"}
	d := newDesk(t, SessionConfig{}, demoKey, other)
	session, token := d.mint(t, demoKey.Secret)
	d.accepted(t, token, d.nowMs(), session)
	f := func(want error, specs ...KeySpec) {
		t.Helper()
		if err := d.Update(mustKeys(t, specs...), nil); err != nil {
			t.Fatal(err)
		}
		d.refused(t, token, d.nowMs(), want)
	}
	f(ErrRevoked, other)                                                // the key is gone
	f(ErrRevoked)                                                       // all keys are gone
	f(ErrRevoked, KeySpec{Business: "acct_new", Secret: "sk_test_123"}) // it belongs to another business now
	d.refused(t, token, session.ExpiresMs+graceMs, ErrExpired)          // expired is said first: the client opens a new one, and learns of the key there

	if err := d.Update(mustKeys(t, other, demoKey), nil); err != nil {
		t.Fatal(err)
	}
	again, err := d.Verify(token, d.nowMs())
	if err != nil || again.Key == session.Key || again.Key.ID != session.KeyID {
		t.Errorf("the key is back, the token is not: %+v, %v", again, err)
	}
}

func TestASessionHasThePermissionsThatItsKeyHasNow(t *testing.T) {
	may := KeySpec{Business: "acct_a", Secret: "rk_test_1", Permissions: []string{"billing_meter_event_write"}}
	d := newDesk(t, SessionConfig{}, may)
	_, token := d.mint(t, may.Secret)
	may.Permissions = nil
	if err := d.Update(mustKeys(t, may), nil); err != nil {
		t.Fatal(err)
	}
	if session, err := d.Verify(token, d.nowMs()); err != nil || session.Key.Has(MeterEventWrite) {
		t.Errorf("%+v, %v", session, err)
	}
}

func TestRotationRefusesNoToken(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	session, token := d.mint(t, demoKey.Secret)
	d.now = d.now.Add(time.Second)
	rotated, err := d.signing.Rotate(rand.Reader, d.now, d.Keep())
	if err != nil {
		t.Fatal(err)
	}
	if err = d.Update(nil, mustParse(t, string(rotated.AppendText(nil)))); err != nil {
		t.Fatal(err)
	}
	young, youngToken := d.mint(t, demoKey.Secret)
	d.accepted(t, token, d.nowMs(), session)
	d.accepted(t, token, session.ExpiresMs+graceMs-1, session) // to its last moment
	d.accepted(t, youngToken, d.nowMs(), young)

	// With the old key gone the old token is refused; once its time is over that is what it is told.
	only := &SigningKeys{keys: rotated.keys[:1]}
	if err = d.Update(nil, only); err != nil {
		t.Fatal(err)
	}
	d.accepted(t, youngToken, d.nowMs(), young)
	d.refused(t, token, d.nowMs(), ErrUnknownSigningKey)
	d.refused(t, token, session.ExpiresMs, ErrExpired)
}

// A signing secret that leaked must not outlive its rotation, not even in tokens that claim a long life.
func TestARetiredSigningKeyVerifiesNothingAfterItsTime(t *testing.T) {
	d := newDesk(t, SessionConfig{TTL: 24 * time.Hour})
	session, token := d.mint(t, demoKey.Secret)
	rotated, err := d.signing.Rotate(rand.Reader, d.now, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err = d.Update(nil, rotated); err != nil {
		t.Fatal(err)
	}
	until := rotated.keys[1].until.UnixMilli()
	d.refused(t, token, until, ErrExpired)
	d.accepted(t, token, until-1, session)
	d.refused(t, token, until, ErrExpired) // the cache knows of the end as well
}

func TestGatewaysWithTheSameSecretsAgree(t *testing.T) {
	here, there := newDesk(t, SessionConfig{}), newDesk(t, SessionConfig{})
	session, token := here.mint(t, demoKey.Secret)
	there.refused(t, token, there.nowMs(), ErrUnknownSigningKey)
	if err := there.Update(nil, mustParse(t, string(here.signing.AppendText(nil)))); err != nil {
		t.Fatal(err)
	}
	got, err := there.Verify(token, there.nowMs())
	if err != nil || got.ID != session.ID || got.Business != session.Business {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestATokenIsMadeAgainTheSameWhereItsSigningKeyIsKnown(t *testing.T) {
	here, there := newDesk(t, SessionConfig{}), newDesk(t, SessionConfig{})
	session, token := here.mint(t, demoKey.Secret)
	session.Key = nil // as from a record
	if again := here.Token(&session); !bytes.Equal(again, token) {
		t.Errorf("%s the first time, then %s", token, again)
	}
	// Without the key the token says the same, in another text, and is good where it was made.
	other := there.Token(&session)
	got, err := there.Verify(other, there.nowMs())
	if bytes.Equal(other, token) || err != nil {
		t.Fatalf("signed by another key it is %s, %v", other, err)
	}
	got.Key = nil
	want := session
	if want.SigningKey = there.signing.signer().id; *got != want {
		t.Errorf("it says %+v, want %+v", *got, want)
	}
	// With it, the same: also behind a rotation, and when the key verifies nothing any more.
	if err := there.Update(nil, mustParse(t, string(here.signing.AppendText(nil)))); err != nil {
		t.Fatal(err)
	}
	rotated, err := here.signing.Rotate(rand.Reader, here.now, here.Keep())
	if err != nil {
		t.Fatal(err)
	}
	if err = here.Update(nil, rotated); err != nil {
		t.Fatal(err)
	}
	here.now = here.now.Add(time.Hour)
	for _, d := range []*desk{here, there} {
		if again := d.Token(&session); !bytes.Equal(again, token) {
			t.Errorf("%s the first time, then %s", token, again)
		}
	}
	here.refused(t, token, here.nowMs(), ErrExpired)
}

func TestTheCacheIsBoundedAndNeverMixesTokensUp(t *testing.T) {
	for _, slots := range []int{1, 2, 64} {
		d := newDesk(t, SessionConfig{CacheSlots: slots})
		if got := len(d.state.Load().cache.slots); got != slots {
			t.Fatalf("%d slots, want %d", got, slots)
		}
		var sessions []Session
		var tokens [][]byte
		for range 100 {
			session, token := d.mint(t, demoKey.Secret)
			sessions, tokens = append(sessions, session), append(tokens, token)
		}
		for range 3 {
			for i := range tokens {
				d.accepted(t, tokens[i], d.nowMs(), sessions[i])
			}
		}
	}
}

func TestTheCacheSpreadsTokensOverItsSlots(t *testing.T) {
	d := newDesk(t, SessionConfig{CacheSlots: 1024})
	const tokens = 1024
	for range tokens {
		_, token := d.mint(t, demoKey.Secret)
		if _, err := d.Verify(token, d.nowMs()); err != nil {
			t.Fatal(err)
		}
	}
	used := 0
	slots := d.state.Load().cache.slots
	for i := range slots {
		if slots[i].Load() != nil {
			used++
		}
	}
	// Balls into bins: 1 - 1/e of the slots, 647, with a deviation of about 12.
	if used < 550 {
		t.Errorf("%d tokens share %d of %d slots", tokens, used, len(slots))
	}
}

func TestSettingsAreChecked(t *testing.T) {
	keys, signing := mustKeys(t), mustSigning(t)
	for _, config := range []SessionConfig{
		{TTL: time.Millisecond},
		{TTL: 25 * time.Hour},
		{TTL: -1},
		{Grace: -1},
		{Grace: 2 * time.Hour},
		{CacheSlots: 3},
		{CacheSlots: -1},
		{CacheSlots: 1 << 21},
	} {
		if _, err := NewSessions(config, keys, signing); err == nil {
			t.Errorf("%+v was taken", config)
		}
	}
	if _, err := NewSessions(SessionConfig{}, nil, signing); err == nil {
		t.Error("no keys were taken")
	}
	if _, err := NewSessions(SessionConfig{}, keys, nil); err == nil {
		t.Error("no signing keys were taken")
	}
	if s, err := NewSessions(SessionConfig{}, keys, signing); err != nil || s.Keep() != (ttlMs+graceMs)*time.Millisecond {
		t.Errorf("%v", err)
	}
}

func TestBadDiceOpenNoSession(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	d.config.Random = iotest.ErrReader(errors.New("no dice"))
	key, _ := d.Keys().Authenticate(bearer(demoKey.Secret))
	if _, token, err := d.Mint(key, key.Business); err == nil || token != nil {
		t.Error("a session without an id of its own")
	}
	if err := d.Update(nil, nil); err == nil {
		t.Error("a cache without a seed")
	}
}

// From the return of an Update that takes a key away no Verify accepts its token, whatever others were doing meanwhile.
func TestUpdateAndVerifyAtOnce(t *testing.T) {
	d := newDesk(t, SessionConfig{CacheSlots: 4})
	session, token := d.mint(t, demoKey.Secret)
	with, without := d.keys, mustKeys(t, KeySpec{Business: "acct_demo", Secret: "sk_test_other"})
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got, err := d.Verify(token, d.nowMs())
				if err == nil && *got != session || err != nil && err != ErrRevoked {
					t.Errorf("%+v, %v", got, err)
					return
				}
				key, _ := with.Authenticate(bearer(demoKey.Secret))
				if _, _, err := d.Mint(key, key.Business); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 200 {
		if err := d.Update(without, nil); err != nil {
			t.Fatal(err)
		}
		d.refused(t, token, d.nowMs(), ErrRevoked)
		rotated, err := mustSigning(t).Rotate(rand.Reader, d.now, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		rotated.keys = append(rotated.keys, d.signing.keys...)
		if err := d.Update(with, rotated); err != nil {
			t.Fatal(err)
		}
		d.accepted(t, token, d.nowMs(), session)
	}
	close(stop)
	readers.Wait()
}
