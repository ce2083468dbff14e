package dedup

import (
	"errors"
	"io/fs"
	"slices"
)

// runsMax is how many runs there may be before a merge that keeps failing stops the writer: every one more makes every
// look-up slower.
const runsMax = 128

// Due tells that the table in memory is full enough for Seal to be called soon; when it is full, Insert calls it. Whoever
// wants to read little again after a crash calls Seal by time as well.
func (x *Index) Due() bool { return x.table.count >= x.table.entriesMax()/4*3 }

// Seal puts everything that was inserted on disk. next is the offset behind the last record inserted or passed. When it
// fails, nothing is lost and it may be called again. It also returns the error of a merge or a filling that found rot, and of
// a merge that failed often enough for runs to pile up; Next has moved then.
func (x *Index) Seal(next int64) error { return x.seal(next, x.clock) }

func (x *Index) seal(next, clock int64) error {
	x.mu.Lock()
	v := x.view
	x.mu.Unlock()
	if v == nil {
		return ErrClosed
	}
	var added *run
	if x.table.count > 0 {
		var err error
		if added, err = x.writeTable(v); err != nil {
			return err
		}
	} else if next <= x.Next() {
		return x.mergeFailure()
	}
	full := x.table
	if err := x.install(change{added: added, next: next, clock: clock}); err != nil {
		return err
	}
	if added != nil {
		// It is cleared where nobody can see it, since that takes a while.
		full.reset()
		x.mu.Lock()
		x.table = full
		x.mu.Unlock()
	}
	nudge(x.wake)
	return x.mergeFailure()
}

func (x *Index) writeTable(v *view) (*run, error) {
	t := x.table
	total := int64(t.count)
	for _, r := range v.runs {
		total += r.count
	}
	h := header{seq: x.nextSeq(), count: int64(t.count), offsets: t.offsets, minutes: t.minutes}
	b, err := newBuilder(x.fs, x.cfg.Dir, h, entryBits(x.cfg.filterBytesMax(), total), x.cfg.bufferBytes())
	if err != nil {
		return nil, err
	}
	to := b.base()
	err = t.each(func(s slot) error {
		s.meta = to.pack(t.base.offsetOf(s.meta), t.base.minuteOf(s.meta), kindOf(s.meta))
		return b.add(s)
	})
	if err != nil {
		b.abandon()
		return nil, err
	}
	return b.finish()
}

func (x *Index) nextSeq() uint64 {
	x.disk.Lock()
	defer x.disk.Unlock()
	x.seq++
	return x.seq
}

func (x *Index) mergeFailure() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var rot *RotError
	if errors.As(x.coverFailure, &rot) {
		return x.coverFailure
	}
	err := errors.Join(x.failure, x.loadFailure) // without a cover it is only slower
	if errors.As(err, &rot) || x.view != nil && len(x.view.runs) > runsMax {
		return err
	}
	return nil
}

// change is one step of the set of runs: a seal adds one, a merge has some replaced by one or by none.
type change struct {
	removed     []*run // neighbours
	added       *run
	next, clock int64 // of a seal
	forgot      int64 // of a merge that dropped something
}

// install makes a change durable, and then shows it. When it fails nothing has changed, but either manifest may be the
// durable one: the files that both name stay until a later one is.
func (x *Index) install(c change) error {
	x.disk.Lock()
	defer x.disk.Unlock()
	x.mu.Lock()
	m, old := x.durable, x.view.runs
	x.mu.Unlock()

	runs, at := replace(old, c.removed, c.added)
	m.runs = nil
	for _, r := range runs {
		m.runs = append(m.runs, r.name())
	}
	if c.next > m.next {
		m.next, m.clock = c.next, max(m.clock, c.clock)
	}
	m.forgot = max(m.forgot, c.forgot)
	m.seq = x.seq
	if err := m.write(x.fs, x.cfg.Dir); err != nil {
		if c.added != nil {
			_ = c.added.file.Close()
			x.garbage = append(x.garbage, c.added.path)
		}
		return err
	}
	// What can not be loaded is looked up in the file, and what is wrong there fails the look-up; the change is made.
	failure := x.loadEarly(old, c.added)

	x.mu.Lock()
	x.durable = m
	x.show(runs, stillCovered(x.view.covered, at, len(c.removed), len(runs)+len(c.removed)-len(old)))
	if c.added != nil && len(c.removed) == 0 {
		x.table = x.empty
	}
	x.mu.Unlock()

	for _, r := range c.removed {
		x.garbage = append(x.garbage, r.path)
	}
	x.reload(failure)
	x.sweep()
	return nil
}

// reload is rebalance where there is nobody to return an error to, with disk held.
func (x *Index) reload(earlier error) {
	err := errors.Join(earlier, x.rebalance())
	x.mu.Lock()
	x.loadFailure = err
	x.mu.Unlock()
}

// replace returns runs with added in the place of removed, or at the end when nothing is removed; and that place.
func replace(runs, removed []*run, added *run) (out []*run, at int) {
	at = len(runs)
	if len(removed) > 0 {
		at = slices.Index(runs, removed[0])
	}
	out = slices.Clone(runs[:at])
	if added != nil {
		out = append(out, added)
	}
	return append(out, runs[at+len(removed):]...), at
}

// loadEarly loads a new run before it is asked for the first time, if there is room for it beside what it replaces.
func (x *Index) loadEarly(old []*run, added *run) error {
	if added == nil {
		return nil
	}
	sum := added.residentBytes()
	for _, r := range old {
		if r.resident.Load() != nil {
			sum += r.residentBytes()
		}
	}
	if sum > x.cfg.filterBytesMax() {
		return nil
	}
	return added.load(make([]byte, x.cfg.bufferBytes()))
}

// sweep removes the files that the durable manifest does not name. What can not be removed now is tried again next time,
// and by the next Open.
func (x *Index) sweep() {
	x.garbage = slices.DeleteFunc(x.garbage, func(path string) bool {
		err := x.fs.Remove(path)
		return err == nil || errors.Is(err, fs.ErrNotExist)
	})
}
