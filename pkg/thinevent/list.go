package thinevent

import (
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// List answers a query.
//
// It reads the positions of one page and one more, of each type that the query names, from the list of that type and
// object; then the events of the page. Whether there is a page before is another look into each list.
func (s *Store) List(q *Query) (page Page, err error) {
	types, err := q.check()
	if err != nil || len(types) == 0 {
		return Page{}, err
	}
	err = s.ask(func(from pebble.Reader) error {
		l := lister{s: s, from: from, q: q, types: types}
		l.low, l.high = q.bounds(s.oldestMs())
		page, err = l.page()
		return err
	})
	return page, err
}

// check refuses what can not be answered, and returns the types whose lists are read, each once.
func (q *Query) check() (types []string, err error) {
	switch {
	case q.Limit < 1:
		return nil, fmt.Errorf("thinevent: a page of %d events", q.Limit)
	case q.After != nil && q.Before != nil:
		return nil, fmt.Errorf("thinevent: a page behind one event and before another")
	case len(q.Types) > typesMax:
		return nil, fmt.Errorf("thinevent: %d types, more than %d", len(q.Types), typesMax)
	case q.Types == nil:
		return []string{""}, nil
	}
	types = slices.Clone(q.Types)
	slices.Sort(types)
	types = slices.Compact(types)
	return slices.DeleteFunc(types, func(t string) bool { return t == "" }), nil // the empty one would be any
}

// bounds are the positions that the query asks for, from low to before high.
func (q *Query) bounds(oldestMs int64) (low, high Position) {
	low, high = Position{CreatedMs: max(q.FromMs, oldestMs)}, Position{CreatedMs: math.MaxInt64}
	if q.BeforeMs != 0 {
		high.CreatedMs = q.BeforeMs
	}
	return low, high
}

// lister answers one query.
type lister struct {
	s         *Store
	from      pebble.Reader
	q         *Query
	types     []string
	low, high Position
}

func (l *lister) page() (page Page, err error) {
	var at []Position
	if l.q.Before != nil {
		at, page, err = l.ascending(l.q.Before.behind())
	} else {
		at, page, err = l.descending(l.q.After)
	}
	if err != nil {
		return Page{}, err
	}
	err = l.load(at, &page)
	return page, err
}

// pageBytesMax is how much data the events of a page have together, at least one of them apart: 100 of the longest would
// be 13 MB. A page may have fewer events than its limit, and the link to the rest.
const pageBytesMax = 1 << 20

// load reads a page's events, beginning next to the event that the page is asked for beside, and leaves out what is too
// much, which is then the next page, or the one before.
func (l *lister) load(at []Position, page *Page) error {
	var events []*Event
	bytes, back := 0, l.q.Before != nil
	for i := range at {
		p := &at[i]
		if back {
			p = &at[len(at)-1-i]
		}
		e, err := l.s.listed(l.from, p.Offset)
		if err != nil {
			return err
		}
		if bytes += len(e.Data); bytes > pageBytesMax && i > 0 {
			if back {
				page.Previous = &at[len(at)-i]
			} else {
				page.Next = &at[i-1]
			}
			break
		}
		events = append(events, e)
	}
	if back {
		slices.Reverse(events)
	}
	page.Events = events
	return nil
}

// descending finds the page that begins behind an event, or with the newest.
func (l *lister) descending(after *Position) (at []Position, page Page, err error) {
	high := l.high
	if after != nil && after.less(high) {
		high = *after
	}
	if at, err = l.walk(l.low, high, false, l.q.Limit+1); err != nil {
		return nil, page, err
	}
	newer := high // where what is newer than the page begins
	if newer.less(l.low) {
		newer = l.low
	}
	if len(at) > l.q.Limit {
		at = at[:l.q.Limit]
		page.Next = &at[len(at)-1]
	}
	if len(at) > 0 {
		newer = at[0].behind()
	}
	if some, err := l.some(newer, l.high); err != nil || !some {
		return at, page, err
	}
	page.Previous = &Position{newer.CreatedMs, newer.Offset - 1}
	return at, page, nil
}

// ascending finds the page that ends before an event, of which low is the position behind it.
func (l *lister) ascending(low Position) (at []Position, page Page, err error) {
	if low.less(l.low) {
		low = l.low
	}
	if at, err = l.walk(low, l.high, true, l.q.Limit+1); err != nil {
		return nil, page, err
	}
	older := low // before which what is older than the page ends
	if l.high.less(older) {
		older = l.high
	}
	more := len(at) > l.q.Limit
	if more {
		at = at[:l.q.Limit]
	}
	slices.Reverse(at)
	if more {
		page.Previous = &at[0]
	}
	if len(at) > 0 {
		older = at[len(at)-1]
	}
	if some, err := l.some(l.low, older); err != nil || !some {
		return at, page, err
	}
	page.Next = &older
	return at, page, nil
}

// some says whether there is an event from one position to before another.
func (l *lister) some(low, high Position) (bool, error) {
	at, err := l.walk(low, high, true, 1)
	return len(at) > 0, err
}

// walk returns the positions from one to before another, limit at most: those nearest to low when it ascends, otherwise
// those nearest to high. It merges the lists of the types, at most typesMax of them.
func (l *lister) walk(low, high Position, ascend bool, limit int) (at []Position, err error) {
	if !low.less(high) {
		return nil, nil
	}
	heads := make([]*head, 0, len(l.types))
	defer func() {
		for _, h := range heads {
			if closed := h.it.Close(); err == nil {
				err = l.s.index.Judge(closed)
			}
		}
	}()
	for _, t := range l.types {
		prefix := appendList(nil, l.q.Business, l.q.Livemode, l.q.ObjectID, t)
		n := len(prefix)
		it, err := l.s.index.Iterator(l.from, appendPosition(prefix[:n:n], low), appendPosition(prefix[:n:n], high))
		if err != nil {
			return nil, err
		}
		h := &head{it: it, ascend: ascend}
		heads = append(heads, h)
		if err := h.first(); err != nil {
			return nil, l.s.index.Judge(err)
		}
	}
	for len(at) < limit {
		h := nearest(heads)
		if h == nil {
			return at, nil
		}
		at = append(at, h.at)
		if err := h.move(); err != nil {
			return nil, l.s.index.Judge(err)
		}
	}
	return at, nil
}

// head is where a walk is in one list.
type head struct {
	it     *pebble.Iterator
	ascend bool
	at     Position
	ok     bool // it is at a position
}

func (h *head) first() error {
	if h.ascend {
		return h.note(h.it.First())
	}
	return h.note(h.it.Last())
}

func (h *head) move() error {
	if h.ascend {
		return h.note(h.it.Next())
	}
	return h.note(h.it.Prev())
}

func (h *head) note(ok bool) (err error) {
	if h.ok = ok; !ok {
		return h.it.Error()
	}
	h.at, err = positionAt(h.it.Key())
	return err
}

// nearest is the head that the walk comes to next, nil at the end.
func nearest(heads []*head) (best *head) {
	for _, h := range heads {
		if h.ok && (best == nil || h.at.less(best.at) == h.ascend) {
			best = h
		}
	}
	return best
}
