package webhook

import (
	"cmp"
	"slices"
	"sync"

	"tollgate/internal/metrics"
	"tollgate/pkg/recordbatch"
)

// standing is how a destination stands in the cursors topic. A nil cursor: none was written.
type standing struct {
	place   place
	cursor  *cursor
	waiting map[string]*delivery // by key
}

// board is the fold of the cursors topic. The follower's goroutine writes it, all others read it.
type board struct {
	bad *metrics.Counter // records that are none of ours and should be

	mu sync.Mutex
	// Guarded by mu. shown is what is read, by the destination's id; folding is what the follower folds, another map until
	// it has read all that the topic held when it began.
	shown, folding map[string]*standing
	anew           bool          // folding is not shown yet
	asked          chan struct{} // closed and replaced when somebody asks for a delivery, or when shown changes as a whole
}

func newBoard(bad *metrics.Counter) *board {
	return &board{bad: bad, shown: map[string]*standing{}, asked: make(chan struct{})}
}

// begin starts over, from the oldest record. What is shown stays until the new fold is loaded.
func (b *board) begin(oldest, _ int64) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.folding, b.anew = map[string]*standing{}, true
	return oldest, nil
}

func (b *board) apply(records []recordbatch.Record, loaded bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked := false
	for _, rec := range records {
		s, ours, err := parseRecord(rec)
		if err != nil {
			b.bad.Add(1)
		}
		if !ours || err != nil {
			continue
		}
		b.foldLocked(s)
		asked = asked || s.waiting != nil && s.waiting.isAsked()
	}
	if loaded && b.anew {
		b.shown, b.anew, asked = b.folding, false, true
	}
	if asked {
		close(b.asked)
		b.asked = make(chan struct{})
	}
	return nil
}

func (b *board) foldLocked(s said) {
	st := b.folding[s.place.id]
	if st == nil {
		st = &standing{place: s.place, waiting: map[string]*delivery{}}
		b.folding[s.place.id] = st
	}
	switch {
	case s.delivery == "":
		st.cursor = s.cursor
	case s.waiting == nil:
		delete(st.waiting, s.delivery)
	default:
		st.waiting[s.delivery] = s.waiting
	}
	if st.cursor == nil && len(st.waiting) == 0 {
		delete(b.folding, s.place.id)
	}
}

// isAsked tells whether it is a resend that nobody has tried yet.
func (d *delivery) isAsked() bool { return d.resend && d.tries == 0 }

// wait returns a channel that is closed when somebody asks for a delivery after this call.
func (b *board) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

// state is what there is of a destination: its cursor, nil when it has none, and copies of what waits.
func (b *board) state(id string) (c *cursor, waiting []*delivery) {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := b.shown[id]
	if st == nil {
		return nil, nil
	}
	for _, d := range st.waiting {
		own := *d
		waiting = append(waiting, &own)
	}
	slices.SortFunc(waiting, func(x, y *delivery) int { return cmp.Compare(x.key, y.key) })
	return st.cursor, waiting
}

// askedFor returns copies of a destination's resends that nobody has tried yet.
func (b *board) askedFor(id string) (asked []*delivery) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if st := b.shown[id]; st != nil {
		for _, d := range st.waiting {
			if d.isAsked() {
				own := *d
				asked = append(asked, &own)
			}
		}
	}
	slices.SortFunc(asked, func(x, y *delivery) int { return cmp.Compare(x.key, y.key) })
	return asked
}

// pending is how many deliveries of a destination wait, and since when it fails.
func (b *board) pending(id string) (n int, f failing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := b.shown[id]
	if st == nil {
		return 0, failing{}
	}
	if st.cursor != nil {
		f = st.cursor.failing
	}
	return len(st.waiting), f
}

// remains is what the topic has of one destination.
type remains struct {
	place      place
	hasCursor  bool
	deliveries int
}

// destinations lists what the topic has something of.
func (b *board) destinations() []remains {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]remains, 0, len(b.shown))
	for _, st := range b.shown {
		list = append(list, remains{place: st.place, hasCursor: st.cursor != nil, deliveries: len(st.waiting)})
	}
	return list
}

// summary is for metrics: how many deliveries wait, since when the oldest does (0: none), how many destinations fail.
func (b *board) summary() (waiting int, oldestMs int64, fail int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, st := range b.shown {
		waiting += len(st.waiting)
		for _, d := range st.waiting {
			if oldestMs == 0 || d.firstMs < oldestMs {
				oldestMs = d.firstMs
			}
		}
		if st.cursor != nil && st.cursor.failing.sinceMs != 0 {
			fail++
		}
	}
	return waiting, oldestMs, fail
}
