package httpd

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"tollgate/internal/metrics"
)

// Policy is what is allowed to whom. It is immutable once given to a Server.
type Policy struct {
	// Default holds for every business, and every field that its own Limits leave at 0.
	Default Limits
	// Businesses by id; those that are missing have the defaults.
	Businesses map[string]Business
}

// Business is the policy of one business.
type Business struct {
	Limits Limits
	// Spread names the hot meters, by event name, and over how many keys each is spread by customer: 2 to SpreadMax.
	// A meter that is not in it has one key, and all of its events one order.
	Spread map[string]int
}

// SpreadMax bounds a meter's spread: each adjustment of it becomes as many records.
const SpreadMax = 256

// Limits are events a second; each may be used up at once, and comes back within a second. 0 means the default.
type Limits struct {
	// Events is for all events of the business on all endpoints, adjustments included; the default is 100,000.
	Events int
	// StreamEvents is for one meter event session; the default is 10,000.
	StreamEvents int
	// SyncEvents is for POST /v2/billing/meter_events, and again for POST /v1/billing/meter_events; the default is 1,000.
	SyncEvents int
}

// Stripe's published limits.
const (
	defaultEvents       = 100_000
	defaultStreamEvents = 10_000
	defaultSyncEvents   = 1_000
	limitMax            = 1_000_000_000 // one token a nanosecond, the bucket's resolution
)

func (l Limits) or(d Limits) Limits {
	setDefault(&l.Events, d.Events)
	setDefault(&l.StreamEvents, d.StreamEvents)
	setDefault(&l.SyncEvents, d.SyncEvents)
	return l
}

func (l Limits) validate(whose string) error {
	for _, n := range [...]int{l.Events, l.StreamEvents, l.SyncEvents} {
		if n < 0 || n > limitMax {
			return fmt.Errorf("httpd: a limit of %s is %d events a second; it must be between 1 and %d", whose, n, limitMax)
		}
	}
	return nil
}

func (p *Policy) validate() error {
	if err := p.Default.validate("the default"); err != nil {
		return err
	}
	for id, b := range p.Businesses {
		if err := b.Limits.validate("business " + id); err != nil {
			return err
		}
		for name, n := range b.Spread {
			if n < 1 || n > SpreadMax {
				return fmt.Errorf("httpd: meter %q of business %s is spread over %d; it must be between 1 and %d", name, id, n, SpreadMax)
			}
		}
	}
	return nil
}

// A tenant is one business under the policy in force.
type tenant struct {
	limits Limits
	spread map[string]int
	*purse
}

// purse is what a business has used up of its limits. It outlives policies: a reload neither fills buckets nor
// empties them.
type purse struct {
	all, syncV2, syncV1 bucket
	accepted            *metrics.Counter
}

// tenants is the policy in force, made ready for use. Only businesses whose credentials were verified are asked for, so
// its size is bounded by the configured keys.
type tenants struct {
	policy   *Policy
	fallback Limits
	purses   *purses
	byID     atomic.Pointer[map[string]*tenant] // copied on write, under mu
	mu       sync.Mutex
}

func newTenants(p *Policy, purses *purses) *tenants {
	t := &tenants{
		policy:   p,
		fallback: p.Default.or(Limits{Events: defaultEvents, StreamEvents: defaultStreamEvents, SyncEvents: defaultSyncEvents}),
		purses:   purses,
	}
	t.byID.Store(&map[string]*tenant{})
	return t
}

func (t *tenants) of(id string) *tenant {
	if found := (*t.byID.Load())[id]; found != nil {
		return found
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := *t.byID.Load()
	if found := old[id]; found != nil {
		return found
	}
	b := t.policy.Businesses[id]
	found := &tenant{limits: b.Limits.or(t.fallback), spread: b.Spread, purse: t.purses.of(id)}
	next := maps.Clone(old)
	next[id] = found
	t.byID.Store(&next)
	return found
}

// purses holds the purse of every business that sent something in this process's life.
type purses struct {
	accepted *metrics.LabelSet

	mu   sync.Mutex
	byID map[string]*purse // guarded by mu
}

func (p *purses) of(id string) *purse {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.byID[id]
	if found == nil {
		found = &purse{accepted: p.accepted.With(id)}
		p.byID[id] = found
	}
	return found
}
