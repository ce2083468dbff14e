package stripe

import (
	"strconv"
	"time"
)

// TimeLayout is how v2 writes a time: RFC 3339 with three decimals. The time must be in UTC. Clients compare expires_at
// with the present as text, so that the width is part of the contract. Records in our topics write times alike.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// appendTime appends Unix milliseconds as a v2 time, without quotes. Years 0 to 9999.
func appendTime(dst []byte, ms int64) []byte {
	return time.UnixMilli(ms).UTC().AppendFormat(dst, TimeLayout)
}

func appendTimeField(dst []byte, name string, ms int64) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":"`...)
	dst = appendTime(dst, ms)
	return append(dst, '"')
}

func appendBoolField(dst []byte, name string, value bool) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return strconv.AppendBool(dst, value)
}

func appendTextField(dst []byte, name string, value []byte) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return appendQuoted(dst, value)
}

// Session is a meter event session as POST /v2/billing/meter_event_session answers it.
type Session struct {
	// Random becomes the id, mtes_… or mtes_test_….
	Random [16]byte
	// Token is the text to be sent as "Authorization: Bearer …" with the stream.
	Token                []byte
	CreatedMs, ExpiresMs int64
	Livemode             bool
}

// AppendSession appends v2.billing.meter_event_session; all six fields are required.
func AppendSession(dst []byte, s *Session) []byte {
	dst = append(dst, `{"object":"v2.billing.meter_event_session","id":"`...)
	dst = appendID(dst, sessionPrefix, s.Livemode, s.Random)
	dst = append(dst, '"')
	dst = appendTextField(dst, "authentication_token", s.Token)
	dst = appendTimeField(dst, "created", s.CreatedMs)
	dst = appendTimeField(dst, "expires_at", s.ExpiresMs)
	dst = appendBoolField(dst, "livemode", s.Livemode)
	return append(dst, '}')
}

// MeterEvent is one meter event as the synchronous endpoints answer it. It has no id: the identifier is its name.
type MeterEvent struct {
	EventName, Identifier []byte
	// Payload is the payload as JSON text, an object; it is copied as it stands.
	Payload                []byte
	CreatedMs, TimestampMs int64
	Livemode               bool
}

// AppendV2MeterEvent appends v2.billing.meter_event.
func AppendV2MeterEvent(dst []byte, e *MeterEvent) []byte {
	dst = append(dst, `{"object":"v2.billing.meter_event"`...)
	dst = appendTimeField(dst, "created", e.CreatedMs)
	dst = appendTextField(dst, "event_name", e.EventName)
	dst = appendTextField(dst, "identifier", e.Identifier)
	dst = appendBoolField(dst, "livemode", e.Livemode)
	dst = append(dst, `,"payload":`...)
	dst = append(dst, e.Payload...)
	dst = appendTimeField(dst, "timestamp", e.TimestampMs)
	return append(dst, '}')
}

// AppendV1MeterEvent appends billing.meter_event, whose times are Unix seconds.
func AppendV1MeterEvent(dst []byte, e *MeterEvent) []byte {
	dst = append(dst, `{"object":"billing.meter_event","created":`...)
	dst = strconv.AppendInt(dst, unixSeconds(e.CreatedMs), 10)
	dst = appendTextField(dst, "event_name", e.EventName)
	dst = appendTextField(dst, "identifier", e.Identifier)
	dst = appendBoolField(dst, "livemode", e.Livemode)
	dst = append(dst, `,"payload":`...)
	dst = append(dst, e.Payload...)
	dst = append(dst, `,"timestamp":`...)
	dst = strconv.AppendInt(dst, unixSeconds(e.TimestampMs), 10)
	return append(dst, '}')
}

// unixSeconds rounds down, also before 1970.
func unixSeconds(ms int64) int64 {
	return time.UnixMilli(ms).Unix()
}

// AdjustmentStatus is how far a cancellation has come.
type AdjustmentStatus string

// Pending: the cancellation is durable in the log. Complete: it has been applied to the meter's totals.
const (
	Pending  AdjustmentStatus = "pending"
	Complete AdjustmentStatus = "complete"
)

// Adjustment is a meter event adjustment as both APIs answer it. Its type is always "cancel": there is no other.
type Adjustment struct {
	// Random becomes the id of the v2 object, mtr_event_adj_… or mtr_event_adj_test_…; the v1 object has none.
	Random    [16]byte
	EventName []byte
	// CancelIdentifier names the event to cancel. nil, which only v1 allows, makes "cancel" null.
	CancelIdentifier []byte
	Status           AdjustmentStatus
	// CreatedMs is for the v2 object only.
	CreatedMs int64
	Livemode  bool
}

// AppendV2Adjustment appends v2.billing.meter_event_adjustment.
func AppendV2Adjustment(dst []byte, a *Adjustment) []byte {
	dst = append(dst, `{"object":"v2.billing.meter_event_adjustment","id":"`...)
	dst = appendID(dst, adjustmentPrefix, a.Livemode, a.Random)
	dst = append(dst, '"')
	dst = appendTimeField(dst, "created", a.CreatedMs)
	dst = appendTextField(dst, "event_name", a.EventName)
	dst = append(dst, `,"type":"cancel"`...)
	dst = appendCancel(dst, a)
	dst = append(dst, `,"status":`...)
	dst = appendQuoted(dst, string(a.Status))
	dst = appendBoolField(dst, "livemode", a.Livemode)
	return append(dst, '}')
}

// AppendV1Adjustment appends billing.meter_event_adjustment: no id, no created.
func AppendV1Adjustment(dst []byte, a *Adjustment) []byte {
	dst = append(dst, `{"object":"billing.meter_event_adjustment"`...)
	dst = appendCancel(dst, a)
	dst = appendTextField(dst, "event_name", a.EventName)
	dst = appendBoolField(dst, "livemode", a.Livemode)
	dst = append(dst, `,"status":`...)
	dst = appendQuoted(dst, string(a.Status))
	return append(dst, `,"type":"cancel"}`...)
}

func appendCancel(dst []byte, a *Adjustment) []byte {
	if a.CancelIdentifier == nil {
		return append(dst, `,"cancel":null`...)
	}
	dst = append(dst, `,"cancel":{"identifier":`...)
	dst = appendQuoted(dst, a.CancelIdentifier)
	return append(dst, '}')
}
