package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// small is a cleanly closed journal of one partition, a few segments of a few batches, and what is in it.
type small struct {
	fs      *vfs.Mem
	cfg     Config
	values  []string
	batches []placed
}

// placed is where a batch lies.
type placed struct {
	span
	base, next int64
}

// span is a part of a file.
type span struct {
	path     string
	from, to int64
}

func (b placed) hit(touched []span) bool {
	return slices.ContainsFunc(touched, func(d span) bool { return d.path == b.path && d.from < b.to && b.from < d.to })
}

const smallDir = "journal/" + topic + "-0"

func newSmall(t testing.TB) *small {
	t.Helper()
	s := &small{fs: vfs.NewMem(7)}
	s.cfg = Config{
		Dir: "journal", FS: s.fs, Topics: []TopicConfig{{Name: topic, Partitions: 1}}, SegmentBytes: 600, BatchBytesMax: 500, ReserveBytes: 1,
	}
	j := mustOpen(t, s.cfg)
	for i := range 14 {
		values := []string{fmt.Sprintf("%d/a", i), fmt.Sprintf("%d/%s", i, strings.Repeat("b", 3*i))}[:1+i%2]
		if err := commitlog.AppendWait(t.Context(), j, batch(0, values...)); err != nil {
			t.Fatal(err)
		}
		s.values = append(s.values, values...)
	}
	mustClose(t, j)
	list, err := listSegments(s.fs, smallDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, segment := range list {
		f, err := s.fs.OpenFile(segment.path, os.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		w := newWalker(f, segment.end, 0, segment.base, -1)
		for {
			at, ok := w.next(true)
			if !ok {
				break
			}
			s.batches = append(s.batches, placed{span{segment.path, at, w.position}, w.header.BaseOffset, w.offset})
		}
	}
	return s
}

func (s *small) files(t testing.TB) map[string]int64 {
	t.Helper()
	entries, err := s.fs.ReadDir(smallDir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]int64{}
	for _, e := range entries {
		files[filepath.Join(smallDir, e.Name)] = e.Bytes
	}
	if len(files) < 4 {
		t.Fatalf("only %v: the test wants several segments", files)
	}
	return files
}

// check opens the journal and reads it. It is right to refuse with a RotError that names the damaged file, in Open or
// in Next; it is wrong to return anything that was not written, or to lose the end without a word.
func (s *small) check(damaged string) (refused bool, err error) {
	named := func(err error) (bool, error) {
		rot := new(RotError)
		if !errors.As(err, &rot) {
			return false, fmt.Errorf("not a RotError: %w", err)
		}
		if filepath.Dir(rot.File) != filepath.Dir(damaged) {
			return false, fmt.Errorf("names %s: %w", rot.File, err)
		}
		return true, nil
	}
	j, err := open(s.cfg)
	if err != nil {
		return named(err)
	}
	defer j.abandon()
	r, err := j.NewReader(topic, 0, 0)
	if err != nil {
		return false, err
	}
	var got []string
	for int64(len(got)) < j.partitions[0].next {
		records, err := r.Next(context.Background())
		if err != nil {
			return named(errors.Join(err, r.Close()))
		}
		for _, record := range records {
			got = append(got, string(record.Value))
		}
	}
	if !slices.Equal(got, s.values) {
		return false, fmt.Errorf("reads %d values instead of %d, and says nothing", len(got), len(s.values))
	}
	return false, r.Close()
}

func TestEachFlippedByteOfAClosedJournalIsHarmlessOrNamed(t *testing.T) {
	pristine := newSmall(t)
	refused := 0
	for path, size := range pristine.files(t) {
		for position := range size {
			bit := position*8 + position%8
			s := *pristine
			s.fs = pristine.fs.Clone()
			s.cfg.FS = s.fs
			if err := s.fs.FlipBit(path, bit); err != nil {
				t.Fatal(err)
			}
			wasRefused, err := s.check(path)
			if err != nil {
				t.Fatalf("%s, bit %d of byte %d: %v", path, bit%8, bit/8, err)
			}
			if wasRefused {
				refused++
			}
		}
	}
	t.Logf("%d flips refused", refused)
}

func TestEachTruncationOfAClosedJournalIsNamed(t *testing.T) {
	pristine := newSmall(t)
	for path, size := range pristine.files(t) {
		for length := range size {
			s := *pristine
			s.fs = pristine.fs.Clone()
			s.cfg.FS = s.fs
			f, err := s.fs.OpenFile(path, os.O_RDWR)
			if err := errors.Join(err, f.Truncate(length), f.Close()); err != nil {
				t.Fatal(err)
			}
			refused, err := s.check(path)
			if err != nil || !refused && filepath.Base(path) != checkpointName {
				t.Fatalf("%s cut to %d of %d bytes: refused %t, %v", path, length, size, refused, err)
			}
		}
	}
}

func TestEachMissingFileIsNamed(t *testing.T) {
	pristine := newSmall(t)
	for path := range pristine.files(t) {
		if path == segmentPath(smallDir, 0) {
			continue // as if retention had removed it
		}
		s := *pristine
		s.fs = pristine.fs.Clone()
		s.cfg.FS = s.fs
		if err := s.fs.Remove(path); err != nil {
			t.Fatal(err)
		}
		if refused, err := s.check(path); err != nil || !refused {
			t.Fatalf("%s removed: refused %t, %v", path, refused, err)
		}
	}
}

func TestATornTailIsCutAndToldAtEachLength(t *testing.T) {
	pristine := newSmall(t)
	tail := batch(0, "never acknowledged", "nor this")
	recordbatch.Stamp(tail.Bytes, recordbatch.NoProducer)
	recordbatch.SetBase(tail.Bytes, int64(len(pristine.values)), 0)
	last := lastSegment(t, pristine)
	for length := range len(tail.Bytes) + 1 {
		s := *pristine
		s.fs = pristine.fs.Clone()
		s.cfg.FS = s.fs
		var told int64
		s.cfg.Notify = func(n Notice) {
			if n.What == TornTail {
				told += n.Bytes
			}
		}
		f, err := s.fs.OpenFile(last.path, os.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(last.end, tail.Bytes[:length]); err != nil {
			t.Fatal(err)
		}
		if length == len(tail.Bytes) {
			s.values = append(slices.Clone(s.values), "never acknowledged", "nor this")
			length = 0
		}
		if refused, err := s.check(last.path); refused || err != nil {
			t.Fatalf("%d bytes of a torn batch: refused %t, %v", length, refused, err)
		}
		if told != int64(length) {
			t.Fatalf("%d bytes of a torn batch: told of %d", length, told)
		}
	}
}

func lastSegment(t testing.TB, s *small) *segment {
	t.Helper()
	list, err := listSegments(s.fs, smallDir)
	if err != nil {
		t.Fatal(err)
	}
	return list[len(list)-1]
}

// TestRepairKeepsEveryWholeBatchAtItsOffset damages a journal at random, repairs it, and compares.
func TestRepairKeepsEveryWholeBatchAtItsOffset(t *testing.T) {
	pristine := newSmall(t)
	for seed := range uint64(2000) {
		s := *pristine
		s.fs = pristine.fs.Clone()
		s.cfg.FS = s.fs
		touched := damage(t, &s, rand.New(rand.NewPCG(seed, 2)))
		if err := s.checkRepair(touched); err != nil {
			t.Fatalf("seed %d, damaged %v: %v", seed, touched, err)
		}
	}
}

// damage flips bits, writes zeros over a range or cuts a file, and returns where.
func damage(t *testing.T, s *small, dice *rand.Rand) (touched []span) {
	t.Helper()
	files := s.files(t)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for range 1 + dice.IntN(3) {
		path := names[dice.IntN(len(names))]
		f, err := s.fs.OpenFile(path, os.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		if err != nil {
			t.Fatal(err)
		}
		if size == 0 {
			continue
		}
		at := dice.Int64N(size)
		end := at + 1
		switch dice.IntN(4) {
		case 0:
			end = min(size, at+dice.Int64N(300))
			_, err = f.WriteAt(at, make([]byte, end-at))
		case 1:
			end = files[path]
			err = f.Truncate(at)
		default:
			err = s.fs.FlipBit(path, at*8+dice.Int64N(8))
		}
		if err := errors.Join(err, f.Sync()); err != nil { // it lies on the disk, and not in what is to be written
			t.Fatal(err)
		}
		touched = append(touched, span{path, at, end})
	}
	return touched
}

// checkRepair repairs, and checks that verify is content, that the journal opens, that what is read is what was
// written at this offset, and that every batch which was not touched is still there.
func (s *small) checkRepair(touched []span) error {
	var told bytes.Buffer
	if err := Repair(s.fs, "journal", time.UnixMilli(0), &told); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	if n, err := Verify(s.fs, "journal", &told); n != 0 || err != nil {
		return fmt.Errorf("%d faults after the repair, %w:\n%s", n, err, &told)
	}
	j, err := open(s.cfg)
	if err != nil {
		return err
	}
	defer j.abandon()
	got, err := s.survivors(j, touched)
	if err != nil {
		return fmt.Errorf("%w:\n%s", err, &told)
	}
	for _, b := range s.batches {
		for o := b.base; o < b.next && !b.hit(touched); o++ {
			if !got[o] {
				return fmt.Errorf("offset %d is lost, and its batch was not touched:\n%s", o, &told)
			}
		}
	}
	checkpoint := filepath.Join(smallDir, checkpointName)
	known := !slices.ContainsFunc(touched, func(d span) bool { return d.path == checkpoint })
	if next := j.partitions[0].next; known && next != int64(len(s.values)) {
		return fmt.Errorf("the next offset is %d, %d were acknowledged:\n%s", next, len(s.values), &told)
	}
	return nil
}

// survivors reads a repaired journal, and returns which offsets still have their record.
func (s *small) survivors(j *Journal, touched []span) (map[int64]bool, error) {
	got := map[int64]bool{}
	r := &reader{p: j.partitions[0]}
	for r.offset < r.p.next {
		v, err := r.p.wait(context.Background(), r)
		if err != nil {
			return nil, err
		}
		records, err := r.batch(v)
		if err != nil {
			return nil, err
		}
		for _, record := range records {
			o := int64(slices.Index(s.values, string(record.Value)))
			if o < 0 {
				return nil, fmt.Errorf("offset %d reads %q", record.Offset, record.Value)
			}
			// A batch that lost its own offset between two others that are lost can be anywhere.
			if o != record.Offset && !s.batchOf(o).hit(touched) {
				return nil, fmt.Errorf("offset %d reads what was at %d", record.Offset, o)
			}
			got[o] = true
		}
	}
	return got, r.Close()
}

func (s *small) batchOf(offset int64) placed {
	return s.batches[slices.IndexFunc(s.batches, func(b placed) bool { return offset < b.next })]
}
