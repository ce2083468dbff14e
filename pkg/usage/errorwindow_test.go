package usage

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
)

// errorWindows reads what the store has of refused events, by window, subject and code.
func errorWindows(t *testing.T, s *store) map[string]errorCount {
	t.Helper()
	found := map[string]errorCount{}
	prefix := appendTable(nil, 0, tableErrors)
	if err := s.each(prefix, prefixEnd(prefix), func(key, value []byte) error {
		key = key[len(prefix):]
		window := i32At(key)
		business, rest, ok1 := cutBytes(key[4:])
		subject, rest, ok2 := cutBytes(rest[1:])
		code, rest, ok3 := cutBytes(rest)
		var e errorCount
		if err := e.decode(value); err != nil || !ok1 || !ok2 || !ok3 || len(rest) != 0 {
			t.Errorf("key %q: %v", key, err)
		}
		e.samples = slices.Clone(e.samples)
		found[fmt.Sprintf("%d %s %s %s", (window*windowMs-floorTo(t0, windowMs))/1000, business, subject, code)] = e
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// Whatever is flushed between: each window counts all of its refused events, and has the first ten with what a person
// needs to find and repair them.
func TestErrorWindowsAreCompleteAndBounded(t *testing.T) {
	for _, flushEvery := range []int64{1, 7, 1000} {
		f := newStage(t, 1)
		m := f.meter("sum", control.Sum, control.NoWindow)
		start := f.now
		long := string(bytes.Repeat([]byte("9"), 99))
		for i := range 100 { // 10 a second: 7 s are left of the first window, then one whole
			f.now = start + int64(i)*100
			f.send(sent{name: "sum", id: fmt.Sprint("bad", i), customer: "cus_1", value: "x"})
			f.send(sent{name: "sum", id: fmt.Sprint("good", i), customer: "cus_1", value: "1"})
			if i%10 == 0 {
				f.send(sent{name: "sum", id: long + fmt.Sprint(i/10), payload: `{}`})
				f.send(sent{name: "nobody", id: fmt.Sprint("no", i), customer: "cus_1", value: "1"})
			}
		}
		w := f.open()
		fo := f.take(w, 0)
		for f.catchUp(fo, flushEvery) > 0 {
			f.flush(fo)
		}
		got := errorWindows(t, w.store)
		want := map[string]int64{
			"0 acct_test " + m.ID + " meter_event_invalid_value": 70, "10 acct_test " + m.ID + " meter_event_invalid_value": 30,
			"0 acct_test " + m.ID + " meter_event_no_customer_defined": 7, "10 acct_test " + m.ID + " meter_event_no_customer_defined": 3,
			"0 acct_test nobody no_meter": 7, "10 acct_test nobody no_meter": 3,
		}
		if len(got) != len(want) {
			t.Errorf("flushed every %d records: windows %v", flushEvery, got)
		}
		for key, count := range want {
			e := got[key]
			if e.count != count || len(e.samples) != min(int(count), samplesMax) {
				t.Errorf("flushed every %d records: %s: %d events, %d samples, want %d", flushEvery, key, e.count, len(e.samples), count)
			}
		}
		for window, first := range []int{0, 70} {
			e := got[fmt.Sprintf("%d acct_test %s meter_event_invalid_value", window*10, m.ID)]
			for i, s := range e.samples {
				want := sample{start + int64(first+i)*100, fmt.Append(nil, "bad", first+i), meterevent.ValueMessage(meterevent.InvalidValue, []byte("x"))}
				if s.atMs != want.atMs || !bytes.Equal(s.identifier, want.identifier) || s.message != want.message {
					t.Errorf("flushed every %d records: sample %d is %+v, want %+v", flushEvery, i, s, want)
				}
			}
		}
		if e := got["0 acct_test "+m.ID+" meter_event_no_customer_defined"]; len(e.samples) == 0 || string(e.samples[0].identifier) != long+"0" {
			t.Errorf("a long identifier: %+v", e)
		}
		fo.end()
		if err := w.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// However many events are refused, a window of a code is one row of bounded size, in memory and in the store.
func TestARefusedFloodIsOneRow(t *testing.T) {
	f := newStage(t, 1)
	m := f.meter("sum", control.Sum, control.NoWindow)
	for i := range 5000 {
		f.send(sent{name: "sum", id: fmt.Sprint("bad", i), customer: "cus_1", value: string(bytes.Repeat([]byte("1"), 100))})
	}
	w := f.open()
	fo := f.take(w, 0)
	f.catchUp(fo, 5000)
	if len(fo.p.errors) != 1 || len(fo.p.errors[0].samples) != samplesMax {
		t.Errorf("%d open windows", len(fo.p.errors))
	}
	f.flush(fo)
	e := errorWindows(t, w.store)["0 acct_test "+m.ID+" meter_event_value_too_many_digits"]
	if size := len(e.append(nil)); e.count != 5000 || size > samplesMax*(8+100+300) {
		t.Errorf("%d events in %d bytes", e.count, size)
	}
	fo.end()
	_ = w.Close(context.Background())
}
