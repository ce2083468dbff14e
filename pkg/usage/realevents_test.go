package usage

import (
	"context"
	"fmt"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"tollgate/internal/vfs"
	"tollgate/pkg/control"
	"tollgate/pkg/thinevent"
)

// With the real index of events: reports are there once, also after all that the worker knew was lost.
func TestReportsAreInTheEventsTopicOnceAfterAStateWasLost(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("sum", control.Sum, control.NoWindow)
	store, err := thinevent.Open(thinevent.Config{Log: f.log, Topic: eventsTopic, Dir: "events", FS: pebblevfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close(context.Background()) }()
	f.cfg.Events = store
	begun := time.Now().Add(-time.Minute).UnixMilli()
	for i := range 40 {
		f.send(sent{name: []string{"sum", "nobody"}[i%2], id: fmt.Sprint(i), customer: "cus_1", value: "x", receivedMs: begun + int64(i)*1000})
	}
	f.send(sent{name: "sum", id: "good", customer: "cus_1", value: "5", receivedMs: time.Now().UnixMilli()})
	events := func() []*thinevent.Event {
		page, err := store.List(&thinevent.Query{Business: business, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		return page.Events
	}
	for range 2 {
		f.cfg.StoreFS, f.cfg.FS = pebblevfs.NewCrashableMem(), vfs.NewMem(1)
		w, stop := f.start()
		eventually(t, "all is reported", func() bool {
			sum := int64(0)
			for _, e := range events() {
				sum += textOf(t, e).Reason.Count
			}
			return sum == 40 && w.Outbox().Reports == 0
		})
		eventually(t, "all is counted", func() bool { return len(w.Owned()) == 1 && f.answers(w, m) == "5" })
		stop()
	}
	if n := len(events()); n < 8 || n > 10 {
		t.Errorf("%d events", n)
	}
	_, next, _ := f.log.Bounds(t.Context(), "events", 0)
	if int(next) != len(events()) {
		t.Errorf("the topic has %d records of %d events", next, len(events()))
	}
}

// answers is the total, or nothing while it can not be given.
func (f *stage) answers(w *Worker, m *control.Meter) string {
	t, err := w.Totals(context.Background(), nil, Query{Scope: Scope{Business: business, EventName: m.EventName}, MeterID: m.ID, Customer: "cus_1", EndMs: 1 << 50 / minuteMs * minuteMs, Limit: 1})
	if err != nil || len(t.Windows) == 0 {
		return ""
	}
	return t.Windows[0].Value
}
