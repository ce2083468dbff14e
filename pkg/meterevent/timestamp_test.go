package meterevent_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tollgate/pkg/meterevent"
)

func TestTimestampsAreRFC3339OrUnixSeconds(t *testing.T) {
	const refused = -1 << 62
	f := func(text string, want int64) {
		t.Helper()
		ms, ok := meterevent.ParseTimestamp([]byte(text))
		if !ok {
			ms = refused
		}
		if ms != want {
			t.Errorf("%q: got %d, want %d", text, ms, want)
		}
	}
	// Every SDK's spelling.
	f("2026-03-02T12:15:01.123456789+02:00", 1772446501123)
	f("2026-03-02T10:15:01.123456789Z", 1772446501123)
	f("2026-03-02T10:15:01.123Z", 1772446501123)
	f("2026-03-02T10:15:01.123456+00:00", 1772446501123)
	f("2026-03-02T10:15:01Z", 1772446501000)
	f("1772446501", 1772446501000)
	// RFC 3339 calls both cases of T and Z legal, and -00:00 an unknown offset from a known UTC time.
	f("2026-03-02t10:15:01z", 1772446501000)
	f("2026-03-02T10:15:01-00:00", 1772446501000)
	// Offsets.
	f("2026-03-03T10:14:01+23:59", 1772446501000)
	f("2026-03-01T10:16:01-23:59", 1772446501000)
	f("2026-03-02T10:15:01+24:00", refused)
	f("2026-03-02T10:15:01+00:60", refused)
	f("2026-03-02T10:15:01+0200", refused)
	f("2026-03-02T10:15:01+02", refused)
	f("2026-03-02T10:15:01 +02:00", refused)
	f("2026-03-02T10:15:01", refused)
	f("2026-03-02T10:15:01Zx", refused)
	f("2026-03-02T10:15:01z+00:00", refused)
	// Fractions: 1 to 9 digits, cut to milliseconds, also before 1970.
	f("2026-03-02T10:15:01.1Z", 1772446501100)
	f("2026-03-02T10:15:01.12Z", 1772446501120)
	f("2026-03-02T10:15:01.999999999Z", 1772446501999)
	f("2026-03-02T10:15:01.0000000000Z", refused)
	f("2026-03-02T10:15:01.Z", refused)
	f("2026-03-02T10:15:01,5Z", refused)
	f("2026-03-02T10:15:01.5", refused)
	f("1969-12-31T23:59:59.9999Z", -1)
	f("1969-12-31T23:59:59.0009Z", -1000)
	// The calendar and the clock.
	f("2024-02-29T00:00:00Z", 1709164800000)
	f("2000-02-29T00:00:00Z", 951782400000)
	f("2100-02-29T00:00:00Z", refused)
	f("2026-02-29T00:00:00Z", refused)
	f("2026-04-31T00:00:00Z", refused)
	f("2026-00-01T00:00:00Z", refused)
	f("2026-13-01T00:00:00Z", refused)
	f("2026-01-00T00:00:00Z", refused)
	f("2026-01-01T23:59:59Z", 1767311999000)
	f("2026-01-01T24:00:00Z", refused)
	f("2026-01-01T00:60:00Z", refused)
	// A leap second has no Unix time, and no clock of an SDK tells one.
	f("2016-12-31T23:59:60Z", refused)
	f("2026-01-01 00:00:00Z", refused)
	f("2026-01-01X00:00:00Z", refused)
	f("2026/01/01T00:00:00Z", refused)
	f("2026-01/01T00:00:00Z", refused)
	f("2026-01-01T00.00.00Z", refused)
	f("2026-01-01T0a:00:00Z", refused)
	f("2026-01-01T00:00:0\xb0Z", refused)
	f("2o26-01-01T00:00:00Z", refused)
	f("２026-01-01T00:00:00Z", refused)
	// The years 1 to 9999, after the offset.
	f("0001-01-01T00:00:00Z", -62135596800000)
	f("0001-01-01T00:00:00+00:01", refused)
	f("0000-12-31T23:59:59Z", refused)
	f("0000-12-31T23:59:59-00:01", -62135596741000)
	f("0000-01-01T00:00:00Z", refused)
	f("9999-12-31T23:59:59.999Z", 253402300799999)
	f("9999-12-31T23:59:59-00:01", refused)
	f("10000-01-01T00:00:00Z", refused)
	// Unix seconds.
	f("0", 0)
	f("-1", -1000)
	f("253402300799", 253402300799000)
	f("253402300800", refused)
	f("-62135596800", -62135596800000)
	f("-62135596801", refused)
	f("1772446501123", refused) // milliseconds, a common mistake
	f("0001772446501", refused)
	f("1772446501.5", refused)
	f("+1772446501", refused)
	f(" 1772446501", refused)
	f("", refused)
	f("-", refused)
	f("99999999999999999999999", refused)
	f("1e9", refused)
	f("now", refused)
}

func TestTimesAreWrittenAsPackageTimeWritesThem(t *testing.T) {
	f := func(ms int64) {
		t.Helper()
		want := time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
		got := meterevent.AppendTime([]byte("x"), ms)
		if string(got) != "x"+want {
			t.Fatalf("%d ms: got %q, want %q", ms, got, want)
		}
		if back, ok := meterevent.ParseTimestamp(got[1:]); !ok || back != ms {
			t.Fatalf("%q reads as %d, %v, want %d", got[1:], back, ok, ms)
		}
	}
	const first, last = -62135596800000, 253402300799999
	f(first)
	f(last)
	f(0)
	f(-1)
	// Every day of 800 years, which is every kind of year twice, at a time that moves through the day.
	for ms := int64(-12622780800000); ms < 12622780800000; ms += 86_400_000 + 7_919 {
		f(ms)
	}
	for range 100_000 {
		f(first + rand.Int64N(last-first))
	}
}

func TestATimeThatFourDigitsOfYearCanNotSayIsABug(t *testing.T) {
	for _, ms := range []int64{-62135596800001, 253402300800000} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d ms was written", ms)
				}
			}()
			meterevent.AppendTime(nil, ms)
		}()
	}
}

func TestTheWindowIsJudgedAgainstReceipt(t *testing.T) {
	f := func(timestampMs int64, want meterevent.Reason) {
		t.Helper()
		if got := meterevent.CheckTimestamp(timestampMs, receivedMs); got != want {
			t.Errorf("%d ms after receipt: got %q, want %q", timestampMs-receivedMs, got, want)
		}
	}
	f(receivedMs, "")
	f(receivedMs-35*86_400*1000, "")
	f(receivedMs-35*86_400*1000-1, meterevent.TimestampTooFarInPast)
	f(receivedMs+300*1000, "")
	f(receivedMs+300*1000+1, meterevent.TimestampInFuture)
	f(-62135596800000, meterevent.TimestampTooFarInPast)
	f(253402300799999, meterevent.TimestampInFuture)
}

// A Decoder remembers the last day and the last minute. Each text here must be read after each other one as if it stood alone.
func TestATimestampMeansTheSameAfterAnyOther(t *testing.T) {
	texts := []string{
		"2026-11-21T11:59:00.000Z", "2026-11-21T11:59:59.999Z", "2026-11-21T11:59:07Z", "2026-11-21T12:00:00Z", "2026-11-22T11:59:07Z", "2026-12-21T11:59:07Z",
		"2026-11-21T11:59:60Z", "2026-11-21T11:59:60.000Z", "2026-11-21T11:59:5aZ", "2026-11-21T11:59:59.99aZ", "2026-11-21T11:59:59,999Z", "2026-11-21T11:59.59.999Z",
		"2026-11-21T11:59:59.999z", "2026-11-21T11:59:59z", "2026-11-21t11:59:59.999Z", "2026-11-21t11:59:59z", "2026-11-21 11:59:59.999Z",
		"2026-11-21T11:59:59.9999", "2026-11-21T11:59:59.99+", "2026-11-21T11:59:07.5Z", "2026-11-21T11:59:07.123456789Z", "2026-11-21T11:59:07+02:00", "2026-11-21T11:59:07-00:00",
		"2026-11-21T11:59:\xb0\xb1Z", "2026-11-21T11:59:07.\xb0\xb1\xb2Z", "2026-11-21T11:59:07.00:Z", "2026-11-21T11:59:/7Z", "2026-11-21T11:59:07\xda", "2026-11-21T11:59\xba07Z",
		"1969-12-31T23:59:59.999Z", "1969-12-31T23:59:00.001Z", "1969-12-31T23:59:30Z", "1969-12-31T23:59:30.0009Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.001Z",
		"0001-01-01T00:00:00Z", "0000-12-31T23:59:59-00:01", "0000-12-31T23:59:59.000Z", "0000-12-31T23:59:59Z", "0001-01-01T00:00:30+00:01", "0001-01-01T00:00:30.000Z",
		"9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:00-00:01", "9999-12-31T23:59:00.000Z",
		strings.Repeat("\x00", 16) + ":07Z", strings.Repeat("\x00", 16) + ":07.000Z", strings.Repeat("\x00", 20), strings.Repeat("0", 20), strings.Repeat("0", 24),
		"1795294370", "-1", "", "2026-13-21T11:59:07Z", "2026-11-21T24:00:00Z",
	}
	for _, text := range texts {
		want, wantOK := meterevent.ParseTimestamp([]byte(text))
		for _, before := range texts {
			for _, between := range texts {
				got, ok := meterevent.ParseTimestamps([]byte(before), []byte(between), []byte(text))
				if ok != wantOK || ok && got != want {
					t.Errorf("%q after %q and %q: got %d, %v, alone %d, %v", text, before, between, got, ok, want, wantOK)
				}
			}
		}
	}
}
