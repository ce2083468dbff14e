package meterevent

// Reason is a code for what is wrong with an event whose structure is right, in the words of Stripe's asynchronous
// error reports (Stripe API reference, event type v1.billing.meter.error_report_triggered); "" is nothing wrong.
type Reason string

const (
	ArchivedMeter         Reason = "archived_meter"
	CustomerNotFound      Reason = "meter_event_customer_not_found"
	NoCustomerDefined     Reason = "meter_event_no_customer_defined"
	InvalidValue          Reason = "meter_event_invalid_value"
	ValueNotFound         Reason = "meter_event_value_not_found"
	ValueTooManyDigits    Reason = "meter_event_value_too_many_digits"
	DimensionCountTooHigh Reason = "meter_event_dimension_count_too_high"
	MissingDimensionKeys  Reason = "missing_dimension_payload_keys"
	TimestampInFuture     Reason = "timestamp_in_future"
	TimestampTooFarInPast Reason = "timestamp_too_far_in_past"
	NoMeter               Reason = "no_meter"
	DuplicateMeterEvent   Reason = "duplicate_meter_event"
)

// SyncCode is the code by which the synchronous endpoint, POST /v2/billing/meter_events, refuses the same event.
// Three codes have another name there; for customers, digits, dimensions and timestamps Stripe lists none, so those keep
// theirs.
func (r Reason) SyncCode() string {
	switch r {
	case NoCustomerDefined:
		return "payload_no_customer_defined"
	case InvalidValue:
		return "payload_invalid_value"
	case ValueNotFound:
		return "payload_no_value_defined"
	}
	return string(r)
}

// ValueDigitsMax is the number of significant digits that a value may have.
const ValueDigitsMax = 15

// CheckValue judges a payload's value: -?digits[.digits] with at most ValueDigitsMax significant digits. Significant are
// all digits from the first that is not 0 on, those behind the point and zeros at the end included: "0.050" has two,
// "1.50" three, "0" none.
func CheckValue(value []byte) Reason {
	i := 0
	if len(value) > 0 && value[0] == '-' {
		i = 1
	}
	start, point := i, -1
	significant := 0
	for ; i < len(value); i++ {
		switch c := value[i]; {
		case c == '.' && point < 0:
			point = i
		case !isDigit(c):
			return InvalidValue
		case c != '0' || significant > 0:
			significant++
		}
	}
	switch {
	case start == len(value), point == start, point == len(value)-1:
		return InvalidValue
	case significant > ValueDigitsMax:
		return ValueTooManyDigits
	}
	return ""
}
