package usage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/internal/metrics"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/thinevent"
)

// While the events topic takes nothing, counting goes on, and what waits is bounded: windows are put together. Nothing
// is left out.
func TestAnOutboxThatIsFullPutsWindowsTogether(t *testing.T) {
	f, topic := reporting(t)
	f.meter("sum", control.Sum, control.NoWindow)
	events := f.cfg.Events.(*fakeEvents)
	events.away = commitlog.ErrUnavailable
	f.cfg.OutboxBytes = 4000
	f.cfg.Events = caughtUp{events}
	w, fo, s := f.taken()
	for i := range 300 {
		f.now += 1000
		f.send(bad("sum", fmt.Sprint(i)))
		f.catchUp(fo, 10)
		f.tick(fo)
		f.flush(fo)
		if _, err := s.round(context.Background()); err == nil && fo.p.outbox.rows.Load() > 0 {
			t.Fatal("sent")
		}
	}
	if got := w.Outbox(); got.Bytes > 8000 || got.Reports < 2 || got.Age < 200*time.Second {
		t.Errorf("%+v", got)
	}
	events.away = nil
	for range 5 {
		f.round(s)
	}
	f.now += 20_000
	f.tick(fo)
	f.round(s)
	sum, last := int64(0), int64(0)
	for _, e := range topic.events {
		sum += textOf(t, e).Reason.Count
		if e.Source.First != last {
			t.Errorf("%s begins elsewhere than at %d", inShort(t, e), last)
		}
		last = e.Source.Through
	}
	if n := len(topic.events); sum != 300 || n > 20 || !strings.Contains(inShort(t, topic.events[n-1]), "to 09:22:10") {
		t.Errorf("%d events count %d", n, sum)
	}
	f.round(s)
	if got := w.Outbox(); got != (Outbox{}) {
		t.Errorf("sent, and %+v waits", got)
	}
}

// caughtUp is an index that can be asked, of a topic that can not be appended to.
type caughtUp struct{ *fakeEvents }

func (caughtUp) CaughtUp(context.Context) error { return nil }

// An index of events that is damaged does not keep the worker from counting. What was refused is told when it is well.
func TestADamagedIndexOfEventsDoesNotStopCounting(t *testing.T) {
	f, topic := reporting(t)
	m := f.meter("sum", control.Sum, control.NoWindow)
	events := f.cfg.Events.(*fakeEvents)
	damaged := &thinevent.DamagedError{Path: "events", Err: errors.New("rot")}
	events.away, events.notAsk = damaged, damaged
	f.send(bad("sum", "a"))
	f.send(sent{name: "sum", id: "good", customer: "cus_1", value: "5"})
	w, fo, s := f.taken()
	f.catchUp(fo, 10)
	f.now += 20_000
	f.tick(fo)
	if got := f.total(w, m, "cus_1", 0, t0+hourMs); got != "5" {
		t.Errorf("the total is %q", got)
	}
	if _, err := s.round(context.Background()); !errors.Is(err, damaged) {
		t.Errorf("sending: %v", err)
	}
	fo.end()
	events.away, events.notAsk = nil, nil
	fo = f.take(w, 0)
	defer fo.end()
	f.tick(fo)
	f.now += 20_000
	f.tick(fo)
	f.round(&sender{cfg: &w.cfg, p: fo.p})
	f.wantEvents(topic, m.ID+" 09:17:00 to 09:17:10 [0, 1) meter_event_invalid_value 1")
}

func TestAReportThatAnotherMadeWithAnotherEndIsTold(t *testing.T) {
	f, topic := reporting(t)
	f.meter("sum", control.Sum, control.NoWindow)
	var told []Notice
	f.cfg.Notify = func(n Notice) {
		if n.What == Disagrees {
			told = append(told, n)
		}
	}
	w, fo, s := f.taken()
	f.send(bad("sum", "a"))
	f.send(bad("sum", "b"))
	f.catchUp(fo, 1)
	f.flush(fo)
	f.now += 20_000
	// An append of an owner before, which nobody waited for, comes to the topic behind our beginning.
	for _, pt := range fo.p.parts {
		topic.events = append(topic.events, thinevent.NewReport(pt.report(0), f.now))
	}
	f.catchUp(fo, 10)
	f.tick(fo)
	f.cfg.Events.(*fakeEvents).catchUp()
	f.round(s)
	if len(topic.events) != 1 || len(told) != 1 || w.counts.reports[reportDisagrees].Value() != 1 {
		t.Errorf("%d events, told %v", len(topic.events), told)
	}
}

func TestRowsOfPartsAreReadAsTheyWereWritten(t *testing.T) {
	pt := part{subject: subject{"acct_1", true, "mtr_1"}, startMs: 10_000, endMs: 20_000, first: 3, through: 9, until: 2}
	pt.codes[1] = errorCount{count: 12}
	pt.codes[9] = errorCount{count: 2, samples: []sample{{"message", "id"}, {"", ""}}}
	row := pt.append(nil)
	var got part
	if err := got.decode(row); err != nil || !bytes.Equal(got.append(nil), row) || got.subject != pt.subject || got.count() != 14 {
		t.Errorf("%+v, %v", got, err)
	}
	for n := range row {
		var cut part
		// A row may end between two codes, where it is whole again.
		if err := cut.decode(row[:n]); err == nil && len(cut.append(nil)) != n {
			t.Errorf("%d of %d bytes are a part", n, len(row))
		}
	}
}

func TestAnOlderFormatIsRefusedWithTheCommandThatRebuilds(t *testing.T) {
	f := newStage(t, 1)
	w := f.open()
	old := append([]byte{1}, make([]byte, 8)...)
	if err := w.store.DB.Set(keyMeta, old, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w, err := Open(f.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close(t.Context()) }()
	if err := w.Damage(); err == nil || !strings.Contains(err.Error(), "`gateway state rebuild`") || !strings.Contains(err.Error(), "format") {
		t.Errorf("%v", err)
	}
}

// A worker that runs tells within five seconds of a window's end, also when the topic was away meanwhile, and ends though
// an append never does.
func TestARunningWorkerReportsInTimeAndEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, topic := newStageAt(t), &fakeTopic{}
		f.meter("sum", control.Sum, control.NoWindow)
		events := topic.index()
		tries := 0
		events.fate = func() appendFate {
			if tries++; tries < 3 {
				return appendAway
			}
			return appendGood
		}
		f.cfg.Events, f.cfg.Now, f.cfg.Metrics = events, time.Now, metrics.New()
		w := f.open()
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		time.Sleep(5 * time.Second)
		now := time.Now().UnixMilli()
		f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "x", receivedMs: now})
		end := floorTo(now, windowMs) + windowMs
		time.Sleep(time.Duration(end-now)*time.Millisecond + 5*time.Second)
		synctest.Wait()
		if topic.len() != 1 || tries != 3 || topic.events[0].CreatedMs > end+5000 {
			t.Errorf("%d events after %d tries", topic.len(), tries)
		}
		events.during = func() { time.Sleep(3 * time.Second) }
		f.send(sent{name: "sum", id: "b", customer: "cus_1", value: "x", receivedMs: time.Now().UnixMilli()})
		for w.Outbox().Reports == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Millisecond)
		cancel()
		begun := time.Now()
		if err := <-ended; err != nil || topic.len() != 2 || time.Since(begun) > cutTimeout {
			t.Errorf("%v, %d events, after %v", err, topic.len(), time.Since(begun))
		}
		_ = w.Close(context.Background())
		_ = f.ctl.Close(context.Background())
	})
}

// newStageAt is a stage whose time is the bubble's.
func newStageAt(t *testing.T) *stage {
	f := newStage(t, 1)
	f.now = time.Now().UnixMilli()
	return f
}
