package webhook

import (
	"maps"
	"slices"
	"time"
)

// book is what a runner has to write down and has not. It belongs to the runner.
type book struct {
	durable cursor          // as the topic has it; next is -1 when it has none
	dirty   map[string]bool // keys of deliveries that the topic has otherwise, or that it should not have
	ahead   []int64         // events whose first try is over and that the durable cursor has not passed

	outcomes int       // since what was taken last
	since    time.Time // of the first of them
	at       time.Time // when something landed last
	notYet   time.Time // nothing is written before: the last time it failed

	writing bool
	taken   []string // keys that are being written
	cursor  cursor   // that is being written
	wrote   chan error
}

func newBook() book {
	return book{durable: cursor{next: -1}, dirty: map[string]bool{}, wrote: make(chan error, 1)}
}

// was says what the topic had.
func (b *book) was(c cursor) { b.durable = c }

// begin says when the runner begins.
func (b *book) begin(now time.Time) {
	b.at = now
	if len(b.dirty) > 0 {
		b.outcome(now)
	}
}

// note says that a delivery is to be written as it will be then.
func (b *book) note(key string) { b.dirty[key] = true }

// outcome says that something happened which should be written soon.
func (b *book) outcome(now time.Time) {
	if b.outcomes == 0 {
		b.since = now
	}
	b.outcomes++
}

// passed says that the first try of an event is over.
func (b *book) passed(offset int64) { b.ahead = append(b.ahead, offset) }

// owed is how much would be done again if the process ended now.
func (b *book) owed() int { return len(b.ahead) + len(b.dirty) + len(b.taken) }

// due is when to write next; false: not before something happens.
func (b *book) due(cur cursor) (time.Time, bool) {
	if b.writing || len(b.dirty) == 0 && cur == b.durable {
		return time.Time{}, false
	}
	at := b.at.Add(cursorEvery)
	switch {
	case b.outcomes >= outcomesMax:
		at = b.since
	case b.outcomes > 0:
		at = b.since.Add(writeEvery)
	case len(b.dirty) > 0:
		at = b.at
	}
	if at.Before(b.notYet) {
		at = b.notYet
	}
	return at, true
}

// take begins to write: it returns the keys of deliveries, in order.
func (b *book) take(cur cursor) []string {
	b.taken = slices.Sorted(maps.Keys(b.dirty))
	clear(b.dirty)
	b.cursor, b.writing, b.outcomes = cur, true, 0
	return b.taken
}

// landed ends writing.
func (b *book) landed(err error, now time.Time) {
	b.writing, b.at = false, now
	if err != nil {
		for _, key := range b.taken {
			b.dirty[key] = true
		}
		b.outcome(now)
		b.notYet = now.Add(writeAgain)
	} else {
		b.durable = b.cursor
		b.ahead = slices.DeleteFunc(b.ahead, func(offset int64) bool { return offset < b.durable.next })
	}
	b.taken = nil
}
