package meterevent_test

import (
	"math/rand/v2"
	"regexp"
	"testing"

	"tollgate/pkg/meterevent"
)

// Replays cross restarts, upgrades and gateways: what is derived today must be derived by every later version.
func TestDerivedIdentifiersNeverChange(t *testing.T) {
	f := func(business string, livemode bool, key string, index int, raw, want string) {
		t.Helper()
		d := meterevent.NewDeriver(business, livemode, []byte(key), nil)
		if got := d.Identifier(nil, index, []byte(raw)); string(got) != want {
			t.Errorf("%s/%v/%s/%d: got %s, want %s", business, livemode, key, index, got, want)
		}
	}
	const raw = `{"event_name":"api_requests","payload":{"stripe_customer_id":"cus_1","value":"25"}}`
	f("acct_demo", false, "stripe-node-retry-0b2c", 0, raw, "732d43e0a8b2b968f8d0dbc73f5c75d6")
	f("acct_demo", false, "stripe-node-retry-0b2c", 1, raw, "2b6a6b9a999d814c701f17b9c30ea0cb")
	f("acct_demo", true, "stripe-node-retry-0b2c", 0, raw, "32e943389ba270893b61967ff05c414e")
	f("acct_demo", false, "k", 99, "{}", "4fbc1f6864efadfc66bf4003a7f9f9ff")
}

// Whatever differs in a request must differ in the identifier, and moving a byte from one part to the next is a difference.
func TestNoTwoRequestsShareADerivedIdentifier(t *testing.T) {
	type request struct {
		business string
		livemode bool
		key      string
		index    int
		raw      string
	}
	seen := map[string]request{}
	for _, r := range []request{
		{"acct_a", false, "key", 0, "{}"},
		{"acct_a", true, "key", 0, "{}"},
		{"acct_ak", false, "ey", 0, "{}"},
		{"acct_", false, "akey", 0, "{}"},
		{"acct_a", false, "key{", 0, "}"},
		{"acct_a", false, "key", 1, "{}"},
		{"acct_a", false, "key", 256, "{}"},
		{"acct_a", false, "key\x00", 0, "{}"},
		{"acct_a", false, "key", 0, "{} "},
		{"acct_a", false, "key", 0, ""},
		{"", false, "acct_akey", 0, "{}"},
	} {
		d := meterevent.NewDeriver(r.business, r.livemode, []byte(r.key), nil)
		id := string(d.Identifier(nil, r.index, []byte(r.raw)))
		if other, ok := seen[id]; ok {
			t.Errorf("%+v and %+v share %s", r, other, id)
		}
		seen[id] = r
	}
}

func TestWithoutIdempotencyKeyIdentifiersAreRandom(t *testing.T) {
	d := meterevent.NewDeriver("acct_a", false, nil, rand.NewChaCha8([32]byte{1}))
	form := regexp.MustCompile(`^[0-9a-f]{32}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := string(d.Identifier(nil, 0, []byte("{}")))
		if seen[id] || !form.MatchString(id) {
			t.Fatalf("identifier %q", id)
		}
		seen[id] = true
	}
}
