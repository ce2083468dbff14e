package webhook

import (
	"sync"

	"tollgate/pkg/thinevent"
)

const (
	pageEvents = 32
	pagesMax   = 8
)

// page is the events from an offset on, as Events.From gives them.
type page struct {
	events []*thinevent.Event
	next   int64
}

// pages remembers the pages of events that were read last. Destinations that keep up all read the same ones: without
// this each event would be read and decoded once a destination.
type pages struct {
	events Events

	mu    sync.Mutex
	known map[int64]page // by the offset asked for; guarded by mu
	order []int64        // the oldest first; guarded by mu
}

func newPages(events Events) *pages { return &pages{events: events, known: map[int64]page{}} }

func (p *pages) from(offset int64) (page, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.known[offset]; ok {
		return known, nil
	}
	events, next, err := p.events.From(offset, pageEvents)
	got := page{events, next}
	if err != nil || next <= offset {
		return got, err
	}
	if len(p.order) == pagesMax {
		delete(p.known, p.order[0])
		p.order = append(p.order[:0], p.order[1:]...)
	}
	p.known[offset] = got
	p.order = append(p.order, offset)
	return got, nil
}
