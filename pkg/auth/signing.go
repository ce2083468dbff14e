package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Bounds of a set of signing keys.
const (
	// signingKeysMax is how many keys a set holds.
	signingKeysMax = 16
	// signingSecretBytesMin is the shortest secret: as long as the MAC.
	signingSecretBytesMin = 32
	// signingSecretBytesMax is the longest.
	signingSecretBytesMax = 128
)

// SigningKeys is the secrets of session tokens and sealed texts: the first signs, all verify. It is immutable.
//
// One gateway rotates with Rotate. Several that share their keys by configuration are rolled in three steps, each
// finished on all of them before the next: add the new key at the end; move it to the front; remove the old one, once
// a token's life and grace have passed. In any other order a gateway meets tokens that it can not verify yet.
type SigningKeys struct {
	keys []*signingKey
}

type signingKey struct {
	// id names the key inside a token. It is derived from the secret, so that gateways agree on it by themselves.
	id      [4]byte
	secret  []byte
	created time.Time // zero: not known
	until   time.Time // from then on the key verifies nothing; zero, as for the one that signs: no end
	macs    sync.Pool // of *macState
}

// macState is an HMAC ready to be used again, and room for what goes through it: behind an interface all of that would
// be on the heap, once a token.
type macState struct {
	hash interface {
		io.Writer
		Sum([]byte) []byte
		Reset()
	}
	raw  [tokenRawBytesMax]byte
	text [tokenBytesMax]byte
	sum  [sha256.Size]byte
}

func newSigningKey(secret []byte, created, until time.Time) *signingKey {
	k := &signingKey{secret: bytes.Clone(secret), created: created, until: until}
	// Two keys are derived, so that an operator who uses one secret for two things does not weaken either.
	copy(k.id[:], derive(secret, "tollgate session token key id v1"))
	macKey := derive(secret, "tollgate session token v1")
	k.macs.New = func() any { return &macState{hash: hmac.New(sha256.New, macKey)} }
	return k
}

func derive(secret []byte, label string) []byte {
	h := hmac.New(sha256.New, secret)
	io.WriteString(h, label)
	return h.Sum(nil)
}

// sign puts the MAC of message into s.sum. message must be on the heap already, s.raw for instance.
func (s *macState) sign(message []byte) {
	s.hash.Reset()
	s.hash.Write(message)
	s.hash.Sum(s.sum[:0])
}

// untilMs is the moment from which the key verifies nothing, in Unix milliseconds.
func (k *signingKey) untilMs() int64 {
	if k.until.IsZero() {
		return 1<<63 - 1
	}
	return k.until.UnixMilli()
}

// NewSigningKeys makes a set of one key from random.
func NewSigningKeys(random io.Reader, now time.Time) (*SigningKeys, error) {
	key, err := randomSigningKey(random, now)
	if err != nil {
		return nil, err
	}
	return &SigningKeys{keys: []*signingKey{key}}, nil
}

func randomSigningKey(random io.Reader, now time.Time) (*signingKey, error) {
	var secret [signingSecretBytesMin]byte
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return nil, fmt.Errorf("random bytes for a signing key: %w", err)
	}
	return newSigningKey(secret[:], now.UTC().Truncate(time.Second), time.Time{}), nil
}

// Rotate returns a set that signs with a new key. The key that signed until now verifies for keepFor longer, which must
// be at least a token's life and grace; keys whose time is over are left out.
func (s *SigningKeys) Rotate(random io.Reader, now time.Time, keepFor time.Duration) (*SigningKeys, error) {
	key, err := randomSigningKey(random, now)
	if err != nil {
		return nil, err
	}
	rotated := []*signingKey{key}
	for i, old := range s.keys {
		if i == 0 {
			// Rounded up: the text form keeps whole seconds.
			old = newSigningKey(old.secret, old.created, now.UTC().Add(keepFor+time.Second).Truncate(time.Second))
		}
		if old.until.IsZero() || old.until.After(now) {
			rotated = append(rotated, old)
		}
	}
	next := &SigningKeys{keys: rotated}
	if err := next.check(); err != nil {
		return nil, err
	}
	return next, nil
}

// Created is when the signing key was made; zero when that is not known.
func (s *SigningKeys) Created() time.Time { return s.keys[0].created }

// Len is the number of keys.
func (s *SigningKeys) Len() int { return len(s.keys) }

func (s *SigningKeys) signer() *signingKey { return s.keys[0] }

// find returns the key with this id, nil when there is none.
func (s *SigningKeys) find(id [4]byte) *signingKey {
	for _, k := range s.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

func (s *SigningKeys) check() error {
	if len(s.keys) == 0 {
		return errors.New("there is no signing key")
	}
	if len(s.keys) > signingKeysMax {
		return fmt.Errorf("there are %d signing keys; at most %d are possible", len(s.keys), signingKeysMax)
	}
	for i, k := range s.keys {
		for j, other := range s.keys[:i] {
			if k.id == other.id {
				return fmt.Errorf("signing keys %d and %d are the same", j+1, i+1)
			}
		}
	}
	return nil
}
