package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/journal"
	"tollgate/pkg/recordbatch"
)

const benchTopic = "bench"

// benchBatch is a batch of about so many bytes, in records of 175.
func benchBatch(size int) *commitlog.Batch {
	var b recordbatch.Builder
	b.Reset(nil)
	body := recordbatch.AppendBody(nil, []byte("acct_demo/testmode/api_requests"), bytes.Repeat([]byte("v"), 135))
	for b.Len()+recordbatch.RecordBytesMax(len(body)) <= size {
		b.Append(0, body)
	}
	return &commitlog.Batch{Topic: benchTopic, Records: b.Records(), Bytes: b.Seal()}
}

// BenchmarkAppend is what waiters get out of group fsync: each appends a batch, waits until it is durable, and
// appends the next. Its peers are BenchmarkAppendPeerFsync, the floor for one waiter, and
// BenchmarkAppendPeerNothingAhead, the same journal where the file system reserves no space ahead.
//
//	go test -run - -bench Append ./pkg/commitlog/journal
func BenchmarkAppend(b *testing.B) { benchAppends(b, vfs.OS) }

func BenchmarkAppendPeerNothingAhead(b *testing.B) { benchAppends(b, nothingAhead{vfs.OS}) }

// nothingAhead is a file system that knows no preallocation.
type nothingAhead struct{ vfs.FS }

func (fs nothingAhead) OpenFile(path string, flag int) (vfs.File, error) {
	f, err := fs.FS.OpenFile(path, flag)
	if err != nil {
		return nil, err
	}
	return nothingAheadFile{f}, nil
}

type nothingAheadFile struct{ vfs.File }

func (nothingAheadFile) Preallocate(int64, int64) error { return errors.ErrUnsupported }

func benchAppends(b *testing.B, fs vfs.FS) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		for _, waiters := range []int{1, 4, 64} {
			b.Run(fmt.Sprintf("%dKiB/waiters=%d", size>>10, waiters), func(b *testing.B) {
				benchAppend(b, fs, size, waiters)
			})
		}
	}
}

func benchAppend(b *testing.B, fs vfs.FS, size, waiters int) {
	j, err := journal.Open(journal.Config{
		Dir:    filepath.Join(b.TempDir(), "journal"),
		FS:     fs,
		Topics: []journal.TopicConfig{{Name: benchTopic, Partitions: 1, RetentionBytes: 1 << 30}},
	})
	if err != nil {
		b.Fatal(err)
	}
	one := benchBatch(size)
	b.SetBytes(int64(len(one.Bytes)))
	b.ResetTimer()
	var all sync.WaitGroup
	for w := range waiters {
		all.Go(func() {
			batch := benchBatch(size)
			done := make(chan error, 1)
			batch.Done = func(c *commitlog.Batch) { done <- c.Err }
			set := []*commitlog.Batch{batch}
			for range (b.N + waiters - 1 - w) / waiters {
				j.Append(set)
				if err := <-done; err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N*one.Records)/b.Elapsed().Seconds(), "records/s")
	if err := j.Close(b.Context()); err != nil {
		b.Error(err)
	}
}

// BenchmarkAppendPeerFsync writes the same bytes to a file and syncs it each time: no log can be faster for one waiter.
func BenchmarkAppendPeerFsync(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			f, err := vfs.OS.OpenFile(filepath.Join(b.TempDir(), "f"), os.O_RDWR|os.O_CREATE)
			if err != nil {
				b.Fatal(err)
			}
			one := benchBatch(size)
			b.SetBytes(int64(len(one.Bytes)))
			var at int64
			for b.Loop() {
				n, err := f.WriteAt(at, one.Bytes)
				if err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				at = (at + n) % (256 << 20)
			}
			if err := f.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkOpen opens a journal of one large segment, which is read in full.
func BenchmarkOpen(b *testing.B) {
	cfg := journal.Config{Dir: filepath.Join(b.TempDir(), "journal"), Topics: []journal.TopicConfig{{Name: benchTopic, Partitions: 1}}}
	const batches = 200
	for round := 0; b.Loop(); round++ {
		j, err := journal.Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if round == 0 {
			for range batches {
				if err := commitlog.AppendWait(b.Context(), j, benchBatch(1<<20)); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := j.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.SetBytes(batches << 20)
}

// BenchmarkRead reads what was appended, record by record.
func BenchmarkRead(b *testing.B) {
	j, err := journal.Open(journal.Config{
		Dir: filepath.Join(b.TempDir(), "journal"), Topics: []journal.TopicConfig{{Name: benchTopic, Partitions: 1}},
	})
	if err != nil {
		b.Fatal(err)
	}
	for range 200 {
		if err := commitlog.AppendWait(b.Context(), j, benchBatch(64<<10)); err != nil {
			b.Fatal(err)
		}
	}
	_, next, err := j.Bounds(b.Context(), benchTopic, 0)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := j.NewReader(benchTopic, 0, 0)
		if err != nil {
			b.Fatal(err)
		}
		for read := int64(0); read < next; {
			records, err := r.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			read += int64(len(records))
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(next)/b.Elapsed().Seconds(), "records/s")
	if err := j.Close(b.Context()); err != nil {
		b.Error(err)
	}
}
