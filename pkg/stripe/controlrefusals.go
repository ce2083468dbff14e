package stripe

import "strconv"

// What is said about meters, lists and Idempotency-Keys.

// NoSuchMeter: the path names a meter that does not exist in the key's business and mode.
func NoSuchMeter[T string | []byte](id T) *Error {
	return &Error{
		Status: statusNotFound, Type: typeInvalidRequest, Code: "resource_missing", CodeV2: "not_found", Param: "id",
		Message: "No such billing meter: '" + clip(id) + "'",
	}
}

// NoSuchCursor: starting_after or ending_before, which param names, is no object of the list. what is its kind in words.
func NoSuchCursor[T string | []byte](what string, id T, param string) *Error {
	return &Error{
		Status: statusBadRequest, Type: typeInvalidRequest, Code: "resource_missing", CodeV2: "not_found", Param: param,
		Message: "No such " + what + ": '" + clip(id) + "'",
	}
}

// NoSuchUsageEvent: no record with the identifier is known. cancelled says that an adjustment is, which waits for it.
func NoSuchUsageEvent[T string | []byte](identifier T, cancelled bool) *Error {
	e := &Error{
		Status: statusNotFound, Type: typeInvalidRequest, Code: "resource_missing", CodeV2: "not_found", Param: "identifier",
		Message: "No usage event with the identifier '" + clip(identifier) + "' is known to this meter. What was answered before " +
			"the time in Tollgate-As-Of is known for at least 24 hours.",
	}
	if cancelled {
		e.Message += " A cancellation of it has come, and it will not be counted if it comes now."
	}
	return e
}

// EventNameTaken: a meter has the event name already; it keeps it while it is inactive.
func EventNameTaken(eventName, meter string) *Error {
	return paramRefused("", "event_name", "A meter with the event_name '"+clip(eventName)+"' exists already: "+meter+
		". An event_name belongs to one meter, also while that is inactive.")
}

// TooManyMeters: the business has as many meters as it may, in this mode, inactive ones included.
func TooManyMeters(max int) *Error {
	return paramRefused("", "event_name", "There are "+strconv.Itoa(max)+" meters already, which is the most that a business may have in one mode, inactive ones included.")
}

// ParamTooLong: text of more than max characters or bytes, which unit says.
func ParamTooLong(name string, max int, unit string) *Error {
	return paramRefused("", name, "Invalid string: "+name+" must be at most "+strconv.Itoa(max)+" "+unit+" long.")
}

// ParamInvalid: the parameter's value is not as it must be; reason completes the sentence that begins with its name.
func ParamInvalid(name, reason string) *Error {
	return paramRefused("", name, name+" "+reason+".")
}

// ParamNotOneOf: the value is none of those that the parameter may have, which is a list in words.
func ParamNotOneOf[T string | []byte](name string, value T, allowed string) *Error {
	return paramRefused("", name, "Invalid "+name+": '"+clip(value)+"' must be "+allowed+".")
}

// IdempotencyKeyReused: the key was used with other parameters, or for another endpoint.
func IdempotencyKeyReused() *Error {
	return &Error{
		Status: statusBadRequest, Type: typeIdempotency, CodeV2: typeIdempotency,
		Message: "The Idempotency-Key was used before for a request with other parameters or to another path. Use a new key for a new request.",
	}
}

// IdempotencyKeyInUse: another request with the same key is not answered yet.
func IdempotencyKeyInUse() *Error {
	return &Error{
		Status: statusConflict, Type: typeInvalidRequest, Code: "idempotency_key_in_use",
		Message: "Another request with this Idempotency-Key is still being handled. Send the request again when that one has been answered.",
	}
}

// IdempotencyKeyUnreadable: the key is to be kept, and is not text.
func IdempotencyKeyUnreadable() *Error {
	return invalidRequest(statusBadRequest, "invalid_fields", "The Idempotency-Key must consist of printable ASCII characters.")
}

// ChangeUnknown: the log was asked to store a change, of a meter or a destination, and did not say whether it has.
func ChangeUnknown() *Error {
	return sendAgain("outcome_unknown", "It is not known whether the change took effect. Send the same request again with the same Idempotency-Key: "+
		"it takes effect once.")
}

// TotalsIncomplete: records that may belong into what was asked were removed from the log before they were counted, of
// times from fromMs to toMs; 0 is no end.
func TotalsIncomplete(fromMs, toMs int64) *Error {
	const second = 1000
	why := " are not complete: usage was removed from the log before it was counted, and the sum of the rest would be too low. Ask for "
	from := string(appendTime(nil, fromMs))
	if toMs == 0 {
		return paramRefused("", "end_time", "Totals from "+from+" on"+why+"an end_time of "+strconv.FormatInt(unixSeconds(fromMs), 10)+" or before.")
	}
	complete := unixSeconds(toMs + second - 1)
	return paramRefused("", "start_time", "Totals between "+from+" and "+string(appendTime(nil, toMs))+why+
		"a start_time of "+strconv.FormatInt(complete, 10)+" or later: from there on totals are complete.")
}

// UsageUnavailable: totals or fates can not be had from all gateways that have a part of them.
func UsageUnavailable() *Error {
	return sendAgain("service_unavailable", "A gateway that counts a part of this usage can not be reached now, and a part is no answer. Send the request again.")
}

// UsageNotCounted: the worker has counted nothing of the log yet, so that no usage would be a false answer.
func UsageNotCounted() *Error {
	return sendAgain("service_unavailable", "The usage in the log is being counted, and nothing of it is known yet. Send the request again.")
}

// MetersUnavailable: what is known of meters may be old, and can not be brought up to date now.
func MetersUnavailable() *Error {
	return Unavailable("The gateway can not read or change meters now; its /readyz says why.")
}
