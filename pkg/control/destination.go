package control

import (
	"cmp"
	"maps"
	"slices"
)

// DestinationsMax is the number of event destinations that a business may have in each mode, those that were removed not
// included. It is no setting, for the reason of MetersMax.
const DestinationsMax = 100

// DestinationType is where a destination's events go.
type DestinationType string

// The types of destinations.
const (
	WebhookEndpoint DestinationType = "webhook_endpoint"
	KafkaTopic      DestinationType = "kafka_topic"
)

// Destination is an event destination as of a snapshot. It is immutable, with everything that it points at.
type Destination struct {
	ID, Business         string
	Livemode             bool
	Type                 DestinationType
	Topic                string // of a KafkaTopic
	CreatedMs, UpdatedMs int64

	Settings

	// Secret signs what is delivered to a WebhookEndpoint, whsec_…; OldSecret signs as well until OldUntilMs, and stays
	// here, unused, after that.
	Secret, OldSecret string
	OldUntilMs        int64

	Enabled        bool
	DisabledReason string // while it is not enabled: "user", or why the gateway did it
	// EnabledMs is since when it is enabled, 0 while it is not: what was created before is not delivered.
	EnabledMs int64
}

// Settings are what can be changed of a destination. They are written as a whole.
type Settings struct {
	Name, Description string
	EnabledEvents     []string
	Metadata          map[string]string // nil when there is none
	URL               string            // of a WebhookEndpoint
}

// NewDestination is a destination that does not exist yet. A WebhookEndpoint has a Secret and a URL, a KafkaTopic has a
// Topic and neither.
type NewDestination struct {
	Type   DestinationType
	Topic  string
	Secret string
	Settings
}

// DestinationUpdate changes settings of the destination of that id. nil fields stay as they are.
type DestinationUpdate struct {
	ID                     string
	Name, Description, URL *string
	EnabledEvents          []string
	Metadata               map[string]*string // nil values remove their key
}

// DestinationStatus enables the destination of that id, or disables it for a reason, which is any short text.
type DestinationStatus struct {
	ID      string
	Enabled bool
	Reason  string // not looked at when Enabled
}

// SecretRoll gives the destination of that id another secret; the one until now signs as well until OldUntilMs, and not
// at all when that has passed.
type SecretRoll struct {
	ID, Secret string
	OldUntilMs int64
}

// DestinationRemoval removes the destination of that id for good.
type DestinationRemoval struct{ ID string }

// Destination returns the destination of that id, or nil.
func (s *Snapshot) Destination(business string, livemode bool, id string) *Destination {
	return find(s.Destinations(business, livemode), id)
}

// Destinations returns the destinations of a business, the newest first. The slice is shared: do not change it.
func (s *Snapshot) Destinations(business string, livemode bool) []*Destination {
	if v := s.scopes[scopeKey{business, livemode}]; v != nil {
		return v.destinations
	}
	return nil
}

// AllDestinations returns the destinations of all businesses and modes, those of one together and the newest first. It
// costs nothing: the list is made when a destination changes. The slice is shared: do not change it.
func (s *Snapshot) AllDestinations() []*Destination { return s.all }

// holder is a scope that has, or had, a destination.
type holder struct {
	scopeKey
	at *scope
}

// hold puts a scope among the holders, which are sorted: by business, test mode first.
func (s *state) hold(k scopeKey, at *scope) {
	if at.holds {
		return
	}
	at.holds = true
	i, _ := slices.BinarySearchFunc(s.holders, k, func(h holder, k scopeKey) int {
		switch c := cmp.Compare(h.business, k.business); {
		case c != 0 || h.livemode == k.livemode:
			return c
		case k.livemode:
			return -1
		}
		return 1
	})
	s.holders = slices.Insert(s.holders, i, holder{k, at})
}

// allDestinations lists the destinations of all views.
func (s *state) allDestinations() (all []*Destination) {
	for _, h := range s.holders {
		all = append(all, h.at.last.destinations...)
	}
	return all
}

// find looks through all of them: there are at most DestinationsMax.
func find(list []*Destination, id string) *Destination {
	for _, d := range list {
		if d.ID == id {
			return d
		}
	}
	return nil
}

func (s *Settings) equal(o *Settings) bool {
	return s.Name == o.Name && s.Description == o.Description && s.URL == o.URL &&
		slices.Equal(s.EnabledEvents, o.EnabledEvents) && maps.Equal(s.Metadata, o.Metadata)
}

// merge returns the settings after an update. It shares with both what it does not change.
func (s *Settings) merge(u *DestinationUpdate) *Settings {
	n := *s
	for _, f := range []struct{ to, from *string }{{&n.Name, u.Name}, {&n.Description, u.Description}, {&n.URL, u.URL}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if u.EnabledEvents != nil {
		n.EnabledEvents = u.EnabledEvents
	}
	if len(u.Metadata) == 0 {
		return &n
	}
	n.Metadata = make(map[string]string, len(s.Metadata)+len(u.Metadata))
	maps.Copy(n.Metadata, s.Metadata)
	for k, v := range u.Metadata {
		if v == nil {
			delete(n.Metadata, k)
		} else {
			n.Metadata[k] = *v
		}
	}
	if len(n.Metadata) == 0 {
		n.Metadata = nil
	}
	return &n
}
