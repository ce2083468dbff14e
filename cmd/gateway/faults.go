package main

import (
	"sync"
	"time"
)

// faults bounds the lines about what goes on and on while a room tries by itself: one a minute says that it does. It may be
// used from several goroutines.
type faults struct {
	mu   sync.Mutex
	last map[string]time.Time // guarded by mu; as many as there are kinds of faults
}

// due tells whether it is time for another line about what.
func (f *faults) due(what string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if last, ok := f.last[what]; ok && now.Sub(last) < reasonEvery {
		return false
	}
	if f.last == nil {
		f.last = map[string]time.Time{}
	}
	f.last[what] = now
	return true
}
