package webhook

import (
	"errors"
	"time"
	"unique"
)

// settle takes the outcome of a try.
func (r *runner) settle(e ended) {
	d := e.d
	d.flying = false
	r.flying--
	if e.cut {
		return // the cursor does not pass it, its record stands: who comes next tries it
	}
	r.c.counts.tries[e.outcome.kind].Add(1)
	now := r.c.cfg.Now()
	if e.first {
		delete(r.firsts, d.offset)
		r.book.passed(d.offset)
	}
	r.book.outcome(now)
	if e.outcome.kind == delivered {
		r.failing, r.failedRun = failing{}, 0
		r.forget(d)
		return
	}
	r.fail(d, e.outcome, now)
}

// fail plans the next try, or gives up.
func (r *runner) fail(d *delivery, o outcome, now time.Time) {
	// A clock that is behind the one that enabled the destination must not make the delivery older than that.
	nowMs := max(now.UnixMilli(), r.enabledMs)
	d.reason = unique.Make(o.reason)
	r.failedRun++
	if r.failing.sinceMs == 0 {
		r.failing.sinceMs = nowMs
	}
	r.failing.reason = d.reason
	if d.firstMs == 0 {
		d.firstMs = nowMs
	}
	d.tries++
	pause, ok := again(r.c.cfg.schedule(r.place.livemode), d.tries, d.firstMs, nowMs, o.retryAfter, r.c.cfg.Random)
	if !ok {
		r.c.counts.givenUp.Add(1)
		r.gaveUp++
		r.lastWhy = o.reason
		r.forget(d)
		return
	}
	d.dueMs = nowMs + pause.Milliseconds()
	d.recorded = true
	r.book.note(d.key)
	r.wait(d)
}

// tellGivenUp tells how many deliveries were given up, once in a while.
func (r *runner) tellGivenUp(every time.Duration) {
	if r.gaveUp == 0 || every > 0 && !r.c.mayTell(NoticeGivenUp+r.place.id) {
		return
	}
	r.c.cfg.Notify(Notice{What: NoticeGivenUp, Destination: r.place.id, Count: r.gaveUp, Err: errors.New(r.lastWhy)})
	r.gaveUp = 0
}

// cursor is what may be said now: everything below next is delivered, given up, or has a delivery.
func (r *runner) cursor() cursor {
	next := r.position
	for offset := range r.firsts {
		next = min(next, offset)
	}
	return cursor{next: next, failing: r.failing}
}

// write hands what is to be said to the ledger, if it is time.
func (r *runner) write(now bool) {
	cur := r.cursor()
	at, ok := r.book.due(cur)
	if !ok || r.book.writing || !now && at.After(r.c.cfg.Now()) {
		return
	}
	var entries []entry
	for _, key := range r.book.take(cur) {
		e := entry{key: deliveryKey(r.place, key)}
		if d := r.deliveries[key]; d != nil {
			e.value = appendDelivery(nil, r.place, d)
		}
		entries = append(entries, e)
	}
	value := appendCursor(nil, r.place, cur, r.c.cfg.Gateway, r.c.cfg.Now().UnixMilli())
	entries = append(entries, entry{key: cursorKey(r.place), value: value})
	wrote := r.book.wrote
	r.s.ledger.add(&group{entries: entries, done: func(err error) { wrote <- err }})
}

func (r *runner) written(err error) {
	if err != nil {
		r.c.counts.writeFaults.Add(1)
		r.c.fault(r.place.id, err)
	}
	r.book.landed(err, r.c.cfg.Now())
	if err == nil {
		r.shownNext.Store(r.book.durable.next)
	}
}

// finish writes down what is known, if the log takes it soon: what is not written is tried again by who comes next.
func (r *runner) finish() {
	r.tellGivenUp(0)
	late := time.NewTimer(finishMax)
	defer late.Stop()
	for {
		r.write(true)
		if !r.book.writing {
			return
		}
		select {
		case err := <-r.book.wrote:
			r.written(err)
			if err != nil {
				return
			}
		case <-late.C:
			return
		}
	}
}
