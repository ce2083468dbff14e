package httpd

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"tollgate/pkg/control"
	"tollgate/pkg/thinevent"
	"tollgate/pkg/webhook"
)

// shelf is an Events in memory, whose faults a test can choose.
type shelf struct {
	// before is what somebody else appends just before. nil: nothing.
	before func(*thinevent.Event) *thinevent.Event

	mu     sync.Mutex
	events []*thinevent.Event // guarded by mu, as is the rest; in order of their offsets
	hidden []*thinevent.Event // not seen until CaughtUp, as what another gateway wrote
	away   bool               // CaughtUp fails
	broken error              // what List, Get say
	err    error              // what Append says
	asked  []thinevent.Query
}

func (s *shelf) set(change func(*shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *shelf) CaughtUp(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errors.New("the end of the events topic is not known")
	}
	for _, e := range s.hidden {
		s.put(e)
	}
	s.hidden = nil
	return nil
}

// put is called with the lock held. An id that is there already is left out.
func (s *shelf) put(e *thinevent.Event) {
	if slices.ContainsFunc(s.events, func(o *thinevent.Event) bool { return o.ID == e.ID }) {
		return
	}
	stored := *e
	stored.Offset = int64(len(s.events))
	s.events = append(s.events, &stored)
}

func (s *shelf) Append(_ context.Context, events ...*thinevent.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil && !errors.Is(s.err, thinevent.ErrNotIndexed) {
		return s.err
	}
	for _, e := range events {
		if s.before != nil {
			s.put(s.before(e))
		}
		s.put(e)
	}
	return s.err
}

func (s *shelf) Get(business string, livemode bool, id string) (*thinevent.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.ID == id && e.Business == business && e.Livemode == livemode {
			return e, s.broken
		}
	}
	return nil, s.broken
}

func (s *shelf) List(q *thinevent.Query) (p thinevent.Page, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked = append(s.asked, *q); s.broken != nil {
		return p, s.broken
	}
	var all []*thinevent.Event
	for _, e := range s.events {
		if e.Business == q.Business && e.Livemode == q.Livemode && (q.Types == nil || slices.Contains(q.Types, e.Type)) &&
			(q.ObjectID == "" || e.Related != nil && e.Related.ID == q.ObjectID) && e.CreatedMs >= q.FromMs && (q.BeforeMs == 0 || e.CreatedMs < q.BeforeMs) {
			all = append(all, e)
		}
	}
	newer := func(a, b thinevent.Position) int {
		return cmp.Or(cmp.Compare(b.CreatedMs, a.CreatedMs), cmp.Compare(b.Offset, a.Offset))
	}
	slices.SortFunc(all, func(a, b *thinevent.Event) int { return newer(position(a), position(b)) })
	from := 0
	if q.After != nil {
		from = len(all) - countOf(all, func(e *thinevent.Event) bool { return newer(*q.After, position(e)) < 0 })
	}
	to := min(from+q.Limit, len(all))
	if q.Before != nil {
		to = countOf(all, func(e *thinevent.Event) bool { return newer(position(e), *q.Before) < 0 })
		from = max(0, to-q.Limit)
	}
	if p.Events = all[from:to]; len(p.Events) == 0 {
		return p, nil
	}
	if to < len(all) {
		at := position(all[to-1])
		p.Next = &at
	}
	if from > 0 {
		at := position(all[from])
		p.Previous = &at
	}
	return p, nil
}

func position(e *thinevent.Event) thinevent.Position {
	return thinevent.Position{CreatedMs: e.CreatedMs, Offset: e.Offset}
}

func countOf(events []*thinevent.Event, which func(*thinevent.Event) bool) (n int) {
	for _, e := range events {
		if which(e) {
			n++
		}
	}
	return n
}

// postbox is a Webhooks that remembers what it was asked to send.
type postbox struct {
	mu     sync.Mutex
	states map[string]webhook.State // guarded by mu, as is the rest
	sent   []string                 // destination and event
	err    error
}

func (p *postbox) State(destination string) webhook.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.states[destination]
}

func (p *postbox) Resend(_ context.Context, d *control.Destination, e *thinevent.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.sent = append(p.sent, d.ID+" "+e.ID)
	}
	return p.err
}
