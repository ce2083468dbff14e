package journal

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"tollgate/internal/metrics"
	"tollgate/internal/vfs"
	"tollgate/pkg/recordbatch"
)

// Config is what a journal needs to know. The zero value of a field is its default, where one is named.
type Config struct {
	// Dir holds one directory a partition; it is made if missing. Its parent must exist. The caller holds the lock
	// that keeps other processes away (vfs.Lock).
	Dir string
	// FS is the disk. Default: vfs.OS.
	FS vfs.FS
	// Topics are the topics that exist. One that was on disk and is not listed is left alone and reported.
	Topics []TopicConfig
	// SegmentBytes is the size at which a segment file is closed and the next begun. Default: 256 MiB. Smaller ones
	// make retention finer and cost an fsync of the directory each. At most 1 GiB, Kafka's own limit and default.
	SegmentBytes int64
	// ReserveBytes of free disk are left alone: below it appends are refused. Default: 1/16 of the file system, at
	// most 64 MiB. It must be larger than what others may write there between two looks, 100 ms apart.
	ReserveBytes int64
	// CachedBytes at the end of each partition's active segment are left in the system's page cache, and what a reader has not
	// read yet; what is older is not, see cache.go. So Open reads most of the last segment from the disk. Default: 16 MiB.
	CachedBytes int64
	// BatchBytesMax is the largest batch taken. Default: 4 MiB. At most 64 MiB and SegmentBytes.
	BatchBytesMax int
	// Now tells the time of retention and of looks at the free space. Default: time.Now.
	Now func() time.Time
	// Metrics may be nil.
	Metrics *metrics.Registry
	// Notify is called with what an operator should read in the log: from Open, or from the journal's goroutines, one
	// at a time or several. It must not block, nor call the journal. May be nil.
	Notify func(Notice)
}

// TopicConfig is one topic.
type TopicConfig struct {
	// Name is made of letters, digits, dots, underscores and dashes, at most 200 of them.
	Name string
	// Partitions may grow from one start to the next, never shrink.
	Partitions int
	// RetentionAge is how long records are kept after their receipt, at least: they go with their segment, when the
	// newest record in it is that old. 0: for ever.
	RetentionAge time.Duration
	// RetentionBytes is how much of each partition is kept, at least: the oldest segment goes when the others are
	// this large without it. 0: everything.
	RetentionBytes int64
	// Compact keeps, of records with the same key, only the newest: see compact.go. Records without a key are refused.
	Compact bool
	// CompactAge leaves records alone that are younger, both as what is removed and as what supersedes others. 0: none.
	CompactAge time.Duration
	// KeepProducer leaves the producer in a batch's header as the caller has stamped it. Else it is taken out.
	KeepProducer bool
	// Vital appends may take from Config.ReserveBytes: small notes without which nothing could be given back.
	Vital bool
	// SegmentBytes is Config.SegmentBytes for this topic. 0: the same. Smaller makes compaction and retention finer.
	SegmentBytes int64
}

// BehindBytes is how large a set is that is written while another group is synced; smaller ones gather until that is done.
// With half of it everything came in smaller pieces, which cost a tenth more CPU at 64 connections and was no faster.
const BehindBytes = 1 << 20

const (
	segmentBytesDefault  = 256 << 20
	segmentBytesLimit    = 1 << 30
	cachedBytesDefault   = 16 << 20
	cachedSteps          = 4 // CachedBytes are exceeded by up to one part of so many
	batchBytesDefault    = 4 << 20
	batchBytesLimit      = 64 << 20
	reserveBytesMax      = 64 << 20
	reserveShare         = 16
	reserveSlack         = 8        // once refused, appends are taken again with this part of the reserve above it
	aheadBytesMax        = 16 << 20 // reserved behind one active segment
	aheadShare           = 4        // all of them together take at most this part of the reserve
	blockBytes           = 4 << 10  // less is not worth a reservation
	groupBytesMax        = 32 << 20 // of one partition, between two fsyncs; one batch may be larger
	hurriedMax           = 4        // groups in a row between which nothing else is done
	checkpointEvery      = time.Second
	retentionEvery       = 10 * time.Second
	spaceEvery           = 100 * time.Millisecond
	retryAfterMin        = 100 * time.Millisecond
	retryAfterMax        = 5 * time.Second
	indexEvery           = 1 << 20        // bytes of a segment between two entries of its index
	readBytes            = 256 << 10      // of a segment in one read
	decompressedBytesMax = 64 << 20       // of one batch; ours are not compressed, a repaired journal may hold others
	segmentsPerAge       = 8              // a segment is closed after this part of its topic's retention, or age of compaction
	compactBytesMax      = 32 << 20       // read or rewritten in a round of the janitor; one segment may be larger
	compactKeysMax       = 1 << 20        // noted in a pass, of some 50 bytes each
	tombstoneAgeMin      = 24 * time.Hour // Kafka's delete.retention.ms: so long may a reader take to catch up
)

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,200}$`)

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = vfs.OS
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = segmentBytesDefault
	}
	if c.BatchBytesMax == 0 {
		c.BatchBytesMax = int(min(batchBytesDefault, c.SegmentBytes))
	}
	if c.CachedBytes == 0 {
		c.CachedBytes = cachedBytesDefault
	}
	if c.Now == nil {
		c.Now = time.Now
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
	f(c.Dir != "", "no directory is configured")
	f(c.SegmentBytes >= recordbatch.HeaderBytes && c.SegmentBytes <= segmentBytesLimit,
		"a segment of %d bytes: want %d to %d", c.SegmentBytes, recordbatch.HeaderBytes, segmentBytesLimit)
	f(c.BatchBytesMax >= recordbatch.HeaderBytes && int64(c.BatchBytesMax) <= min(batchBytesLimit, c.SegmentBytes),
		"batches of %d bytes: want %d to %d, and no more than a segment of %d",
		c.BatchBytesMax, recordbatch.HeaderBytes, batchBytesLimit, c.SegmentBytes)
	f(c.CachedBytes >= cachedSteps, "%d bytes cached: want %d or more", c.CachedBytes, cachedSteps)
	f(c.ReserveBytes >= 0, "a reserve of %d bytes", c.ReserveBytes)
	seen := map[string]bool{}
	for _, t := range c.Topics {
		f(topicName.MatchString(t.Name) && t.Name != "." && t.Name != "..", "topic name %q", t.Name)
		f(!seen[t.Name], "topic %q is configured twice", t.Name)
		f(t.Partitions > 0, "topic %q has %d partitions", t.Name, t.Partitions)
		f(t.RetentionAge >= 0 && t.RetentionBytes >= 0, "topic %q keeps %v and %d bytes", t.Name, t.RetentionAge, t.RetentionBytes)
		f(t.CompactAge >= 0 && (t.Compact || t.CompactAge == 0), "topic %q is compacted after %v: want none, or Compact", t.Name, t.CompactAge)
		f(t.SegmentBytes == 0 || t.SegmentBytes >= recordbatch.HeaderBytes && t.SegmentBytes <= segmentBytesLimit,
			"topic %q has segments of %d bytes: want %d to %d", t.Name, t.SegmentBytes, recordbatch.HeaderBytes, segmentBytesLimit)
		seen[t.Name] = true
	}
	if len(faults) > 0 {
		return fmt.Errorf("journal: %w", errors.Join(faults...))
	}
	return nil
}
