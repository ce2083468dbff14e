package usage

import (
	"errors"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
)

// fateOf asks one partition.
func (f *stage) fateOf(w *Worker, partition int32, name, id string) Fate {
	f.t.Helper()
	got, err := w.Fate(f.t.Context(), []int32{partition}, FateQuery{Scope{Business: business, EventName: name}, id})
	if err != nil {
		f.t.Fatal(err)
	}
	return got
}

func TestAnEventThatTheWorkerHasNotComeToIsAccepted(t *testing.T) {
	f := newStage(t, 1)
	f.meter("sum", control.Sum, control.NoWindow)
	f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "1"})
	w, fo := f.one()
	f.now += 5000
	f.send(sent{name: "sum", id: "b", cancel: true})
	f.send(sent{name: "other", id: "b", customer: "cus_1", value: "1"})
	f.send(sent{name: "sum", id: "c", customer: "cus_1", value: "1"})
	f.now += 5000
	f.send(sent{name: "sum", id: "b\"", customer: "cus_1", value: "1", timestamp: f.now - 100})
	if got := f.fateOf(w, 0, "sum", "b"); got.Status != NotFound || got.AsOfMs != f.now || got.Topic != "" {
		t.Errorf("only its cancel is in the log, and another meter's event: %+v", got)
	}
	want := Fate{Status: Accepted, Topic: usageTopic, Offset: 4, ReceivedMs: f.now, TimestampMs: f.now - 100}
	got := f.fateOf(w, 0, "sum", "b\"")
	got.AsOfMs = 0
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	f.catchUp(fo, 10)
	if got := f.fateOf(w, 0, "sum", "b\""); got.Status != Counted || got.Offset != 4 {
		t.Errorf("after the worker came to it: %+v", got)
	}
	f.log.fail = errors.New("away")
	if _, err := w.Fate(t.Context(), nil, FateQuery{Scope{Business: business, EventName: "sum"}, "never"}); err == nil {
		t.Error("a log that does not answer is taken for one without the event")
	}
}

func TestAFateLooksAheadOnlySoFarAndSaysHowFar(t *testing.T) {
	const far = aheadRecords/elsewhereShare + 3000
	f := newStage(t, 2)
	f.meter("sum", control.Sum, control.NoWindow)
	home := commitlog.PartitionFor(meterevent.AppendKey(nil, business, false, []byte("sum")), 2)
	w := f.open()
	parts := []*follower{f.take(w, 0), f.take(w, 1)}
	t.Cleanup(func() { parts[0].end(); parts[1].end(); _ = w.Close(t.Context()) })
	rec := f.record(sent{name: "sum", id: "other", customer: "cus_1", value: "1"})
	for n := range int64(far) {
		rec.TimestampMs = t0 + n
		for partition := range int32(2) {
			f.log.add(usageTopic, partition, rec)
		}
	}
	for partition := range int32(2) {
		f.log.add(usageTopic, partition, f.record(sent{name: "sum", id: "a", customer: "cus_1", value: "1"}))
	}
	if got := f.fateOf(w, home, "sum", "a"); got.Status != Accepted || got.Offset != far || got.Partition != home {
		t.Errorf("where the meter's events go: %+v", got)
	}
	if got := f.fateOf(w, 1-home, "sum", "a"); got.Status != NotFound || got.AsOfMs != t0+aheadRecords/elsewhereShare-1 {
		t.Errorf("further on than the bound: %+v", got)
	}
	// A clock that shows 0.4 s more whenever it is asked: begun, and once after each chunk of 1000.
	now := time.UnixMilli(t0)
	parts[home].p.cfg.Now = func() time.Time { now = now.Add(400 * time.Millisecond); return now }
	if got := f.fateOf(w, home, "sum", "a"); got.Status != NotFound || got.AsOfMs != t0+2999 {
		t.Errorf("after a second: %+v", got)
	}
	f.log.truncate(home, 10)
	if got := f.fateOf(w, home, "sum", "a"); got.Status != NotFound {
		t.Errorf("behind a gap: %+v", got)
	}
}

func TestOfSeveralPartitionsTheOneThatHasTheEventAnswers(t *testing.T) {
	nothing, ahead := Fate{Status: NotFound, AsOfMs: 3, CancelledBy: &Place{}}, Fate{Status: Accepted, Partition: 1, Offset: 7, AsOfMs: 5}
	for i, c := range [][]Fate{{nothing, ahead}, {ahead, nothing}} {
		if got := MergeFates(c...); got.Status != Accepted || got.Offset != 7 || got.CancelledBy != nil || got.AsOfMs != 3 {
			t.Errorf("%d: %+v", i, got)
		}
	}
	counted := Fate{Status: Counted, Partition: 2}
	if got := MergeFates(ahead, counted, nothing); got.Status != Counted {
		t.Errorf("%+v", got)
	}
}
