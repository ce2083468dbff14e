package journal

import (
	"fmt"
)

// RotError says that bytes which were durable are not what was written. Nothing was changed.
type RotError struct {
	File     string // path
	Position int64  // in bytes, of the first batch that is not right
	Reason   string
}

func (e *RotError) Error() string {
	return fmt.Sprintf("%s: position %d: %s. What lies before it is intact. Stop the gateway, look with "+
		"`gateway journal verify`, and let `gateway journal repair` set the damaged bytes aside", e.File, e.Position, e.Reason)
}

// Notice is something that happened to a journal and that a person should know of, while it went on.
type Notice struct {
	What  Event
	File  string // or directory
	Bytes int64  // cut, removed, or written over; 0 when it does not apply
	Err   error  // what the system said; nil when all is well
}

// Event is the kind of a Notice.
type Event string

// The events a journal tells of.
const (
	TornTail         Event = "torn tail cut"                  // what a crash left behind the last complete batch was cut off
	UnknownTopic     Event = "topic is not configured"        // it is on disk and left alone
	Poisoned         Event = "file is not written any more"   // a write or fsync failed, or it was removed
	Replaced         Event = "writing to a new segment"       // after Poisoned
	Unavailable      Event = "appends are refused"            // see Err; Journal.Ready says the same
	Recovered        Event = "appends are taken again"        // after Unavailable
	Removed          Event = "segment removed by retention"   // Bytes long
	Compacted        Event = "segment compacted"              // by Bytes
	CompactionFailed Event = "segment can not be compacted"   // it is tried again
	RetentionFailed  Event = "segment can not be removed"     // it is tried again
	CheckpointFailed Event = "checkpoint can not be written"  // appends go on; a torn tail is harder to tell from rot
	NotReserved      Event = "no space can be reserved"       // ahead of the writes; appends go on as long as the disk takes them
	LeftBehind       Event = "file can not be closed cleanly" // harmless: what it holds was durable before
)

func (n Notice) String() string {
	s := fmt.Sprintf("%s: %s", n.File, n.What)
	if n.Bytes != 0 {
		s += fmt.Sprintf(", %d bytes", n.Bytes)
	}
	if n.Err != nil {
		s += ": " + n.Err.Error()
	}
	return s
}
