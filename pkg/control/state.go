package control

import "maps"

// state is the fold: what the records so far amount to. It is one goroutine's, and knows no clock, no log and no
// gateway: from the same records it comes to the same everywhere.
type state struct {
	scopes  map[scopeKey]*scope
	holders []holder // of destinations
	last    *Snapshot

	// Set by tests, which want to see the bounds.
	metersMax, destinationsMax int
}

func newState() *state {
	return &state{scopes: make(map[scopeKey]*scope), last: &Snapshot{}, metersMax: MetersMax, destinationsMax: DestinationsMax}
}

// apply folds one proposal and returns what became of it.
func (s *state) apply(p *proposal) Verdict {
	if p.object == objectMark {
		return Verdict{}
	}
	k := scopeKey{p.change.Business, p.change.Livemode}
	at := s.scopes[k]
	if at == nil {
		if p.newID == "" {
			return Verdict{Refusal: p.noSuch()}
		}
		at = newScope()
		s.scopes[k] = at
	}
	switch {
	case p.change.Create != nil:
		return at.create(p, s.metersMax)
	case p.change.CreateDestination != nil:
		s.hold(k, at)
		return at.createDestination(p, s.destinationsMax)
	case p.destination():
		return at.changeDestination(p)
	}
	return at.change(p)
}

// noSuch is the refusal of a change of what is not there.
func (p *proposal) noSuch() Refusal {
	if p.destination() {
		return NoSuchDestination
	}
	return NoSuchMeter
}

// create is the one proposal about meters that the fold refuses, looking at nothing but earlier creates.
func (s *scope) create(p *proposal, metersMax int) Verdict {
	i, c := p.change.Idempotency, p.change.Create
	if i != nil {
		if v, ok := s.keys.replay(i, p.atMs, true); ok {
			return v
		}
	}
	switch {
	case s.named(c.EventName) != nil, s.meter(p.newID) != nil:
		return Verdict{Refusal: NameTaken}
	case len(s.meters) >= metersMax:
		return Verdict{Refusal: TooManyMeters}
	}
	m := &Meter{
		ID: p.newID, Business: p.change.Business, Livemode: p.change.Livemode,
		DisplayName: c.DisplayName, EventName: c.EventName, Formula: c.Formula,
		CustomerKey: c.CustomerKey, ValueKey: c.ValueKey, Window: c.Window,
		CreatedMs: p.atMs, UpdatedMs: p.atMs, Active: true,
	}
	s.add(m)
	return s.took(p, Verdict{Meter: m})
}

// change is a change of a name or a status, or a key that was used for one that already was so. What it sets, it sets
// whatever was before; an Idempotency-Key only decides what is answered.
func (s *scope) change(p *proposal) Verdict {
	m := s.meter(p.subject())
	if m == nil {
		return Verdict{Refusal: NoSuchMeter}
	}
	switch p.object {
	case objectDisplayName:
		m = m.withName(p.change.Rename.DisplayName, p.atMs)
		s.replace(m)
	case objectStatus:
		m = m.withStatus(p.change.Status.Active, p.atMs)
		s.replace(m)
	case objectUnchanged:
		if c := p.change.Status; c != nil && m.Active != c.Active {
			return Verdict{Refusal: changedMeanwhile}
		}
	}
	return s.tookOrReplay(p, Verdict{Meter: m})
}

// tookOrReplay remembers what a proposal's key was used for, and answers what it was used for before if it was.
func (s *scope) tookOrReplay(p *proposal, v Verdict) Verdict {
	if i := p.change.Idempotency; i != nil {
		// It is remembered as of now, too: with an earlier record compacted, this one would be the first.
		if u, _ := s.keys.find(i, p.atMs, false); u != nil {
			s.took(p, u.verdict)
			return u.replay()
		}
	}
	return s.took(p, v)
}

// took remembers what a proposal's key was used for.
func (s *scope) took(p *proposal, v Verdict) Verdict {
	if i := p.change.Idempotency; i != nil {
		s.keys.remember(&use{
			api: i.API, key: i.Key, fingerprint: i.Fingerprint,
			atMs: p.atMs, created: p.newID != "", verdict: v,
		})
	}
	return v
}

// replay is the verdict that a key's use before this one asks for; ok is false when there was none.
func (m *memory) replay(i *Idempotency, atMs int64, createsOnly bool) (v Verdict, ok bool) {
	same, reused := m.find(i, atMs, createsOnly)
	switch {
	case same != nil:
		return same.replay(), true
	case reused:
		return Verdict{Refusal: KeyReused}, true
	}
	return Verdict{}, false
}

// replay looks up the use of a key as of a time.
func (s *state) replay(business string, livemode bool, i *Idempotency, atMs int64) (Verdict, bool) {
	if at := s.scopes[scopeKey{business, livemode}]; at != nil {
		return at.keys.replay(i, atMs, false)
	}
	return Verdict{}, false
}

// snapshot returns the meters and the destinations as they are. It copies what changed since the last one: the lists of
// each business with a change, its maps when it has a new meter, and the list of all destinations when one changed. To
// load many records, apply them all and call it once.
func (s *state) snapshot() *Snapshot {
	var scopes map[scopeKey]*view
	moved := false
	for k, at := range s.scopes {
		if !at.changed && !at.destinationsChanged {
			continue
		}
		moved = moved || at.destinationsChanged
		if scopes == nil {
			if scopes = maps.Clone(s.last.scopes); scopes == nil {
				scopes = make(map[scopeKey]*view)
			}
		}
		scopes[k] = at.view()
	}
	if scopes != nil {
		s.last = &Snapshot{scopes: scopes, all: s.last.all}
		if moved {
			s.last.all = s.allDestinations()
		}
	}
	return s.last
}
