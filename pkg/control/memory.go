package control

import "slices"

// changesMax is how many Idempotency-Keys of changes that create nothing are kept for each business and mode; of
// more, the oldest are forgotten first. createsMax is the same for keys that created something: every meter that a
// business may have, and ten thousand destinations, which come and go.
const (
	changesMax = 10_000
	createsMax = MetersMax + 10_000
)

const (
	hourMs       = 60 * 60 * 1000
	keepShortMs  = 24 * hourMs      // v1
	keepLongerMs = 30 * 24 * hourMs // v2
)

// use is what an Idempotency-Key was used for: only changes that took effect are remembered.
type use struct {
	api, key    string
	fingerprint [16]byte
	atMs        int64 // by the proposer's clock
	created     bool  // it created a meter or a destination
	verdict     Verdict
}

// replay is the verdict of the same change once more.
func (u *use) replay() Verdict {
	v := u.verdict
	v.Replayed = true
	return v
}

func (u *use) expired(atMs int64) bool {
	keep := int64(keepShortMs)
	if u.api == "v2" {
		keep = keepLongerMs
	}
	return atMs-u.atMs > keep
}

// memory is the Idempotency-Keys of one scope.
type memory struct {
	uses map[usedKey][]*use // several of one key: proposals that were in flight at once, or an expired one
	// queues hold the same in the log's order: creates apart, because of them the fold must forget by a rule that looks
	// at creates alone.
	creates, changes []*use
}

type usedKey struct{ api, key string }

// find returns the use of a key for the same parameters, or else says whether it was used for others.
func (m *memory) find(i *Idempotency, atMs int64, createsOnly bool) (same *use, reused bool) {
	for _, u := range m.uses[usedKey{i.API, i.Key}] {
		switch {
		case u.expired(atMs) || createsOnly && !u.created:
		case u.fingerprint == i.Fingerprint:
			return u, false
		default:
			reused = true
		}
	}
	return nil, reused
}

// remember adds a use and forgets what is too old by its clock, and too many.
func (m *memory) remember(u *use) {
	if m.uses == nil {
		m.uses = make(map[usedKey][]*use)
	}
	k := usedKey{u.api, u.key}
	m.uses[k] = append(m.uses[k], u)
	if u.created {
		m.creates = m.trim(append(m.creates, u), u.atMs, createsMax)
	} else {
		m.changes = m.trim(append(m.changes, u), u.atMs, changesMax)
	}
}

func (m *memory) trim(queue []*use, atMs int64, most int) []*use {
	for len(queue) > most || queue[0].expired(atMs) {
		u, k := queue[0], usedKey{queue[0].api, queue[0].key}
		left := slices.DeleteFunc(m.uses[k], func(other *use) bool { return other == u })
		if len(left) == 0 {
			delete(m.uses, k)
		} else {
			m.uses[k] = left
		}
		queue[0] = nil
		queue = queue[1:]
	}
	return queue
}
