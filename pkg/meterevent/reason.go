package meterevent

// Reason is a code for what is wrong with an event whose structure is right, in the words of Stripe's asynchronous
// error reports (Stripe API reference, event type v1.billing.meter.error_report_triggered); "" is nothing wrong.
type Reason string

// The reasons for which an event is not counted. Stripe's reference names all but InvalidRecord; NoMeter reaches
// Stripe's users in an event type of its own, v1.billing.meter.no_meter_found.
const (
	// InvalidRecord: the log's record is none that a gateway writes. It came from another client of the log.
	InvalidRecord Reason = "invalid_record"
	NoMeter       Reason = "no_meter"
	ArchivedMeter Reason = "archived_meter"
	// NoCustomer: the payload lacks the meter's customer key.
	NoCustomer Reason = "meter_event_no_customer_defined"
	// ValueNotFound: the payload lacks the meter's value key.
	ValueNotFound         Reason = "meter_event_value_not_found"
	InvalidValue          Reason = "meter_event_invalid_value"
	ValueTooManyDigits    Reason = "meter_event_value_too_many_digits"
	TimestampInFuture     Reason = "timestamp_in_future"
	TimestampTooFarInPast Reason = "timestamp_too_far_in_past"
	// InvalidCancel is of an adjustment: the event was received more than CancelPastMaxMs before it.
	InvalidCancel Reason = "invalid_cancel_configuration"
)

// CancelPastMaxMs is for how long after its receipt an event can be cancelled (Stripe API reference, meter event
// adjustment create).
const CancelPastMaxMs = 24 * 3600 * 1000

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
