package usage

import (
	"encoding/json"
	"math"
)

// state is what a partition knows beside its rows: it stands in one row, written with every flush.
type state struct {
	// Offset is of the next record to apply.
	Offset int64 `json:"offset"`
	// ClockMs is the largest time of receipt so far.
	ClockMs int64 `json:"clock_ms"`
	// Hour is ClockMs', as of the last upkeep; noHour before the first record.
	Hour int64 `json:"hour"`
	// PendingMs is the clock when a cancel last found no event.
	PendingMs int64 `json:"pending_ms"`
	// RebuildTo is, of a state that began with nothing on a log that held something, where that log ended; 0 once it is
	// behind.
	RebuildTo int64 `json:"rebuild_to,omitempty"`
	// Gaps are the records that retention removed before they were counted.
	Gaps []gap `json:"gaps,omitempty"`
}

// gap is a range of records that were not counted. ToMs is 0 while no record behind it has been seen.
type gap struct {
	From   int64 `json:"from"` // offsets
	To     int64 `json:"to"`
	FromMs int64 `json:"from_ms"` // times of events that may be missing
	ToMs   int64 `json:"to_ms"`
}

const noHour = math.MinInt64

// newState is of a partition that has seen nothing.
func newState() state { return state{Hour: noHour, PendingMs: math.MinInt64 / 2} }

// minuteFloor is the first day that is kept by the minute.
func (s *state) minuteFloor() int64 {
	if s.Hour == noHour {
		return math.MinInt32
	}
	return floorDiv(s.Hour, 24) - minuteDays
}

// mayHavePending says whether a cancel may be waiting for its event.
func (s *state) mayHavePending(clockMs int64) bool {
	return clockMs-s.PendingMs < (settledHours+1)*hourMs
}

func (s *state) encode() []byte { return encodeRow(s) }

func decodeState(b []byte) (state, error) {
	s := newState()
	if err := json.Unmarshal(b, &s); err != nil {
		return s, errRow
	}
	return s, nil
}
