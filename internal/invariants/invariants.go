// Package invariants holds the checks that are too costly, or too blunt, to run in a release.
//
// Enabled is a constant set by the build tags "invariants" and "race", so that in any other build everything
// guarded by it is compiled away: the race tests of every room run with the checks on, a release runs without them.
//
// Check is for what must be true whatever a client, a broker or a disk does; Mangle makes the use of a slice that
// is no longer valid show at once instead of on a bad day. Both may be called from any goroutine.
//
//	func (r *Ring) release(frame []byte) {
//		invariants.Check(r.read <= r.write, "read %d is ahead of write %d", r.read, r.write)
//		invariants.Mangle(frame) // whoever still holds a view of the frame now reads 0xDD
//	}
//
// It will not report errors: what can happen to a correct program is an error and belongs to its caller.
package invariants

import "fmt"

// mangled is the byte that Mangle writes: not ASCII, not a valid UTF-8 start, and easy to see in a dump.
const mangled = 0xDD

// Check panics with BUG and the message when cond is false. In a release it does nothing, but its arguments are
// still evaluated where they are more than names: put costly ones behind `if invariants.Enabled`.
func Check(cond bool, format string, args ...any) {
	if Enabled && !cond {
		panic("BUG: " + fmt.Sprintf(format, args...))
	}
}

// Mangle overwrites bytes that nobody may read any more. In a release it does nothing.
func Mangle(b []byte) {
	if Enabled {
		for i := range b {
			b[i] = mangled
		}
	}
}
