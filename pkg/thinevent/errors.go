package thinevent

import "fmt"

// DamagedError says that the index can not be used. Nothing was changed, and the events topic is not touched by it.
type DamagedError struct {
	Path string
	Err  error
	// Unwritable: a write failed, and what is on disk is good as far as anybody knows.
	Unwritable bool
}

func (e *DamagedError) Error() string {
	if e.Unwritable {
		return fmt.Sprintf("thinevent: the index of events in %s can not be written any more: %v. No event is lost. Make the disk "+
			"well and start the gateway again: it goes on where the index is. If it then says that the index is damaged, "+
			"`gateway state rebuild` sets it aside", e.Path, e.Err)
	}
	return fmt.Sprintf("thinevent: the index of events in %s is damaged: %v. No event is lost. Stop the gateway and run "+
		"`gateway state rebuild`: it sets the index aside, and it is made anew from the events topic", e.Path, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }
