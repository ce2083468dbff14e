package thinevent

import (
	"errors"

	"tollgate/pkg/stripe"
)

// The types of events that this program makes.
const (
	TypeErrorReport = "v1.billing.meter.error_report_triggered"
	TypeNoMeter     = "v1.billing.meter.no_meter_found"
	TypePing        = "v2.core.event_destination.ping"
	// TypeAtRisk is ours: usage of a business may come to Stripe too late.
	TypeAtRisk = "tollgate.forward.at_risk"
)

// RetentionMs is how long an event can be retrieved after its creation: 30 days, as at Stripe.
const RetentionMs = 30 * 24 * 60 * 60 * 1000

// typesMax is how many types a Query may name.
const typesMax = 20

// Event is a thin event with what is known of it here.
type Event struct {
	stripe.Event
	Business string
	// Source is where the report's records are in the usage log; zero of a ping.
	Source Source
	// Offset is where the event is in the events topic; set on events that are read.
	Offset int64
}

// Source is a range of a partition of the usage topic: the refused events that a report counts are in [First, Through).
type Source struct {
	Partition      int32
	First, Through int64
}

// Position is a place in the order of a list: events are ordered by creation and, of one millisecond, by offset.
type Position struct{ CreatedMs, Offset int64 }

// Query asks for a page of events, the newest first.
type Query struct {
	Business string
	Livemode bool
	ObjectID string   // of the related object; empty: any
	Types    []string // nil: any; empty and not nil: none; 20 at most
	FromMs   int64    // created at or after; 0: any
	BeforeMs int64    // created before; 0: any
	Limit    int      // of the page, 1 at least
	// After is the event behind which the page begins, Before the one before which it ends; at most one is not nil.
	After, Before *Position
}

// Page is a page of events. Next and Previous are there when the next page, the one before, has at least one event.
type Page struct {
	Events         []*Event
	Next, Previous *Position // to be used as After, and as Before
}

// ErrNotIndexed: the event is durable and the index did not show it in time.
var ErrNotIndexed = errors.New("thinevent: the event is durable and not yet shown")
