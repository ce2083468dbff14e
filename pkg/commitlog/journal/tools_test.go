package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tollgate/internal/vfs"
)

func TestDumpWritesRecordsAsJSONLines(t *testing.T) {
	b := newBench(t, nil)
	b.want(b.append(`{"object":"meter_event","name":"<b>"}`, "not JSON"), nil)
	b.want(b.append("third"), nil)
	f := func(o DumpOptions, want ...string) {
		t.Helper()
		var got bytes.Buffer
		if err := Dump(b.fs, "journal", o, &got); err != nil {
			t.Fatal(err)
		}
		text := strings.Join(want, "\n")
		if len(want) > 0 {
			text += "\n"
		}
		if got.String() != text {
			t.Errorf("%+v:\n%swant:\n%s", o, &got, text)
		}
	}
	const start = `{"topic":"tollgate.usage","partition":0,"offset":`
	first := start + `0,"time":"1970-01-01T00:00:01.000Z","key":"key","value":{"object":"meter_event","name":"<b>"}}`
	second := start + `1,"time":"1970-01-01T00:00:01.001Z","key":"key","value_base64":"bm90IEpTT04="}`
	third := start + `2,"time":"1970-01-01T00:00:01.000Z","key":"key","value_base64":"dGhpcmQ="}`
	f(DumpOptions{Partition: -1}, first, second, third)
	f(DumpOptions{Partition: 0, Topic: topic, Limit: 2}, first, second)
	f(DumpOptions{Partition: -1, Offset: 1}, second, third)
	f(DumpOptions{Partition: 0, Offset: 3})
}

func TestDumpOfWhatIsNotThereSaysWhatIs(t *testing.T) {
	b := newBench(t, nil)
	f := func(o DumpOptions, want string) {
		t.Helper()
		var got bytes.Buffer
		err := Dump(b.fs, "journal", o, &got)
		if want += " in journal; there are: tollgate.usage-0"; err == nil || !strings.Contains(err.Error(), want) || got.Len() != 0 {
			t.Errorf("%+v: %v, want %q; wrote %q", o, err, want, &got)
		}
	}
	f(DumpOptions{Partition: 1}, "no partition 1 of any topic")
	f(DumpOptions{Topic: "other", Partition: -1}, `no topic "other"`)
	f(DumpOptions{Topic: topic, Partition: 1}, `no partition 1 of topic "tollgate.usage"`)
}

func TestDumpOfBatchesTellsWhereEachLies(t *testing.T) {
	b := newBench(t, nil)
	b.want(b.append("a", "b"), nil)
	b.want(b.append("c"), nil)
	var got bytes.Buffer
	if err := Dump(b.fs, "journal", DumpOptions{Partition: -1, Batches: true}, &got); err != nil {
		t.Fatal(err)
	}
	var end int64
	for line := range strings.Lines(got.String()) {
		var d dumpedBatch
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatal(err)
		}
		if d.Position != end || d.File != segmentPath(smallDir, 0) || d.Codec != "none" {
			t.Errorf("%+v, want position %d", d, end)
		}
		end += int64(d.Bytes)
	}
	if end != b.j.partitions[0].position {
		t.Errorf("the batches end at %d", end)
	}
}

func TestVerifyNamesEachFaultOfADamagedJournalAndDumpStopsAtTheFirst(t *testing.T) {
	s := newSmall(t)
	var wanted []string
	for _, i := range []int{1, 9} { // in two segments
		b := s.batches[i]
		if err := s.fs.FlipBit(b.path, (b.to-1)*8); err != nil {
			t.Fatal(err)
		}
		wanted = append(wanted, fmt.Sprintf("%s: fault: position %d: corrupt record batch: CRC is ", b.path, b.from))
	}
	var got bytes.Buffer
	n, err := Verify(s.fs, "journal", &got)
	if n != 2 || err != nil {
		t.Errorf("%d faults, %v", n, err)
	}
	for _, want := range wanted {
		if !strings.Contains(got.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &got)
		}
	}
	rot := new(RotError)
	got.Reset()
	err = Dump(s.fs, "journal", DumpOptions{Partition: -1}, &got)
	if !errors.As(err, &rot) || rot.Position != s.batches[1].from {
		t.Errorf("dump: %v", err)
	}
	if lines := int64(strings.Count(got.String(), "\n")); lines != s.batches[1].base {
		t.Errorf("%d records before the damage, want %d", lines, s.batches[1].base)
	}
}

// An operator has to tell whoever reads the log which offsets are gone.
func TestVerifyAndRepairSayWhichOffsetsAreLost(t *testing.T) {
	for _, i := range []int{1, -1} { // in the middle of a segment, and at the end of the log
		s := newSmall(t)
		b := s.batches[(i+len(s.batches))%len(s.batches)]
		if err := s.fs.FlipBit(b.path, (b.to-1)*8); err != nil {
			t.Fatal(err)
		}
		var verified, repaired bytes.Buffer
		_, err := Verify(s.fs, "journal", &verified)
		if err := errors.Join(err, Repair(s.fs, "journal", time.UnixMilli(0), &repaired)); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%d to %d", b.base, b.next-1)
		if !strings.Contains(verified.String(), want) || !strings.Contains(repaired.String(), want) {
			t.Errorf("%q is missing in:\n%s%s", want, &verified, &repaired)
		}
	}
}

func TestRepairSetsTheDamagedFileAsideAndTouchesNoOther(t *testing.T) {
	s := newSmall(t)
	b := s.batches[1]
	if err := s.fs.FlipBit(b.path, (b.to-1)*8); err != nil {
		t.Fatal(err)
	}
	before := map[string]string{}
	for path := range s.files(t) {
		before[path] = string(slurp(t, s.fs, path))
	}
	var told bytes.Buffer
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	if err := Repair(s.fs, "journal", at, &told); err != nil {
		t.Fatal(err)
	}
	aside := b.path + ".corrupt-20261121T120000.000000000Z"
	if got := string(slurp(t, s.fs, aside)); got != before[b.path] {
		t.Error("the file set aside is not the damaged one")
	}
	if !strings.Contains(told.String(), aside) || !strings.Contains(told.String(), fmt.Sprintf("%d bytes", b.to-b.from)) {
		t.Errorf("told:\n%s", &told)
	}
	for path, was := range before {
		changed := string(slurp(t, s.fs, path)) != was
		if may := path == b.path || strings.HasSuffix(path, checkpointName); changed && !may {
			t.Errorf("%s was changed", path)
		}
	}
	if n := len(s.files(t)); n != len(before)+1 {
		t.Errorf("%d files, there were %d", n, len(before))
	}
	s.fs = s.fs.Crash() // the repair is durable
	if n, err := Verify(s.fs, "journal", &told); n != 0 || err != nil {
		t.Errorf("%d faults, %v", n, err)
	}
}

// A copy under a wrong name, as an operator or a backup may leave it, must not become records that are there twice.
func TestRepairDoublesNothingFromAFileWithAWrongName(t *testing.T) {
	pristine := newSmall(t)
	list, err := listSegments(pristine.fs, smallDir)
	if err != nil {
		t.Fatal(err)
	}
	first, second, last := list[0].path, list[1].path, list[len(list)-1].path
	for name, files := range map[string][2]string{ // from, to
		"an old one over a later one": {first, second},
		"a later one over an old one": {second, first},
		"behind the last one":         {first, segmentPath(smallDir, 1000)},
		"an old one over the last":    {first, last},
	} {
		s := *pristine
		s.fs = pristine.fs.Clone()
		s.cfg.FS = s.fs
		content := slurp(t, s.fs, files[0])
		if err := s.fs.Remove(files[1]); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		spill(t, s.fs, files[1], content)
		if err := Repair(s.fs, "journal", time.UnixMilli(0), new(bytes.Buffer)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var dump bytes.Buffer
		if err := Dump(s.fs, "journal", DumpOptions{Partition: -1}, &dump); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		seen := map[string]bool{}
		for line := range strings.Lines(dump.String()) {
			var r dumpedRecord
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			if value := string(r.Value) + r.ValueBase64; seen[value] {
				t.Errorf("%s: %s is there twice", name, strings.TrimSpace(line))
			} else {
				seen[value] = true
			}
		}
		if len(seen) < len(s.values)/2 {
			t.Errorf("%s: %d values of %d are left", name, len(seen), len(s.values))
		}
		mustClose(t, mustOpen(t, s.cfg))
	}
}

// A stray name can be so far off that the gap before it would fill the disk.
func TestRepairRefusesAGapThatNoLossExplains(t *testing.T) {
	s := newSmall(t)
	stray := segmentPath(smallDir, 999_999_999_999_999_999)
	spill(t, s.fs, stray, nil)
	before := s.files(t)
	err := Repair(s.fs, "journal", time.UnixMilli(0), new(bytes.Buffer))
	if err == nil || !strings.Contains(err.Error(), stray) || !strings.Contains(err.Error(), "move it out of the folder") {
		t.Fatalf("repair: %v", err)
	}
	if now := s.files(t); len(now) != len(before) {
		t.Errorf("%d files, there were %d", len(now), len(before))
	}
	if n, err := Verify(s.fs, "journal", new(bytes.Buffer)); n == 0 || err != nil {
		t.Errorf("verify: %d faults, %v", n, err)
	}
	if err := s.fs.Remove(stray); err != nil {
		t.Fatal(err)
	}
	if err := Repair(s.fs, "journal", time.UnixMilli(0), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, s.cfg))
}

// An interrupted repair must leave a journal that a second one repairs: no batch may be lost on the way.
func TestARepairThatCrashesCanBeRepeated(t *testing.T) {
	pristine := newSmall(t)
	damaged := pristine.batches[1]
	if err := pristine.fs.FlipBit(damaged.path, (damaged.to-1)*8); err != nil {
		t.Fatal(err)
	}
	touched := []span{damaged.span}
	original := slurp(t, pristine.fs, damaged.path)
	for try := 0; ; try++ {
		call := 1 + try/64 // a crash leaves something else each time
		s := *pristine
		s.fs = pristine.fs.Clone()
		s.fs.SetFaults(vfs.Faults{CrashAt: call})
		done := Repair(s.fs, "journal", time.UnixMilli(0), new(bytes.Buffer)) == nil
		s.fs = s.fs.Crash()
		s.cfg.FS = s.fs
		if !s.holds(t, original) {
			t.Fatalf("crash at call %d: the damaged file is gone, and so is its copy", call)
		}
		if err := s.checkRepair(touched); err != nil {
			t.Fatalf("crash at call %d: %v", call, err)
		}
		if done {
			return
		}
	}
}

// holds tells whether a file of the partition has this content.
func (s *small) holds(t *testing.T, content []byte) bool {
	for path := range s.files(t) {
		if bytes.Equal(slurp(t, s.fs, path), content) {
			return true
		}
	}
	return false
}

func TestVerifyOfNoJournalIsAnError(t *testing.T) {
	if _, err := Verify(vfs.NewMem(1), "journal", new(bytes.Buffer)); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestAPartitionThatIsNoFolderIsNotPassedOver(t *testing.T) {
	disk := vfs.NewMem(1)
	path := filepath.Join("journal", topic+"-0") // such as a link to a disk that is not mounted
	if err := disk.MkdirAll("journal"); err != nil {
		t.Fatal(err)
	}
	spill(t, disk, path, nil)
	if _, err := Verify(disk, "journal", new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatal(err)
	}
}
