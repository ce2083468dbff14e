package auth

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"sync/atomic"
)

// tokenCache remembers verified tokens: one slot for each value of a token's hash, the newest wins. It is bounded by
// its slots, has no lock, and is never cleaned: Update replaces the whole of it, and expiry is checked at each hit.
//
// Only verified tokens get in, and a hit compares the whole text, so a forger gains nothing from a hash that collides.
// The hash takes the last characters, which are the MAC's and therefore as good as random, and multiplies them with a
// seed that only this process knows: one business can not aim its sessions at another's slots.
//
// The comparison need not take constant time. What it leaks is how many whole words of a guess are right, and a word is
// at least 8 characters: whoever could tell single nanoseconds apart across a network would still have to guess 48
// random bits at once, of session id or MAC, to see a difference. The comparison that does decide about a MAC, in
// token.go, is constant-time.
type tokenCache struct {
	slots []atomic.Pointer[cacheEntry]
	seed  uint64 // odd
	shift int    // 64 - log2(len(slots))
}

// cacheEntry is immutable.
type cacheEntry struct {
	token   string
	endMs   int64 // the first millisecond at which the token is refused
	session Session
}

func newTokenCache(slots int, random io.Reader) (tokenCache, error) {
	var seed [8]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return tokenCache{}, fmt.Errorf("random bytes for the token cache: %w", err)
	}
	return tokenCache{
		slots: make([]atomic.Pointer[cacheEntry], slots),
		seed:  binary.LittleEndian.Uint64(seed[:]) | 1,
		shift: 64 - bits.TrailingZeros(uint(slots)),
	}, nil
}

// get returns the entry of a token that was verified, nil when it is not remembered.
func (c *tokenCache) get(token []byte) *cacheEntry {
	if len(token) < tokenBytesMin {
		return nil
	}
	entry := c.slots[c.index(binary.LittleEndian.Uint64(token[len(token)-8:]))].Load()
	if entry == nil || entry.token != string(token) {
		return nil
	}
	return entry
}

func (c *tokenCache) put(entry *cacheEntry) {
	tail := entry.token[len(entry.token)-8:]
	c.slots[c.index(binary.LittleEndian.Uint64([]byte(tail)))].Store(entry)
}

func (c *tokenCache) index(tail uint64) uint64 {
	return tail * c.seed >> c.shift
}
