package usage

import (
	"fmt"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
)

// reasons numbers what events and cancels are refused for: for the index, which has room for 16, and for counters.
var reasons = [...]meterevent.Reason{
	meterevent.InvalidRecord, meterevent.NoMeter, meterevent.ArchivedMeter, meterevent.NoCustomer, meterevent.ValueNotFound,
	meterevent.InvalidValue, meterevent.ValueTooManyDigits, meterevent.TimestampTooFarInPast, meterevent.TimestampInFuture,
	meterevent.InvalidCancel,
}

func numberOf(reason meterevent.Reason) uint8 {
	for i, known := range reasons {
		if reason == known {
			return uint8(i)
		}
	}
	panic(fmt.Sprintf("BUG: usage: reason %q has no number", reason))
}

// judged is an event that counts, unless it is a duplicate.
type judged struct {
	meter    *control.Meter
	customer []byte
	value    meterevent.Decimal // 0 for count
}

// judge decides about an event by all but its identifier. It is pure: the record, the meter of its name as of any
// snapshot that has all changes made before the event was received, and the time of receipt decide. raw is the value as
// the event has it.
func judge(reader *meterevent.RecordReader, r *meterevent.Record, m *control.Meter, receivedMs int64, j *judged) (reason meterevent.Reason, raw []byte) {
	if m == nil || !m.ExistedAt(receivedMs) {
		return meterevent.NoMeter, nil
	}
	if !m.ActiveAt(receivedMs) {
		return meterevent.ArchivedMeter, nil
	}
	if reason, raw := share(reader, r, m, j); reason != "" {
		return reason, raw
	}
	return meterevent.CheckTimestamp(r.TimestampMs, receivedMs), nil
}

// share reads what an event brings to whom, by its meter's mapping, which never changes.
func share(reader *meterevent.RecordReader, r *meterevent.Record, m *control.Meter, j *judged) (reason meterevent.Reason, raw []byte) {
	j.meter = m
	customer, ok := reader.PayloadValue(r, m.CustomerKey)
	if !ok || len(customer) == 0 {
		return meterevent.NoCustomer, nil
	}
	j.customer = customer
	j.value = meterevent.Decimal{}
	if m.Formula != control.Count {
		value, ok := reader.PayloadValue(r, m.ValueKey)
		if !ok {
			return meterevent.ValueNotFound, nil
		}
		if reason := meterevent.CheckValue(value); reason != "" {
			return reason, value
		}
		parsed, err := meterevent.ParseDecimal(value)
		if err != nil {
			return meterevent.InvalidValue, value
		}
		j.value = parsed
	}
	return "", nil
}

// message tells a person what is wrong with an event.
func message(reason meterevent.Reason, s *Scope, m *control.Meter, raw []byte, receivedMs int64) string {
	switch reason {
	case meterevent.NoMeter:
		return meterevent.NoMeterMessage([]byte(s.EventName))
	case meterevent.ArchivedMeter:
		return meterevent.ArchivedMeterMessage([]byte(s.EventName))
	case meterevent.NoCustomer:
		return meterevent.NoCustomerMessage(m.CustomerKey)
	case meterevent.ValueNotFound:
		return meterevent.ValueNotFoundMessage(m.ValueKey)
	case meterevent.InvalidValue, meterevent.ValueTooManyDigits:
		return meterevent.ValueMessage(reason, raw)
	case meterevent.TimestampTooFarInPast, meterevent.TimestampInFuture:
		return meterevent.TimestampMessage(reason, receivedMs)
	}
	return string(reason)
}
