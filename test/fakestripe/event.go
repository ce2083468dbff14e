package fakestripe

import (
	"math/big"
	"time"
)

// Reasons for which an event does not count, by the names of the asynchronous reports, and what is counted beside them.
const (
	NoMeter       = "no_meter"
	Archived      = "archived_meter"
	NoCustomer    = "meter_event_no_customer_defined"
	NoValue       = "meter_event_value_not_found"
	InvalidValue  = "meter_event_invalid_value"
	TooManyDigits = "meter_event_value_too_many_digits"
	TooOld        = "timestamp_too_far_in_past"
	InFuture      = "timestamp_in_future"

	Duplicate = "duplicate" // seen within the window, dropped or answered 400
	Counted   = "counted"   // it is in the totals
	Cancelled = "cancelled" // it was, and was taken out
)

// eventKey is where an identifier is unique: the meter is empty when that is the account.
type eventKey struct{ identifier, meter string }

// event is what is kept of an identifier. Stripe.mu guards it. A repetition changes what was seen, and nothing else
// unless it counts a second time.
type event struct {
	identifier, name string
	customer, value  string
	print            uint64 // of all that was sent under the identifier
	reason           string // why it was refused the last time, while it was never counted
	meter            *meter
	at               time.Time // of its usage
	first, last      time.Time // received
	countedAt        time.Time // the last time it was counted; zero: never
	seen, counted    int
	generated        bool // it had no identifier
	conflict         bool
	cancelled        bool
	settled          bool // in what summaries show
}

// fingerprint hashes what must be the same when an event is sent again. The payload's keys have no order, so their hashes
// are added up.
func (e *incoming) fingerprint() uint64 {
	h := fnv1a(fnvOffset, e.name)
	if !e.at.IsZero() {
		h = (h ^ uint64(e.at.UnixMilli())) * fnvPrime
	}
	for key, value := range e.payload {
		h += fnv1a(fnv1a(fnvOffset, key), value)
	}
	return h
}

const fnvOffset, fnvPrime = 14695981039346656037, 1099511628211

// fnv1a hashes a text and a byte that ends it.
func fnv1a(h uint64, text string) uint64 {
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * fnvPrime
	}
	return (h ^ 0xff) * fnvPrime
}

// judge names the first reason for which an event can not count, or none: the meter, the customer, the value, the time.
// Stripe does not document the order. A duplicate is not its business.
func (a *account) judge(e *incoming, received time.Time) (m *meter, reason string) {
	m = a.byName[e.name]
	switch {
	case m == nil:
		return nil, NoMeter
	case m.deactivated != 0:
		return m, Archived
	case e.payload[m.CustomerKey] == "":
		return m, NoCustomer
	}
	if m.Formula != "count" {
		value, ok := e.payload[m.ValueKey]
		if !ok {
			return m, NoValue
		}
		if reason := judgeValue(value); reason != "" {
			return m, reason
		}
	}
	switch {
	case e.at.IsZero():
	case e.at.Before(received.Add(-pastMax)):
		return m, TooOld
	case e.at.After(received.Add(futureMax)):
		return m, InFuture
	}
	return m, ""
}

// judgeValue holds a value against -?digits[.digits] with at most 15 significant digits: those from the first that is
// not 0 on.
func judgeValue(text string) string {
	digits, significant, point := text, 0, -1
	if len(text) > 0 && text[0] == '-' {
		digits = text[1:]
	}
	for i, c := range []byte(digits) {
		switch {
		case c == '.' && point < 0:
			point = i
		case c < '0' || c > '9':
			return InvalidValue
		case c != '0' || significant > 0:
			significant++
		}
	}
	if len(digits) == 0 || point == 0 || point == len(digits)-1 {
		return InvalidValue
	}
	if significant > digitsMax {
		return TooManyDigits
	}
	return ""
}

func parseDecimal(text string) *big.Rat {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		panic("BUG: fakestripe: a value that was judged is no number: " + text)
	}
	return r
}

// decimal writes a sum of decimals with all its digits and no more.
func decimal(r *big.Rat) string {
	digits, exact := r.FloatPrec()
	if !exact {
		panic("BUG: fakestripe: a sum of decimals is no decimal: " + r.String())
	}
	return r.FloatString(digits)
}
