package journal

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// kv is a record to append; a nil value is a tombstone.
type kv struct {
	key   string
	value []byte
}

func put(key, value string) kv { return kv{key, []byte(value)} }
func gone(key string) kv       { return kv{key: key} }

// keyed makes a batch of records received at a time.
func keyed(at time.Time, records ...kv) *commitlog.Batch {
	var b recordbatch.Builder
	b.Reset(nil)
	for _, r := range records {
		b.Append(at.UnixMilli(), recordbatch.AppendBody(nil, []byte(r.key), r.value))
	}
	return &commitlog.Batch{Topic: topic, Bytes: b.Seal(), Records: b.Records(), Done: func(*commitlog.Batch) {}}
}

// newCompactBench is a journal whose topic is compacted, with segments of a batch or two.
func newCompactBench(t *testing.T, age time.Duration) *bench {
	return newBench(t, func(c *Config) {
		c.Topics[0].Compact, c.Topics[0].CompactAge, c.Topics[0].SegmentBytes = true, age, 200
	})
}

func (b *bench) put(records ...kv) {
	b.Helper()
	one := keyed(b.clock.Now(), records...)
	b.j.Append([]*commitlog.Batch{one})
	b.j.step()
	b.want(one.Err, nil)
}

func (b *bench) compact() {
	b.Helper()
	b.j.compact(b.j.partitions[0])
}

// records are what a reader gets from an offset on, as "offset:key=value".
func (b *bench) records(from int64) (all []string) {
	b.Helper()
	_, next := b.j.partitions[0].bounds()
	r, err := b.j.NewReader(topic, 0, from)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for at := from; at < next; {
		records, err := r.Next(b.Context())
		if err != nil {
			b.Fatalf("after %q: %v", all, err)
		}
		for _, record := range records {
			all = append(all, show(record))
			at = record.Offset + 1
		}
	}
	return all
}

func show(r recordbatch.Record) string {
	if r.Value == nil {
		return fmt.Sprintf("%d:%s gone", r.Offset, r.Key)
	}
	return fmt.Sprintf("%d:%s=%.8s", r.Offset, r.Key, r.Value)
}

func (b *bench) wantRecords(from int64, want ...string) {
	b.Helper()
	if got := b.records(from); strings.Join(got, " ") != strings.Join(want, " ") {
		b.Fatalf("from %d the log holds %q, want %q", from, got, want)
	}
}

func (b *bench) wantSound() {
	b.Helper()
	var report strings.Builder
	if faults, err := Verify(b.fs, b.cfg.Dir, &report); faults != 0 || err != nil {
		b.Fatalf("%d faults, %v\n%s", faults, err, report.String())
	}
}

var filler = strings.Repeat("x", 150) // a batch with it fills a segment

func TestCompactionKeepsTheNewestOfEachKeyAtItsOffset(t *testing.T) {
	b := newCompactBench(t, 0)
	b.put(put("a", "1"), put("b", "1"), put("a", "2"), put("c", filler)) // 0–3
	b.put(put("a", "3"), put("a", "4"+filler))                           // 4–5, of which nothing is left
	b.put(put("b", "2"), put("d", filler))                               // 6–7
	b.put(put("a", "5"), put("e", filler))                               // 8–9
	b.put(put("d", "2"+filler))                                          // 10: the active segment, which supersedes nothing
	if n := len(b.records(0)); n != 11 {
		t.Errorf("%d records before compaction", n)
	}
	b.compact()
	want := []string{"3:c=xxxxxxxx", "6:b=2", "7:d=xxxxxxxx", "8:a=5", "9:e=xxxxxxxx", "10:d=2xxxxxxx"}
	b.wantRecords(0, want...)
	b.wantRecords(4, want[1:]...) // in the middle of a gap
	b.wantRecords(8, want[3:]...)
	b.wantSound()
	if n := b.j.metrics.compacted.Value(); n != 5 {
		t.Errorf("%d records counted", n)
	}
	if oldest, next := b.j.partitions[0].bounds(); oldest != 0 || next != 11 {
		t.Errorf("bounds %d to %d", oldest, next)
	}
	told := len(b.told)
	b.compact() // nothing new: nothing to do
	if len(b.told) != told {
		t.Errorf("a second pass did something: %v", b.told[told:])
	}
	// It goes on from there, and in another life.
	b.put(put("f", filler))
	b.j.abandon()
	b.reopen()
	b.compact()
	b.wantRecords(0, "3:c=xxxxxxxx", "6:b=2", "8:a=5", "9:e=xxxxxxxx", "10:d=2xxxxxxx", "11:f=xxxxxxxx")
	b.wantSound()
}

func TestCompactionLeavesYoungRecordsAlone(t *testing.T) {
	b := newCompactBench(t, time.Hour)
	for i := range 4 {
		b.put(put("a", fmt.Sprint(i)+filler))
		b.clock.advance(20 * time.Minute)
	}
	b.put(put("a", "end")) // ages are 80, 60, 40, 20 and 0 minutes; the last two share the active segment or not
	b.compact()
	b.wantRecords(0, "0:a=0xxxxxxx", "1:a=1xxxxxxx", "2:a=2xxxxxxx", "3:a=3xxxxxxx", "4:a=end")
	b.clock.advance(time.Minute) // 81 and 61: the second supersedes the first
	b.compact()
	b.wantRecords(0, "1:a=1xxxxxxx", "2:a=2xxxxxxx", "3:a=3xxxxxxx", "4:a=end")
	b.clock.advance(24 * time.Hour)
	b.compact()
	b.wantRecords(0, "3:a=3xxxxxxx", "4:a=end")
}

func TestATombstoneGoesWhenItIsOldAndWhatItHidesBeforeIt(t *testing.T) {
	b := newCompactBench(t, 0)
	b.put(put("a", "1"), put("b", filler))
	b.put(gone("a"), put("c", filler))
	b.put(put("d", filler))
	b.put(put("e", filler))
	b.compact()
	b.wantRecords(0, "1:b=xxxxxxxx", "2:a gone", "3:c=xxxxxxxx", "4:d=xxxxxxxx", "5:e=xxxxxxxx")
	b.clock.advance(25 * time.Hour)
	b.put(put("f", filler))
	b.compact()
	b.wantRecords(0, "1:b=xxxxxxxx", "3:c=xxxxxxxx", "4:d=xxxxxxxx", "5:e=xxxxxxxx", "6:f=xxxxxxxx")
}

func TestACompactedTopicRefusesRecordsWithoutAKey(t *testing.T) {
	b := newCompactBench(t, 0)
	var builder recordbatch.Builder
	builder.Reset(nil)
	builder.Append(0, recordbatch.AppendBody(nil, nil, []byte("v")))
	one := &commitlog.Batch{Topic: topic, Bytes: builder.Seal(), Records: 1, Done: func(*commitlog.Batch) {}}
	b.j.Append([]*commitlog.Batch{one})
	b.j.step()
	b.want(one.Err, commitlog.ErrRefused)
	// Of a log that was not compacted from the start, they go as with Kafka.
	b = newBench(t, func(c *Config) { c.Topics[0].SegmentBytes = 200 })
	builder.Reset(nil)
	builder.Append(0, recordbatch.AppendBody(nil, nil, []byte(filler)))
	one = &commitlog.Batch{Topic: topic, Bytes: builder.Seal(), Records: 1, Done: func(*commitlog.Batch) {}}
	b.j.Append([]*commitlog.Batch{one})
	b.j.step()
	b.put(put("a", filler))
	b.put(put("b", filler))
	b.j.abandon()
	b.cfg.Topics[0].Compact = true
	b.reopen()
	b.compact()
	b.wantRecords(0, "1:a=xxxxxxxx", "2:b=xxxxxxxx")
}

func TestAReaderIsNotDisturbedByCompaction(t *testing.T) {
	b := newCompactBench(t, 0)
	b.cfg.Topics[0].SegmentBytes = 2000
	b.j.abandon()
	b.reopen()
	for i := range 40 {
		b.put(put(fmt.Sprint("k", i%3), fmt.Sprint(i)+filler))
	}
	r, err := b.j.NewReader(topic, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	last, state := int64(-1), map[string]string{}
	for last < 39 {
		records, err := r.Next(t.Context())
		if err != nil {
			t.Fatalf("after %d: %v", last, err)
		}
		for _, record := range records {
			if record.Offset <= last {
				t.Fatalf("offset %d after %d", record.Offset, last)
			}
			last = record.Offset
			state[string(record.Key)] = string(record.Value)
		}
		if last == 2 || last == 20 { // in the middle of a segment's old file
			b.j.partitions[0].compaction.until = 0
			b.compact()
		}
	}
	want := map[string]string{"k0": "39" + filler, "k1": "37" + filler, "k2": "38" + filler}
	if !maps.Equal(state, want) {
		t.Errorf("the reader's state is %.20q", state)
	}
}

func TestCompactionNeverTouchesASegmentThatTheCheckpointHasAPositionIn(t *testing.T) {
	b := newCompactBench(t, 0)
	b.put(put("a", filler))
	b.fs.SetFaults(vfs.Faults{})
	p := b.j.partitions[0]
	p.checkpoint.durable.Store(0) // as if no mark had been durable since
	b.put(put("a", filler))
	p.checkpoint.durable.Store(0)
	b.compact()
	if n := len(b.records(0)); n != 2 {
		t.Errorf("%d records: the checkpoint's own segment was rewritten", n)
	}
}

func TestCompactionWithMoreKeysThanItCanNoteGoesAsFarAsItCan(t *testing.T) {
	b := newCompactBench(t, 0)
	b.put(put("a", filler))
	b.put(put("a", filler))
	b.put(put("b", filler))
	b.put(put("b", filler))
	p := b.j.partitions[0]
	p.compaction.pass = &pass{target: 3, limit: 3, building: true, newest: map[keyHash]int64{}}
	for i := range compactKeysMax - 1 {
		p.compaction.pass.newest[keyHash{1: byte(i), 2: byte(i >> 8), 3: byte(i >> 16), 4: 77}] = 0
	}
	b.compact()
	b.wantRecords(0, "1:a=xxxxxxxx", "2:b=xxxxxxxx", "3:b=xxxxxxxx")
	if p.compaction.until != 3 || p.compaction.pass != nil {
		t.Errorf("the pass did not come to its end: %+v", p.compaction)
	}
}

func TestRotInASegmentStopsCompactionAndIsTold(t *testing.T) {
	b := newCompactBench(t, 0)
	b.put(put("a", filler))
	b.put(put("a", filler))
	b.put(put("b", filler))
	path := b.j.partitions[0].segments[0].path
	f, err := b.fs.OpenFile(path, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(100, []byte{0xff}); err != nil {
		t.Fatal(err)
	}
	b.told = nil
	b.compact()
	b.compact()
	b.wantTold(CompactionFailed)
	if rot := new(RotError); !errors.As(b.told[0].Err, &rot) || rot.File != path {
		t.Errorf("told: %v", b.told)
	}
	if err := Repair(b.fs, b.cfg.Dir, b.clock.Now(), io.Discard); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	b.compact()
	b.wantRecords(0, "1:a=xxxxxxxx", "2:b=xxxxxxxx")
}

func TestVerifyRepairAndDumpUnderstandWhatCompactionLeaves(t *testing.T) {
	b := newCompactBench(t, 0)
	b.cfg.Topics[0].SegmentBytes = 1000
	b.j.abandon()
	b.reopen()
	for i := range 30 {
		b.put(put(fmt.Sprint("k", i%7), fmt.Sprint(i)), put("always", filler), gone(fmt.Sprint("g", i%2)))
	}
	b.compact()
	before := b.records(0)
	b.j.abandon()
	b.wantSound()
	if err := Repair(b.fs, b.cfg.Dir, b.clock.Now(), io.Discard); err != nil {
		t.Fatal(err)
	}
	var dumped strings.Builder
	if err := Dump(b.fs, b.cfg.Dir, DumpOptions{Partition: -1}, &dumped); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(dumped.String(), "\n"); n != len(before) {
		t.Errorf("%d records dumped, %d are there", n, len(before))
	}
	b.reopen()
	b.wantRecords(0, before...)

	// Damage of a compacted segment costs what is damaged, and moves no offset.
	entries, err := b.fs.ReadDir(b.j.partitions[0].dir)
	if err != nil {
		t.Fatal(err)
	}
	b.j.abandon()
	path := b.j.partitions[0].dir + "/" + entries[0].Name
	for _, e := range entries {
		if strings.Contains(e.Name, "corrupt") {
			t.Errorf("repairing a sound journal has set %s aside", e.Name)
		}
	}
	f, err := b.fs.OpenFile(path, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(3, []byte{0x77}); err != nil { // in the offset of the first batch
		t.Fatal(err)
	}
	if err := Repair(b.fs, b.cfg.Dir, b.clock.Now(), io.Discard); err != nil {
		t.Fatal(err)
	}
	b.wantSound()
	b.reopen()
	b.wantRecords(0, before...)
}

// Whatever call fails while a segment is closed, and whether the checkpoint was written then: recovery finds its place
// in what compaction has left.
func TestASegmentClosedOnABadDiskIsRecoveredAfterItsCompaction(t *testing.T) {
	for call := 1; call < 16; call++ {
		for _, withSecond := range []bool{false, true} {
			b := newCompactBench(t, 0)
			b.put(put("b", "1"), put("b", "2"))
			b.clock.advance(2 * checkpointEvery)
			b.j.step() // the checkpoint is durable, with a position in the middle of this segment
			b.put(put("b", "3"))
			b.fs.SetFaults(vfs.Faults{FailCalls: []int{call}})
			acked := []bool{b.tryPut(put("a", filler))} // begins a segment
			b.fs.SetFaults(vfs.Faults{})
			if withSecond {
				acked = append(acked, b.tryPut(put("b", filler)))
			}
			b.compact()
			b.j.partitions[0].compaction.until = 0
			b.compact()
			b.fs = b.fs.Crash()
			b.cfg.FS = b.fs
			b.reopen()
			got := b.records(0)
			for _, key := range []string{"a", "b"} {
				if !strings.Contains(strings.Join(got, " "), ":"+key+"=") {
					t.Errorf("call %d failed, appends %v, and of key %s nothing is left: %q", call, acked, key, got)
				}
			}
			b.wantSound()
		}
	}
}

// tryPut is put on a disk that may fail, tried until it is acknowledged.
func (b *bench) tryPut(record kv) (atOnce bool) {
	b.Helper()
	for try := range 20 {
		one := keyed(b.clock.Now(), record)
		b.j.Append([]*commitlog.Batch{one})
		b.j.step()
		if one.Err == nil {
			return try == 0
		}
		b.clock.advance(time.Second)
	}
	b.Fatal("the disk is well again, and an append is refused")
	return false
}
