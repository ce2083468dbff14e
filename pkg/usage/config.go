package usage

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"tollgate/internal/metrics"
	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/thinevent"
)

// Control is what a worker asks of the control plane; a *control.Control is one.
type Control interface {
	// CaughtUp waits until the snapshot has every change that was answered before the call.
	CaughtUp(ctx context.Context) error
	Snapshot() *control.Snapshot
}

// Events is where reports go; a *thinevent.Store is one.
type Events interface {
	// CaughtUp returns when all that was reported before the call is known.
	CaughtUp(ctx context.Context) error
	// Reported tells whether a report of this id is known, and the offset before which it counts.
	Reported(id string) (through int64, found bool, err error)
	// Append makes reports durable, and leaves out those whose id is known. After an error the same call is made again.
	Append(ctx context.Context, events ...*thinevent.Event) error
}

// Config is a worker's configuration. Fields say their default.
type Config struct {
	Log     commitlog.Log
	Topic   string // of usage records
	Group   string // of the workers that share it
	Control Control
	// Dir is the directory of the state: the store in Dir/store, identifiers in Dir/dedup.
	Dir string

	// DedupBytes bounds the memory of identifiers, of all partitions together. 0: 256 MiB.
	DedupBytes int64
	// CacheBytes is the store's cache of blocks read. 0: 64 MiB.
	CacheBytes int64
	// MemtableBytes is how much the store collects before it writes a file. It holds up to three. 0: 32 MiB.
	MemtableBytes int
	// SeriesMax is how many customers of meters a partition remembers between two flushes, at about 200 bytes each.
	// Another costs an allocation, and above it a flush begins anew. 0: 1,000,000.
	SeriesMax int
	// Events takes the reports of what was refused. nil: nothing is reported.
	Events Events
	// OutboxBytes bounds the reports of a partition that the events topic has not taken. While they are more, windows that
	// end are not closed: what is refused adds to the open reports, which then tell of several windows. 0: 256 MiB.
	OutboxBytes int64

	// Beside runs beside each partition: it is called in a goroutine when the partition is taken up, and ctx ends when it is
	// to be given back, which waits for the return, at most BesideTimeout. nil: nothing does.
	Beside func(ctx context.Context, v *View)

	// ScopesMax is how many record keys a partition remembers, those of unknown meters included. 0: 100,000.
	ScopesMax int

	// FlushEvery is how old what is read may be beside the worker's lag. A flush that takes long is made less often: it
	// gets a fifth of the time at most. 0: 1 s.
	FlushEvery time.Duration
	// PauseMax is the longest pause before a log or a control plane that failed is asked again. 0: 2 s.
	PauseMax time.Duration

	// Now is the clock by which answers say how current they are. nil: time.Now.
	Now func() time.Time
	// Random fills the seed of a new state. nil: crypto/rand.
	Random func([]byte)
	// Metrics may be nil.
	Metrics *metrics.Registry
	// Notify is told what a person should know. It must not block. nil: nobody is.
	Notify func(Notice)

	// FS is the disk of identifiers, StoreFS that of the store: for tests. nil: the real one.
	FS      vfs.FS
	StoreFS pebblevfs.FS
}

func (c Config) withDefaults() Config {
	defaultTo(&c.DedupBytes, 256<<20)
	defaultTo(&c.CacheBytes, 64<<20)
	defaultTo(&c.MemtableBytes, 32<<20)
	defaultTo(&c.SeriesMax, 1_000_000)
	defaultTo(&c.ScopesMax, 100_000)
	defaultTo(&c.OutboxBytes, 256<<20)
	defaultTo(&c.FlushEvery, time.Second)
	defaultTo(&c.PauseMax, 2*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = func(b []byte) { rand.Read(b) }
	}
	if c.Notify == nil {
		c.Notify = func(Notice) {}
	}
	if c.FS == nil {
		c.FS = vfs.OS
	}
	if c.StoreFS == nil {
		c.StoreFS = pebblevfs.Default
	}
	return c
}

func defaultTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Config) validate() error {
	switch {
	case c.Log == nil || c.Topic == "" || c.Group == "":
		return errors.New("usage: Log, Topic and Group are required")
	case c.Control == nil:
		return errors.New("usage: Control is required")
	case c.Dir == "":
		return errors.New("usage: Dir is required")
	}
	return nil
}

func (c *Config) storeDir() string { return filepath.Join(c.Dir, "store") }
