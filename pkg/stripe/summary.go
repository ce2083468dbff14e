package stripe

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

const summaryPrefix = "mtrusg_"

// Summary is a meter event summary as GET /v1/billing/meters/:id/event_summaries answers it.
type Summary struct {
	// Bits become the id, mtrusg_… or mtrusg_test_…, out of which ParseSummaryID reads them again.
	Bits  [16]byte
	Meter string
	// Value is a decimal number as JSON has it, with all its digits.
	Value          string
	StartMs, EndMs int64
	Livemode       bool
}

// AppendSummary appends billing.meter_event_summary.
func AppendSummary(dst []byte, s *Summary) []byte {
	dst = append(dst, `{"id":"`...)
	dst = appendID(dst, summaryPrefix, s.Livemode, s.Bits)
	dst = append(dst, `","object":"billing.meter_event_summary","aggregated_value":`...)
	dst = append(dst, s.Value...)
	dst = appendSecondsField(dst, "end_time", s.EndMs)
	dst = appendBoolField(dst, "livemode", s.Livemode)
	dst = append(dst, `,"meter":`...)
	dst = appendQuoted(dst, s.Meter)
	dst = appendSecondsField(dst, "start_time", s.StartMs)
	return append(dst, '}')
}

// ParseSummaryID reads the bits of an id that AppendSummary wrote for the mode.
func ParseSummaryID(id string, livemode bool) (random [16]byte, ok bool) {
	text, ok := strings.CutPrefix(id, summaryPrefix)
	if ok && !livemode {
		text, ok = strings.CutPrefix(text, "test_")
	}
	if !ok || len(text) != idTextBytes {
		return random, false
	}
	high, ok1 := parseBase62(text[:idTextBytes/2])
	low, ok2 := parseBase62(text[idTextBytes/2:])
	binary.BigEndian.PutUint64(random[:8], high)
	binary.BigEndian.PutUint64(random[8:], low)
	return random, ok1 && ok2
}

func parseBase62(text string) (n uint64, ok bool) {
	for i := range len(text) {
		digit := strings.IndexByte(base62, text[i])
		if digit < 0 {
			return 0, false
		}
		over, product := bits.Mul64(n, 62)
		sum, carry := bits.Add64(product, uint64(digit), 0)
		if over != 0 || carry != 0 {
			return 0, false
		}
		n = sum
	}
	return n, true
}

// UsageEvent is what became of an identifier, as GET /v1/tollgate/usage_events/:identifier answers it. Stripe has no such
// object. Times are Unix milliseconds here and RFC 3339 on the wire; 0 is null.
type UsageEvent struct {
	Identifier, EventName string
	Livemode              bool
	// Status is "accepted", "counted", "refused" or "cancelled".
	Status                  string
	Topic                   string
	Partition               int32
	Offset                  int64
	ReceivedMs, TimestampMs int64
	// Code and Message say why the event was refused; empty is null.
	Code, Message string
	// Duplicate is the first record behind this one with the identifier, which was not counted; CancelledBy is the
	// adjustment.
	Duplicate, CancelledBy *UsageRecord
}

// UsageRecord is a record in the log.
type UsageRecord struct {
	Partition  int32
	Offset     int64
	ReceivedMs int64
}

// AppendUsageEvent appends tollgate.usage_event.
func AppendUsageEvent(dst []byte, e *UsageEvent) []byte {
	dst = append(dst, `{"object":"tollgate.usage_event","identifier":`...)
	dst = appendQuoted(dst, e.Identifier)
	dst = append(dst, `,"event_name":`...)
	dst = appendQuoted(dst, e.EventName)
	dst = appendBoolField(dst, "livemode", e.Livemode)
	dst = append(dst, `,"status":`...)
	dst = appendQuoted(dst, e.Status)
	dst = append(dst, `,"record":`...)
	dst = appendUsageRecord(dst, e.Topic, &UsageRecord{e.Partition, e.Offset, e.ReceivedMs})
	dst = appendTimeOrNull(dst, "timestamp", e.TimestampMs)
	dst = appendTextOrNull(dst, "code", e.Code)
	dst = appendTextOrNull(dst, "message", e.Message)
	dst = append(dst, `,"duplicate":`...)
	dst = appendUsageRecord(dst, e.Topic, e.Duplicate)
	dst = append(dst, `,"cancelled_by":`...)
	dst = appendUsageRecord(dst, e.Topic, e.CancelledBy)
	return append(dst, '}')
}

func appendUsageRecord(dst []byte, topic string, r *UsageRecord) []byte {
	if r == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, `{"topic":`...)
	dst = appendQuoted(dst, topic)
	dst = appendIntField(dst, "partition", int64(r.Partition))
	dst = appendIntField(dst, "offset", r.Offset)
	dst = appendTimeOrNull(dst, "received", r.ReceivedMs)
	return append(dst, '}')
}

func appendTimeOrNull(dst []byte, name string, ms int64) []byte {
	if ms == 0 {
		return append(append(append(dst, `,"`...), name...), `":null`...)
	}
	return appendTimeField(dst, name, ms)
}

func appendTextOrNull(dst []byte, name, text string) []byte {
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	if text == "" {
		return append(dst, "null"...)
	}
	return appendQuoted(dst, text)
}
