package journal

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
)

// forgettingFS notes what was to be forgotten, as FILE:FROM-TO in batches of the test's one size.
type forgettingFS struct {
	vfs.FS
	unit int64
	told []string
}

func (f *forgettingFS) OpenFile(path string, flag int) (vfs.File, error) {
	file, err := f.FS.OpenFile(path, flag)
	return &forgettingFile{file, f, path}, err
}

type forgettingFile struct {
	vfs.File
	fs   *forgettingFS
	path string
}

func (f *forgettingFile) Forget(offset, length int64) {
	f.File.Forget(offset, length)
	base, _ := segmentBase(filepath.Base(f.path))
	from, to := offset/f.fs.unit, (offset+length)/f.fs.unit
	if from*f.fs.unit != offset || to*f.fs.unit != offset+length {
		panic(fmt.Sprintf("%d to %d of %s is no number of batches", offset, offset+length, f.path))
	}
	f.fs.told = append(f.fs.told, fmt.Sprintf("%d:%d-%d", base, from, to))
}

// cacheBench keeps 8 batches in the cache, forgets them by twos, and has 40 in a segment.
type cacheBench struct {
	*bench
	forgot *forgettingFS
	value  string
}

func newCacheBench(t *testing.T) *cacheBench {
	c := &cacheBench{value: strings.Repeat("x", indexEvery)} // each is in the index
	unit := int64(len(batch(0, c.value).Bytes))
	c.bench = newBench(t, func(cfg *Config) {
		c.forgot = &forgettingFS{FS: cfg.FS, unit: unit}
		cfg.FS, cfg.SegmentBytes, cfg.CachedBytes = c.forgot, 40*unit, 8*unit
	})
	return c
}

func (c *cacheBench) fill(batches int) {
	c.Helper()
	for range batches {
		c.want(c.append(c.value), nil)
	}
}

func (c *cacheBench) wantForgotten(want ...string) {
	c.Helper()
	if !slices.Equal(c.forgot.told, want) {
		c.Fatalf("forgotten %v, want %v", c.forgot.told, want)
	}
	c.forgot.told = nil
}

func (c *cacheBench) reader(offset int64) commitlog.Reader {
	c.Helper()
	r, err := c.j.NewReader(topic, 0, offset)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = r.Close() })
	return r
}

func (c *cacheBench) read(r commitlog.Reader, batches int) {
	c.Helper()
	for range batches {
		if _, err := r.Next(c.Context()); err != nil {
			c.Fatal(err)
		}
	}
}

// twoReaders have read the first batches, which are all there are.
func (c *cacheBench) twoReaders(batches int) (one, two commitlog.Reader) {
	c.Helper()
	c.fill(batches)
	one, two = c.reader(0), c.reader(0)
	c.read(one, batches)
	c.read(two, batches)
	return one, two
}

func TestOnlyTheNewestStaysInThePageCache(t *testing.T) {
	c := newCacheBench(t)
	c.fill(9)
	c.wantForgotten()
	c.fill(1)
	c.wantForgotten("0:0-2")
	c.fill(3)
	c.wantForgotten("0:2-4")
	c.fill(27)
	c.forgot.told = nil
	c.fill(1) // in the next segment
	c.wantForgotten("0:32-40")
	c.fill(10)
	c.wantForgotten("40:0-2")
	c.j.partitions[0].close()
	c.wantForgotten() // it is what a start reads first
}

func TestWhatAReaderHasNotReadStaysInThePageCache(t *testing.T) {
	c := newCacheBench(t)
	slow, quick := c.twoReaders(1)
	c.fill(20)
	c.wantForgotten()
	c.read(quick, 20)
	c.fill(1)
	c.wantForgotten()
	c.read(slow, 7) // and it has not asked for another, so it may be reading the last one
	c.fill(1)
	c.wantForgotten("0:0-6")
	if err := slow.Close(); err != nil {
		t.Fatal(err)
	}
	c.fill(1)
	c.wantForgotten("0:6-16")
}

func TestAClosedSegmentIsForgottenByTheLastReaderInIt(t *testing.T) {
	c := newCacheBench(t)
	slow, quick := c.twoReaders(3)
	c.fill(38)
	c.wantForgotten("0:0-2")
	c.fill(20)
	c.read(quick, 58)
	c.fill(1)
	c.wantForgotten()
	c.read(slow, 37)
	c.wantForgotten()
	c.read(slow, 1)
	c.wantForgotten("0:0-40")
	c.fill(1)
	c.wantForgotten()
	c.read(slow, 20)
	c.fill(1)
	c.wantForgotten("40:0-16")
}

func TestAReaderWhoseCallFailedHoldsNothingBack(t *testing.T) {
	c := newCacheBench(t)
	c.fill(2)
	r := c.reader(0)
	c.read(r, 1)
	c.fs.SetFaults(vfs.Faults{FailCalls: []int{1}})
	if _, err := r.Next(t.Context()); err == nil {
		t.Fatal("a read went well that was to fail")
	}
	c.fill(8)
	c.wantForgotten("0:0-2")
	c.read(r, 1) // from the disk again
	c.fill(10)
	c.wantForgotten()
}
