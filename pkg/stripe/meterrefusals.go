package stripe

import "strconv"

// What a meter event or adjustment is refused for, synchronously. On the stream these are no refusals: the events are
// accepted there and reported later. Codes are those of the v2 reference; in the v1 envelope only the ones that v1
// is known to send appear.
//
// The reference also lists 409 too_many_concurrent_requests, which the gateway never sends: it has nothing to
// protect that way, and Go's SDK would not try again.

// DuplicateMeterEvent: the identifier was used in the last 24 hours. Clients match on the sentence, so the identifier
// stands in it whole; it has passed the limit for identifiers before anyone could know that it is a duplicate.
func DuplicateMeterEvent[T string | []byte](identifier T) *Error {
	return invalidRequest(statusBadRequest, "duplicate_meter_event",
		"An event already exists with identifier "+string(identifier)+".")
}

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

// NoMeter: no meter has this event name.
func NoMeter[T string | []byte](eventName T) *Error {
	e := invalidRequest(statusBadRequest, "no_meter", "No meter exists with the event name '"+clip(eventName)+"'.")
	e.Param = "event_name"
	return e
}

// ArchivedMeter: the meter of this event name was deactivated.
func ArchivedMeter[T string | []byte](eventName T) *Error {
	return &Error{
		Status: statusBadRequest, Type: typeInvalidRequest, Code: "archived_meter",
		Message: "The meter with the event name '" + clip(eventName) + "' is inactive. Reactivate it before sending events.",
		Param:   "event_name",
	}
}

// PayloadNoCustomer: the payload lacks key, the meter's customer key. param is the payload's name for it.
func PayloadNoCustomer(key, param string) *Error {
	e := invalidRequest(statusBadRequest, "payload_no_customer_defined",
		"The payload has no customer: the meter expects it under the key '"+clip(key)+"'.")
	e.Param = clip(param)
	return e
}

// CustomerNotFound: the customer that the payload names is not known.
func CustomerNotFound[T string | []byte](customer T, param string) *Error {
	e := invalidRequest(statusBadRequest, "meter_event_customer_not_found", "No such customer: '"+clip(customer)+"'.")
	e.Param = clip(param)
	return e
}

// PayloadNoValue: the payload lacks key, the meter's value key.
func PayloadNoValue(key, param string) *Error {
	e := invalidRequest(statusBadRequest, "payload_no_value_defined",
		"The payload has no value: the meter expects it under the key '"+clip(key)+"'.")
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

// InvalidCancel: the event can not be cancelled. reason is a whole sentence.
func InvalidCancel(reason string) *Error {
	return invalidRequest(statusBadRequest, "invalid_cancel_configuration", reason)
}
