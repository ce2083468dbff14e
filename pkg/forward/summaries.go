package forward

import (
	"context"
	"errors"
	"fmt"

	"github.com/stripe/stripe-go/v85"
)

// triesMax bounds how often one thing is asked again that was not answered.
const triesMax = 8

// theirTotal asks Stripe for a customer's total. One whom Stripe does not know has 0.
func (r *comparing) theirTotal(ctx context.Context, a *account) error {
	err := r.patiently(ctx, func() (err error) {
		if err := r.pace.wait(ctx, 1); err != nil {
			return err
		}
		a.theirs, err = r.s.summary(ctx, r.theirs[a.meter.EventName].ID, a.customer, r)
		return err
	})
	var known *stripe.Error
	if a.unknown = errors.As(err, &known) && known.Code == stripe.ErrorCodeResourceMissing && known.Param == "customer"; a.unknown {
		a.theirs, err = 0, nil
	}
	if err != nil {
		return fmt.Errorf("asking Stripe about %s: %w", a.customer, err)
	}
	return nil
}

// patiently asks Stripe until it answers, or has not for triesMax times. Where it wants less the whole comparison slows down.
func (r *comparing) patiently(ctx context.Context, ask func() error) error {
	for attempt := 0; ; attempt++ {
		err := ask()
		if err == nil || ctx.Err() != nil {
			return err
		}
		a := answerOf(err)
		pause := r.s.backoff(attempt)
		switch got := mean(toV1, a); {
		case attempt == triesMax:
			return err
		case got == slowDown:
			pause = max(pause, a.retryAfter())
			r.pace.slow(pause)
		case got != undetermined && got != again:
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// summary asks once. Without a grouping there is one summary of the range, or none.
func (s *sender) summary(ctx context.Context, meter, customer string, r *comparing) (sum float64, err error) {
	params := &stripe.BillingMeterEventSummaryListParams{
		ID: stripe.String(meter), Customer: stripe.String(customer),
		StartTime: stripe.Int64(r.From.Unix()), EndTime: stripe.Int64(r.To.Unix()),
	}
	for got, err := range s.api.V1BillingMeterEventSummaries.List(ctx, params).All(ctx) {
		if err != nil {
			return 0, err
		}
		sum += got.AggregatedValue
	}
	return sum, nil
}
