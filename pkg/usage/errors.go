package usage

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrNotOwned: another worker runs the partition, or none does at the moment.
	ErrNotOwned = errors.New("usage: the partition is not run by this worker")
	// ErrNoTrace: the record asked for was passed and left nothing, which is so when it is older than what is kept.
	ErrNoTrace = errors.New("usage: nothing is known of the record any more")
	// ErrRebuilding: the partition is counted anew from the beginning of the log and has not come to where that ended when
	// it began. Its totals would be a part of what somebody was told before.
	ErrRebuilding = errors.New("usage: the partition is being counted anew from the log")
)

// IncompleteError says that records are missing which may have had a part in what was asked: retention removed them
// from the log before they were counted. Events of the times from FromMs to ToMs may be affected; ToMs 0 is no end.
type IncompleteError struct {
	Partition    int32
	FromMs, ToMs int64
}

func (e *IncompleteError) Error() string {
	until := "now"
	if e.ToMs != 0 {
		until = clockText(e.ToMs)
	}
	return fmt.Sprintf("usage: totals between %s and %s may be incomplete: retention removed records of partition %d before they were counted",
		clockText(e.FromMs), until, e.Partition)
}

func clockText(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// DamagedError says that the state on disk can not be used. Nothing was changed, and the usage log is not touched by it.
type DamagedError struct {
	Path string
	Err  error
	// Unwritable: a write failed, and what is on disk is good as far as anybody knows.
	Unwritable bool
}

func (e *DamagedError) Error() string {
	if e.Unwritable {
		return fmt.Sprintf("usage: the state in %s can not be written any more: %v. Events are taken on and none is lost. "+
			"Make the disk well and start the gateway again: it goes on where the state is. If it then says that the state is "+
			"damaged, `gateway state rebuild` sets it aside", e.Path, e.Err)
	}
	return fmt.Sprintf("usage: the state in %s is damaged: %v. Events are taken on and none is lost. Stop the gateway and run "+
		"`gateway state rebuild`: it sets the state aside, and totals are counted anew from the usage log", e.Path, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// Notice is something that happened to a worker and that a person should know of, while it went on.
type Notice struct {
	What      Happening
	Partition int32 // -1: none in particular
	Detail    string
	Err       error // nil when all is well
}

// Happening is the kind of a Notice.
type Happening string

// What a worker tells of.
const (
	Started    Happening = "partition is run from here"
	Stopped    Happening = "partition was given back"
	Rebuilding Happening = "totals are counted from the beginning of the log"
	Gap        Happening = "records were removed by retention before they were counted"
	Unreadable Happening = "a cancelled event can not be read back and stays counted"
	Unreported Happening = "refused events are counted and can not be reported yet"
	Reporting  Happening = "refused events are reported again"
	Disagrees  Happening = "a report is known with another end: some refused events are in two reports or in none"
	Waiting    Happening = "the worker waits and tries again"
	GoesOn     Happening = "the worker goes on"
	Damaged    Happening = "the state is damaged and not used"
	Failed     Happening = "the store failed"
)

func (n Notice) String() string {
	s := "usage: " + string(n.What)
	if n.Partition >= 0 {
		s += fmt.Sprintf(", partition %d", n.Partition)
	}
	if n.Detail != "" {
		s += ", " + n.Detail
	}
	if n.Err != nil {
		s += ": " + n.Err.Error()
	}
	return s
}
