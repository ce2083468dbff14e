package usage

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/thinevent"
)

// reporting is a stage with an events topic.
func reporting(t testing.TB) (*stage, *fakeTopic) {
	f, topic := newStage(t, 1), &fakeTopic{}
	f.cfg.Events = topic.index()
	return f, topic
}

// taken is partition 0 as a worker runs it, with what sends its reports.
func (f *stage) taken() (*Worker, *follower, *sender) {
	w := f.open()
	fo := f.take(w, 0)
	f.t.Cleanup(func() { fo.end(); _ = w.Close(context.Background()) })
	return w, fo, &sender{cfg: &w.cfg, p: fo.p}
}

// tick asks how long the log is and closes what is due by the time.
func (f *stage) tick(fo *follower) {
	f.t.Helper()
	_, next, _ := f.log.Bounds(context.Background(), usageTopic, 0)
	fo.p.bound(f.now, next)
	if err := fo.closeIdle(context.Background()); err != nil {
		f.t.Fatal(err)
	}
}

// round sends what was flushed.
func (f *stage) round(s *sender) {
	f.t.Helper()
	if _, err := s.round(context.Background()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *stage) wantEvents(topic *fakeTopic, want ...string) {
	f.t.Helper()
	var got []string
	for _, e := range topic.events {
		got = append(got, inShort(f.t, e))
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		f.t.Fatalf("the events are\n%s\nwant\n%s", g, w)
	}
}

func bad(name, id string) sent { return sent{name: name, id: id, customer: "cus_1", value: "x"} }

// Whatever is flushed between: each window counts all of its refused events, and shows the first ten of each code with
// what a person needs to find and repair them.
func TestAWindowCountsAllItsRefusedEventsAndShowsTheFirst(t *testing.T) {
	for _, flushEvery := range []int64{1, 7, 1000} {
		f, topic := reporting(t)
		m := f.meter("sum", control.Sum, control.NoWindow)
		start := f.now
		long := strings.Repeat("9", 99)
		for i := range 100 { // 10 a second: 7 s are left of the first window, then 3 s of the next
			f.now = start + int64(i)*100
			f.send(bad("sum", fmt.Sprint("bad", i)))
			f.send(sent{name: "sum", id: fmt.Sprint("good", i), customer: "cus_1", value: "1"})
			if i%10 == 0 {
				f.send(sent{name: "sum", id: long + fmt.Sprint(i/10), payload: `{}`})
				f.send(bad("nobody", fmt.Sprint("no", i)))
			}
		}
		f.now = start + 20_000
		f.send(sent{name: "sum", id: "good", customer: "cus_1", value: "1"})
		_, fo, s := f.taken()
		for f.catchUp(fo, flushEvery) > 0 {
			f.flush(fo)
			f.round(s)
		}
		f.wantEvents(topic,
			"no meter 09:17:00 to 09:17:10 [3, 136) no_meter 7",
			m.ID+" 09:17:00 to 09:17:10 [0, 153) meter_event_invalid_value 70 meter_event_no_customer_defined 7",
			"no meter 09:17:10 to 09:17:20 [157, 202) no_meter 3",
			m.ID+" 09:17:10 to 09:17:20 [154, 219) meter_event_invalid_value 30 meter_event_no_customer_defined 3",
		)
		d := textOf(t, topic.events[1])
		if d.Summary != "There are 77 invalid events" || d.Reason.Count != 77 || topic.events[1].CreatedMs != f.now || topic.events[1].Livemode {
			t.Errorf("%+v", d)
		}
		invalid, customer := d.Reason.Types[0].Samples, d.Reason.Types[1].Samples
		if len(invalid) != samplesMax || len(customer) != 7 || customer[0].Request.Identifier != long+"0" {
			t.Fatalf("flushed every %d records: %+v", flushEvery, d)
		}
		for i, s := range invalid {
			if s.Request.Identifier != fmt.Sprint("bad", i) || s.Message != meterevent.ValueMessage(meterevent.InvalidValue, []byte("x")) {
				t.Errorf("flushed every %d records: sample %d is %+v", flushEvery, i, s)
			}
		}
	}
}

// However many events are refused and whatever names they have, a window is one part of bounded size, in memory and in
// the store, and one event.
func TestAFloodIsOneEvent(t *testing.T) {
	f, topic := reporting(t)
	m := f.meter("sum", control.Sum, control.NoWindow)
	for i := range 3000 {
		f.send(sent{name: "sum", id: fmt.Sprint("bad", i), customer: "cus_1", value: strings.Repeat("1", 100)})
		f.send(bad(fmt.Sprint("nobody", i), "a"))
		f.send(sent{name: "sum", id: fmt.Sprint("good", i), customer: "cus_1", value: "1"})
	}
	_, fo, s := f.taken()
	f.cfg.Events.(*fakeEvents).calls = 0
	f.catchUp(fo, 1<<20)
	if len(fo.p.parts) != 2 || f.cfg.Events.(*fakeEvents).calls != 2 {
		t.Errorf("%d open parts, %d questions", len(fo.p.parts), f.cfg.Events.(*fakeEvents).calls)
	}
	f.flush(fo)
	f.now += 20_000
	f.tick(fo)
	if rows, size := fo.p.outbox.rows.Load(), fo.p.outbox.bytes.Load(); rows != 2 || size > 2*samplesMax*(200+400) {
		t.Errorf("%d reports of %d bytes", rows, size)
	}
	f.round(s)
	f.wantEvents(topic, "no meter 09:17:00 to 09:17:10 [1, 8999) no_meter 3000", m.ID+" 09:17:00 to 09:17:10 [0, 8998) meter_event_value_too_many_digits 3000")
}

func TestAnIdleWindowIsClosedByTheTime(t *testing.T) {
	f, topic := reporting(t)
	m := f.meter("sum", control.Sum, control.NoWindow)
	f.send(bad("sum", "a"))
	_, fo, s := f.taken()
	f.catchUp(fo, 10)
	end := floorTo(t0, windowMs) + windowMs
	f.now = end + graceMs - 1
	f.tick(fo)
	if fo.p.outbox.rows.Load() != 0 {
		t.Fatal("closed early")
	}
	f.now++
	f.send(bad("sum", "b")) // of the next window, and not applied
	f.tick(fo)
	if fo.p.outbox.rows.Load() != 0 {
		t.Fatal("closed while there was more to apply")
	}
	f.catchUp(fo, 10) // closes by the record
	f.flush(fo)
	f.round(s)
	f.wantEvents(topic, m.ID+" 09:17:00 to 09:17:10 [0, 1) meter_event_invalid_value 1")
	if d := textOf(t, topic.events[0]); d.Summary != "There is 1 invalid event" {
		t.Error(d.Summary)
	}
	f.now = end + windowMs + graceMs
	f.tick(fo)
	f.round(s)
	f.wantEvents(topic, m.ID+" 09:17:00 to 09:17:10 [0, 1) meter_event_invalid_value 1", m.ID+" 09:17:10 to 09:17:20 [1, 2) meter_event_invalid_value 1")
	if fo.p.dirtySince() || fo.p.openedMs != 0 {
		t.Error("something is left")
	}
}

// A gateway whose clock is ahead brings the partition's clock into the future. What is refused is told all the same, in
// one event as long as a window, and so is what comes late.
func TestWindowsOfTheFutureAndOfThePastAreClosedAsOftenAsOthers(t *testing.T) {
	f, topic := reporting(t)
	f.meter("sum", control.Sum, control.NoWindow)
	_, fo, s := f.taken()
	for _, ahead := range []int64{hourMs, -minuteMs} {
		topic.events = nil
		for second := range int64(60) {
			f.now += 1000
			e := bad("sum", fmt.Sprint(ahead, second))
			if e.receivedMs = f.now; second == 0 {
				e.receivedMs += max(0, ahead)
			} else {
				e.receivedMs += min(0, ahead)
			}
			f.send(e)
			f.catchUp(fo, 10)
			f.tick(fo)
			f.flush(fo)
			f.round(s)
		}
		count := int64(0)
		for _, e := range topic.events {
			count += textOf(t, e).Reason.Count
		}
		// Once a window, and what was begun before.
		if n := len(topic.events); n < 4 || n > 8 || count < 45 {
			t.Errorf("by %d s: %d events count %d", ahead/1000, n, count)
		}
	}
}

func TestWhatWouldBeExpiredIsNotReported(t *testing.T) {
	f, topic := reporting(t)
	f.meter("sum", control.Sum, control.NoWindow)
	f.send(bad("sum", "a"))
	f.send(bad("sum", "b"))
	w, fo, s := f.taken()
	f.now += thinevent.RetentionMs + windowMs
	f.send(bad("sum", "c"))
	f.catchUp(fo, 10)
	f.flush(fo)
	f.now += thinevent.RetentionMs + 2*windowMs // as it waits in the outbox
	f.tick(fo)
	if fo.p.outbox.rows.Load() != 1 {
		t.Fatalf("%d reports", fo.p.outbox.rows.Load())
	}
	f.round(s)
	f.wantEvents(topic)
	if n := w.counts.reports[reportTooOld].Value(); n != 2 || fo.p.outbox.rows.Load() != 0 {
		t.Errorf("%d reports were too old, %d wait", n, fo.p.outbox.rows.Load())
	}
}

func TestACancelThatComesTooLateIsInItsMetersReport(t *testing.T) {
	f, topic := reporting(t)
	m := f.meter("sum", control.Sum, control.NoWindow)
	f.send(sent{name: "sum", id: "a", customer: "cus_1", value: "1"})
	f.now += 24*hourMs + 2*minuteMs
	f.send(sent{name: "sum", id: "a", cancel: true})
	_, fo, s := f.taken()
	f.catchUp(fo, 10)
	f.now += 20_000
	f.tick(fo)
	f.round(s)
	f.wantEvents(topic, m.ID+" 09:19:00 to 09:19:10 [1, 2) "+string(meterevent.InvalidCancel)+" 1")
	if d := textOf(t, topic.events[0]); d.Reason.Types[0].Samples[0].Message != meterevent.InvalidCancelMessage([]byte("a")) {
		t.Errorf("%+v", d)
	}
}

// What no business can be told of is counted and makes no event.
func TestWhatHasNoMeterToTellOfMakesNoEvent(t *testing.T) {
	f, topic := reporting(t)
	m := f.meter("sum", control.Sum, control.NoWindow)
	f.send(sent{name: "nobody", id: "x", cancel: true})
	f.send(sent{name: "sum", id: "y", cancel: true})
	rec := f.record(bad("sum", "a"))
	rec.Value = []byte("{")
	f.log.add(usageTopic, 0, rec)
	f.now += 30 * hourMs
	f.send(sent{name: "sum", id: "good", customer: "cus_1", value: "1"})
	f.now += 20_000
	f.send(sent{name: "sum", id: "good2", customer: "cus_1", value: "1"})
	w, fo, s := f.taken()
	f.catchUp(fo, 10)
	f.flush(fo)
	f.round(s)
	f.wantEvents(topic, m.ID+" 15:17:00 to 15:17:10 [3, 4) "+string(meterevent.InvalidCancel)+" 1")
	if n := w.counts.reports[reportNobody].Value(); n != 1 {
		t.Errorf("nobody is told of %d", n)
	}
}
