package spill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"tollgate/internal/metrics"
	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/journal"
	"tollgate/pkg/recordbatch"
)

// Kafka is what a spill stands in front of: a kafkalog.Log, with HandBack for the topic.
type Kafka interface {
	commitlog.Log
	// AppendAs appends one batch under a producer, as one that may have been sent before.
	AppendAs(b *commitlog.Batch, producer recordbatch.Producer)
	// NewProducer gets a producer id, with sequence 0.
	NewProducer(ctx context.Context) (recordbatch.Producer, error)
}

// Config says what is spilled and where to. Kafka, Topic and Dir are required; every other zero value is a default.
type Config struct {
	// Kafka is closed by Close.
	Kafka Kafka
	// Topic is the one that spills.
	Topic string
	// Dir holds the journal; it is made if missing. Its parent must exist.
	Dir string
	// FS is the disk. Default: vfs.OS.
	FS vfs.FS
	// MaxBytes is how much may wait here for Kafka. Default 10 GiB. The files take up to SegmentBytes a partition more.
	MaxBytes int64
	// SegmentBytes is the size of a file, of which space is given back as a whole. Default: what lets each partition have
	// 16 within MaxBytes, from 4 MiB, which must hold the largest batch, to 64 MiB.
	SegmentBytes int64
	// ReserveBytes of free disk are left alone. Default: the journal's.
	ReserveBytes int64
	// DrainBytes is the size of the batches that are drained. Default 512 KiB. At most Kafka's BatchBytesMax.
	DrainBytes int
	// Now tells ages. Default time.Now.
	Now func() time.Time
	// Random shakes pauses: from 0 to below 1. Default rand.Float64.
	Random func() float64
	// Metrics may be nil.
	Metrics *metrics.Registry
	// Notify is told of changes of state, one at a time. It must not block nor call the Log. May be nil.
	Notify func(Notice)
	// NotifyJournal is the journal's. May be nil.
	NotifyJournal func(journal.Notice)
}

// Notice is a change of state worth a line in the log.
type Notice struct {
	Kind string
	// Partition is -1 when all are meant.
	Partition int32
	Text      string
}

// The kinds of Notice.
const (
	// NoticeSpilling: a partition's batches go to the local disk.
	NoticeSpilling = "spilling"
	// NoticeDirect: everything of a partition is in Kafka.
	NoticeDirect = "direct"
	// NoticeStuck: what is spilled of a partition can not be drained for another reason than that Kafka is away.
	NoticeStuck = "stuck"
	// NoticeResent: a range whose outcome was in doubt was sent under a new producer id; see the package comment, 5.
	NoticeResent = "resent"
	// NoticeGap: records that were spilled are not in the journal any more, as after its repair.
	NoticeGap = "gap"
	// NoticePartitions: Kafka has another number of partitions than the spill; a restart takes more of them over.
	NoticePartitions = "partitions"
	// NoticeUnusable: the spill's journal can not be opened.
	NoticeUnusable = "unusable"
)

const (
	maxBytesDefault   = 10 << 30
	drainBytesDefault = 512 << 10
	segmentBytesMin   = 4 << 20
	segmentBytesMax   = 64 << 20
	segmentsInMax     = 16
	cursorSegment     = 1 << 20
	drainPauseMin     = 50 * time.Millisecond
	drainPauseMax     = 2 * time.Second
	idlePause         = time.Second
	holdMax           = time.Second // in memory, behind a range on its way
	preparePause      = 100 * time.Millisecond
	noticesMax        = 100
)

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = vfs.OS
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = maxBytesDefault
	}
	if c.DrainBytes == 0 {
		c.DrainBytes = drainBytesDefault
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if c.Notify == nil {
		c.Notify = func(Notice) {}
	}
	return c
}

func (c *Config) validate() error {
	var faults []error
	f := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	f(c.Kafka != nil, "no Kafka")
	f(c.Topic != "", "no topic")
	f(c.Dir != "", "no directory")
	f(c.MaxBytes > 0, "max_bytes is %d", c.MaxBytes)
	f(c.DrainBytes > 0, "batches to drain of %d bytes", c.DrainBytes)
	f(c.SegmentBytes >= 0, "segments of %d bytes", c.SegmentBytes)
	if len(faults) > 0 {
		return fmt.Errorf("spill: %w", errors.Join(faults...))
	}
	return nil
}

// segmentBytes is the size of a file, with so many partitions.
func (c *Config) segmentBytes(partitions int) int64 {
	if c.SegmentBytes > 0 {
		return c.SegmentBytes
	}
	return min(max(c.MaxBytes/segmentsInMax/int64(partitions), segmentBytesMin), segmentBytesMax)
}
