package control

import (
	"maps"
	"slices"
)

// MetersMax is the number of meters that a business may have in each mode, inactive ones included. It is no setting:
// gateways that bounded differently would come to different meters from the same log.
const MetersMax = 10_000

// scopeKey is what meters' names and Idempotency-Keys are unique in.
type scopeKey struct {
	business string
	livemode bool
}

// Snapshot is the meters and the destinations as of an offset of the log. It is immutable.
type Snapshot struct {
	scopes map[scopeKey]*view
	all    []*Destination // made anew when a destination has changed
}

// view is the meters and the destinations of one scope. The numbers in the maps count from the first meter on.
type view struct {
	newest       []*Meter
	byID, byName map[string]int
	destinations []*Destination // the newest first
}

func (v *view) at(i int) *Meter { return v.newest[len(v.newest)-1-i] }

// Meter returns the meter of that id, or nil.
func (s *Snapshot) Meter(business string, livemode bool, id string) *Meter {
	v := s.scopes[scopeKey{business, livemode}]
	if v == nil {
		return nil
	}
	if i, ok := v.byID[id]; ok {
		return v.at(i)
	}
	return nil
}

// Named returns the meter of that event name, active or not, or nil.
func (s *Snapshot) Named(business string, livemode bool, eventName string) *Meter {
	v := s.scopes[scopeKey{business, livemode}]
	if v == nil {
		return nil
	}
	if i, ok := v.byName[eventName]; ok {
		return v.at(i)
	}
	return nil
}

// Meters returns the meters of a business, the newest first. The slice is shared: do not change it.
func (s *Snapshot) Meters(business string, livemode bool) []*Meter {
	if v := s.scopes[scopeKey{business, livemode}]; v != nil {
		return v.newest
	}
	return nil
}

// scope is the meters and the destinations of one scope while they are folded.
type scope struct {
	meters       []*Meter // the oldest first
	byID, byName map[string]int
	shared       bool           // a view has the maps, so that they must be copied before they grow
	destinations []*Destination // the oldest first; those that were removed are not in it
	holds        bool           // it is among the state's holders
	last         view
	keys         memory

	// Since the last view.
	changed             bool // a meter
	destinationsChanged bool
}

func newScope() *scope {
	return &scope{byID: make(map[string]int), byName: make(map[string]int)}
}

func (s *scope) meter(id string) *Meter {
	if i, ok := s.byID[id]; ok {
		return s.meters[i]
	}
	return nil
}

func (s *scope) named(name string) *Meter {
	if i, ok := s.byName[name]; ok {
		return s.meters[i]
	}
	return nil
}

func (s *scope) add(m *Meter) {
	if s.shared {
		s.byID, s.byName, s.shared = maps.Clone(s.byID), maps.Clone(s.byName), false
	}
	s.byID[m.ID], s.byName[m.EventName] = len(s.meters), len(s.meters)
	s.meters = append(s.meters, m)
	s.changed = true
}

func (s *scope) replace(m *Meter) {
	s.meters[s.byID[m.ID]] = m
	s.changed = true
}

func (s *scope) view() *view {
	if s.changed {
		s.last.newest, s.last.byID, s.last.byName = reversed(s.meters), s.byID, s.byName
		s.shared, s.changed = true, false
	}
	if s.destinationsChanged {
		s.last.destinations, s.destinationsChanged = reversed(s.destinations), false
	}
	v := s.last
	return &v
}

func reversed[T any](list []T) []T {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}
