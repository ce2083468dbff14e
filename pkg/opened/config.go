package opened

import (
	"errors"
	"fmt"
	"time"

	"tollgate/pkg/commitlog"
)

const (
	defaultInFlightMax = 256
	defaultKeysMax     = 1 << 19
)

// Config says what an Opened works with. Only Log and Topic have no default.
type Config struct {
	// Log keeps the records; the caller closes it, after Opened.Close.
	Log commitlog.Log
	// Topic is their topic. Its first partition is used.
	Topic string

	// KeysMax is how many uses of keys are remembered, of all businesses: a power of two; 0 is 524,288. Each costs some
	// 100 bytes. It should be the same on all gateways: one that remembers less forgets sooner.
	KeysMax int
	// InFlightMax is how many sessions may wait for the log at once; 0 is 256. One more is refused at once.
	InFlightMax int
	// BackoffMin and BackoffMax bound the pause after a fault of the log, which doubles; 0 is follow.Config's default.
	BackoffMin, BackoffMax time.Duration

	// Now is the clock that forgets; nil is time.Now.
	Now func() time.Time
	// Notify is told of faults and of records that are none of ours; nil tells nobody. It must not block, nor call the
	// Opened.
	Notify func(Notice)
}

// Notice is something that a person may want to know.
type Notice struct {
	What NoticeKind
	// Offset is the record's, or where reading stopped; -1 of a record that was refused.
	Offset int64
	Err    error
}

// NoticeKind is what a Notice is about.
type NoticeKind uint8

// The kinds of notices.
const (
	// Skipped: a record is none that this version knows, and is left out. Stats counts all of them.
	Skipped NoticeKind = iota
	// ReadFailed: the log can not be read now; it is tried again after a pause.
	ReadFailed
	// StartedOver: the log does not hold the next offset any more, and is folded anew.
	StartedOver
	// Refused: the log does not take a record and never will, such as a topic that is compacted.
	Refused
)

func (k NoticeKind) String() string {
	return [...]string{"skipped a record", "could not read the log", "started over", "could not tell the other gateways of a session"}[k]
}

func (c Config) withDefaults() Config {
	if c.KeysMax == 0 {
		c.KeysMax = defaultKeysMax
	}
	if c.InFlightMax == 0 {
		c.InFlightMax = defaultInFlightMax
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Notify == nil {
		c.Notify = func(Notice) {}
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Log == nil:
		return errors.New("opened: no Log")
	case c.Topic == "":
		return errors.New("opened: no Topic")
	case c.KeysMax < 1 || c.KeysMax&(c.KeysMax-1) != 0:
		return fmt.Errorf("opened: KeysMax is %d, not a power of two", c.KeysMax)
	case c.InFlightMax < 1:
		return fmt.Errorf("opened: InFlightMax is %d, less than 1", c.InFlightMax)
	}
	return nil
}
