package usage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"tollgate/internal/rowstore/baddisk"
	"tollgate/pkg/control"
)

// told collects notices.
type told struct {
	mu   sync.Mutex
	list []Notice
}

func (n *told) take(one Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, one)
}

func (n *told) has(what Happening) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.list, func(one Notice) bool { return one.What == what })
}

// runs starts a worker whose Run may fail. ended waits for that, and stop brings it about and closes the worker.
func (f *stage) runs() (w *Worker, notices *told, ended, stop func() error) {
	notices = new(told)
	f.cfg.FlushEvery, f.cfg.Now, f.cfg.Notify = 5*time.Millisecond, nil, notices.take
	w = f.open()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	ended = sync.OnceValue(func() error { return <-done })
	stop = sync.OnceValue(func() error {
		cancel()
		return errors.Join(ended(), w.Close(context.Background()))
	})
	f.t.Cleanup(func() { _ = stop() })
	return w, notices, ended, stop
}

// answersWith says whether all questions are answered with a *DamagedError that has a text in it.
func (f *stage) answersWith(w *Worker, partitions []int32, text string) {
	f.t.Helper()
	scope := Scope{Business: business, EventName: "sum"}
	_, err1 := w.Totals(context.Background(), partitions, Query{Scope: scope, Limit: 1})
	_, err2 := w.Fate(context.Background(), partitions, FateQuery{scope, "a"})
	_, err3 := w.Verdict(context.Background(), VerdictQuery{Scope: scope, Identifier: "a"})
	for _, err := range []error{err1, err2, err3} {
		var damaged *DamagedError
		if !errors.As(err, &damaged) || !strings.Contains(err.Error(), text) {
			f.t.Errorf("answered with %v, want a DamagedError with %q", err, text)
		}
	}
}

func TestADamagedIndexIsRefusedWithFileAndCommandAndNotWiped(t *testing.T) {
	f := newStage(t, 1)
	f.onDisk()
	runs, _ := filepath.Glob(filepath.Join(f.cfg.Dir, "dedup", "*", "0", "run-*"))
	if len(runs) != 1 {
		t.Fatalf("runs of the index: %v", runs)
	}
	run := runs[0]
	b, err := os.ReadFile(run)
	if err != nil {
		t.Fatal(err)
	}
	b[20] ^= 1
	if err := os.WriteFile(run, b, 0o600); err != nil {
		t.Fatal(err)
	}
	w, notices, _, stop := f.runs()
	eventually(t, "the damage is told", func() bool { return notices.has(Damaged) })
	f.answersWith(w, nil, run)
	f.answersWith(w, []int32{0}, "`gateway state rebuild`")
	if left, _ := os.ReadFile(run); !bytes.Equal(left, b) {
		t.Error("the damaged file is another or gone")
	}
	if err := stop(); err != nil {
		t.Errorf("Run and Close: %v", err)
	}
	if aside, err := Rebuild(f.cfg); err != nil || aside == "" {
		t.Fatalf("Rebuild: %q, %v", aside, err)
	}
	w, _ = f.one()
	if got := f.total(w, f.ctl.Snapshot().Named(business, false, "sum"), "cus_1", 0, t0+hourMs); got != "5" {
		t.Errorf("counted anew: %s", got)
	}
}

func TestAGapFoundWhileRunningIsToldAndGoneOnBehind(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("sum", control.Sum, control.NoWindow)
	w, notices, _, _ := f.runs()
	eventually(t, "it runs", func() bool { return len(w.Owned()) == 1 })
	f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "5"})
	eventually(t, "the event counts", func() bool { return len(w.Owned()) == 1 && f.total(w, m, "cus_1", 0, t0+hourMs) == "5" })
	f.now += 40 * dayMs
	// Retention removes two records before the reader comes to them: they are there only once they are gone.
	for i := range 3 {
		rec := f.record(sent{name: "sum", id: fmt.Sprint(i), customer: "cus_1", value: "1"})
		f.log.mu.Lock()
		p := f.log.topics[usageTopic][0]
		rec.Offset, p.oldest = int64(len(p.records)), 3
		p.records = append(p.records, rec)
		if i == 2 {
			close(p.more)
			p.more = make(chan struct{})
		}
		f.log.mu.Unlock()
	}
	eventually(t, "the gap is told", func() bool { return notices.has(Gap) })
	scope := Scope{Business: business, EventName: "sum"}
	eventually(t, "what is behind the gap counts", func() bool {
		got, err := w.Fate(t.Context(), nil, FateQuery{scope, "2"})
		return err == nil && got.Status == Counted
	})
	var incomplete *IncompleteError
	_, err := w.Totals(t.Context(), nil, Query{Scope: scope, MeterID: m.ID, Customer: "cus_1", StartMs: floorTo(f.now, hourMs), EndMs: floorTo(f.now, hourMs) + hourMs, Limit: 1})
	if !errors.As(err, &incomplete) {
		t.Errorf("totals in the gap: %v", err)
	}
	if got := f.total(w, m, "cus_1", 0, floorTo(t0, hourMs)-40*dayMs); got != "" {
		t.Errorf("totals long before the gap: %s", got)
	}
}

// A store that can not write its log calls for the end of the process; here it ends the partition alone.
func TestAStoreThatCanNotWriteStopsItsPartitionsAndNotTheProcess(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("sum", control.Sum, control.NoWindow)
	injected, disk := new(baddisk.Faults), pebblevfs.NewCrashableMem()
	f.cfg.StoreFS = errorfs.Wrap(disk, injected)
	w, notices, ended, _ := f.runs()
	eventually(t, "it runs", func() bool { return len(w.Owned()) == 1 })
	f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "5"})
	eventually(t, "the event counts", func() bool { return len(w.Owned()) == 1 && f.total(w, m, "cus_1", 0, t0+hourMs) == "5" })
	injected.Set(baddisk.Writes(".log"))
	for i := 0; w.Damage() == nil; i++ {
		if i == 10_000 {
			t.Fatal("the worker runs on")
		}
		f.send(sent{name: "sum", id: fmt.Sprint("b", i), customer: "cus_1", value: "1"})
		time.Sleep(time.Millisecond)
	}
	var damaged *DamagedError
	if err := ended(); !errors.As(err, &damaged) || !damaged.Unwritable || !strings.Contains(err.Error(), "start the gateway again") {
		t.Errorf("Run: %v", err)
	}
	f.answersWith(w, []int32{0}, baddisk.ErrGone.Error())
	if len(w.Owned()) != 0 || !notices.has(Failed) {
		t.Errorf("runs %v, notices %v", w.Owned(), notices.list)
	}
	// Another life, on a disk that is well: nothing is lost and nothing counted twice.
	next := newStage(t, 1)
	next.log, next.ctl, next.cfg.Log, next.cfg.Control, next.cfg.StoreFS = f.log, f.ctl, f.log, f.ctl, disk.CrashClone(pebblevfs.CrashCloneCfg{})
	sent := len(f.log.topics[usageTopic][0].records)
	w, _ = next.one()
	if got := next.total(w, m, "cus_1", 0, t0+hourMs); got != fmt.Sprint(5+sent-1) {
		t.Errorf("after %d events: %s", sent, got)
	}
}

func TestRotNoticedWhileRunningStopsTheWorker(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("sum", control.Sum, control.NoWindow)
	disk := pebblevfs.NewMem()
	f.cfg.StoreFS = disk
	f.cfg.CacheBytes = 1
	w, notices, ended, _ := f.runs()
	eventually(t, "it runs", func() bool { return len(w.Owned()) == 1 })
	for i := range 3000 {
		f.send(sent{name: "sum", id: fmt.Sprint(i), customer: fmt.Sprintf("cus_%d", i), value: "5"})
	}
	eventually(t, "the events count", func() bool { return len(w.Owned()) == 1 && f.total(w, m, "cus_2999", 0, t0+hourMs) == "5" })
	if err := w.store.DB.Flush(); err != nil {
		t.Fatal(err)
	}
	baddisk.Rot(t, disk, f.cfg.storeDir())
	q := Query{Scope: Scope{Business: business, EventName: "sum"}, MeterID: m.ID, Customer: "cus_1500", EndMs: floorTo(t0, hourMs) + hourMs, Limit: 1}
	var damaged *DamagedError
	if got, err := w.Totals(t.Context(), nil, q); !errors.As(err, &damaged) || damaged.Unwritable || !strings.Contains(err.Error(), "`gateway state rebuild`") {
		t.Errorf("a query that meets rot: %+v, %v", got, err)
	}
	if err := ended(); !errors.As(err, &damaged) {
		t.Errorf("Run: %v", err)
	}
	f.answersWith(w, []int32{0}, ".sst is damaged")
	if !notices.has(Failed) {
		t.Errorf("notices: %v", notices.list)
	}
}
