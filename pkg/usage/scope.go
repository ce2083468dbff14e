package usage

import (
	"github.com/zeebo/xxh3"

	"tollgate/pkg/control"
	"tollgate/pkg/dedup"
	"tollgate/pkg/meterevent"
)

// meters is where a partition finds meters: a snapshot of the control plane.
type meters interface {
	named(s *Scope) *control.Meter
}

type snapshotMeters struct{ *control.Snapshot }

func (s snapshotMeters) named(o *Scope) *control.Meter {
	return s.Named(o.Business, o.Livemode, o.EventName)
}

// scope is what records of one key have in common, remembered from one to the next.
type scope struct {
	Scope
	spread bool     // the key names one bucket of a meter that is spread by customer
	hash   [16]byte // of business, mode and name, keyed by the seed
	meter  *control.Meter
	asOf   meters // the snapshot that meter is of
	series map[string]*series
	parts  [2]*part // of its meter, and of names without one: those used last
}

// matches says whether a record is of this scope: a key says so too, but only ours are known to agree.
func (s *scope) matches(r *meterevent.Record) bool {
	return string(r.EventName) == s.EventName && string(r.Business) == s.Business && r.Livemode == s.Livemode
}

// scopeOf finds a record's scope.
func (p *partition) scopeOf(key []byte, r *meterevent.Record) *scope {
	s := p.scopes[string(key)]
	if s == nil || !s.matches(r) {
		s = p.newScope(key, r)
	}
	if s.asOf != p.meters {
		s.meter, s.asOf = p.meters.named(&s.Scope), p.meters
	}
	return s
}

func (p *partition) newScope(key []byte, r *meterevent.Record) *scope {
	s := &scope{Scope: Scope{Business: string(r.Business), Livemode: r.Livemode, EventName: string(r.EventName)}}
	plain := meterevent.AppendKey(nil, s.Business, s.Livemode, r.EventName)
	s.spread = len(key) > len(plain)
	s.hash = p.store.scopeHash(&s.Scope)
	s.series = make(map[string]*series)
	if len(p.scopes) >= p.cfg.ScopesMax {
		p.forget()
	}
	p.scopes[string(key)] = s
	return s
}

// forget begins anew with what is remembered. What waits for a flush is not in it.
func (p *partition) forget() {
	clear(p.scopes)
	p.seriesKnown = 0
}

func (s *store) scopeHash(o *Scope) (hash [16]byte) {
	b := appendString(make([]byte, 0, 128), o.Business)
	mode := byte(0)
	if o.Livemode {
		mode = 1
	}
	b = append(append(b, mode), o.EventName...)
	return xxh3.Hash128Seed(b, s.seed).Bytes()
}

// identify is the index's name for an identifier in a scope. The index keeps hashes of 128 bits with a seed that nobody
// outside knows, so no sender can make two identifiers meet.
func (s *store) identify(scope *[16]byte, identifier []byte) dedup.ID {
	var buf [16 + 4*meterevent.IdentifierCharsMax]byte
	b := append(append(buf[:0], scope[:]...), identifier...)
	h := xxh3.Hash128Seed(b, s.seed)
	return dedup.ID{h.Hi, h.Lo}
}

// What else the index holds about an identifier stands under names derived from the identifier's.
const (
	aboutRefusal   = 0x9e3779b97f4a7c15 // with the hour: the first refused event of it; the kind is the reason's number
	aboutPending   = 0xc2b2ae3d27d4eb4f // the first cancel that found no event; one that is repeated waits no longer
	aboutCancel    = 0x165667b19e3779f9 // with the event's offset: the cancel that took it out
	aboutDuplicate = 0x27d4eb2f165667c5 // with the event's offset: the first duplicate of it
)

func about(id dedup.ID, what uint64) dedup.ID { return dedup.ID{id[0] ^ what, id[1] + what} }

// aboutEvent is of an offset or of an hour.
func aboutEvent(id dedup.ID, what uint64, n int64) dedup.ID {
	return dedup.ID{id[0] ^ what, id[1] + what + uint64(n)*0x9e3779b97f4a7c15}
}

// findRefusal finds the newest hour's refusal.
func (p *partition) findRefusal(id dedup.ID, clockMs int64) (e dedup.Entry, found bool, err error) {
	now := floorDiv(clockMs, hourMs)
	for hour := now; hour >= now-24; hour-- {
		if e, found, err = p.index.Find(aboutEvent(id, aboutRefusal, hour), clockMs); found || err != nil {
			return e, found, err
		}
	}
	return e, false, nil
}

// The kinds of an event's own entry in the index.
const (
	kindCounted   = 0
	kindCancelled = 1 // by a cancel that came first
)

// latestMeters is the newest snapshot, for answers.
func (p *partition) latestMeters() meters {
	return snapshotMeters{p.cfg.Control.Snapshot()}
}
