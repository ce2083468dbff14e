package thinevent

import (
	"errors"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"tollgate/internal/metrics"
	"tollgate/pkg/commitlog"
)

const (
	defaultCacheBytes    = 8 << 20
	defaultMemtableBytes = 4 << 20
)

// Config is what a Store works with. Log, Topic and Dir have no default.
type Config struct {
	// Log has the topic; the caller closes it, after Store.Close.
	Log   commitlog.Log
	Topic string // of events; its first partition is used
	Dir   string // of the index; made if it is missing
	// CacheBytes is the index's cache of blocks read. 0: 8 MiB.
	CacheBytes int64
	// MemtableBytes is how much the index collects before it writes a file. It holds up to three. 0: 4 MiB.
	MemtableBytes int

	// Now is the clock by which events expire. nil: time.Now.
	Now func() time.Time
	// Metrics may be nil.
	Metrics *metrics.Registry
	// Notify is told what a person should know. It must not block. nil: nobody is.
	Notify func(Notice)
	// FS is the disk of the index: for tests. nil: the real one.
	FS pebblevfs.FS
}

func (c Config) withDefaults() Config {
	if c.CacheBytes == 0 {
		c.CacheBytes = defaultCacheBytes
	}
	if c.MemtableBytes == 0 {
		c.MemtableBytes = defaultMemtableBytes
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Notify == nil {
		c.Notify = func(Notice) {}
	}
	if c.FS == nil {
		c.FS = pebblevfs.Default
	}
	return c
}

func (c *Config) validate() error {
	switch {
	case c.Log == nil || c.Topic == "" || c.Dir == "":
		return errors.New("thinevent: Log, Topic and Dir are required")
	case c.CacheBytes < 0 || c.MemtableBytes < 0:
		return errors.New("thinevent: CacheBytes and MemtableBytes are not negative")
	}
	return nil
}

// Notice is something that a person should know of, while the store goes on as far as it can.
type Notice struct {
	What   string
	Detail string
	Err    error // nil when all is well
}

// What a Store tells of.
const (
	Rebuilding = "the index of events is made from the beginning of the topic"
	Overtaken  = "events were removed from the topic by retention before they were indexed"
	Waiting    = "the index of events waits and tries again"
	GoesOn     = "the index of events goes on"
	Damaged    = "the index of events is damaged and not used"
	Failed     = "the index of events failed"
)

func (n Notice) String() string {
	s := "thinevent: " + n.What
	if n.Detail != "" {
		s += ", " + n.Detail
	}
	if n.Err != nil {
		s += ": " + n.Err.Error()
	}
	return s
}
