package dedup

import (
	"fmt"
	"time"

	"tollgate/internal/vfs"
)

// Config says where an index lives and how much it may take.
type Config struct {
	// FS is the disk. Nil: the machine's.
	FS vfs.FS
	// Dir is the index's own directory; it is made when it does not exist, in one that does. Files in it that are not the
	// index's are an error.
	Dir string
	// Window is how long an entry counts at least; 0: 24 h. Rounded up to whole buckets. It may be changed between two
	// lives: what was dropped under a shorter one stays dropped.
	Window time.Duration
	// BucketWidth is how much longer an entry may count at most, in whole minutes; 0: 1 h. More saves nothing here but
	// makes expiry coarser.
	BucketWidth time.Duration
	// MemoryBytes bounds the table, the filters and the buffers together; 0: 256 MiB, at least 1 MiB. A quarter is the
	// table's: fewer bytes mean more and smaller runs. Half is that of the runs' filters: three bytes an identifier are the
	// best, below one byte an identifier some filters stay on disk, and every look-up reads them there. An eighth is the
	// coarse filter's over the older runs, taken once there are three of them: with a byte an identifier it is at its best,
	// and with less than five eighths of one (five bytes of MemoryBytes) there is none.
	MemoryBytes int64
}

const (
	minuteMs = int64(time.Minute / time.Millisecond)
	// memoryBytesMin is what a table of a few thousand entries and one page for each buffer need.
	memoryBytesMin = 1 << 20
	// fanIn is how many runs of a level become one of the next. With 8 an identifier is written once less, but at a billion
	// of them 11 filters were asked of each new one instead of 6, and each is a miss of main memory.
	fanIn = 4
	// buffersMax is how many buffers are in use at once: the sources of a merge, three sections each for what a merge and a
	// seal write, and the one with which the cover is filled.
	buffersMax     = fanIn + 7
	bufferBytesMax = 1 << 20
)

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = vfs.OS
	}
	if c.Window == 0 {
		c.Window = 24 * time.Hour
	}
	if c.BucketWidth == 0 {
		c.BucketWidth = time.Hour
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = 256 << 20
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Dir == "":
		return fmt.Errorf("dedup: no directory")
	case c.Window < 0:
		return fmt.Errorf("dedup: window %v is negative", c.Window)
	case c.BucketWidth < time.Minute || c.BucketWidth%time.Minute != 0:
		return fmt.Errorf("dedup: bucket width %v is not a number of whole minutes", c.BucketWidth)
	case c.MemoryBytes < memoryBytesMin:
		return fmt.Errorf("dedup: %d bytes of memory are less than %d", c.MemoryBytes, memoryBytesMin)
	}
	return nil
}

// span is the arithmetic of expiry.
type span struct {
	bucketMs int64
	buckets  int64 // a difference of bucket numbers up to which an entry counts
}

func (c Config) span() span {
	return span{
		bucketMs: c.BucketWidth.Milliseconds(),
		buckets:  int64((c.Window-1)/c.BucketWidth) + 1,
	}
}

// bucket is the number of the bucket that a time is in; times before 1970 have negative ones.
func (s span) bucket(ms int64) int64 { return floorDiv(ms, s.bucketMs) }

// since is the first minute whose entries count at a clock.
func (s span) since(nowMs int64) int64 {
	return (s.bucket(nowMs) - s.buckets) * (s.bucketMs / minuteMs)
}

func minuteOf(ms int64) int64 { return floorDiv(ms, minuteMs) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// The shares of MemoryBytes. The table may be held twice for a moment, half as large, while it grows.
func (c Config) tableSlotsMax() int    { return int(c.MemoryBytes / 4 * 2 / 3 / slotBytes) }
func (c Config) filterBytesMax() int64 { return c.MemoryBytes / 2 }
func (c Config) coverBytesMax() int64  { return c.MemoryBytes / 8 }

func (c Config) bufferBytes() int {
	n := min(c.MemoryBytes/16/buffersMax, bufferBytesMax)
	return int(max(n/pageBytes, 1) * pageBytes)
}
