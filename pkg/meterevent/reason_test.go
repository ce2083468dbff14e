package meterevent_test

import (
	"strings"
	"testing"

	"tollgate/pkg/meterevent"
)

func TestAValueIsADecimalOfAtMostFifteenSignificantDigits(t *testing.T) {
	f := func(value string, want meterevent.Reason) {
		t.Helper()
		if got := meterevent.CheckValue([]byte(value)); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
	for _, value := range []string{
		"0", "1", "25", "-3", "0.125", "-0", "-0.0", "007", "1.0", "0.5", "123456789012345", "-123456789012345",
		"12345.6789012345", "0.000000000000001", "00000000000000000001", "0.00000000000000000001", "000.000", "1.23456789012340",
	} {
		f(value, "")
	}
	for _, value := range []string{
		"", "-", ".", "-.", "1.", ".5", "-.5", "+1", "1e3", "1E3", "NaN", "Infinity", "-Infinity", "inf", "0x10", " 1", "1 ", "1,000", "1_000",
		"1.2.3", "1..2", "--1", "1-", "١", "１", "1\x00", "one", "12345678901234567890x", "\xff",
	} {
		f(value, meterevent.InvalidValue)
	}
	for _, value := range []string{
		"1234567890123456", "-1234567890123456", "1000000000000000", "1.234567890123456", "0.1234567890123456", "1.000000000000000",
		strings.Repeat("9", 500),
	} {
		f(value, meterevent.ValueTooManyDigits)
	}
}
