package forward

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stripe/stripe-go/v85"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/usage"
)

// Source says what was counted here, by all gateways; a *fleet.Fleet does.
type Source interface {
	Amounts(ctx context.Context, q usage.AmountsQuery) (usage.Amounts, error)
	Totals(ctx context.Context, q usage.Query) (usage.Totals, error)
}

// Comparison is what Compare is asked for: the totals of all customers of a business's meters in [From, To) of event time.
type Comparison struct {
	Business string
	// From and To are whole minutes, and whole hours where minutes are not kept any more. From is not before the business's
	// Since: what was received before that is here alone.
	From, To time.Time
	Meters   []string // event names; none: all that there are here
	// Customers are asked about as well, also where nothing of theirs is here. Stripe can not be asked who else used a meter.
	Customers []string
	// CallsPerSecond is how many summaries are asked for, each of one customer of one meter, below what the account may
	// ask of Stripe: 25 a second in test mode, 100 in live mode. 0: 20.
	CallsPerSecond int
	Ours           Source
	// Differs is told of each difference, as soon as nothing can explain it away any more. Its error ends the comparison.
	Differs func(Difference) error
	// Progress is told from time to time how far it is. nil: nobody is told.
	Progress func(Compared)
}

// Compared is how far a comparison is, or how it ended.
type Compared struct {
	Business    string    `json:"business"`
	Livemode    bool      `json:"livemode"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	Meters      int       `json:"meters"`
	Customers   int       `json:"customers"`   // of each meter for itself
	Differences int       `json:"differences"` // explained or not
	Drift       int       `json:"drift"`       // those that nothing explains
	// NotCompared are meters with usage here that Stripe has not, or has otherwise.
	NotCompared int `json:"not_compared"`
	// Waiting is the first lane that was behind when Stripe was asked about what differed, with its offsets; "": none was.
	Waiting string `json:"waiting,omitempty"`
}

const (
	defaultCalls = 20
	// pageCustomers are asked for at once, and callsAtOnce are the summaries that are under way.
	pageCustomers = 200
	callsAtOnce   = 8
	// suspectsMax bounds the customers that wait for a second look.
	suspectsMax = 10_000
	// namedMax bounds Comparison.Customers.
	namedMax = 1000
)

// comparing is one comparison on its way.
type comparing struct {
	*Comparison
	f        *Forwarder
	s        *sender
	pace     *pace
	meters   []*control.Meter                // to compare
	named    map[string]*control.Meter       // the same
	theirs   map[string]*stripe.BillingMeter // by event name
	suspects []account
	patience time.Duration // that is left for what is in flight
	done     Compared
	drift    map[string]int // customers by meter
}

// Compare holds what was counted here against Stripe's summaries, page by page, so that its memory does not grow with
// the customers. It asks for each customer's total here first, and then at Stripe. What differs is looked at again when
// all that was here is at Stripe as well, and when no later event came between the two answers; so what remains is
// neither on its way nor late, as long as forwarding goes on. One comparison of a business runs at a time.
func (f *Forwarder) Compare(ctx context.Context, c Comparison) (Compared, error) {
	ctx, end, err := f.call(ctx)
	if err != nil {
		return Compared{}, err
	}
	defer end()
	r, err := f.compare(ctx, &c)
	if err != nil {
		return Compared{}, fmt.Errorf("forward: %w", err)
	}
	if !f.drifts.begin(r.s.scope) {
		return r.done, fmt.Errorf("forward: %s is being compared already", c.Business)
	}
	defer f.drifts.end(r.s.scope)
	for _, m := range r.meters {
		if err := r.meter(ctx, m); err != nil {
			return r.done, fmt.Errorf("forward: comparing %s: %w", m.EventName, err)
		}
	}
	if err := r.lookAgain(ctx); err != nil {
		return r.done, fmt.Errorf("forward: comparing: %w", err)
	}
	f.drifts.note(f.cfg.Metrics, r, f.cfg.Now())
	return r.done, nil
}

func (f *Forwarder) compare(ctx context.Context, c *Comparison) (*comparing, error) {
	defaultTo(&c.CallsPerSecond, defaultCalls)
	r := &comparing{Comparison: c, f: f, named: map[string]*control.Meter{}, theirs: map[string]*stripe.BillingMeter{}, drift: map[string]int{}}
	for of, known := range f.senders {
		if of.business == c.Business {
			r.s = known
		}
	}
	switch {
	case r.s == nil:
		return nil, fmt.Errorf("%s is not forwarded", c.Business)
	case f.cfg.Control == nil:
		return nil, errors.New("there is no control plane to read the meters from")
	case c.From.UnixMilli()%60_000 != 0 || c.To.UnixMilli()%60_000 != 0 || !c.From.Before(c.To):
		return nil, fmt.Errorf("from %s to %s is no range of whole minutes", c.From.Format(timeForm), c.To.Format(timeForm))
	case c.From.Before(r.s.own.Since):
		return nil, fmt.Errorf("what was received before %s is not forwarded: compare from then on", r.s.own.Since.Format(timeForm))
	case c.CallsPerSecond < 0 || len(c.Customers) > namedMax:
		return nil, fmt.Errorf("calls a second are below 0, or more than %d customers are named", namedMax)
	}
	r.pace = newPace(c.CallsPerSecond, f.cfg.Now)
	r.patience = f.cfg.Rollup + patience
	r.done = Compared{Business: c.Business, Livemode: r.s.scope.live, From: c.From.UTC(), To: c.To.UTC()}
	if err := f.cfg.Control.CaughtUp(ctx); err != nil {
		return nil, err
	}
	return r, r.choose(ctx)
}

// choose finds the meters of both sides.
func (r *comparing) choose(ctx context.Context) error {
	snapshot := r.f.cfg.Control.Snapshot()
	for _, name := range r.Meters {
		if snapshot.Named(r.Business, r.s.scope.live, name) == nil {
			return fmt.Errorf("there is no meter %s", name)
		}
	}
	for _, m := range snapshot.Meters(r.Business, r.s.scope.live) {
		if len(r.Meters) == 0 || slices.Contains(r.Meters, m.EventName) {
			r.meters = append(r.meters, m)
			r.named[m.EventName] = m
		}
	}
	var theirs []*stripe.BillingMeter
	err := r.patiently(ctx, func() (err error) {
		theirs, err = r.s.meters(ctx)
		return err
	})
	for _, m := range theirs {
		// Of several of a name, of which all but one are inactive, events go to the active one.
		if r.theirs[m.EventName] == nil || m.Status == stripe.BillingMeterStatusActive {
			r.theirs[m.EventName] = m
		}
	}
	return err
}

// meter compares all customers of one.
func (r *comparing) meter(ctx context.Context, m *control.Meter) error {
	q := usage.AmountsQuery{
		Scope: r.scopeOf(m), MeterID: m.ID,
		StartMs: r.From.UnixMilli(), EndMs: r.To.UnixMilli(), Limit: pageCustomers,
	}
	named := make(map[string]bool, len(r.Customers)) // those that are not in a page
	for _, customer := range r.Customers {
		named[customer] = true
	}
	wrong := r.wrong(m)
	for first := true; ; first = false {
		page, err := r.amounts(ctx, q, first)
		if err != nil {
			return err
		}
		list := make([]account, 0, len(page.Customers))
		for _, a := range page.Customers {
			delete(named, a.Customer)
			ours, err := meterevent.ParseDecimal([]byte(a.Value))
			if err != nil {
				return fmt.Errorf("the total of %s: %w", a.Customer, err)
			}
			list = append(list, account{meter: m, customer: a.Customer, ours: ours})
		}
		if wrong != "" {
			if len(list) > 0 {
				r.done.NotCompared++
				r.done.Customers += len(list)
				err = r.differs(&Difference{EventName: m.EventName, Explained: []ReasonPart{{Reason: wrong}}})
			}
			r.done.Meters++
			return err
		}
		if !page.More {
			for customer := range named {
				list = append(list, account{meter: m, customer: customer})
			}
		}
		if err := r.look(ctx, list); err != nil {
			return err
		}
		if !page.More {
			r.done.Meters++
			return nil
		}
		q.After = page.Customers[len(page.Customers)-1].Customer
	}
}

// wrong is why a meter's totals can not be those of Stripe's of that name; "": they can.
func (r *comparing) wrong(m *control.Meter) string {
	theirs := r.theirs[m.EventName]
	if theirs == nil {
		return reasonNoMeter
	}
	wanted := meterOf(theirs)
	held := *m
	held.Active = true
	switch rolled := r.f.cfg.Rollup > 0 && m.Formula == control.Count && !replaces(m); {
	case rolled && wanted.Formula == control.Count:
		return reasonMetersDiffer + ": a count that is rolled up is sent as a number, and Stripe's meter counts the events: it has to be a sum there"
	case rolled:
		held.Formula = control.Sum
	}
	if text := metersDiffer(&held, &wanted); text != "" {
		return reasonMetersDiffer + ": " + text
	}
	return ""
}

func (r *comparing) scopeOf(m *control.Meter) usage.Scope {
	return usage.Scope{Business: r.Business, Livemode: r.s.scope.live, EventName: m.EventName}
}

// amounts asks for a page of ours. In a long comparison a partition changes hands now and then: only the first page, which
// says whether there can be an answer, is asked for once.
func (r *comparing) amounts(ctx context.Context, q usage.AmountsQuery, first bool) (page usage.Amounts, err error) {
	for attempt := 0; ; attempt++ {
		page, err = r.Ours.Amounts(ctx, q)
		if err == nil || first || attempt == triesMax {
			return page, err
		}
		if err := sleep(ctx, r.s.backoff(attempt)); err != nil {
			return page, err
		}
	}
}

// look asks Stripe about customers, and remembers those that have another total there.
func (r *comparing) look(ctx context.Context, list []account) error {
	if err := concurrently(ctx, callsAtOnce, len(list), func(ctx context.Context, n int) error { return r.theirTotal(ctx, &list[n]) }); err != nil {
		return err
	}
	r.done.Customers += len(list)
	for n := range list {
		if !near(list[n].ours, list[n].theirs) {
			r.suspects = append(r.suspects, list[n])
		}
	}
	if r.Progress != nil {
		r.Progress(r.done)
	}
	if len(r.suspects) < suspectsMax {
		return nil
	}
	return r.lookAgain(ctx)
}

func (r *comparing) differs(d *Difference) error {
	r.done.Differences++
	if d.Drift != "" {
		r.done.Drift++
		r.drift[d.EventName]++
	}
	return r.Differs(*d)
}
