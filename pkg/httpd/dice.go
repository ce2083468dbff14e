package httpd

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
)

// dice gives every exchange a generator of its own, seeded from Config.Random: ids cost no system call and no lock.
type dice struct {
	mu     sync.Mutex
	source *rand.ChaCha8 // guarded by mu, as is the next
	random io.Reader     // for what must be secret
}

func newDice(random io.Reader) (*dice, error) {
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, fmt.Errorf("httpd: random bytes: %w", err)
	}
	return &dice{source: rand.NewChaCha8(seed), random: random}, nil
}

// secret draws 32 bytes that somebody's trust rests on: from the source itself, and not from a generator whose state lies
// in memory for long.
func (d *dice) secret() (bits [32]byte, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := io.ReadFull(d.random, bits[:]); err != nil {
		return bits, fmt.Errorf("httpd: random bytes: %w", err)
	}
	return bits, nil
}

// cast returns a new generator. ChaCha8 is a stream cipher: who sees one's output learns nothing of another's.
func (d *dice) cast() *rand.ChaCha8 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var seed [32]byte
	_, _ = d.source.Read(seed[:]) // it never fails
	return rand.NewChaCha8(seed)
}
