package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tollgate/pkg/control"
)

// DisabledReason is what a destination shows that was disabled after nothing but failure.
const DisabledReason = "delivery_failed"

var errRefused = errors.New("control refused it")

// disableAt is when the destination is to be disabled, if nothing is delivered until then.
func (r *runner) disableAt() (time.Time, bool) {
	if r.c.cfg.AutoDisableAfter < 0 || r.failing.sinceMs == 0 || r.proposed {
		return time.Time{}, false
	}
	at := time.UnixMilli(r.failing.sinceMs).Add(r.c.cfg.AutoDisableAfter)
	if at.Before(r.askAt) {
		at = r.askAt
	}
	return at, true
}

func (r *runner) disableIfDue(ctx context.Context) {
	at, ok := r.disableAt()
	if !ok || r.c.cfg.Now().Before(at) {
		return
	}
	r.proposed = true
	r.proposing.Go(func() {
		v, err := r.c.cfg.Control.Propose(ctx, control.Change{
			Business: r.place.business, Livemode: r.place.livemode,
			DestinationStatus: &control.DestinationStatus{ID: r.place.id, Enabled: false, Reason: DisabledReason},
		})
		if err == nil && v.Refusal != control.NotRefused {
			err = errRefused
		}
		r.proposal <- err
	})
}

// endProposing waits for the answer to what is proposed, which comes soon when ctx has ended.
func (r *runner) endProposing(ctx context.Context) {
	r.proposing.Wait()
	select {
	case err := <-r.proposal:
		if err == nil || ctx.Err() == nil {
			r.disabled(err)
		}
	default:
	}
}

// disabled takes the answer to what was proposed. The shift sees the destination disabled and ends this.
func (r *runner) disabled(err error) {
	if err != nil {
		r.proposed, r.askAt = false, r.c.cfg.Now().Add(disableAgain)
		r.c.fault(r.place.id, fmt.Errorf("disabling a destination: %w", err))
		return
	}
	r.c.counts.disabled.Add(1)
	r.c.cfg.Notify(Notice{What: NoticeDisabled, Destination: r.place.id, Err: errors.New(reasonText(r.failing.reason))})
}
