// Package follow reads one partition of a log in order and without end, hands its records to a fold, and lets others
// wait until the fold has everything that was in the log when they asked.
//
// It is what every fold of a topic has in common: begin at the oldest record or where a state on disk ends, load what
// is there, go on as records come, wait out a log that can not be read, begin anew when retention took the next offset.
//
//	f, err := follow.Start(follow.Config{Log: log, Topic: "tollgate.events", Begin: begin, Apply: apply})
//	…
//	err = f.CaughtUp(ctx) // apply has had all that any gateway had answered before
//
// Begin, Apply, Stalled and Notify are called by one goroutine, never at once. The methods of a Follower may be called by
// any number of others; CaughtUp and Close not by that one, for which they would wait.
//
// The package will not interpret records, keep a position on disk, or write to the log.
package follow
