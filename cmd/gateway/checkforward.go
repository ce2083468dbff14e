package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"tollgate/pkg/auth"
	"tollgate/pkg/forward"
)

const (
	rollupMax = time.Hour
	// forwardAccountsMax bounds the accounts: each has a session, a queue and connections of its own.
	forwardAccountsMax = 1000
)

// forward checks what is brought to the real Stripe, and with which keys.
func (k *checker) forward() {
	f := &k.c.Forward
	if f.Mode != string(forward.Stream) && f.Mode != string(forward.V1) {
		k.refuse("forward.mode", f.Mode, "is neither stream nor v1", "leave it out for stream, which takes 100 events a request")
	}
	k.duration("forward.rollup", f.Rollup, 0, rollupMax)
	if f.Rollup.Duration%time.Second != 0 {
		k.refuse("forward.rollup", f.Rollup.text, "is no whole number of seconds", "write for example 60s, or 0s for no roll-up")
	}
	if !k.c.forwards() {
		if f.Rollup.Duration != 0 || f.MirrorMeters {
			k.refuse("forward", "", "sets rollup or mirror_meters and names no businesses, so that nothing would be forwarded",
				"add forward.businesses with a stripe_key_file for each")
		}
		return
	}
	if k.c.Usage.Disabled {
		k.refuse("forward", "", "is given with usage.disabled: what this gateway does not count it can not forward",
			"leave out one of them; the gateways that count are those that forward")
	}
	if n := len(f.Businesses); n > forwardAccountsMax {
		k.refuse("forward.businesses", "", fmt.Sprintf("names %d businesses, more than %d", n, forwardAccountsMax), "share them out over several gateways with topics of their own")
	}
	for _, id := range slices.Sorted(maps.Keys(f.Businesses)) {
		k.forwardBusiness(id, f.Businesses[id])
	}
}

func (k *checker) forwardBusiness(id string, b ForwardBusinessConfig) {
	at := "forward.businesses." + id
	if !businessID.MatchString(id) {
		k.refuse(at, id, "is no business id", fmt.Sprintf("use letters, digits, '_', '-' and '.', at most %d, for example acct_demo", auth.BusinessBytesMax))
	}
	key, from, err := b.key()
	if err != nil {
		k.refuse(at+"."+from, "", err.Error(), "give one of stripe_key_file (a file that holds the key alone), stripe_key_env (the name of an environment variable) and stripe_key")
	} else if !isStripeKey(key) {
		k.refuse(at+"."+from, "", "is no secret key of Stripe (it is not shown)", "give one that begins with sk_test_, sk_live_, rk_test_ or rk_live_, without quotes or spaces around it")
	}
	live := forward.Livemode(key)
	k.base(at+".api_base", b.APIBase, "https://api.stripe.com", live)
	k.base(at+".meter_events_base", b.MeterEventsBase, "https://meter-events.stripe.com", live)
	k.between(at+".events_per_second", int64(b.EventsPerSecond), 0, eventsPerSecMax)
	if _, err := b.since(); err != nil {
		k.refuse(at+".since", b.Since, "is no time", "write RFC 3339, for example 2026-11-01T00:00:00Z; what was received before is not sent")
	}
}

// base checks the address of an API; empty is Stripe's own. A live key leaves this machine over TLS alone.
func (k *checker) base(key, address, own string, live bool) {
	if address == "" {
		return
	}
	if httpAddress(address) != nil {
		k.refuse(key, address, "is no address", "write a URL, for example "+own+", which it is without the key")
		return
	}
	if u, err := url.Parse(address); live && err == nil && u.Scheme == "http" && !isLoopback(net.JoinHostPort(u.Hostname(), "80")) {
		k.refuse(key, address, "would have a live key sent without TLS", "write https://")
	}
}

// isStripeKey tells whether a text can be a key to Stripe's API: one line of visible ASCII with the prefix of a kind that
// may report usage.
func isStripeKey(key string) bool {
	for _, prefix := range []string{"sk_test_", "sk_live_", "rk_test_", "rk_live_"} {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			return rest != "" && !strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r > '~' })
		}
	}
	return false
}

// key is the Stripe key, and from which of the settings it is.
func (b *ForwardBusinessConfig) key() (key, from string, err error) {
	given := 0
	for _, text := range []string{b.StripeKey, b.StripeKeyEnv, b.StripeKeyFile} {
		if text != "" {
			given++
		}
	}
	switch {
	case given == 0:
		return "", "stripe_key", errors.New("there is no key")
	case given > 1:
		return "", "stripe_key", errors.New("there is more than one key")
	case isStripeKey(b.StripeKeyEnv):
		return "", "stripe_key_env", errors.New("is a key (it is not shown) where the name of an environment variable is expected")
	case isStripeKey(b.StripeKeyFile):
		return "", "stripe_key_file", errors.New("is a key (it is not shown) where the name of a file is expected")
	case b.StripeKeyEnv != "":
		if key = os.Getenv(b.StripeKeyEnv); key == "" {
			return "", "stripe_key_env", fmt.Errorf("the environment variable %s is not set", b.StripeKeyEnv)
		}
		return key, "stripe_key_env", nil
	case b.StripeKeyFile != "":
		key, err = secretOf("", "the key", b.StripeKeyFile)
		return key, "stripe_key_file", err
	}
	return b.StripeKey, "stripe_key", nil
}

// since is the zero time when nothing is left out.
func (b *ForwardBusinessConfig) since() (time.Time, error) {
	if b.Since == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, b.Since)
}
