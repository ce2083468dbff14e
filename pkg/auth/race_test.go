//go:build race

package auth

// raceDetector: sync.Pool forgets at random under it, so allocations can not be counted.
const raceDetector = true
