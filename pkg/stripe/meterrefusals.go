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
