package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// FuzzOpen puts any bytes in the place of a segment and of the checkpoint. Opening them refuses with a RotError or
// gives a journal that can be read and appended to; Repair makes of anything a journal that Verify has no word
// against.
func FuzzOpen(f *testing.F) {
	s := newSmall(f)
	segmentBytes := slurp(f, s.fs, segmentPath(smallDir, 0))
	checkpointBytes := slurp(f, s.fs, filepath.Join(smallDir, checkpointName))
	f.Add(segmentBytes, checkpointBytes)
	f.Add(segmentBytes[:len(segmentBytes)-9], []byte{})
	f.Add([]byte{}, checkpointBytes[:slotBytes])
	f.Add(recordbatch.Gap(0, 7), []byte("TGck"))
	f.Fuzz(func(t *testing.T, segmentBytes, checkpointBytes []byte) {
		fs := vfs.NewMem(1)
		if err := fs.MkdirAll(smallDir); err != nil {
			t.Fatal(err)
		}
		spill(t, fs, segmentPath(smallDir, 0), segmentBytes)
		spill(t, fs, filepath.Join(smallDir, checkpointName), checkpointBytes)
		cfg := Config{Dir: "journal", FS: fs, Topics: []TopicConfig{{Name: topic, Partitions: 1}}, SegmentBytes: 600, ReserveBytes: 1}
		if j, err := open(cfg); err == nil {
			wantUsable(t, j)
		} else if rot := new(RotError); !errors.As(err, &rot) {
			t.Fatal(err)
		}
		var told bytes.Buffer
		if err := Repair(fs, "journal", time.UnixMilli(0), &told); err != nil {
			t.Fatal(err)
		}
		if n, err := Verify(fs, "journal", &told); n != 0 || err != nil {
			t.Fatalf("%d faults after the repair, %v:\n%s", n, err, &told)
		}
		j, err := open(cfg)
		if err != nil {
			t.Fatalf("after the repair: %v:\n%s", err, &told)
		}
		wantUsable(t, j)
		if err := Dump(fs, "journal", DumpOptions{Partition: -1}, &told); err != nil {
			t.Fatal(err)
		}
	})
}

// wantUsable reads all of a journal and appends to it.
func wantUsable(t *testing.T, j *Journal) {
	t.Helper()
	defer j.abandon()
	p := j.partitions[0]
	one := batch(0, "more")
	done := false
	one.Done = func(*commitlog.Batch) { done = true }
	j.Append([]*commitlog.Batch{one})
	j.step()
	if !done || one.Err != nil {
		t.Fatalf("append: %t, %v", done, one.Err)
	}
	r := &reader{p: p}
	for r.offset < p.next {
		v, err := p.wait(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.batch(v); err != nil {
			// A batch whose CRC is right and whose records are not can only be made on purpose.
			if rot := new(RotError); !errors.As(err, &rot) {
				t.Fatal(err)
			}
			return
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func slurp(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	b, err := readSegment(fs, path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func spill(t testing.TB, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(0, b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
