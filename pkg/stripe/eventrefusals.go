package stripe

import "strconv"

// What is said about thin events and event destinations, which only v2 has. A field that is not as it must be is refused
// by InvalidFields when it stands in a body, and by the Form when it stands in a query.

// NoSuchEvent: the path names an event that does not exist in the account and mode, or does no longer.
func NoSuchEvent[T string | []byte](id T) *Error {
	return &Error{
		Status: statusNotFound, Type: typeInvalidRequest, Code: "resource_missing", CodeV2: "not_found", Param: "id",
		Message: "No such event: '" + clip(id) + "'. An event can be retrieved for 30 days.",
	}
}

// NoSuchDestination: the path names an event destination that does not exist in the account and mode.
func NoSuchDestination[T string | []byte](id T) *Error {
	return &Error{
		Status: statusNotFound, Type: typeInvalidRequest, Code: "resource_missing", CodeV2: "not_found", Param: "id",
		Message: "No such event destination: '" + clip(id) + "'",
	}
}

// TooManyDestinations: the account has as many event destinations as it may, in this mode, disabled ones included.
func TooManyDestinations(max int) *Error {
	return paramRefused("", "", "There are "+strconv.Itoa(max)+" event destinations already, which is the most that an account may have in one mode, disabled ones included.")
}

// DestinationDisabled: something was to be delivered to an event destination that is not enabled.
func DestinationDisabled[T string | []byte](id T) *Error {
	return invalidRequest(statusBadRequest, "event_destination_disabled",
		"The event destination '"+clip(id)+"' is disabled. Enable it to have something delivered to it.")
}

// PageInvalid: the query's page is none that this list gave out: it was altered, belongs to a list with other parameters
// or another key, or is too old.
func PageInvalid() *Error {
	return paramRefused("", "page", "page is not a page of this list. Follow next_page_url and previous_page_url as they are, or begin again without page.")
}

// EventsUnavailable: the events that the gateway knows may not be all, and the rest can not be read now.
func EventsUnavailable() *Error {
	return Unavailable("The gateway can not read or write events now; its /readyz says why.")
}

// DestinationsUnavailable: what is known of event destinations may be old, and can not be brought up to date now.
func DestinationsUnavailable() *Error {
	return Unavailable("The gateway can not read or change event destinations now; its /readyz says why.")
}
