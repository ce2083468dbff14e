package usage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"tollgate/internal/rowstore/baddisk"
	"tollgate/internal/vfs"
	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
)

// eventually waits for something that other goroutines bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("did not happen in 10 s: " + what)
		}
	}
}

// start runs a worker until the test ends or stop is called.
func (f *stage) start() (w *Worker, stop func()) {
	f.cfg.FlushEvery = 5 * time.Millisecond
	f.cfg.Now = nil
	w = f.open()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			f.t.Errorf("Run: %v", err)
		}
		if err := w.Close(context.Background()); err != nil {
			f.t.Errorf("Close: %v", err)
		}
	}
	f.t.Cleanup(stop)
	return w, stop
}

func TestAWorkerFollowsAndSaysHowCurrentItIs(t *testing.T) {
	f := newStage(t, 2)
	m := f.meter("sum", control.Sum, control.NoWindow)
	w, stop := f.start()
	eventually(t, "the partitions are run", func() bool { return len(w.Owned()) == 2 })
	f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "5"})
	eventually(t, "the event counts", func() bool { return f.total(w, m, "cus_1", 0, t0+hourMs) == "5" })
	before := time.Now().UnixMilli()
	eventually(t, "an idle worker is current", func() bool {
		got, err := w.Totals(context.Background(), []int32{0, 1}, Query{MeterID: m.ID, Scope: Scope{Business: business}, Limit: 1})
		return err == nil && got.AsOfMs >= before
	})
	if _, err := w.Totals(context.Background(), []int32{7}, Query{}); !errors.Is(err, ErrNotOwned) {
		t.Errorf("a partition that is run elsewhere: %v", err)
	}
	stop()
	if len(w.Owned()) != 0 {
		t.Error("partitions are run after the end")
	}
	w, _ = f.start()
	eventually(t, "the total is there after a restart", func() bool {
		return len(w.Owned()) == 2 && f.total(w, m, "cus_1", 0, t0+hourMs) == "5"
	})
}

func TestAVerdictWaitsForItsRecord(t *testing.T) {
	f := newStage(t, 1)
	f.meter("sum", control.Sum, control.NoWindow)
	w, stop := f.start()
	eventually(t, "the partition is run", func() bool { return len(w.Owned()) == 1 })
	r := meterevent.Request{Key: 1, Params: 2}
	q := VerdictQuery{Scope: Scope{Business: business, EventName: "sum"}, Identifier: "a", Request: r}
	answers := make(chan Verdict, 1)
	go func(q VerdictQuery) {
		v, err := w.Verdict(context.Background(), q)
		if err != nil {
			t.Error(err)
		}
		answers <- v
	}(q)
	select {
	case v := <-answers:
		t.Fatalf("a verdict before the record: %+v", v)
	case <-time.After(20 * time.Millisecond):
	}
	for offset, want := range []Outcome{OutcomeNew, OutcomeReplay, OutcomeKeyReused, OutcomeDuplicate} {
		request := []meterevent.Request{r, r, {Key: 1, Params: 3}, {Key: 9, Params: 2}}[offset]
		f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "5", request: &request})
		q.Offset, q.Request = int64(offset), request
		v, err := w.Verdict(context.Background(), q)
		if offset == 0 {
			v = <-answers
		}
		if err != nil || v.Outcome != want || v.ReceivedMs != t0 || v.TimestampMs != t0 {
			t.Errorf("record %d: %+v, %v; want %s", offset, v, err, want)
		}
	}
	q.Offset = 99
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := w.Verdict(ctx, q); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a record that does not come: %v", err)
	}
	lost := make(chan error, 1)
	go func() { _, err := w.Verdict(context.Background(), q); lost <- err }()
	eventually(t, "it waits", func() bool {
		p := w.snapshotOfParts()[0]
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.waiters) > 0
	})
	stop()
	if err := <-lost; !errors.Is(err, ErrNotOwned) {
		t.Errorf("who waits for a partition that is given back: %v", err)
	}
}

// onDisk makes a state with one event on the real file system.
func (f *stage) onDisk() {
	f.cfg.Dir = filepath.Join(f.t.(*testing.T).TempDir(), "state")
	f.cfg.StoreFS, f.cfg.FS = pebblevfs.Default, vfs.OS
	f.meter("sum", control.Sum, control.NoWindow)
	f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "5"})
	w := f.open()
	fo := f.take(w, 0)
	f.catchUp(fo, 10)
	fo.end()
	if err := w.Close(context.Background()); err != nil {
		f.t.Fatal(err)
	}
}

func TestADamagedStateIsRefusedWithFileAndCommandAndNotWiped(t *testing.T) {
	f := newStage(t, 1)
	f.onDisk()
	manifests, _ := filepath.Glob(filepath.Join(f.cfg.Dir, "store", "MANIFEST-*"))
	for _, path := range manifests {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			b[i] ^= 0x55
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w, err := Open(f.cfg)
	if err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if err := w.Run(t.Context()); !errors.As(err, &damaged) || damaged.Path != filepath.Join(f.cfg.Dir, "store") || !strings.Contains(err.Error(), "`gateway state rebuild`") {
		t.Errorf("Run: %v", err)
	}
	if _, err := w.Totals(t.Context(), nil, Query{}); !errors.As(err, &damaged) {
		t.Errorf("Totals: %v", err)
	}
	if _, err := w.Fate(t.Context(), nil, FateQuery{}); !errors.As(err, &damaged) {
		t.Errorf("Fate: %v", err)
	}
	if left, _ := filepath.Glob(manifests[0]); len(left) != 1 {
		t.Error("the damaged file is gone")
	}
	aside, err := Rebuild(f.cfg)
	if err != nil || aside == "" {
		t.Fatalf("Rebuild: %q, %v", aside, err)
	}
	if kept, _ := filepath.Glob(filepath.Join(aside, "MANIFEST-*")); len(kept) == 0 {
		t.Error("the damaged state was not set aside")
	}
	w, _ = f.one()
	if got := f.total(w, f.ctl.Snapshot().Named(business, false, "sum"), "cus_1", 0, t0+hourMs); got != "5" {
		t.Errorf("rebuilt: %s", got)
	}
}

func TestTheIndexOfIdentifiersIsSetAsideForGood(t *testing.T) {
	f := newStage(t, 1)
	f.onDisk()
	disk := &dirsNotSynced{FS: f.cfg.FS}
	f.cfg.FS = disk
	_, err := Rebuild(f.cfg)
	if !errors.Is(err, baddisk.ErrGone) || !slices.Equal(disk.asked, []string{f.cfg.Dir}) {
		t.Errorf("Rebuild on a disk that keeps no names: %v, after asking it to keep those in %v", err, disk.asked)
	}
}

// dirsNotSynced is a disk that can not make names durable.
type dirsNotSynced struct {
	vfs.FS
	asked []string
}

func (d *dirsNotSynced) SyncDir(path string) error {
	d.asked = append(d.asked, path)
	return baddisk.ErrGone
}

func TestAPartitionThatIsGivenBackClosesItsBatch(t *testing.T) {
	f := newStage(t, 1)
	w := f.open()
	fo := f.take(w, 0)
	fo.p.write([]byte("a row that no flush has written"), nil)
	fo.end()
	if !fo.p.batch.Empty() {
		t.Error("it is not closed")
	}
	if err := w.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestALostStateIsCountedAnewFromTheLog(t *testing.T) {
	f := newStage(t, 1)
	f.onDisk()
	f.cfg.Random = func(b []byte) { copy(b, "another.") } // a new state has a new seed, and the old index is not its
	if err := os.RemoveAll(filepath.Join(f.cfg.Dir, "store")); err != nil {
		t.Fatal(err)
	}
	w, _ := f.one()
	if got := f.total(w, f.ctl.Snapshot().Named(business, false, "sum"), "cus_1", 0, t0+hourMs); got != "5" {
		t.Errorf("rebuilt: %s", got)
	}
}

func TestTotalsAreNotGivenBeforeALostStateIsCountedAnew(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("sum", control.Sum, control.NoWindow)
	for _, id := range []string{"a", "b", "c"} {
		f.send(sent{name: "sum", id: id, customer: "cus_1", value: "5"})
	}
	w := f.open()
	defer func() { _ = w.Close(context.Background()) }()
	fo := f.take(w, 0)
	for i := range 2 {
		f.catchUp(fo, 1)
		f.flush(fo)
		if _, err := w.Totals(t.Context(), nil, Query{MeterID: m.ID, StartMs: 0, EndMs: t0 + hourMs, Limit: 1}); !errors.Is(err, ErrRebuilding) {
			t.Errorf("after %d of 3 records: %v", i+1, err)
		}
		fo.end() // it is remembered
		fo = f.take(w, 0)
	}
	f.catchUp(fo, 1)
	f.flush(fo)
	if got := f.total(w, m, "cus_1", 0, t0+hourMs); got != "15" {
		t.Errorf("counted anew: %s", got)
	}
	f.send(sent{name: "sum", id: "d", customer: "cus_1", value: "5"})
	fo.end()
	fo = f.take(w, 0)
	if got := f.total(w, m, "cus_1", 0, t0+hourMs); got != "15" {
		t.Errorf("a worker that goes on: %s", got)
	}
	fo.end()
}

func TestAStateOfAnotherLogIsRefused(t *testing.T) {
	f := newStage(t, 1)
	f.onDisk()
	f.log.topics[usageTopic][0].records = nil
	w := f.open()
	defer func() { _ = w.Close(t.Context()) }()
	p, err := newPartition(&w.cfg, 0, w.store, w.counts)
	if err != nil {
		t.Fatal(err)
	}
	fo := &follower{w: w, p: p, claim: fakeClaim(0)}
	defer fo.end()
	var damaged *DamagedError
	if err := fo.begin(t.Context()); !errors.As(err, &damaged) {
		t.Errorf("begin: %v", err)
	}
}

func TestVerifyFindsRotThatNobodyHasComeTo(t *testing.T) {
	f := newStage(t, 1)
	f.onDisk()
	runs, _ := filepath.Glob(filepath.Join(f.cfg.Dir, "dedup", "*", "0", "run-*"))
	if len(runs) != 1 {
		t.Fatalf("runs of the index: %v", runs)
	}
	b, err := os.ReadFile(runs[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-4096+10] ^= 1 // in the page of entries, which only look-ups read
	if err := os.WriteFile(runs[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := Verify(t.Context(), f.cfg); !errors.As(err, &damaged) || !strings.Contains(err.Error(), runs[0]) {
		t.Errorf("%v", err)
	}
}

func TestVerifyFindsWhatTheLogDoesNotSay(t *testing.T) {
	f := newStage(t, 1)
	f.onDisk()
	report, err := Verify(t.Context(), f.cfg)
	if err != nil || len(report.Partitions) != 1 || report.Partitions[0].Different != 0 || report.Partitions[0].Rows != 2 {
		t.Fatalf("a good state: %+v, %v", report, err)
	}
	s, err := openStore(&f.cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := f.ctl.Snapshot().Named(business, false, "sum")
	five := total{count: 1, sum: meterevent.DecimalOf(5)}
	if err := s.DB.Merge(appendHour(nil, 0, tableHours, appendSeries(nil, m.ID, []byte("cus_1")), floorDiv(t0, hourMs)), five.append(nil), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	report, err = Verify(t.Context(), f.cfg)
	if err != nil || report.Partitions[0].Different != 1 || !strings.Contains(report.Partitions[0].Differences[0], "has 10 in 2 events, the log gives 5 in 1 events") {
		t.Fatalf("a changed state: %+v, %v", report, err)
	}
	if _, err := os.Stat(f.cfg.Dir + ".verify"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary state is still there: %v", err)
	}
}
