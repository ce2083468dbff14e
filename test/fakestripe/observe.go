package fakestripe

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// samples counts something, and keeps the first of its identifiers.
type samples struct {
	count int64
	first []string
}

func (l *samples) add(identifier string) {
	l.count++
	if len(l.first) < samplesMax {
		l.first = append(l.first, identifier)
	}
}

// tally is what an account counts beside its events.
type tally struct {
	conflicts, twice               samples
	rateLimited, replays, sessions int64
	sessionRateMax, inFlightMax    int
}

// State is what an account has seen. Conflicts and Twice must be 0 whatever happened: an identifier that came with
// another content while it was remembered, and one that counts more than once because it came again afterwards.
type State struct {
	Account
	Counts         map[string]int64 `json:"counts"` // events by Counted, Duplicate, Cancelled, or why not
	Events         int              `json:"events"` // identifiers kept
	Conflicts      int64            `json:"conflicts"`
	ConflictsOf    []string         `json:"conflicts_of,omitempty"` // the first of them
	Twice          int64            `json:"twice"`
	TwiceOf        []string         `json:"twice_of,omitempty"`
	RateLimited    int64            `json:"rate_limited"` // requests beyond a limit of the fake's own
	Replays        int64            `json:"replays"`      // answers given again for an idempotency key
	Sessions       int64            `json:"sessions"`     // opened
	RateMax        int              `json:"rate_max"`     // most events taken in any one second
	SessionRateMax int              `json:"session_rate_max"`
	InFlight       int              `json:"in_flight"`
	InFlightMax    int              `json:"in_flight_max"`
}

// State returns an account's.
func (s *Stripe) State(of Account) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.of(of)
	t := &a.tally
	return State{
		Account: of, Counts: maps.Clone(a.counts), Events: len(a.order),
		Conflicts: t.conflicts.count, ConflictsOf: slices.Clone(t.conflicts.first),
		Twice: t.twice.count, TwiceOf: slices.Clone(t.twice.first),
		RateLimited: t.rateLimited, Replays: t.replays, Sessions: t.sessions,
		RateMax: a.rate.max, SessionRateMax: t.sessionRateMax, InFlight: a.inFlight, InFlightMax: t.inFlightMax,
	}
}

// Accounts are those that have a key or were used, in order.
func (s *Stripe) Accounts() []Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[Account]bool)
	for _, a := range s.keys {
		known[a] = true
	}
	for a := range s.accounts {
		known[a] = true
	}
	return slices.SortedFunc(maps.Keys(known), func(a, b Account) int {
		if c := cmp.Compare(a.Business, b.Business); c != 0 || a.Live == b.Live {
			return c
		}
		if a.Live {
			return 1
		}
		return -1
	})
}

// Event is what is known of an identifier.
type Event struct {
	Identifier string    `json:"identifier"`
	EventName  string    `json:"event_name"`
	Customer   string    `json:"customer,omitempty"` // of what counted, as the rest that describes usage
	Value      string    `json:"value,omitempty"`
	Timestamp  time.Time `json:"timestamp"`
	First      time.Time `json:"first"`            // received
	Last       time.Time `json:"last"`             //
	Seen       int       `json:"seen"`             // times
	Counted    int       `json:"counted"`          // times
	Reason     string    `json:"reason,omitempty"` // why it never counted
	Generated  bool      `json:"generated,omitempty"`
	Conflict   bool      `json:"conflict,omitempty"`
	Cancelled  bool      `json:"cancelled,omitempty"`
}

func (e *event) public() Event {
	return Event{
		Identifier: e.identifier, EventName: e.name, Customer: e.customer, Value: e.value, Timestamp: e.at, First: e.first, Last: e.last,
		Seen: e.seen, Counted: e.counted, Reason: e.reason, Generated: e.generated, Conflict: e.conflict, Cancelled: e.cancelled,
	}
}

// Event returns what is known of an identifier; the event name matters only when identifiers are unique in their meter.
func (s *Stripe) Event(of Account, eventName, identifier string) (Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.of(of).events[s.key(eventName, identifier)]
	if e == nil {
		return Event{}, false
	}
	return e.public(), true
}

// Events returns all that is known of an account, in the order of first receipt. An identifier that counted twice stands
// there twice.
func (s *Stripe) Events(of Account) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Event, 0, len(s.of(of).order))
	for _, e := range s.of(of).order {
		list = append(list, e.public())
	}
	return list
}

// Total is what a customer used of a meter in a minute, by the meter's formula. On a meter with a time window only what
// stands in the minute competes; Sum says what counts.
type Total struct {
	EventName string `json:"event_name"`
	Customer  string `json:"customer"`
	Minute    int64  `json:"minute"` // unix seconds at its start
	Value     string `json:"value"`  // exact decimal
	Count     int64  `json:"count"`  // events in it
}

// Totals returns all minutes that have usage, ordered by event name, customer and minute.
func (s *Stripe) Totals(of Account) []Total {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Total
	for _, m := range s.of(of).meters {
		for key, c := range m.cells {
			g := aggregate{m: m}
			g.add(c)
			value, count := g.value()
			if count == 0 {
				continue
			}
			list = append(list, Total{m.EventName, key.customer, key.minute * 60, decimal(value), count})
		}
	}
	slices.SortFunc(list, func(a, b Total) int {
		return cmp.Or(cmp.Compare(a.EventName, b.EventName), cmp.Compare(a.Customer, b.Customer), cmp.Compare(a.Minute, b.Minute))
	})
	return list
}

// Request is a line of the log.
type Request struct {
	At             time.Time `json:"at"` // arrived
	Endpoint       Endpoint  `json:"endpoint"`
	Method         string    `json:"method"`
	Path           string    `json:"path"`
	Business       string    `json:"business,omitempty"`
	Session        string    `json:"session,omitempty"` // id
	IdempotencyKey string    `json:"idempotency_key,omitempty"`
	Fault          Kind      `json:"fault,omitempty"`
	Status         int       `json:"status,omitempty"` // 0: no answer
	Code           string    `json:"code,omitempty"`   // of the error, or the fault
	Events         int       `json:"events,omitempty"`
	Applied        int       `json:"applied,omitempty"`
	Duplicates     int       `json:"duplicates,omitempty"`
}

// requestLog keeps the newest requests. Stripe.mu guards it.
type requestLog struct {
	max  int
	list []Request
	next int // in list, once it is full
}

func (l *requestLog) add(c *call, a *answer) {
	r := Request{
		At: c.at, Endpoint: c.endpoint, Method: c.method, Path: c.path, IdempotencyKey: c.header.Get("Idempotency-Key"),
		Fault: c.fault.Kind, Status: a.status, Code: a.code,
		Events: a.events.sent, Applied: a.events.applied, Duplicates: a.events.duplicates,
	}
	if r.Fault == None {
		r.Fault = ""
	}
	if c.account != nil {
		r.Business = c.account.Business
	}
	if c.session != nil {
		r.Session = c.session.id
	}
	if len(l.list) < l.max {
		l.list = append(l.list, r)
		return
	}
	l.list[l.next] = r
	l.next = (l.next + 1) % l.max
}

// Requests returns the log, the oldest first. A request with Late stands there twice: when it came and when it was
// applied.
func (s *Stripe) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(s.log.list[s.log.next:], s.log.list[:s.log.next])
}
