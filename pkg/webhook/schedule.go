package webhook

import (
	"encoding/binary"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// again is the pause before the next try of a delivery that has just failed for the tries-th time; false: there is none. A
// pause that would lead beyond the last time for a try leads to it, so that jitter does not cost one; but not before what
// the endpoint has asked for.
func again(schedule []time.Duration, tries int, firstMs, nowMs int64, retryAfter time.Duration, random func([]byte)) (time.Duration, bool) {
	if tries > len(schedule) {
		return 0, false
	}
	left := time.Duration(firstMs-nowMs)*time.Millisecond + lifeMax
	pause := max(min(jitter(schedule[tries-1], random), left), min(retryAfter, retryAfterMax))
	return pause, left > 0 && pause <= left
}

// jitter makes a pause up to a tenth shorter or longer, so that what failed together does not come back together.
func jitter(d time.Duration, random func([]byte)) time.Duration {
	var b [8]byte
	random(b[:])
	unit := float64(binary.BigEndian.Uint64(b[:])>>11) / (1 << 53) // [0, 1)
	return time.Duration(float64(d) * (0.9 + 0.2*unit))
}

// retryAfter reads the header of that name (RFC 9110 §10.2.3), seconds or a date; 0: nothing that can be read. More
// seconds than there is room for are as many as there is room for: 68 years.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return max(0, at.Sub(now))
}
