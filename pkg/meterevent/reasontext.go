package meterevent

import (
	"strconv"
	"unicode/utf8"
)

// What people are told of an event that is not counted, in one sentence or two, in error reports and in the fate of an
// event; package stripe has those of the synchronous endpoints' refusals. Texts that a sender chose are clipped. Where
// Stripe's sentence is known it is kept to the letter, because programs match on it.

// NoMeterMessage is of NoMeter.
func NoMeterMessage(eventName []byte) string {
	return "No meter was found matching event_name " + clipped(eventName) + "."
}

// ArchivedMeterMessage is of ArchivedMeter.
func ArchivedMeterMessage(eventName []byte) string {
	return "The meter with event_name " + clipped(eventName) + " is inactive. Reactivate it to record usage."
}

// NoCustomerMessage is of NoCustomer; key is the meter's customer key.
func NoCustomerMessage(key string) string {
	return "Customer mapping key " + clipped([]byte(key)) + " not found in payload."
}

// ValueNotFoundMessage is of ValueNotFound; key is the meter's value key.
func ValueNotFoundMessage(key string) string {
	return "Value key " + clipped([]byte(key)) + " not found in payload."
}

// ValueMessage is of InvalidValue and ValueTooManyDigits.
func ValueMessage(reason Reason, value []byte) string {
	if reason == ValueTooManyDigits {
		return "The value must have at most " + strconv.Itoa(ValueDigitsMax) + " significant digits, got " + clipped(value) + "."
	}
	return "The value '" + clipped(value) + "' is not usable. Send digits, with an optional minus sign and decimal point and at most " +
		strconv.Itoa(ValueDigitsMax) + " significant digits, such as 25 or -0.5."
}

// TimestampMessage is of TimestampTooFarInPast and TimestampInFuture; receivedMs is the event's time of receipt.
func TimestampMessage(reason Reason, receivedMs int64) string {
	if reason == TimestampInFuture {
		return "The event timestamp cannot be more than 5 minutes in the future. Expected a timestamp less than or equal to " +
			strconv.FormatInt(NewestUnix(receivedMs), 10) + "."
	}
	return "The event timestamp cannot be more than 35 days in past. Expected a timestamp greater than or equal to " +
		strconv.FormatInt(OldestUnix(receivedMs), 10) + "."
}

// OldestUnix and NewestUnix are the first and the last whole second, in Unix seconds, of the window that CheckTimestamp
// takes at a time of receipt.
func OldestUnix(receivedMs int64) int64 { return ceilSeconds(receivedMs - TimestampPastMaxMs) }

// NewestUnix is explained at OldestUnix.
func NewestUnix(receivedMs int64) int64 { return -ceilSeconds(-(receivedMs + TimestampFutureMaxMs)) }

// ceilSeconds rounds up to whole seconds.
func ceilSeconds(ms int64) int64 {
	seconds := ms / 1000
	if ms%1000 > 0 {
		seconds++
	}
	return seconds
}

// InvalidRecordMessage is of InvalidRecord; err is RecordReader.Read's, which is short.
func InvalidRecordMessage(err error) string {
	return "The record in the usage log is not valid: " + err.Error()
}

// InvalidCancelMessage is of InvalidCancel.
func InvalidCancelMessage(identifier []byte) string {
	return "The event with identifier " + clipped(identifier) + " was received more than 24 hours before and cannot be cancelled any more."
}

// messageTextBytesMax bounds how much of a text is repeated in a message.
const messageTextBytesMax = 100

// clipped is a text as it may be repeated to people: not too long, and UTF-8. The texts of an event are UTF-8 always.
func clipped(text []byte) string {
	if len(text) <= messageTextBytesMax {
		return string(text)
	}
	cut := messageTextBytesMax
	for cut > messageTextBytesMax-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return string(text[:cut]) + "…"
}
