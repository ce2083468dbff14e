package forward

import (
	"context"
	"fmt"
	"slices"

	"github.com/stripe/stripe-go/v85"

	"tollgate/pkg/control"
)

// mirror creates here what meters Stripe has, at once and again and again. It changes and removes nothing.
func (f *Forwarder) mirror(ctx context.Context) {
	if !f.cfg.MirrorMeters {
		return
	}
	told := make(map[string]bool)
	for {
		for _, s := range f.senders {
			if err := f.mirrorOne(ctx, s, told); err != nil && ctx.Err() == nil {
				f.cfg.Notify(Notice{What: Faulty, Business: s.scope.String(), Detail: "mirroring meters", Err: err})
			}
		}
		if sleep(ctx, f.cfg.MirrorEvery) != nil {
			return
		}
	}
}

func (f *Forwarder) mirrorOne(ctx context.Context, s *sender, told map[string]bool) error {
	theirs, err := s.meters(ctx)
	if err != nil {
		return err
	}
	if err := f.cfg.Control.CaughtUp(ctx); err != nil {
		return err
	}
	snapshot := f.cfg.Control.Snapshot()
	tell := func(eventName, text string) {
		key := s.scope.String() + "/" + eventName + ": " + text
		if !told[key] && len(told) < control.MetersMax {
			told[key] = true
			f.cfg.Notify(Notice{What: Differs, Business: s.scope.String(), Detail: eventName + ": " + text})
		}
	}
	for _, held := range snapshot.Meters(s.scope.business, s.scope.live) {
		// The stream takes its events all the same, and judges them later: nobody would hear of it here.
		if held.Active && !slices.ContainsFunc(theirs, func(m *stripe.BillingMeter) bool { return m.EventName == held.EventName }) {
			tell(held.EventName, "there is no such meter at Stripe, which will not bill what is sent of it")
		}
	}
	for _, m := range theirs {
		if m.Status != stripe.BillingMeterStatusActive {
			continue
		}
		wanted := meterOf(m)
		held := snapshot.Named(s.scope.business, s.scope.live, wanted.EventName)
		if held == nil {
			v, err := f.cfg.Control.Propose(ctx, control.Change{Business: s.scope.business, Livemode: s.scope.live, Create: &wanted})
			switch {
			case err != nil:
				return err
			case v.Refusal == control.NotRefused:
				f.cfg.Notify(Notice{What: Mirrored, Business: s.scope.String(), Detail: wanted.EventName})
			case v.Refusal != control.NameTaken: // another gateway was quicker
				f.cfg.Notify(Notice{What: Differs, Business: s.scope.String(), Detail: fmt.Sprintf("%s was not created: refusal %d", wanted.EventName, v.Refusal)})
			}
			continue
		}
		if text := metersDiffer(held, &wanted); text != "" {
			tell(wanted.EventName, text)
		}
	}
	return nil
}

// meters lists Stripe's.
func (s *sender) meters(ctx context.Context) (list []*stripe.BillingMeter, err error) {
	params := &stripe.BillingMeterListParams{}
	params.Limit = stripe.Int64(100)
	for m, err := range s.api.V1BillingMeters.List(ctx, params).All(ctx) {
		if err != nil {
			return nil, fmt.Errorf("listing the meters at Stripe: %w", err)
		}
		if list = append(list, m); len(list) >= control.MetersMax {
			break
		}
	}
	return list, nil
}

// meterOf is a meter of Stripe's as it would be created here.
func meterOf(m *stripe.BillingMeter) control.NewMeter {
	n := control.NewMeter{DisplayName: m.DisplayName, EventName: m.EventName, Formula: control.Sum, CustomerKey: "stripe_customer_id", ValueKey: "value", Window: control.Window(m.EventTimeWindow)}
	if m.DefaultAggregation != nil {
		n.Formula = control.Formula(m.DefaultAggregation.Formula)
	}
	if m.CustomerMapping != nil {
		n.CustomerKey = m.CustomerMapping.EventPayloadKey
	}
	if m.ValueSettings != nil {
		n.ValueKey = m.ValueSettings.EventPayloadKey
	}
	return n
}

// metersDiffer says how a meter here is not what Stripe's is; "": it is. Pure.
func metersDiffer(held *control.Meter, wanted *control.NewMeter) string {
	switch {
	case !held.Active:
		return "it is inactive here and active at Stripe"
	case held.Formula != wanted.Formula:
		return fmt.Sprintf("the formula is %s here and %s at Stripe", held.Formula, wanted.Formula)
	case held.CustomerKey != wanted.CustomerKey:
		return fmt.Sprintf("the customer's key is %s here and %s at Stripe", held.CustomerKey, wanted.CustomerKey)
	case held.ValueKey != wanted.ValueKey:
		return fmt.Sprintf("the value's key is %s here and %s at Stripe", held.ValueKey, wanted.ValueKey)
	case held.Window != wanted.Window:
		return fmt.Sprintf("the event time window is %q here and %q at Stripe", held.Window, wanted.Window)
	}
	return ""
}
