package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func mustKeys(t testing.TB, specs ...KeySpec) *Keys {
	t.Helper()
	keys, err := NewKeys(specs)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func bearer(secret string) []byte { return []byte("Bearer " + secret) }

func basic(userPassword string) []byte {
	return []byte("Basic " + base64.StdEncoding.EncodeToString([]byte(userPassword)))
}

func TestTheKeysPrefixGivesModeAndKind(t *testing.T) {
	f := func(secret string, livemode, everything bool) {
		t.Helper()
		keys := mustKeys(t, KeySpec{Business: "acct_demo", Secret: secret})
		key, err := keys.Authenticate(bearer(secret))
		if err != nil {
			t.Fatal(err)
		}
		if key.Business != "acct_demo" || key.Livemode != livemode || key.Has(MeterEventWrite) != everything || key.Has(allPermissions) != everything {
			t.Errorf("%s: %+v", secret, key)
		}
		if keys.ByID(key.ID) != key || keys.Len() != 1 {
			t.Errorf("%s: not found by its fingerprint", secret)
		}
	}
	f("sk_test_123", false, true)
	f("sk_live_123", true, true)
	f("rk_test_123", false, false)
	f("rk_live_"+strings.Repeat("x", secretBytesMax-len("rk_live_")), true, false)
}

func TestAnAuthorizationHeaderIsReadOrRefused(t *testing.T) {
	keys := mustKeys(
		t,
		KeySpec{Business: "acct_a", Secret: "sk_test_123"},
		KeySpec{Business: "acct_b", Secret: "sk_live_456"},
	)
	f := func(header, business string, want error) {
		t.Helper()
		key, err := keys.Authenticate([]byte(header))
		if !errors.Is(err, want) || (err == nil) != (key != nil) || key != nil && key.Business != business {
			t.Errorf("%.60q: got %+v, %v", header, key, err)
		}
	}
	f("Bearer sk_test_123", "acct_a", nil)
	f("bearer sk_live_456", "acct_b", nil)
	f("BEARER   sk_test_123 ", "acct_a", nil)
	f(" Bearer sk_test_123\t", "acct_a", nil)
	f(string(basic("sk_test_123:")), "acct_a", nil)
	f("bAsIc c2tfdGVzdF8xMjM6", "acct_a", nil)

	f("", "", ErrNoCredentials)
	f("  ", "", ErrNoCredentials)
	f("Bearer", "", ErrNoCredentials)
	f("Bearer ", "", ErrNoCredentials)
	f("Basic  ", "", ErrNoCredentials)
	f(string(basic(":")), "", ErrNoCredentials)

	f("sk_test_123", "", ErrBadAuthorization)
	f("Digest sk_test_123", "", ErrBadAuthorization)
	f("Bearer\tsk_test_123", "", ErrBadAuthorization)
	f("Basic sk_test_123", "", ErrBadAuthorization)
	f("Basic c2tfdGVzdF8xMjM", "", ErrBadAuthorization) // not padded
	f(string(basic("sk_test_123")), "", ErrBadAuthorization)
	f(string(basic("sk_test_123:password")), "", ErrBadAuthorization)
	f(string(basic("sk_test_123::")), "", ErrBadAuthorization)
	f("Bearer "+strings.Repeat("x", 1<<20), "", ErrBadAuthorization)

	f("Bearer sk_test_12", "", ErrUnknownKey)
	f("Bearer sk_test_1234", "", ErrUnknownKey)
	f("Bearer SK_TEST_123", "", ErrUnknownKey)
	f("Bearer sk_live_123", "", ErrUnknownKey)
	f("Bearer sk_test_123 sk_live_456", "", ErrUnknownKey)
	f("Bearer "+strings.Repeat("x", secretBytesMax+1), "", ErrUnknownKey)
	f("Bearer \x00\xff", "", ErrUnknownKey)
	f("Bearer tgst_AAAA", "", ErrTokenAsKey)
	f("Bearer tgst_"+strings.Repeat("A", secretBytesMax), "", ErrTokenAsKey)
}

func TestTheLongestKeyIsNotAPrefixOfALongerOne(t *testing.T) {
	secret := "sk_test_" + strings.Repeat("x", secretBytesMax-len("sk_test_"))
	keys := mustKeys(t, KeySpec{Business: "acct_a", Secret: secret})
	if _, err := keys.Authenticate(bearer(secret)); err != nil {
		t.Error(err)
	}
	if _, err := keys.Authenticate(bearer(secret + "x")); err != ErrUnknownKey {
		t.Errorf("got %v", err)
	}
}

func TestAWrongKeyInTheConfigurationIsRefusedWithoutShowingIt(t *testing.T) {
	f := func(want string, specs ...KeySpec) {
		t.Helper()
		_, err := NewKeys(specs)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
			return
		}
		for _, spec := range specs {
			secret := spec.Secret
			for _, prefix := range secretPrefixes {
				secret = strings.TrimPrefix(secret, prefix.text)
			}
			if len(secret) > 4 && strings.Contains(err.Error(), secret[:5]) {
				t.Errorf("%v: shows the secret %s", err, spec.Secret)
			}
		}
	}
	a := func(secret string, permissions ...string) KeySpec {
		return KeySpec{Business: "acct_a", Secret: secret, Permissions: permissions}
	}
	const noKey = "business acct_a: a key must begin with sk_test_, sk_live_, rk_test_ or rk_live_"
	f(noKey, a("hunter2!"))
	f(noKey, a("abc"))
	f(noKey, a(""))
	f(noKey, a("whsec_cafebabecafebabe"))
	f("a publishable key is public", a("pk_test_cafebabecafebabe"))
	f("business acct_a, key sk_live_…: there is nothing behind the prefix", a("sk_live_"))
	f("key sk_test_…: it is longer than 255 bytes", a("sk_test_"+strings.Repeat("k", 300)))
	f("key sk_test_…: only letters, digits", a("sk_test_cafe babecafe"))
	f("key sk_test_…: only letters, digits", a("sk_test_cafe:babecafe"))
	f("key sk_test_…: a secret key may do everything", a("sk_test_cafebabecafe", "billing_meter_read"))
	f(`unknown permission "billing_meter_wirte"; the valid ones are billing_meter_read, billing_meter_write, `, a("rk_test_cafebabecafe", "billing_meter_wirte"))
	f("listed before, for business acct_b", KeySpec{Business: "acct_b", Secret: "sk_test_cafebabecafe"}, a("sk_test_cafebabecafe"))
	f("listed before, for business acct_a", a("sk_test_cafebabecafe"), a("sk_test_cafebabecafe"))
	for _, business := range []string{"", "a/b", "a b", "ü", "a\x00", strings.Repeat("a", BusinessBytesMax+1)} {
		f("business id", KeySpec{Business: business, Secret: "sk_test_cafebabecafe"})
	}
}

// acct:key the wrong way round in GATEWAY_API_KEYS must not put the key into a log.
func TestAKeyInThePlaceOfABusinessIsNotShown(t *testing.T) {
	_, err := NewKeys([]KeySpec{{Business: "sk_live_cafebabecafe", Secret: "acct_demo"}})
	if err == nil || strings.Contains(err.Error(), "cafe") || !strings.Contains(err.Error(), "the business comes first") {
		t.Errorf("got %v", err)
	}
}

func TestAKeySpecDoesNotPrintItsSecret(t *testing.T) {
	spec := KeySpec{Business: "acct_a", Secret: "sk_live_cafebabe"}
	for _, format := range []string{"%v", "%+v", "%s", "%#v"} {
		if got := fmt.Sprintf(format, []KeySpec{spec}); strings.Contains(got, "cafebabe") || !strings.Contains(got, "acct_a:sk_live_…") {
			t.Errorf("%s: %s", format, got)
		}
	}
}

func TestNoKeysAreKeysToo(t *testing.T) {
	if _, err := mustKeys(t).Authenticate(bearer("sk_test_123")); err != ErrUnknownKey {
		t.Error(err)
	}
}

func TestAWritePermissionHoldsItsRead(t *testing.T) {
	f := func(names string, want Permission) {
		t.Helper()
		got, err := parsePermissions(strings.FieldsFunc(names, func(r rune) bool { return r == ',' }))
		if err != nil || got != want {
			t.Errorf("%s: got %s (%v), want %s", names, got, err, want)
		}
	}
	f("", 0)
	f("billing_meter_read", MeterRead)
	f("billing_meter_write", MeterRead|MeterWrite)
	f("billing_meter_event_write", MeterEventRead|MeterEventWrite)
	f("billing_meter_event_adjustment_write", MeterEventAdjustmentRead|MeterEventAdjustmentWrite)
	f("event_read", EventRead)
	f("webhook_write", WebhookRead|WebhookWrite)
	f("webhook_read,event_read", WebhookRead|EventRead)
	f(Permission(allPermissions).String(), allPermissions)
	for i, name := range permissionNames {
		if Permission(1<<i).String() != name {
			t.Errorf("%s is in the wrong place", name)
		}
		if write, ok := strings.CutSuffix(name, "_write"); ok && permissionNames[i-1] != write+"_read" {
			t.Errorf("%s does not stand behind its read permission", name)
		}
	}
	if MeterWrite.String() != "billing_meter_write" || WebhookWrite.String() != "webhook_write" || allPermissions>>len(permissionNames) != 0 {
		t.Error("names and bits differ")
	}
}

func TestARestrictedKeyMayDoWhatIsListed(t *testing.T) {
	keys := mustKeys(t, KeySpec{Business: "acct_a", Secret: "rk_test_1", Permissions: []string{"billing_meter_event_write"}})
	key, err := keys.Authenticate(bearer("rk_test_1"))
	if err != nil || !key.Has(MeterEventWrite) || !key.Has(MeterEventRead|MeterEventWrite) || key.Has(MeterEventAdjustmentWrite) || key.Has(MeterEventWrite|MeterRead) {
		t.Errorf("%+v, %v", key, err)
	}
}

func TestTheFingerprintIsTheSameEverywhere(t *testing.T) {
	one, two := mustKeys(t, KeySpec{Business: "a", Secret: "sk_test_1"}), mustKeys(t, KeySpec{Business: "b", Secret: "sk_test_1"})
	a, _ := one.Authenticate(bearer("sk_test_1"))
	b, _ := two.Authenticate(bearer("sk_test_1"))
	if a.ID != b.ID {
		t.Error("two gateways disagree about a key's fingerprint")
	}
	if a.digest == b.digest {
		t.Error("two processes hash alike: the salt is not used")
	}
}

func TestAuthenticateAllocatesNothing(t *testing.T) {
	keys := mustKeys(t, KeySpec{Business: "acct_a", Secret: "sk_test_123"})
	for _, header := range [][]byte{
		bearer("sk_test_123"), basic("sk_test_123:"), bearer("sk_test_124"), bearer(strings.Repeat("x", 500)), basic("x"), nil, []byte("Bearer tgst_x"),
	} {
		if n := testing.AllocsPerRun(100, func() { keys.Authenticate(header) }); n != 0 {
			t.Errorf("%.30q: %v allocations", header, n)
		}
	}
}

func FuzzAuthenticate(f *testing.F) {
	keys := mustKeys(f, KeySpec{Business: "acct_a", Secret: "sk_test_123"})
	for _, seed := range []string{"", "Bearer sk_test_123", "Basic c2tfdGVzdF8xMjM6", "Basic c2tf\ndGVzdF8xMjM6", "basic ====", "Bearer tgst_", "Bearer  \t", " "} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		key, err := keys.Authenticate(header)
		if (key == nil) == (err == nil) {
			t.Fatal("neither a key nor an error, or both")
		}
		if key == nil {
			return
		}
		var scratch [CredentialBytesMax]byte
		secret, err := Credential(header, &scratch)
		if err != nil || string(secret) != "sk_test_123" {
			t.Fatalf("%q was let in", header)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	keys := mustKeys(b, KeySpec{Business: "acct_a", Secret: "sk_test_51NxCafeBabeCafeBabeCafeBabeCafeBabe"})
	header := bearer("sk_test_51NxCafeBabeCafeBabeCafeBabeCafeBabe")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := keys.Authenticate(header); err != nil {
			b.Fatal(err)
		}
	}
}

func TestWhatAKeyLacksIsSaid(t *testing.T) {
	keys := mustKeys(t, KeySpec{Business: "a", Secret: "rk_test_1", Permissions: []string{"webhook_write"}}, KeySpec{Business: "a", Secret: "sk_test_1"})
	restricted, _ := keys.Authenticate(bearer("rk_test_1"))
	secret, _ := keys.Authenticate(bearer("sk_test_1"))
	if got := restricted.Lacks(WebhookWrite | EventRead); got != EventRead {
		t.Errorf("%s", got)
	}
	if restricted.Lacks(WebhookRead) != 0 || secret.Lacks(allPermissions) != 0 {
		t.Error("something is said to be missing that is there")
	}
}
