package httpd

import (
	"context"
	"errors"

	"tollgate/pkg/control"
	"tollgate/pkg/ingest"
	"tollgate/pkg/opened"
	"tollgate/pkg/stripe"
	"tollgate/pkg/thinevent"
	"tollgate/pkg/usage"
	"tollgate/pkg/webhook"
)

// What the server asks of the rooms behind it. All methods may be called at once from many goroutines.

// Ingester is where events go: an *ingest.Ingester.
type Ingester interface {
	NewFrame(receivedMs int64) *ingest.Frame
	// Submit takes the frame over and returns nil when all of it is durable.
	Submit(f *ingest.Frame) error
	// SubmitAt is Submit, and tells where the frame's last record is.
	SubmitAt(f *ingest.Frame) (ingest.Position, error)
}

// Control keeps meters and event destinations: a *control.Control.
type Control interface {
	// Snapshot may trail what other gateways have decided; CaughtUp returns when it holds everything that was decided
	// before the call.
	Snapshot() *control.Snapshot
	CaughtUp(ctx context.Context) error
	Propose(ctx context.Context, change control.Change) (control.Verdict, error)
	Replay(business string, livemode bool, i *control.Idempotency) (v control.Verdict, ok bool)
}

// Opened knows which sessions were opened with an Idempotency-Key: an *opened.Opened.
type Opened interface {
	// Find and Used may trail what other gateways have answered.
	Find(asked opened.Session, nowMs int64) (s opened.Session, ok bool)
	Used(key [16]byte, nowMs int64) bool
	// Open returns the session, or the one that its key had opened before, whichever gateway was asked.
	Open(ctx context.Context, s opened.Session) (opened.Session, error)
}

// Usage tells what became of events, whichever gateway counts them. An error is that the answer can not be had now, but
// for *usage.IncompleteError, which will not pass.
type Usage interface {
	Totals(ctx context.Context, q usage.Query) (usage.Totals, error)
	Fate(ctx context.Context, q usage.FateQuery) (usage.Fate, error)
	Verdict(ctx context.Context, q usage.VerdictQuery) (usage.Verdict, error)
	// Available is nil when Verdict could be asked about the partition now, as far as is known. It does not block.
	Available(partition int32) error
}

// Events holds thin events: a *thinevent.Store.
type Events interface {
	// CaughtUp returns when what List and Get see has every event that was in the topic before the call.
	CaughtUp(ctx context.Context) error
	Get(business string, livemode bool, id string) (*thinevent.Event, error)
	List(q *thinevent.Query) (thinevent.Page, error)
	Append(ctx context.Context, events ...*thinevent.Event) error
}

// Webhooks delivers events: a *webhook.Courier.
type Webhooks interface {
	State(destination string) webhook.State
	Resend(ctx context.Context, d *control.Destination, e *thinevent.Event) error
}

// caughtUp has the snapshot hold what any gateway has answered before.
func (s *Server) caughtUp() (*control.Snapshot, *stripe.Error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.ControlWaitMax)
	defer cancel()
	if err := s.cfg.Control.CaughtUp(ctx); err != nil {
		return nil, stripe.MetersUnavailable()
	}
	return s.cfg.Control.Snapshot(), nil
}

// eventsCaughtUp has the index hold what any gateway has answered before.
func (s *Server) eventsCaughtUp() *stripe.Error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.EventsWaitMax)
	defer cancel()
	if err := s.cfg.Events.CaughtUp(ctx); err != nil {
		return stripe.EventsUnavailable()
	}
	return nil
}

// propose asks for a change of a meter or a destination; unavailable is what is said when that can not be had now.
func (s *Server) propose(change *control.Change, unavailable func() *stripe.Error) (control.Verdict, *stripe.Error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.ControlWaitMax)
	defer cancel()
	v, err := s.cfg.Control.Propose(ctx, *change)
	return v, notWritten(err, unavailable)
}

// notWritten renders why a log did not take something that is not an event of usage; nil when it did.
func notWritten(err error, unavailable func() *stripe.Error) *stripe.Error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ingest.ErrUnavailable) && !errors.Is(err, ingest.ErrUnknown):
		return unavailable()
	case errors.Is(err, ingest.ErrRefused) && !errors.Is(err, ingest.ErrUnknown):
		return stripe.LogRefused()
	}
	return stripe.ChangeUnknown()
}
