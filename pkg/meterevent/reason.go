package meterevent

// Reason is a code for what is wrong with an event whose structure is right, in the words of Stripe's asynchronous
// error reports (Stripe API reference, event type v1.billing.meter.error_report_triggered); "" is nothing wrong.
type Reason string

// The reasons that can be known without a meter.
const (
	InvalidValue          Reason = "meter_event_invalid_value"
	ValueTooManyDigits    Reason = "meter_event_value_too_many_digits"
	TimestampInFuture     Reason = "timestamp_in_future"
	TimestampTooFarInPast Reason = "timestamp_too_far_in_past"
)

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
