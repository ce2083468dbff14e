package auth

import (
	"fmt"
	"strings"
	"testing"
)

func TestAKeyActsForItsOwnBusinessAndTheAccountsThatAreListed(t *testing.T) {
	listed := []string{"acct_z", "acct_b", strings.Repeat("c", BusinessBytesMax), "acct_B"}
	keys := mustKeys(
		t,
		KeySpec{Business: "acct_a", Secret: "sk_test_1", Accounts: listed},
		KeySpec{Business: "acct_b", Secret: "sk_test_2"},
		KeySpec{Business: "acct_b", Secret: "rk_test_3", Accounts: []string{}},
	)
	if listed[0] != "acct_z" {
		t.Error("the configuration was sorted in place")
	}
	f := func(secret, account string, want bool) {
		t.Helper()
		key, err := keys.Authenticate(bearer(secret))
		if err != nil {
			t.Fatal(err)
		}
		if got := key.MayActFor(account); got != want {
			t.Errorf("%s for %s: %v", secret, account, got)
		}
	}
	for _, account := range append(listed, "acct_a") {
		f("sk_test_1", account, true)
	}
	for _, account := range []string{"", "acct_", "acct_bb", "acct_c", "acct_A", "ACCT_B", "acct_a/acct_b", "zzz", strings.Repeat("c", BusinessBytesMax-1)} {
		f("sk_test_1", account, false)
	}
	for _, secret := range []string{"sk_test_2", "rk_test_3"} {
		f(secret, "acct_b", true)
		f(secret, "acct_a", false) // it is a connected account; that does not lead back
		f(secret, "acct_z", false)
		f(secret, "", false)
	}
}

func TestWrongAccountsAreRefusedByName(t *testing.T) {
	f := func(want string, accounts ...string) {
		t.Helper()
		_, err := NewKeys([]KeySpec{{Business: "acct_a", Secret: "sk_test_cafebabecafe", Accounts: accounts}})
		if err == nil || !strings.HasPrefix(err.Error(), "business acct_a, key sk_test_…: accounts: ") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "cafe") {
			t.Errorf("%.60q: got %v, want …%s…", accounts, err, want)
		}
	}
	f("acct_a is the key's own business", "acct_b", "acct_a")
	f("acct_b is listed twice", "acct_b", "acct_c", "acct_b")
	f("business id", "")
	f("business id", "acct_b/acct_c")
	f("business id", strings.Repeat("a", BusinessBytesMax+1))
	f("begins like an API key", "sk_live_cafebabecafe")
	many := make([]string, accountsMax+1)
	for i := range many {
		many[i] = fmt.Sprintf("acct_%d", i)
	}
	f("there are 10001; at most 10000 are possible", many...)
	if _, err := NewKeys([]KeySpec{{Business: "acct_a", Secret: "sk_test_1", Accounts: many[:accountsMax]}}); err != nil {
		t.Error(err)
	}
}

func TestWhomAKeyActsForIsFoundWithoutAllocating(t *testing.T) {
	account := strings.Repeat("c", BusinessBytesMax)
	keys := mustKeys(t, KeySpec{Business: "acct_a", Secret: "sk_test_1", Accounts: []string{"acct_b", account, "acct_d"}})
	key, _ := keys.Authenticate(bearer("sk_test_1"))
	text := []byte(account)
	for what, do := range map[string]func(){
		"own": func() { key.MayActFor("acct_a") }, "listed": func() { key.MayActFor(account) }, "other": func() { key.MayActFor("acct_x") },
		"in a token": func() { actsFor(key, text) },
	} {
		if n := testing.AllocsPerRun(100, do); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

func TestASessionIsForTheAccountThatItWasOpenedFor(t *testing.T) {
	platform := KeySpec{Business: "acct_platform", Secret: "sk_test_123", Accounts: []string{"acct_b", strings.Repeat("c", BusinessBytesMax), "acct_d"}}
	d := newDesk(t, SessionConfig{}, platform)
	key, err := d.Keys().Authenticate(bearer(platform.Secret))
	if err != nil {
		t.Fatal(err)
	}
	open := func(business string) (Session, []byte) {
		t.Helper()
		session, token, err := d.Mint(key, business)
		if err != nil || session.Business != business || session.KeyID != key.ID {
			t.Fatalf("%s: %+v, %v", business, session, err)
		}
		d.accepted(t, token, d.nowMs(), session)
		return session, token
	}
	for _, account := range platform.Accounts {
		open(account)
	}
	own, ownToken := open("acct_platform")
	kept, keptToken := open("acct_b")
	lost, lostToken := open("acct_d")
	for _, business := range []string{"", "acct_x", "acct_platform/acct_b"} {
		if session, token, err := d.Mint(key, business); err != ErrNotActingFor || token != nil || session != (Session{}) {
			t.Errorf("%q: %+v %s %v", business, session, token, err)
		}
	}

	// The operator takes an account away from the key: its sessions end, also those that were verified before.
	platform.Accounts = []string{"acct_b"}
	if err := d.Update(mustKeys(t, platform), nil); err != nil {
		t.Fatal(err)
	}
	d.refused(t, lostToken, d.nowMs(), ErrRevoked)
	d.refused(t, lostToken, lost.ExpiresMs+graceMs, ErrExpired)
	for token, want := range map[string]Session{string(ownToken): own, string(keptToken): kept} {
		got, err := d.Verify([]byte(token), d.nowMs())
		if err != nil || got.Business != want.Business || got.ID != want.ID {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}

	// The account becomes a business with a key of its own; the platform's key is gone. Its tokens do not become that one's.
	if err := d.Update(mustKeys(t, KeySpec{Business: "acct_b", Secret: "sk_test_b"}), nil); err != nil {
		t.Fatal(err)
	}
	d.refused(t, keptToken, d.nowMs(), ErrRevoked)
	// The key moves to the account: it may still act for it, as its own.
	if err := d.Update(mustKeys(t, KeySpec{Business: "acct_b", Secret: "sk_test_123"}), nil); err != nil {
		t.Fatal(err)
	}
	d.refused(t, ownToken, d.nowMs(), ErrRevoked)
	if got, err := d.Verify(keptToken, d.nowMs()); err != nil || got.Business != "acct_b" {
		t.Errorf("%+v, %v", got, err)
	}
}
