package meterevent_test

import (
	"math/rand/v2"
	"regexp"
	"testing"

	"tollgate/pkg/meterevent"
)

// The log keeps fingerprints, and repetitions cross restarts, upgrades and gateways: they never change.
func TestFingerprintsOfRequestsNeverChange(t *testing.T) {
	f := func(business string, livemode bool, api, key, params string, want meterevent.Request) {
		t.Helper()
		if got := meterevent.RequestOf(business, livemode, api, []byte(key), []byte(params), nil); got != want {
			t.Errorf("got meterevent.Request{Key: %#x, Params: %#x}", got.Key, got.Params)
		}
	}
	f("acct_demo", false, "v2 meter_events", "k", "{}", meterevent.Request{Key: 0x89228acf38a5efb2, Params: 0x56e16b9bfd5ab83c})
	f("acct_demo", true, "v2 meter_events", "k", "{}", meterevent.Request{Key: 0xed490ed15da1f28c, Params: 0x40f81fd5386ac74d})
	f("acct_demo", false, "v1 meter_events", "3f1b2c4d-0000-4000-8000-123456789abc", "event_name=a", meterevent.Request{Key: 0xf3922cc7917c2e56, Params: 0x6ed51967053494b3})
}

// Whatever differs in two requests makes a difference, and moving a byte from one part to the next is one.
func TestNoTwoRequestsShareAFingerprint(t *testing.T) {
	type request struct {
		business         string
		livemode         bool
		api, key, params string
	}
	keys, params := map[uint64]request{}, map[uint64]request{}
	for _, r := range []request{
		{"acct_a", false, "v2", "key", "{}"},
		{"acct_a", true, "v2", "key", "{}"},
		{"acct_av", false, "2", "key", "{}"},
		{"acct_", false, "av2", "key", "{}"},
		{"acct_a", false, "v2k", "ey", "{}"},
		{"acct_a", false, "v2", "key\x00", "{}"},
		{"acct_a", false, "v1", "key", "{}"},
	} {
		got := meterevent.RequestOf(r.business, r.livemode, r.api, []byte(r.key), []byte(r.params), nil)
		if other, ok := keys[got.Key]; ok {
			t.Errorf("%+v and %+v share a key", r, other)
		}
		other, ok := params[got.Params]
		if ok && (r.business != other.business || r.livemode != other.livemode || r.api != other.api) {
			t.Errorf("%+v and %+v share parameters", r, other)
		}
		keys[got.Key], params[got.Params] = r, r
	}
	one := meterevent.RequestOf("a", false, "v2", []byte("k"), []byte("{}"), nil)
	other := meterevent.RequestOf("a", false, "v2", []byte("k"), []byte("{ }"), nil)
	if one.Key != other.Key || one.Params == other.Params {
		t.Errorf("one key with two bodies: %x and %x", one, other)
	}
}

func TestWithoutIdempotencyKeyAFingerprintIsRandomAndKnowsItsParameters(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	one := meterevent.RequestOf("a", false, "v2", nil, []byte("{}"), random)
	other := meterevent.RequestOf("a", false, "v2", nil, []byte("{}"), random)
	if one.Key == other.Key || one.Params != other.Params {
		t.Errorf("%x and %x", one, other)
	}
}

func TestIdentifiersOfSynchronousRequestsNeverChange(t *testing.T) {
	f := func(business string, livemode bool, name, key, want string) {
		t.Helper()
		if got := meterevent.RequestIdentifier(nil, business, livemode, []byte(name), []byte(key), nil); string(got) != want {
			t.Errorf("%s/%v/%s/%s: got %s, want %s", business, livemode, name, key, got, want)
		}
	}
	f("acct_demo", false, "api_requests", "k", "d896405f6a41ef0b473e976cb41e65ff")
	f("acct_demo", true, "api_requests", "k", "99bce71d4e2a60b9139da0f1f1bb5d75")
	f("acct_demo", false, "api_request", "sk", "64478eaa993ccd37d34801965a9bcdf8")
	f("acct_demoa", false, "pi_requests", "k", "c1591a5e4c9c07f2729ac36ece7e4e14")
}

func TestWithoutIdempotencyKeyIdentifiersOfSynchronousRequestsAreRandom(t *testing.T) {
	random, form := rand.NewChaCha8([32]byte{1}), regexp.MustCompile(`^[0-9a-f]{32}$`)
	one := string(meterevent.RequestIdentifier([]byte("x"), "a", false, []byte("n"), nil, random)[1:])
	other := string(meterevent.RequestIdentifier(nil, "a", false, []byte("n"), nil, random))
	if one == other || !form.MatchString(one) || !form.MatchString(other) {
		t.Errorf("%s and %s", one, other)
	}
}

// The text of a record is read by others: the member's place and spelling stay as they are.
func TestRecordsOfSynchronousRequestsAreWrittenToTheLetter(t *testing.T) {
	request := meterevent.Request{Key: 0x0123456789abcdef, Params: 0xf}
	var rec meterevent.Recorder
	rec.Begin("acct_demo", true, receivedMs)
	rec.Meter([]byte("n"))
	ev := meterevent.Event{Name: []byte("n"), Identifier: []byte("i"), Payload: []byte(`{"k":"v"}`)}
	got := rec.AppendRequested([]byte("before "), &ev, request)
	want := `before {"object":"meter_event","business":"acct_demo","livemode":true,"event_name":"n","identifier":"i","timestamp":"2026-11-21T12:00:00.123Z","received":"2026-11-21T12:00:00.123Z","payload":{"k":"v"},"request":"0123456789abcdef000000000000000f"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	a := meterevent.Adjustment{Name: []byte("n"), Type: meterevent.Cancel, Identifier: []byte("i")}
	got = meterevent.AppendRequestedAdjustmentRecord(nil, "acct_demo", true, &a, receivedMs, request)
	want = `{"object":"meter_event_adjustment","business":"acct_demo","livemode":true,"event_name":"n","received":"2026-11-21T12:00:00.123Z","type":"cancel","cancel":{"identifier":"i"},"request":"0123456789abcdef000000000000000f"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
