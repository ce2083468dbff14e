package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"sync"
	"testing"
)

func TestVerifyAllocatesOnlyForATokenItHasNotMet(t *testing.T) {
	if raceDetector {
		t.Skip("SKIPPED: the race detector makes sync.Pool forget at random; the run without it counts allocations")
	}
	d := newDesk(t, SessionConfig{CacheSlots: 1})
	_, token := d.mint(t, demoKey.Secret)
	_, other := d.mint(t, demoKey.Secret)
	forged := []byte(string(token))
	forged[len(forged)-2] ^= 1
	elsewhere := newDesk(t, SessionConfig{})
	_, foreign := elsewhere.mint(t, demoKey.Secret)
	account := strings.Repeat("a", BusinessBytesMax)
	lost := appendToken(nil, d.signing.signer(), &Session{Business: account, KeyID: fingerprint(demoKey.Secret), ExpiresMs: d.nowMs() + ttlMs})
	f := func(what string, want float64, verify func()) {
		t.Helper()
		if n := testing.AllocsPerRun(200, verify); n != want {
			t.Errorf("%s: %v allocations, want %v", what, n, want)
		}
	}
	nowMs := d.nowMs()
	f("hit", 0, func() { d.Verify(token, nowMs) })
	f("forged", 0, func() { d.Verify(forged, nowMs) })
	f("foreign", 0, func() { d.Verify(foreign, nowMs) })
	f("expired", 0, func() { d.Verify(token, nowMs+2*ttlMs) })
	f("revoked", 0, func() { d.Verify(lost, nowMs) })
	f("garbage", 0, func() { d.Verify([]byte("garbage"), nowMs) })
	// Two tokens in one slot: each is met anew, and what is remembered of it are an entry and a copy of its text.
	f("two misses", 4, func() { d.Verify(token, nowMs); d.Verify(other, nowMs) })
}

// go test -run - -bench 'Verify|Peers' -count 3 on 2 shared vCPUs (AMD EPYC, busy), Go 1.26.8, best of three: hit 20 ns,
// one of 1,000 sessions 23, miss 497, forged 712; the peers: HMAC each time 1,641, map with RWMutex 75, sync.Map 99.
func BenchmarkVerifyHit(b *testing.B) {
	d := newDesk(b, SessionConfig{})
	_, token := d.mint(b, demoKey.Secret)
	nowMs := d.nowMs()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Verify(token, nowMs); err != nil {
			b.Fatal(err)
		}
	}
}

// 1,000 sessions in turn, as behind a proxy with many applications.
func BenchmarkVerifyHitOf1000(b *testing.B) {
	d := newDesk(b, SessionConfig{CacheSlots: 1 << 16})
	var tokens [][]byte
	for range 1000 {
		_, token := d.mint(b, demoKey.Secret)
		tokens = append(tokens, token)
	}
	nowMs := d.nowMs()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := d.Verify(tokens[i%len(tokens)], nowMs); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyMiss(b *testing.B) {
	d := newDesk(b, SessionConfig{CacheSlots: 1})
	_, one := d.mint(b, demoKey.Secret)
	_, two := d.mint(b, demoKey.Secret)
	nowMs := d.nowMs()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Verify(one, nowMs); err != nil {
			b.Fatal(err)
		}
		one, two = two, one
	}
}

func BenchmarkVerifyForged(b *testing.B) {
	d := newDesk(b, SessionConfig{})
	_, token := d.mint(b, demoKey.Secret)
	token[len(token)-2] ^= 1
	nowMs := d.nowMs()
	b.ReportAllocs()
	for b.Loop() {
		d.Verify(token, nowMs)
	}
}

func BenchmarkMint(b *testing.B) {
	d := newDesk(b, SessionConfig{})
	key, _ := d.keys.Authenticate(bearer(demoKey.Secret))
	b.ReportAllocs()
	for b.Loop() {
		d.Mint(key, key.Business)
	}
}

// The peers: what a gateway without this package would write.
func BenchmarkPeers(b *testing.B) {
	d := newDesk(b, SessionConfig{})
	session, token := d.mint(b, demoKey.Secret)
	secret := make([]byte, 32)
	b.Run("hmac-each-time", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			raw, err := base64.RawURLEncoding.DecodeString(string(token[len(tokenPrefix):]))
			if err != nil {
				b.Fatal(err)
			}
			mac := hmac.New(sha256.New, secret)
			mac.Write(raw[:len(raw)-macBytes])
			hmac.Equal(mac.Sum(nil), raw[len(raw)-macBytes:])
		}
	})
	b.Run("rwmutex-map", func(b *testing.B) {
		var mu sync.RWMutex
		sessions := map[string]*Session{string(token): &session}
		for b.Loop() {
			mu.RLock()
			s := sessions[string(token)]
			mu.RUnlock()
			if s == nil {
				b.Fatal("not found")
			}
		}
	})
	b.Run("sync-map", func(b *testing.B) {
		var sessions sync.Map
		sessions.Store(string(token), &session)
		for b.Loop() {
			if _, ok := sessions.Load(string(token)); !ok {
				b.Fatal("not found")
			}
		}
	})
}
