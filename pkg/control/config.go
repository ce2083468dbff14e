package control

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"tollgate/pkg/commitlog"
)

const defaultInFlightMax = 256

// Config says what a Control works with. Only Log and Topic have no default.
type Config struct {
	// Log keeps the proposals; the caller closes it, after Control.Close.
	Log commitlog.Log
	// Topic is their topic. Its first partition is used.
	Topic string

	// InFlightMax is how many changes may wait for their verdict at once; 0 is 256. One more is refused at once.
	InFlightMax int
	// BackoffMin and BackoffMax bound the pause after a fault of the log, which doubles; 0 is follow.Config's default.
	BackoffMin, BackoffMax time.Duration
	// StallMax is how long the end of the log may stay out of sight before a mark is appended; 0 is follow.Config's
	// default. See CaughtUp.
	StallMax time.Duration

	// Now is the clock that proposals carry and that Idempotency-Keys expire by; nil is time.Now.
	Now func() time.Time
	// Random fills b with random bytes: ids of meters, destinations and proposals. Nil is crypto/rand. It is
	// called by many goroutines at once.
	Random func(b []byte)
	// Notify is told of faults and of records that are no proposals; nil tells nobody. It must not block, nor call the
	// Control.
	Notify func(Notice)
}

// Notice is something that a person may want to know.
type Notice struct {
	What NoticeKind
	// Offset is the record's, or where reading stopped.
	Offset int64
	Err    error
}

// NoticeKind is what a Notice is about.
type NoticeKind uint8

// The kinds of notices.
const (
	// Skipped: a record is no proposal that this version knows, and is left out. Stats counts all of them.
	Skipped NoticeKind = iota
	// ReadFailed: the log can not be read now; it is tried again after a pause.
	ReadFailed
	// StartedOver: the log does not hold the next offset any more, and is folded again from its oldest record.
	StartedOver
	// Marked: the log's end stayed out of sight, so that a mark was appended.
	Marked
)

func (k NoticeKind) String() string {
	return [...]string{"skipped a record", "could not read the log", "started over from the oldest record", "appended a mark"}[k]
}

func (c Config) withDefaults() Config {
	if c.InFlightMax == 0 {
		c.InFlightMax = defaultInFlightMax
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = func(b []byte) { _, _ = rand.Read(b) } // never fails; it ends the process when the system has no dice
	}
	if c.Notify == nil {
		c.Notify = func(Notice) {}
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Log == nil:
		return errors.New("control: no Log")
	case c.Topic == "":
		return errors.New("control: no Topic")
	case c.InFlightMax < 1:
		return fmt.Errorf("control: InFlightMax is %d, less than 1", c.InFlightMax)
	}
	return nil
}
