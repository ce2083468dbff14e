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
	source *rand.ChaCha8 // guarded by mu
}

func newDice(random io.Reader) (*dice, error) {
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, fmt.Errorf("httpd: random bytes: %w", err)
	}
	return &dice{source: rand.NewChaCha8(seed)}, nil
}

// cast returns a new generator. ChaCha8 is a stream cipher: who sees one's output learns nothing of another's.
func (d *dice) cast() *rand.ChaCha8 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var seed [32]byte
	_, _ = d.source.Read(seed[:]) // it never fails
	return rand.NewChaCha8(seed)
}
