package stripe

import (
	"strconv"
	"time"
)

// beyondMax is the first second that has a year of five digits.
const beyondMax = 253_402_300_800

// clockLayout is the part of an RFC 3339 time that always has the same length.
const clockLayout = "2006-01-02T15:04:05"

// parseInstant reads an RFC 3339 time, with any offset to ±23:59 and up to nine decimals, or Unix seconds.
//
// Package time is not asked, which takes an hour of one digit, a comma for the point and an offset of a day.
func parseInstant(text []byte) (at time.Time, ok bool) {
	if len(text) == 0 || text[0] == '+' {
		return at, false
	}
	if seconds, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return time.Unix(seconds, 0), true
	}
	if len(text) <= len(clockLayout) {
		return at, false
	}
	clock, ok := parseClock([len(clockLayout)]byte(text))
	if !ok {
		return at, false
	}
	nanos, rest, ok := parseDecimals(text[len(clockLayout):])
	if !ok {
		return at, false
	}
	offset, ok := parseOffset(rest)
	return clock.Add(time.Duration(nanos) - offset), ok
}

// parseClock reads a date and a time of day as if they were of UTC.
func parseClock(text [len(clockLayout)]byte) (at time.Time, ok bool) {
	if text[10] == 't' { // RFC 3339 calls both cases legal, of Z as well
		text[10] = 'T'
	}
	year, month, day := digits(text[:4]), digits(text[5:7]), digits(text[8:10])
	at = time.Date(year, time.Month(month), day, digits(text[11:13]), digits(text[14:16]), digits(text[17:19]), 0, time.UTC)
	// What is no digit, no date or no time of day became something else, and is not written as it was.
	var again [len(clockLayout)]byte
	return at, string(at.AppendFormat(again[:0], clockLayout)) == string(text[:])
}

// digits is the number that up to nine digits are; of other bytes it is something else.
func digits(text []byte) (n int) {
	for _, c := range text {
		n = n*10 + int(c) - '0'
	}
	return n
}

// parseDecimals reads the decimals of a second, if there are any.
func parseDecimals(text []byte) (nanos int, rest []byte, ok bool) {
	if text[0] != '.' {
		return 0, text, true
	}
	n := 1
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	if n == 1 || n > 10 {
		return 0, nil, false
	}
	nanos = digits(text[1:n])
	for range 10 - n {
		nanos *= 10
	}
	return nanos, text[n:], true
}

// parseOffset reads Z or ±hh:mm. A plus sign that was not escaped in a query is a space by now: no time has one there, so
// nothing is guessed.
func parseOffset(text []byte) (offset time.Duration, ok bool) {
	if len(text) == 1 {
		return 0, text[0] == 'Z' || text[0] == 'z'
	}
	if len(text) != len("+07:00") || text[3] != ':' {
		return 0, false
	}
	for _, i := range [...]int{1, 2, 4, 5} {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
	}
	hours, minutes := digits(text[1:3]), digits(text[4:6])
	offset = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	switch text[0] {
	case '-':
		offset = -offset
	case '+', ' ':
	default:
		return 0, false
	}
	return offset, hours < 24 && minutes < 60
}
