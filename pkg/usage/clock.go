package usage

import "tollgate/pkg/meterevent"

const (
	minuteMs = 60_000
	hourMs   = 60 * minuteMs
	dayMs    = 24 * hourMs
	windowMs = 10_000 // of reports
)

// Retention, in days.
const (
	minuteDays  = 40  // totals by the minute; older ones by the hour
	eventDays   = 42  // single events: one is settled a day and two hours after it was kept at the latest
	totalDays   = 400 // totals
	requestDays = 30  // requests to cancel
	periodDays  = 32  // hours are kept under one prefix for so many days
	replayDays  = 8   // requests to cancel likewise
)

// cancelMinutes is how many minutes after an event's minute of receipt a cancel may be received.
const cancelMinutes = meterevent.CancelPastMaxMs / minuteMs

// settledHours after the hour of an event's receipt no cancel can take it out any more.
const settledHours = 26

// floorDiv rounds down, below 0 too.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func floorTo(ms, unit int64) int64 { return floorDiv(ms, unit) * unit }

// cancellable says whether a cancel received at one time may take out what was received at another, in either order of
// their arrival. Time counts by the minute, which is what the index keeps.
func cancellable(earlierMs, laterMs int64) bool {
	return floorDiv(laterMs, minuteMs)-floorDiv(earlierMs, minuteMs) <= cancelMinutes
}
