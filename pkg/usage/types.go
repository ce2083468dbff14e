package usage

import (
	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
)

// Scope names a meter's events.
type Scope struct {
	Business  string `json:"business"`
	Livemode  bool   `json:"livemode"`
	EventName string `json:"event_name"`
}

// Query asks for totals of one customer of one meter, newest window first.
type Query struct {
	Scope
	MeterID  string          `json:"meter_id"`
	Formula  control.Formula `json:"formula"` // the meter's
	Customer string          `json:"customer"`
	StartMs  int64           `json:"start_ms"` // inclusive, whole minutes
	EndMs    int64           `json:"end_ms"`   // exclusive, whole minutes
	Grouping Grouping        `json:"grouping,omitempty"`
	// Limit is how many windows at most, at least 1. BeforeMs (exclusive; 0: none) leaves out windows that start at or
	// after it; AfterMs (exclusive; 0: none) those that start at or before it, and then the oldest of the rest are meant.
	Limit    int   `json:"limit"`
	BeforeMs int64 `json:"before_ms,omitempty"`
	AfterMs  int64 `json:"after_ms,omitempty"`
}

// Grouping is the length of a query's windows.
type Grouping string

// The groupings: the whole range, UTC hours, UTC days.
const (
	NoGrouping Grouping = ""
	ByHour     Grouping = "hour"
	ByDay      Grouping = "day"
)

// Totals answers a Query. Windows without events are left out.
type Totals struct {
	Windows []WindowTotal `json:"windows"`
	More    bool          `json:"more"`
	AsOfMs  int64         `json:"as_of_ms"` // everything received before is in
}

// WindowTotal is one window. Value is an exact decimal as text. LastMs and LastReceivedMs order the values of formula
// last where partitions are put together.
type WindowTotal struct {
	StartMs        int64  `json:"start_ms"`
	EndMs          int64  `json:"end_ms"`
	Value          string `json:"value"`
	LastMs         int64  `json:"last_ms,omitempty"`
	LastReceivedMs int64  `json:"last_received_ms,omitempty"`
}

// FateQuery asks what became of an identifier.
type FateQuery struct {
	Scope
	Identifier string `json:"identifier"`
}

// Status is what became of an event.
type Status string

// The statuses.
const (
	NotFound  Status = "not_found" // not in the log within the window, as far as AsOf
	Accepted  Status = "accepted"  // in the log, no further on than Fate looks; the worker has not come to it yet
	Counted   Status = "counted"
	Refused   Status = "refused"
	Cancelled Status = "cancelled"
)

// Fate answers a FateQuery.
type Fate struct {
	Status      Status `json:"status"`
	Topic       string `json:"topic,omitempty"`
	Partition   int32  `json:"partition"`
	Offset      int64  `json:"offset"`
	ReceivedMs  int64  `json:"received_ms,omitempty"`
	TimestampMs int64  `json:"timestamp_ms,omitempty"`
	Code        string `json:"code,omitempty"`    // of a refusal
	Message     string `json:"message,omitempty"` // of a refusal
	// Duplicate is the first record with the same identifier that came after this one and was not counted; nil: none.
	Duplicate *Place `json:"duplicate,omitempty"`
	// CancelledBy is the adjustment; nil: none. It may be there before the event is.
	CancelledBy *Place `json:"cancelled_by,omitempty"`
	AsOfMs      int64  `json:"as_of_ms"`
}

// Place is a record.
type Place struct {
	Partition  int32 `json:"partition"`
	Offset     int64 `json:"offset"`
	ReceivedMs int64 `json:"received_ms"`
}

// VerdictQuery asks what became of the record of a synchronous request, at its own offset (D18).
type VerdictQuery struct {
	Scope
	Identifier string             `json:"identifier"`
	Adjustment bool               `json:"adjustment,omitempty"`
	Partition  int32              `json:"partition"`
	Offset     int64              `json:"offset"` // -1: durable, but the log does not know where: everything up to now is waited for
	Request    meterevent.Request `json:"request"`
}

// Outcome is what became of a synchronous request.
type Outcome string

// The outcomes.
const (
	// OutcomeNew: the request is the first of its kind, and this is its record.
	OutcomeNew Outcome = "new"
	// OutcomeReplay: a request with the same Idempotency-Key and parameters came before; the fields of Verdict are its.
	OutcomeReplay Outcome = "replay"
	// OutcomeKeyReused: same Idempotency-Key, other parameters; the record has no effect.
	OutcomeKeyReused Outcome = "key_reused"
	// OutcomeDuplicate: another event with the same identifier came before (events).
	OutcomeDuplicate Outcome = "duplicate"
	// OutcomeRefused: the event was refused with Code and Message, or the cancel was (too late).
	OutcomeRefused Outcome = "refused"
)

// Verdict answers a VerdictQuery.
type Verdict struct {
	Outcome     Outcome `json:"outcome"`
	Code        string  `json:"code,omitempty"`
	Message     string  `json:"message,omitempty"`
	ReceivedMs  int64   `json:"received_ms"`  // of the first request's record
	TimestampMs int64   `json:"timestamp_ms"` // of the first request's event
}
