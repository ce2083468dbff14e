package meterevent_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"tollgate/pkg/meterevent"
)

// Programs match on these sentences.
func TestReasonsAreToldInTheseWords(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	f(meterevent.NoMeterMessage([]byte("no_such_meter")), "No meter was found matching event_name no_such_meter.")
	f(meterevent.ArchivedMeterMessage([]byte("old")), "The meter with event_name old is inactive. Reactivate it to record usage.")
	f(meterevent.NoCustomerMessage("stripe_customer_id"), "Customer mapping key stripe_customer_id not found in payload.")
	f(meterevent.ValueNotFoundMessage("value"), "Value key value not found in payload.")
	f(meterevent.ValueMessage(meterevent.InvalidValue, []byte("1e3")),
		"The value '1e3' is not usable. Send digits, with an optional minus sign and decimal point and at most 15 significant digits, such as 25 or -0.5.")
	f(meterevent.ValueMessage(meterevent.ValueTooManyDigits, []byte("1234567890123456")),
		"The value must have at most 15 significant digits, got 1234567890123456.")
	f(meterevent.TimestampMessage(meterevent.TimestampTooFarInPast, 1761165836000),
		"The event timestamp cannot be more than 35 days in past. Expected a timestamp greater than or equal to 1758141836.")
	f(meterevent.TimestampMessage(meterevent.TimestampInFuture, 1761165836000),
		"The event timestamp cannot be more than 5 minutes in the future. Expected a timestamp less than or equal to 1761166136.")
	f(meterevent.InvalidRecordMessage(errors.New("livemode is required.")), "The record in the usage log is not valid: livemode is required.")
	f(meterevent.InvalidCancelMessage([]byte("req-1")), "The event with identifier req-1 was received more than 24 hours before and cannot be cancelled any more.")
}

// What a message tells a sender to send is taken, and the second beyond it is not.
func TestTheSecondsInAMessageAreTheEndsOfTheWindow(t *testing.T) {
	for _, receivedMs := range []int64{1761165836000, 1761165836001, 1761165836999, 0, 1, -1, -999, -1000} {
		oldest, newest := meterevent.OldestUnix(receivedMs)*1000, meterevent.NewestUnix(receivedMs)*1000
		for _, ms := range []int64{oldest, newest} {
			if reason := meterevent.CheckTimestamp(ms, receivedMs); reason != "" {
				t.Errorf("received %d: %d is %s", receivedMs, ms, reason)
			}
		}
		if got := meterevent.CheckTimestamp(oldest-1000, receivedMs); got != meterevent.TimestampTooFarInPast {
			t.Errorf("received %d: a second before the oldest is %q", receivedMs, got)
		}
		if got := meterevent.CheckTimestamp(newest+1000, receivedMs); got != meterevent.TimestampInFuture {
			t.Errorf("received %d: a second behind the newest is %q", receivedMs, got)
		}
	}
}

func TestMessagesDoNotRepeatLongTextsWhole(t *testing.T) {
	long := []byte(strings.Repeat("é", 250))
	for _, message := range []string{
		meterevent.NoMeterMessage(long), meterevent.ArchivedMeterMessage(long), meterevent.NoCustomerMessage(string(long)),
		meterevent.ValueNotFoundMessage(string(long)), meterevent.ValueMessage(meterevent.InvalidValue, long),
		meterevent.ValueMessage(meterevent.ValueTooManyDigits, long), meterevent.InvalidCancelMessage(long),
	} {
		if len(message) > 280 || !utf8.ValidString(message) || !strings.Contains(message, "é…") {
			t.Errorf("%d bytes: %s", len(message), message)
		}
	}
}
