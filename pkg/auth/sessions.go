package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// SessionConfig is how sessions live. The zero value is ready to use.
type SessionConfig struct {
	// TTL is the life of a token; 0 means 15 minutes, as at Stripe. At most 24 hours, and at least a second.
	TTL time.Duration
	// Grace is how long an expired token is still accepted, for clients whose clock is behind or whose request was
	// on its way; 0 means 30 seconds, at most an hour. It is never told to clients.
	Grace time.Duration
	// CacheSlots is how many verified tokens are remembered: a power of two, 0 means 8192. A slot that is in use holds
	// at most 400 bytes. With fewer slots than live sessions tokens push each other out, and each costs an HMAC again.
	CacheSlots int
	// Now gives the time for Mint and Unseal; nil means time.Now.
	Now func() time.Time
	// Random gives session ids and the cache's seed; nil means crypto/rand.
	Random io.Reader
}

func (c SessionConfig) withDefaults() SessionConfig {
	if c.TTL == 0 {
		c.TTL = 15 * time.Minute
	}
	if c.Grace == 0 {
		c.Grace = 30 * time.Second
	}
	if c.CacheSlots == 0 {
		c.CacheSlots = 8192
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	return c
}

func (c SessionConfig) validate() error {
	switch {
	case c.TTL < time.Second || c.TTL > 24*time.Hour:
		return fmt.Errorf("session TTL %v: it must be between 1s and 24h", c.TTL)
	case c.Grace < 0 || c.Grace > time.Hour:
		return fmt.Errorf("session grace %v: it must be between 0 and 1h", c.Grace)
	case c.CacheSlots < 1 || c.CacheSlots > 1<<20 || c.CacheSlots&(c.CacheSlots-1) != 0:
		return fmt.Errorf("session cache slots %d: it must be a power of two up to %d", c.CacheSlots, 1<<20)
	}
	return nil
}

// Session is a meter event session: what a verified token says. It is immutable and may be kept.
type Session struct {
	ID [16]byte
	// Business is for whom the events are: the key's own business, or an account that it may act for.
	Business             string
	Livemode             bool
	KeyID                [8]byte
	CreatedMs, ExpiresMs int64
	// SigningKey is the id of the key that signed the token.
	SigningKey [4]byte
	// Key is the API key that opened the session as it is configured now, with the permissions that it has now.
	Key *Key
}

// Sessions mints and verifies session tokens under the Keys and SigningKeys in force.
type Sessions struct {
	config SessionConfig
	// state is replaced as a whole: who has loaded it works with keys, signing keys and cache of one moment.
	state atomic.Pointer[sessionState]
}

type sessionState struct {
	keys    *Keys
	signing *SigningKeys
	cache   tokenCache
}

// NewSessions starts with these keys.
func NewSessions(config SessionConfig, keys *Keys, signing *SigningKeys) (*Sessions, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	s := &Sessions{config: config}
	if err := s.Update(keys, signing); err != nil {
		return nil, err
	}
	return s, nil
}

// Update replaces keys and signing keys, and forgets all verified tokens: from its return on no Verify that begins
// accepts a token of a key that is gone. nil leaves what is in force.
func (s *Sessions) Update(keys *Keys, signing *SigningKeys) error {
	for {
		old := s.state.Load()
		next := &sessionState{keys: keys, signing: signing}
		if old != nil && keys == nil {
			next.keys = old.keys
		}
		if old != nil && signing == nil {
			next.signing = old.signing
		}
		if next.keys == nil || next.signing == nil {
			return errors.New("sessions need API keys and signing keys")
		}
		var err error
		if next.cache, err = newTokenCache(s.config.CacheSlots, s.config.Random); err != nil {
			return err
		}
		if s.state.CompareAndSwap(old, next) {
			return nil
		}
	}
}

// Keys is the API keys in force.
func (s *Sessions) Keys() *Keys { return s.state.Load().keys }

// Keep is how long after its last use for signing a key must still verify: a token's life and grace. It is the keepFor
// of SigningKeys.Rotate.
func (s *Sessions) Keep() time.Duration { return s.config.TTL + s.config.Grace }

// Mint opens a session for key, to stream the events of business, and returns it with its token. business is the key's
// own or one of its accounts; for another the error is ErrNotActingFor. Whether the key has the permission to open a
// session is the caller's to check.
func (s *Sessions) Mint(key *Key, business string) (Session, []byte, error) {
	business, may := actsFor(key, business)
	if !may {
		return Session{}, nil, ErrNotActingFor
	}
	nowMs, signer := s.config.Now().UnixMilli(), s.state.Load().signing.signer()
	session := Session{
		Business: business, Livemode: key.Livemode, KeyID: key.ID, Key: key,
		CreatedMs: nowMs, ExpiresMs: nowMs + s.config.TTL.Milliseconds(), SigningKey: signer.id,
	}
	if _, err := io.ReadFull(s.config.Random, session.ID[:]); err != nil {
		return Session{}, nil, fmt.Errorf("random bytes for a session id: %w", err)
	}
	return session, appendToken(nil, signer, &session), nil
}

// Token makes the token of a session once more: the same text wherever the key that signed it is known, also when that
// verifies nothing any more. Elsewhere the key that signs now says the same, in another text. What a token is worth is
// Verify's to say. session.Key is not needed.
func (s *Sessions) Token(session *Session) []byte {
	signing := s.state.Load().signing
	signer := signing.find(session.SigningKey)
	if signer == nil {
		signer = signing.signer()
	}
	return appendToken(nil, signer, session)
}

// Verify returns the session of a token. nowMs is the time of receipt in Unix milliseconds. A token that was verified
// before costs a comparison, a refused one no allocation. The error is ErrKeyAsToken, ErrNotAToken,
// ErrUnknownSigningKey, ErrExpired or ErrRevoked.
func (s *Sessions) Verify(token []byte, nowMs int64) (*Session, error) {
	state := s.state.Load()
	if entry := state.cache.get(token); entry != nil {
		if nowMs >= entry.endMs {
			return nil, ErrExpired
		}
		return &entry.session, nil
	}
	return s.verify(state, token, nowMs)
}

func (s *Sessions) verify(state *sessionState, token []byte, nowMs int64) (*Session, error) {
	c, signer, err := state.signing.open(token, nowMs)
	if err != nil {
		return nil, err
	}
	// A token also ends with the key that signed it, and for the client that is the same: it opens a new session.
	endMs := min(c.expiresMs+s.config.Grace.Milliseconds(), signer.untilMs())
	if nowMs >= endMs {
		return nil, ErrExpired
	}
	key := state.keys.ByID(c.fingerprint)
	if key == nil || key.Livemode != c.livemode {
		return nil, ErrRevoked
	}
	business, may := actsFor(key, c.business[:c.businessBytes])
	if !may {
		return nil, ErrRevoked
	}
	entry := &cacheEntry{
		token: string(token),
		endMs: endMs,
		session: Session{
			ID: c.session, Business: business, Livemode: key.Livemode, KeyID: key.ID, Key: key,
			CreatedMs: c.createdMs, ExpiresMs: c.expiresMs, SigningKey: signer.id,
		},
	}
	state.cache.put(entry)
	return &entry.session, nil
}
