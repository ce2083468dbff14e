package forward

import (
	"context"
	"fmt"
	"time"

	"tollgate/pkg/meterevent"
	"tollgate/pkg/usage"
)

const (
	// patience, with the window of the roll-up, is how long a comparison waits in all for what is in flight: a lane that has
	// little to send says once a minute how far it is.
	patience = 90 * time.Second
	// currentMax is how long one look waits for the worker to come to where the log was.
	currentMax = 10 * time.Second
)

// looks are the pauses before the looks at what is not explained. Stripe's summaries follow the events with a delay.
var looks = [...]time.Duration{0, 5 * time.Second, 25 * time.Second}

// lookAgain looks at the suspects again, and tells of those that differ then. In each look the lanes are waited for, then
// Stripe is asked, and then our total again: where ours did not change meanwhile, and the lanes had passed all of it, both
// sides are of the same events.
func (r *comparing) lookAgain(ctx context.Context) error {
	left := r.suspects
	r.suspects = nil
	for n, pause := range looks {
		if len(left) == 0 {
			return nil
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		waiting, err := r.awaitSent(ctx)
		if err != nil {
			return err
		}
		if waiting != "" && r.done.Waiting == "" {
			r.done.Waiting = waiting
		}
		if err := r.askBoth(ctx, left); err != nil {
			return err
		}
		if err := r.deadParts(ctx, left); err != nil {
			return err
		}
		kept := left[:0]
		for i := range left {
			a := &left[i]
			d := a.difference(waiting != "")
			if d != nil && n+1 < len(looks) && (d.Drift != "" || a.moved) {
				kept = append(kept, *a)
				continue
			}
			if d == nil {
				continue
			}
			if err := r.differs(d); err != nil {
				return err
			}
		}
		left = kept
	}
	return nil
}

// awaitSent waits until everything that the log holds now is at Stripe or set aside, while there is patience. It returns
// the first lane that is not so far.
func (r *comparing) awaitSent(ctx context.Context) (waiting string, err error) {
	ends, err := r.f.ends(ctx)
	if err != nil {
		return "", err
	}
	r.f.drains.Add(1) // so that lanes that have little to send say sooner how far they are
	defer r.f.drains.Add(-1)
	for {
		if waiting = r.f.lackingOf(r.s.scope, ends); waiting == "" || r.patience <= 0 {
			return waiting, nil
		}
		if err := sleep(ctx, drainPoll); err != nil {
			return "", err
		}
		r.patience -= drainPoll
	}
}

// askBoth asks Stripe about all, and then for our totals, as of then or later.
func (r *comparing) askBoth(ctx context.Context, list []account) error {
	if err := concurrently(ctx, callsAtOnce, len(list), func(ctx context.Context, n int) error { return r.theirTotal(ctx, &list[n]) }); err != nil {
		return err
	}
	at := r.f.cfg.Now().UnixMilli()
	return concurrently(ctx, callsAtOnce, len(list), func(ctx context.Context, n int) error {
		a := &list[n]
		a.before = a.ours
		current, err := r.ourTotal(ctx, a, at)
		a.moved = !current || a.ours.Cmp(&a.before) != 0
		return err
	})
}

// ourTotal asks for our total. current is false when it may lack what was received before at.
func (r *comparing) ourTotal(ctx context.Context, a *account, at int64) (current bool, err error) {
	const step = 250 * time.Millisecond
	q := usage.Query{
		Scope: r.scopeOf(a.meter), MeterID: a.meter.ID, Formula: a.meter.Formula, Customer: a.customer,
		StartMs: r.From.UnixMilli(), EndMs: r.To.UnixMilli(), Limit: 1,
	}
	for waited := time.Duration(0); ; waited += step {
		t, err := r.Ours.Totals(ctx, q)
		if err == nil && (t.AsOfMs >= at || waited >= currentMax) {
			a.ours = meterevent.Decimal{}
			for _, w := range t.Windows {
				if a.ours, err = meterevent.ParseDecimal([]byte(w.Value)); err != nil {
					return false, fmt.Errorf("the total of %s: %w", a.customer, err)
				}
			}
			return t.AsOfMs >= at, nil
		}
		if err != nil && waited >= currentMax {
			return false, err
		}
		if err := sleep(ctx, step); err != nil {
			return false, err
		}
	}
}

// deadParts finds the open dead letters of the customers in question.
func (r *comparing) deadParts(ctx context.Context, list []account) error {
	at := make(map[amountKey]*account, len(list))
	for n := range list {
		list[n].parts = nil
		at[amountKey{list[n].meter.EventName, list[n].customer}] = &list[n]
	}
	open, more, err := openLetters(ctx, r.f, func(d *Dead) (part deadPart, ok bool) {
		m := r.named[d.EventName]
		if d.Business != r.Business || d.Livemode != r.s.scope.live || m == nil {
			return part, false
		}
		part, ok = partOf(d, m, r.From, r.To)
		return part, ok && at[part.of] != nil
	})
	switch {
	case err != nil:
		return err
	case more:
		return fmt.Errorf("more than %d dead letters are open: `gateway forward dead` lists them, and sends them again", lettersMax)
	}
	for _, part := range open {
		a := at[part.of]
		a.parts = append(a.parts, part)
	}
	return nil
}
