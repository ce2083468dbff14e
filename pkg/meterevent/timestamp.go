package meterevent

import (
	"encoding/binary"
	"fmt"
)

// The window of event times that Stripe takes, judged against the time of receipt; both ends belong to it. The 35 days
// are a rolling 35 × 86,400 s.
const (
	TimestampPastMaxMs   = 35 * msPerDay
	TimestampFutureMaxMs = 300 * 1000
)

const (
	msPerDay = 86_400_000
	// The first and the last millisecond of the years 1 to 9999 in UTC: what four digits of a year can say.
	timestampMinMs = -62_135_596_800_000
	timestampMaxMs = 253_402_300_799_999
	// unixDigitsMax is enough for timestampMaxMs in seconds.
	unixDigitsMax = 12
)

// CheckTimestamp judges the time of an event against the time of its receipt, both in Unix milliseconds.
func CheckTimestamp(timestampMs, receivedMs int64) Reason {
	switch {
	case timestampMs < receivedMs-TimestampPastMaxMs:
		return TimestampTooFarInPast
	case timestampMs > receivedMs+TimestampFutureMaxMs:
		return TimestampInFuture
	}
	return ""
}

// dateCache remembers the last date and the last minute read, since most events of a request are of one day, and those
// that follow each other often of one minute. The zero value is ready.
type dateCache struct {
	head uint64 // the bytes "YYYY-MM-" of the date that days belongs to
	tail uint16 // and its "DD"
	days int64  // since 1970-01-01; means nothing while head is 0

	minuteHead uint64 // the bytes "YYYY-MM-" of a minute of UTC that was read
	minuteTail uint64 // and its "DDTHH:MM"
	minuteMs   int64  // its first millisecond; means nothing while minuteHead is 0
}

// parse reads what Stripe's SDKs put into a timestamp string, as Unix milliseconds:
//
//   - an RFC 3339 time with any offset to ±23:59 and 0 to 9 digits of fraction, T and Z in either case; the fraction is
//     cut to milliseconds. Second 60 is refused: Unix time has no such second, and no SDK's clock can produce it.
//   - Unix seconds, digits with an optional minus sign.
//
// The time must lie in the years 1 to 9999 in UTC.
func (c *dateCache) parse(s []byte) (ms int64, ok bool) {
	if len(s) != 20 && len(s) != 24 {
		return c.parseAny(s)
	}
	head, tail := binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:])
	if head != c.minuteHead || tail != c.minuteTail || head == 0 {
		return c.parseAny(s)
	}
	// What is left is ":SSZ" or ":SS.mmmZ", looked at in one word as parseClock does it.
	const short, long = 0x5a30303a, 0x5a3030302e30303a // ":00Z" and ":00.000Z"
	w := uint64(binary.LittleEndian.Uint32(s[16:]) ^ short)
	if len(s) == 24 {
		w = binary.LittleEndian.Uint64(s[16:]) ^ long
	}
	if ((w+0x7f7676767f76767f)|w)&eachHighBit != 0 || w&0xff00 > 0x0500 {
		return c.parseAny(s)
	}
	second, milli := w>>8&0xff*10+w>>16&0xff, w>>32&0xff*100+w>>40&0xff*10+w>>48&0xff
	return c.minuteMs + int64(second*1000+milli), true
}

// parseAny is parse without the minute.
func (c *dateCache) parseAny(s []byte) (ms int64, ok bool) {
	// The shortest time is "2026-11-21T12:00:00Z".
	if len(s) < 20 || s[4] != '-' {
		return parseUnixSeconds(s)
	}
	head, tail := binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint16(s[8:])
	if head != c.head || tail != c.tail {
		days, ok := parseDate(s)
		if !ok {
			return 0, false
		}
		c.head, c.tail, c.days = head, tail, days
	}
	clock := binary.LittleEndian.Uint64(s[8:])
	seconds, ok := parseClock(s[11:])
	if !ok || s[10]|0x20 != 't' {
		return 0, false
	}
	fraction, s, ok := parseFraction(s[19:])
	if !ok {
		return 0, false
	}
	offset, ok := parseOffset(s)
	ms = (c.days*86_400+seconds-offset)*1000 + fraction
	if !ok || ms < timestampMinMs || ms > timestampMaxMs {
		return 0, false
	}
	if offset == 0 { // with another one, the minute's text could lie in the year 0, or its time in the year 10,000
		c.minuteHead, c.minuteTail, c.minuteMs = head, clock, ms-fraction-seconds%60*1000
	}
	return ms, true
}

// parseDate reads "YYYY-MM-DD" as days since 1970-01-01.
func parseDate(s []byte) (days int64, ok bool) {
	century, ok1 := twoDigits(s)
	yearOfCentury, ok2 := twoDigits(s[2:])
	month, ok3 := twoDigits(s[5:])
	day, ok4 := twoDigits(s[8:])
	year := century*100 + yearOfCentury
	if !ok1 || !ok2 || !ok3 || !ok4 || s[4] != '-' || s[7] != '-' ||
		month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, false
	}
	return daysFromCivil(year, month, day), true
}

// parseClock reads "HH:MM:SS", the first eight bytes of s, as seconds. All eight are looked at in one word.
func parseClock(s []byte) (seconds int64, ok bool) {
	const zeros = 0x30303a30303a3030 // "00:00:00"
	w := binary.LittleEndian.Uint64(s) ^ zeros
	// Now digits are 0 to 9 and colons 0. Adding 0x76 carries a larger digit, and 0x7f anything but 0, into the high bit.
	if ((w+0x76767f76767f7676)|w)&eachHighBit != 0 {
		return 0, false
	}
	w = w*10 + w>>8 // the first byte of each pair is now its value
	h, m, sec := int64(w&0xff), int64(w>>24&0xff), int64(w>>48&0xff)
	return h*3600 + m*60 + sec, h < 24 && m < 60 && sec < 60
}

// parseFraction reads an optional "." and 1 to 9 digits, cut to milliseconds, and returns what follows.
func parseFraction(s []byte) (ms int64, rest []byte, ok bool) {
	if s[0] != '.' {
		return 0, s, true
	}
	end := digitsEnd(s, 1)
	if end == 1 || end > 10 {
		return 0, nil, false
	}
	for i := 1; i <= 3; i++ {
		ms *= 10
		if i < end {
			ms += int64(s[i] - '0')
		}
	}
	return ms, s[end:], true
}

// parseOffset reads "Z" or "±HH:MM", which must be all of s, as seconds east.
func parseOffset(s []byte) (seconds int64, ok bool) {
	if len(s) == 1 {
		return 0, s[0]|0x20 == 'z'
	}
	if len(s) != 6 || s[3] != ':' {
		return 0, false
	}
	h, ok1 := twoDigits(s[1:])
	m, ok2 := twoDigits(s[4:])
	seconds = int64(h*3600 + m*60)
	if s[0] == '-' {
		seconds = -seconds
	}
	return seconds, ok1 && ok2 && h < 24 && m < 60 && (s[0] == '+' || s[0] == '-')
}

func twoDigits(s []byte) (n int, ok bool) {
	tens, ones := s[0]-'0', s[1]-'0'
	return int(tens)*10 + int(ones), tens <= 9 && ones <= 9
}

// parseUnixSeconds reads an optional minus sign and 1 to unixDigitsMax digits.
func parseUnixSeconds(s []byte) (ms int64, ok bool) {
	digits := s
	if len(s) > 0 && s[0] == '-' {
		digits = s[1:]
	}
	if len(digits) == 0 || len(digits) > unixDigitsMax {
		return 0, false
	}
	for _, c := range digits {
		if !isDigit(c) {
			return 0, false
		}
		ms = ms*10 + int64(c-'0')
	}
	ms *= 1000
	if len(digits) < len(s) {
		ms = -ms
	}
	return ms, timestampMinMs <= ms && ms <= timestampMaxMs
}

// appendTime appends a time as all records and answers write it: RFC 3339, UTC, milliseconds, always 24 bytes.
// The time must lie in the years 1 to 9999, as every time of a Decoder does.
func appendTime(dst []byte, ms int64) []byte {
	if ms < timestampMinMs || ms > timestampMaxMs {
		panic(fmt.Sprintf("BUG: meterevent: time %d ms is not in the years 1 to 9999", ms))
	}
	sinceYearOne := uint64(ms - timestampMinMs)
	days, clock := sinceYearOne/msPerDay, uint32(sinceYearOne%msPerDay)
	year, month, day := civilFromDays(uint32(days))
	seconds, milli := clock/1000, clock%1000
	hour, minute, second := seconds/3600, seconds/60%60, seconds%60
	dst = append(dst, "0000-00-00T00:00:00.000Z"...)
	b := dst[len(dst)-24:]
	putPair(b[0:], year/100)
	putPair(b[2:], year%100)
	putPair(b[5:], month)
	putPair(b[8:], day)
	putPair(b[11:], hour)
	putPair(b[14:], minute)
	putPair(b[17:], second)
	b[20] += byte(milli / 100)
	putPair(b[21:], milli%100)
	return dst
}

// putPair writes a number below 100 as two digits.
func putPair(b []byte, n uint32) {
	tens := n * 103 >> 10
	binary.LittleEndian.PutUint16(b, uint16('0'+tens|('0'+n-tens*10)<<8))
}

// The calendar below counts years from March, so that the leap day is the last of its year and the days before a month
// are a linear formula, and works on eras of 400 years, which all have the same days. After Howard Hinnant, "chrono-
// Compatible Low-Level Date Algorithms".
const (
	daysPerEra        = 146_097
	daysBeforeYearOne = 306     // from 1 March of the year 0 to 1 January of the year 1
	daysBeforeUnix    = 719_468 // from 1 March of the year 0 to 1 January 1970
)

func daysFromCivil(year, month, day int) int64 {
	if month <= 2 {
		year--
	}
	if year < 0 { // January and February of the year 0, which the caller refuses by range
		return -daysBeforeUnix - 1
	}
	era, yearOfEra := year/400, year%400
	dayOfYear := (153*((month+9)%12)+2)/5 + day - 1
	return int64(era*daysPerEra+yearOfEra*365+yearOfEra/4-yearOfEra/100+dayOfYear) - daysBeforeUnix
}

// civilFromDays takes days since 1 January of the year 1.
func civilFromDays(days uint32) (year, month, day uint32) {
	days += daysBeforeYearOne
	era, dayOfEra := days/daysPerEra, days%daysPerEra
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36_524 - dayOfEra/146_096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	m := (5*dayOfYear + 2) / 153
	day = dayOfYear - (153*m+2)/5 + 1
	year = era*400 + yearOfEra
	if m >= 10 {
		return year + 1, m - 9, day
	}
	return year, m + 3, day
}

func daysIn(year, month int) int {
	switch {
	case month == 2 && (year%4 != 0 || year%100 == 0 && year%400 != 0):
		return 28
	case month == 2:
		return 29
	case month == 4 || month == 6 || month == 9 || month == 11:
		return 30
	}
	return 31
}
