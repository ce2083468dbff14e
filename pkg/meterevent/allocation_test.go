package meterevent_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"tollgate/pkg/meterevent"
)

// Nothing on an event's way allocates once a decoder is warm. Errors do, and PayloadValue of a value with escapes.
func TestNothingAllocatesInTheSteadyState(t *testing.T) {
	f := func(name string, do func()) {
		t.Helper()
		do()
		if n := testing.AllocsPerRun(50, do); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	body := streamBody(100)
	spaced := []byte(strings.NewReplacer(`":`, `": `, `,"`, `, "`).Replace(string(body)))
	escaped := []byte(strings.ReplaceAll(string(body), "api_requests", `api\u005frequests\ud83d\ude00`))
	mixed := []byte(strings.Replace(string(body), `"identifier"`, `"identifier" `, 50))
	one := []byte(`{"event_name":"a","identifier":"\u0069","payload":{"k":5},"x":{"y":["z"]},"timestamp":1}`)
	adjustment := []byte(`{"event_name":"api_calls","type":"cancel","cancel":{"identifier":"\u0069"}}`)
	d := meterevent.NewDecoder(meterevent.Options{CoerceNumbers: true, Lenient: true})
	for _, b := range [][]byte{body, spaced, escaped, mixed} {
		f("Stream", func() {
			if _, err := d.Stream(b); err != nil {
				t.Fatal(err)
			}
		})
	}
	f("One", func() {
		if _, err := d.One(one); err != nil {
			t.Fatal(err)
		}
	})
	f("Adjustment", func() {
		if _, err := d.Adjustment(adjustment); err != nil {
			t.Fatal(err)
		}
	})
	form := meterevent.FormEvent{Name: []byte("a"), Payload: pairs("value", "1\n", "k", "v")}
	f("FromForm", func() {
		if _, err := d.FromForm(form); err != nil {
			t.Fatal(err)
		}
	})
	ev, err := meterevent.NewDecoder(meterevent.Options{}).One([]byte(`{"event_name":"a\"","identifier":"i","payload":{"k":"v"}}`))
	if err != nil {
		t.Fatal(err)
	}
	buf, key, random := make([]byte, 0, 1024), []byte("key"), rand.NewChaCha8([32]byte{})
	f("AppendRecord", func() { buf = meterevent.AppendRecord(buf[:0], "acct_demo", true, &ev, receivedMs) })
	var recorder meterevent.Recorder
	f("Recorder", func() {
		recorder.Begin("acct_demo", true, receivedMs)
		recorder.Meter(ev.Name)
		buf = append(buf[:0], recorder.Key()...)
		buf = recorder.Append(buf, &ev)
	})
	var reader meterevent.RecordReader
	values := recordExamples(t)
	f("RecordReader", func() {
		var r meterevent.Record
		for _, value := range values {
			if err := reader.Read(value, &r); err != nil {
				t.Fatal(err)
			}
			reader.PayloadValue(&r, "a")
		}
	})
	f("RequestOf, RequestIdentifier, AppendRequested", func() {
		request := meterevent.RequestOf("acct_demo", true, "v2 meter_events", key, body, random)
		buf = meterevent.RequestIdentifier(buf[:0], "acct_demo", true, ev.Name, key, random)
		buf = recorder.AppendRequested(buf, &ev, request)
	})
	sum, number := meterevent.Decimal{}, []byte("-12345.0678901234")
	f("Decimal", func() {
		d, err := meterevent.ParseDecimal(number)
		if err != nil {
			t.Fatal(err)
		}
		sum.Add(&d)
		buf = sum.AppendText(sum.AppendBinary(buf[:0]))
		if _, err := d.Decode(buf); err != nil {
			t.Fatal(err)
		}
	})
	f("AppendKey", func() { buf = meterevent.AppendBucket(meterevent.AppendKey(buf[:0], "acct_demo", true, ev.Name), 3) })
	f("PayloadValue", func() { ev.PayloadValue("k") })
	f("Deriver", func() {
		ids := meterevent.NewDeriver("acct_demo", true, key, random)
		buf = ids.Identifier(buf[:0], 3, ev.Raw)
	})
	f("Deriver without key", func() {
		ids := meterevent.NewDeriver("acct_demo", true, nil, random)
		buf = ids.Identifier(buf[:0], 3, ev.Raw)
	})
	f("CheckValue, CheckTimestamp", func() {
		if meterevent.CheckValue(key) == "" || meterevent.CheckTimestamp(0, receivedMs) == "" {
			t.Fatal("a reason is missing")
		}
	})
}

// A decoder that read one giant must not hold on to it for ever.
func TestAGiantLeavesNoGiantBehind(t *testing.T) {
	value := strings.Repeat(`\n`, 500)
	body := []byte(`{"events":[` + strings.TrimSuffix(strings.Repeat(`{"event_name":"a","payload":{"a" : "`+value+`","b":"`+value+`","c":"`+value+`","d":"`+value+`"}},`, 100), ",") + `]}`)
	d := meterevent.NewDecoder(meterevent.Options{})
	if _, err := d.Stream(body); err != nil {
		t.Fatal(err)
	}
	if d.ScratchBytes() < 400_000 {
		t.Fatalf("the giant took %d bytes: this test tests nothing", d.ScratchBytes())
	}
	if _, err := d.One([]byte(`{"event_name":"a","payload":{}}`)); err != nil {
		t.Fatal(err)
	}
	if d.ScratchBytes() > 256<<10 {
		t.Errorf("%d bytes are kept", d.ScratchBytes())
	}
}
