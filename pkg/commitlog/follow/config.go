package follow

import (
	"errors"
	"fmt"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

const (
	defaultBackoffMin = 50 * time.Millisecond
	defaultBackoffMax = 5 * time.Second
	defaultStallMax   = 5 * time.Second
)

// Config says what a Follower reads and for whom. Log, Topic, Begin and Apply have no default.
type Config struct {
	// Log has the topic; the caller closes it, after Follower.Close.
	Log       commitlog.Log
	Topic     string
	Partition int32

	// Begin is told which offsets the log holds and returns the one to go on from, from oldest to end. It is called at the
	// start, and again when the log does not hold the next offset any more. An error is waited out like one of the log.
	Begin func(oldest, end int64) (from int64, err error)
	// Apply folds records, which are valid until it returns. loaded says that with them everything is folded that the log
	// held at Begin; from the first such call on, all are. It is called once without records where Begin has left none.
	// An error is waited out, too, and then the call is repeated with the same records, or with these and more.
	Apply func(records []recordbatch.Record, loaded bool) error
	// Stalled is called, every StallMax, while the log is known to end at wanted, from Begin or from the last question of
	// CaughtUp, and no record has brought the fold there: the end may be a range of offsets without a record, which is
	// passed only with the next record. nil: that is waited for.
	Stalled func(next, wanted int64)
	// Notify is told of each fault that is waited out, with the offset to be read next, and of each new beginning; nil
	// tells nobody. It must not block, and is called by the goroutine that calls Begin, Apply and Stalled.
	Notify func(Notice)

	// BackoffMin and BackoffMax bound the pause after a fault, which doubles until records are folded; 0 is 50 ms and 5 s.
	BackoffMin, BackoffMax time.Duration
	// StallMax is how long the end of the log may stay out of sight; 0 is 5 s.
	StallMax time.Duration
}

// Notice is a fault.
type Notice struct {
	Next int64 // the offset to be read next; -1 before Begin has answered
	// Anew: the log does not hold Next any more, so that Begin is called again.
	Anew bool
	Err  error
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		v  *time.Duration
		to time.Duration
	}{{&c.BackoffMin, defaultBackoffMin}, {&c.BackoffMax, defaultBackoffMax}, {&c.StallMax, defaultStallMax}} {
		if *d.v == 0 {
			*d.v = d.to
		}
	}
	if c.Stalled == nil {
		c.Stalled = func(int64, int64) {}
	}
	if c.Notify == nil {
		c.Notify = func(Notice) {}
	}
	return c
}

func (c *Config) validate() error {
	switch {
	case c.Log == nil || c.Topic == "" || c.Begin == nil || c.Apply == nil:
		return errors.New("follow: Log, Topic, Begin and Apply are required")
	case c.BackoffMin < 0 || c.BackoffMax < c.BackoffMin:
		return fmt.Errorf("follow: BackoffMin is %v and BackoffMax is %v", c.BackoffMin, c.BackoffMax)
	case c.StallMax < 0:
		return fmt.Errorf("follow: StallMax is %v", c.StallMax)
	}
	return nil
}
