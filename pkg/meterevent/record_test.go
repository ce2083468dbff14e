package meterevent_test

import (
	"bytes"
	"testing"

	"tollgate/pkg/meterevent"
)

func TestKeysNameBusinessModeAndMeter(t *testing.T) {
	key := meterevent.AppendKey(nil, "acct_demo", false, []byte("api_requests"))
	if want := "acct_demo/testmode/api_requests"; string(key) != want {
		t.Errorf("got %s, want %s", key, want)
	}
	key = meterevent.AppendBucket(meterevent.AppendKey(nil, "acct_demo", true, []byte("a/1")), 12)
	if want := "acct_demo/livemode/a/1/12"; string(key) != want {
		t.Errorf("got %s, want %s", key, want)
	}
}

// The text of a record is read by others: its fields, their order and their spelling stay as they are.
func TestRecordsAreWrittenToTheLetter(t *testing.T) {
	d := meterevent.NewDecoder(meterevent.Options{CoerceNumbers: true})
	f := func(body string, livemode bool, want string) {
		t.Helper()
		ev, err := d.One([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if ev.Identifier == nil {
			ev.Identifier = []byte("derived")
		}
		if got := meterevent.AppendRecord([]byte("before "), "acct_demo", livemode, &ev, receivedMs); string(got) != "before "+want {
			t.Errorf("got  %s\nwant before %s", got, want)
		}
	}
	f(`{"event_name":"api_requests","identifier":"req-1","timestamp":"2026-11-21T13:00:00+01:00","payload":{"stripe_customer_id":"cus_1","value":"25"}}`, false,
		`{"object":"meter_event","business":"acct_demo","livemode":false,"event_name":"api_requests","identifier":"req-1","timestamp":"2026-11-21T12:00:00.000Z","received":"2026-11-21T12:00:00.123Z","payload":{"stripe_customer_id":"cus_1","value":"25"}}`)
	f(`{ "payload" : { "value" : -25 , "\u006b" : "\u00e9 \/" } , "event_name" : "caf\u00e9 \"\\\ud83d\ude00", "identifier":"\u0000\n\u001f\u007f" }`, true,
		`{"object":"meter_event","business":"acct_demo","livemode":true,"event_name":"café \"\\😀","identifier":"\u0000\n\u001f`+"\x7f"+`","timestamp":"2026-11-21T12:00:00.123Z","received":"2026-11-21T12:00:00.123Z","payload":{"value":"-25","\u006b":"\u00e9 \/"}}`)
}

func TestAdjustmentRecordsAreWrittenToTheLetter(t *testing.T) {
	a, err := meterevent.NewDecoder(meterevent.Options{}).Adjustment([]byte(`{"event_name":"api_requests","type":"cancel","cancel":{"identifier":"req-\"1"}}`))
	if err != nil {
		t.Fatal(err)
	}
	got := meterevent.AppendAdjustmentRecord(nil, "acct_demo", false, &a, receivedMs)
	want := `{"object":"meter_event_adjustment","business":"acct_demo","livemode":false,"event_name":"api_requests","received":"2026-11-21T12:00:00.123Z","type":"cancel","cancel":{"identifier":"req-\"1"}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestABusinessThatIsNotUTF8StillMakesAJSONRecord(t *testing.T) {
	ev := meterevent.Event{Name: []byte("a"), Identifier: []byte("i"), Payload: []byte("{}")}
	got := meterevent.AppendRecord(nil, "acct_\xff\x01", false, &ev, receivedMs)
	if want := `"business":"acct_` + "\ufffd" + `\u0001"`; !bytes.Contains(got, []byte(want)) {
		t.Errorf("got %s, want %s in it", got, want)
	}
}

func TestAnEventWithoutIdentifierIsNeverLogged(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it was")
		}
	}()
	meterevent.AppendRecord(nil, "acct_demo", false, &meterevent.Event{Name: []byte("a"), Payload: []byte("{}")}, receivedMs)
}
