package stripe

import "strconv"

// What a meter event is refused for, synchronously. On the stream these are no refusals: the events are
// accepted there and reported later. Codes are those of the v2 reference; in the v1 envelope only the ones that v1
// is known to send appear.
//
// The reference also lists 409 too_many_concurrent_requests, which the gateway never sends: it has nothing to
// protect that way, and Go's SDK would not try again.

// TimestampTooOld: the event is from before oldestUnix, which is 35 days before its receipt, in Unix seconds. Clients
// match on the sentence.
func TimestampTooOld(oldestUnix int64) *Error {
	return &Error{
		Status: statusBadRequest, Type: typeInvalidRequest, Code: "timestamp_too_far_in_past",
		Message: "The event timestamp cannot be more than 35 days in past. Expected a timestamp greater than or equal to " +
			strconv.FormatInt(oldestUnix, 10) + ".",
		Param: "timestamp",
	}
}

// TimestampInFuture: the event is from after newestUnix, which is 5 minutes after its receipt, in Unix seconds.
func TimestampInFuture(newestUnix int64) *Error {
	return &Error{
		Status: statusBadRequest, Type: typeInvalidRequest, Code: "timestamp_in_future",
		Message: "The event timestamp cannot be more than 5 minutes in the future. Expected a timestamp less than or equal to " +
			strconv.FormatInt(newestUnix, 10) + ".",
		Param: "timestamp",
	}
}

// PayloadNoCustomer: the payload lacks key, the meter's customer key. param is the payload's name for it.
func PayloadNoCustomer(key, param string) *Error {
	e := invalidRequest(statusBadRequest, "payload_no_customer_defined",
		"The payload has no customer: the meter expects it under the key '"+clip(key)+"'.")
	e.Param = clip(param)
	return e
}

// PayloadInvalidValue: the value is not a decimal number that a meter takes.
func PayloadInvalidValue[T string | []byte](value T, param string) *Error {
	e := invalidRequest(statusBadRequest, "payload_invalid_value",
		"The value '"+clip(value)+"' is not usable. Send digits, with an optional minus sign and decimal point and at most 15 significant digits, such as 25 or -0.5.")
	e.Param = clip(param)
	return e
}

// PayloadNoValue: the payload lacks key, the meter's value key. param is the payload's name for it.
func PayloadNoValue(key, param string) *Error {
	e := invalidRequest(statusBadRequest, "payload_no_value_defined",
		"The payload has no value: the meter expects it under the key '"+clip(key)+"'.")
	e.Param = clip(param)
	return e
}

// NoMeter: no meter has the event name.
func NoMeter[T string | []byte](eventName T) *Error {
	e := invalidRequest(statusBadRequest, "no_meter", "No meter was found matching event_name '"+clip(eventName)+"'.")
	e.Param = "event_name"
	return e
}

// ArchivedMeter: the meter of the event name is inactive.
func ArchivedMeter[T string | []byte](eventName T) *Error {
	e := invalidRequest(statusBadRequest, "archived_meter", "The meter with event_name '"+clip(eventName)+"' is inactive. Reactivate it to send events to it.")
	e.Param = "event_name"
	return e
}

// DuplicateMeterEvent: another event of the meter was counted under the identifier. Clients match on the sentence; the
// identifier, which is bounded by the rules of events, is whole in it.
func DuplicateMeterEvent(identifier []byte) *Error {
	return invalidRequest(statusBadRequest, "duplicate_meter_event", "An event already exists with identifier "+string(identifier)+".")
}

// EventRefused: the event was refused when it was counted. code is that of the v2 reference, message a whole sentence.
func EventRefused(code, message string) *Error {
	return invalidRequest(statusBadRequest, code, message)
}

// CancelTooLate: the event to be cancelled was received more than 24 hours before.
func CancelTooLate(identifier []byte) *Error {
	e := invalidRequest(statusBadRequest, "invalid_cancel_configuration",
		"The event with identifier '"+clip(identifier)+"' can not be cancelled: it was received more than 24 hours ago.")
	return e
}

// OwnerAway: who counts the meter's events can not be asked now.
func OwnerAway() *Error {
	return Unavailable("The gateway that counts this meter's events can not be reached now.")
}

// VerdictUnknown: the request is stored, and what became of it could not be learnt. identifier is that of its event, which
// the gateway may have made.
func VerdictUnknown[T string | []byte](identifier T) *Error {
	return sendAgain("outcome_unknown", "The request is stored, and its verdict is not known yet: whether it was the first of its kind. Send the same request again "+
		"with the same Idempotency-Key or the identifier '"+clip(identifier)+"'; it will not be counted twice.")
}
