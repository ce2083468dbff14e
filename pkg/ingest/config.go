package ingest

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"tollgate/internal/metrics"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
	"tollgate/pkg/ring"
)

// What Submit returns besides nil and errors that wrap commitlog.ErrUnknown, ErrUnavailable or ErrRefused. Of each of
// these it is sure that nothing was written.
var (
	// ErrFull: rings, tickets or the partition's backlog are full. The same request may be sent again in a moment.
	ErrFull = errors.New("the gateway is full")
	// ErrDraining: Drain was called.
	ErrDraining = errors.New("the gateway is shutting down")
	// ErrTimeout: WaitMax passed before the frame left its ring, and now it never will.
	ErrTimeout = errors.New("the gateway did not get to the request in time")
	// ErrTooLarge: the frame does not fit into a ring, or one of its records not into a batch of this log.
	ErrTooLarge = errors.New("the request is too large for the log")
)

const (
	ringsDefaultMin              = 4
	defaultRingBytes             = 1 << 20
	defaultSpareBytes            = 16 << 20
	defaultFrameBytesMax         = 3 << 19 // 1.5 MiB: a body of 1 MiB with 100 events' keys, names and times
	defaultTickets               = 16 << 10
	defaultWaitMax               = 10 * time.Second
	defaultBatchRecordsMax       = 50_000
	defaultPauseMin              = time.Millisecond
	defaultPartitionBacklogBytes = 64 << 20

	// ticketsMax keeps the watchdog's walk over the table short: 64 MiB and a few milliseconds.
	ticketsMax = 1 << 20
	// waitMin is the shortest wait that the watchdog, which looks sixteen times in it, can keep.
	waitMin = 16 * time.Millisecond
)

// Config says what an Ingester works with. Only Log and Topic have no default.
type Config struct {
	// Log is where records go; the caller closes it, after Drain.
	Log commitlog.Log
	// Topic is the topic of all records.
	Topic string

	// Rings is the number of rings; 0 is one a core that Go may use, at least 4: more rings take longer bursts.
	Rings int
	// RingBytes is the size of each ring, a power of two; 0 is 1 MiB. Let those of the busy cores fit into the
	// processor's cache.
	RingBytes int
	// SpareBytes is the size of the ring that takes what the others have no room for, a power of two, at least RingBytes
	// and twice FrameBytesMax; 0 is 16 MiB. What is appended while the drainer has no core must fit.
	SpareBytes int
	// FrameBytesMax is the largest frame; 0 is 1.5 MiB. See Ingester.Submit on ErrTooLarge.
	FrameBytesMax int
	// Tickets is the number of requests that may wait at once; 0 is 16,384. Each costs about 160 bytes.
	Tickets int
	// WaitMax is how long Submit waits for an outcome; 0 is 10 s, the least 16 ms. Let it be longer than the log's own
	// timeout: the log knows better what became of a batch.
	WaitMax time.Duration
	// BatchRecordsMax is the most records in a batch; 0 is 50,000. The most bytes are the log's BatchBytesMax.
	BatchRecordsMax int
	// BehindBytes is the size, in bytes, from which on a batch is handed over although the log still has another one of its
	// partition; the log then has two at most. 0: it has one at a time. It is for a log that can begin with a batch while it
	// ends another, and has no effect where batches do not become so large (the log's BatchBytesMax, BatchRecordsMax).
	BehindBytes int
	// PauseMin is the least time between two sets of batches while many requests come in and the log answers at once;
	// 0 is 1 ms. Without it such a log would get a set a request, and to wake the drainer would cost more than the rest.
	PauseMin time.Duration
	// BacklogBytesMax bounds the records taken from the rings and not yet answered by the log; 0 is twice
	// PartitionBacklogBytesMax. It may be exceeded by what is read from the rings in one go, 64 KiB and a frame of each.
	// Buffers grow with what they hold and are reused, so the memory behind it is up to twice that, and two batches of
	// the log's BatchBytesMax a partition, three with BehindBytes.
	BacklogBytesMax int
	// PartitionBacklogBytesMax is the same of one partition, at least FrameBytesMax; 0 is 64 MiB. It is less while
	// several partitions have a backlog: no partition may hold more than what is left for all others.
	PartitionBacklogBytesMax int

	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Metrics is where this package's metrics are exported; nil exports none.
	Metrics *metrics.Registry
}

func (c Config) withDefaults() Config {
	setDefault(&c.Rings, min(max(ringsDefaultMin, runtime.GOMAXPROCS(0)), ring.RingsMax))
	setDefault(&c.RingBytes, defaultRingBytes)
	setDefault(&c.SpareBytes, max(defaultSpareBytes, c.RingBytes))
	setDefault(&c.FrameBytesMax, defaultFrameBytesMax)
	setDefault(&c.Tickets, defaultTickets)
	setDefault(&c.WaitMax, defaultWaitMax)
	setDefault(&c.BatchRecordsMax, defaultBatchRecordsMax)
	setDefault(&c.PauseMin, defaultPauseMin)
	setDefault(&c.PartitionBacklogBytesMax, defaultPartitionBacklogBytes)
	setDefault(&c.BacklogBytesMax, 2*c.PartitionBacklogBytesMax)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func setDefault[T int | time.Duration](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// validate checks each bound and how they fit together: a frame into a ring, a frame into a partition's backlog, a
// partition's backlog into the whole.
func (c Config) validate() error {
	between := func(name string, v, least, most int) error {
		if v < least || v > most {
			return fmt.Errorf("ingest: %s is %d, not from %d to %d", name, v, least, most)
		}
		return nil
	}
	const bytesMax = 1 << 40
	var errs []error
	if c.Log == nil || c.Topic == "" {
		errs = append(errs, errors.New("ingest: Log and Topic must be given"))
	}
	errs = append(errs,
		between("Rings", c.Rings, 1, ring.RingsMax),
		between("RingBytes", c.RingBytes, ring.RingBytesMin, ring.RingBytesMax),
		between("SpareBytes", c.SpareBytes, c.RingBytes, ring.RingBytesMax),
		between("FrameBytesMax", c.FrameBytesMax, frameHeaderBytes+recordHeaderBytes, c.SpareBytes/2),
		between("Tickets", c.Tickets, 1, ticketsMax),
		between("BatchRecordsMax", c.BatchRecordsMax, 1, 1<<30),
		between("BehindBytes", c.BehindBytes, 0, bytesMax),
		between("PartitionBacklogBytesMax", c.PartitionBacklogBytesMax, c.FrameBytesMax, bytesMax),
		between("BacklogBytesMax", c.BacklogBytesMax, c.PartitionBacklogBytesMax, bytesMax))
	if c.RingBytes&(c.RingBytes-1) != 0 || c.SpareBytes&(c.SpareBytes-1) != 0 {
		errs = append(errs, fmt.Errorf("ingest: RingBytes is %d and SpareBytes %d, not powers of two", c.RingBytes, c.SpareBytes))
	}
	if c.WaitMax < waitMin {
		errs = append(errs, fmt.Errorf("ingest: WaitMax is %v, less than %v", c.WaitMax, waitMin))
	}
	if c.PauseMin < 0 || c.PauseMin > c.WaitMax {
		errs = append(errs, fmt.Errorf("ingest: PauseMin is %v, not from 0 to WaitMax", c.PauseMin))
	}
	return errors.Join(errs...)
}

// topic is what the log says about the topic, once it knows. It is fixed for the life of the log.
type topic struct {
	partitions    int
	batchBytesMax int
	bodyBytesMax  int // the largest record body of which a batch of its own is within batchBytesMax
}

// topicOf asks the log; nil while the log does not know the topic.
func topicOf(log commitlog.Log, name string) *topic {
	t := &topic{partitions: log.Partitions(name)}
	if t.partitions == 0 {
		return nil
	}
	t.batchBytesMax = log.BatchBytesMax(name)
	t.bodyBytesMax = t.batchBytesMax - recordbatch.HeaderBytes - recordbatch.RecordBytesMax(0)
	return t
}
