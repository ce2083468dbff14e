package control

import "maps"

// MetersMax is the number of meters that a business may have in each mode, inactive ones included. It is no setting:
// gateways that bounded differently would come to different meters from the same log.
const MetersMax = 10_000

// scopeKey is what meters' names and Idempotency-Keys are unique in.
type scopeKey struct {
	business string
	livemode bool
}

// Snapshot is the meters as of an offset of the log. It is immutable.
type Snapshot struct {
	scopes map[scopeKey]*view
}

// view is the meters of one scope. The numbers in the maps count from the first meter on.
type view struct {
	newest       []*Meter
	byID, byName map[string]int
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

// scope is the meters of one scope while they are folded.
type scope struct {
	meters       []*Meter // the oldest first
	byID, byName map[string]int
	shared       bool // a view has the maps, so that they must be copied before they grow
	changed      bool // since the last view
	keys         memory
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
	v := &view{newest: make([]*Meter, 0, len(s.meters)), byID: s.byID, byName: s.byName}
	for i := len(s.meters) - 1; i >= 0; i-- {
		v.newest = append(v.newest, s.meters[i])
	}
	s.shared, s.changed = true, false
	return v
}
