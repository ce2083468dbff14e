package httpd

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/stripe"
	"tollgate/pkg/usage"
)

// working is a fixture with a worker, and with a clock that goes on by a second at each request.
func working(t *testing.T, change func(*Config)) *fixture {
	var seconds atomic.Int64
	begin := time.Now()
	f := newFixture(t, func(c *Config) {
		c.Now = func() time.Time { return begin.Add(time.Duration(seconds.Add(1)) * time.Second) }
		if change != nil {
			change(c)
		}
	})
	f.usage.verdict = (&worker{f.log}).verdict
	return f
}

// both calls a synchronous endpoint on v2 and on v1, with the event's members and parameters as given.
type both struct{ v2, v1 string }

func (b both) calls(key string) []call {
	header := map[string]string{}
	if key != "" {
		header["Idempotency-Key"] = key
	}
	return []call{
		{path: eventsPath, key: testKey, body: b.v2, header: header},
		{path: v1EventsPath, key: testKey, body: b.v1, header: header},
	}
}

func event(identifier, value string) both {
	b := both{
		`{"event_name":"api_requests","payload":{"stripe_customer_id":"cus_1","value":"` + value + `"}`,
		"event_name=api_requests&payload[stripe_customer_id]=cus_1&payload[value]=" + value,
	}
	if identifier != "" {
		b.v2 += `,"identifier":"` + identifier + `"`
		b.v1 += "&identifier=" + identifier
	}
	b.v2 += "}"
	return b
}

func TestAnEventSentAgainWithItsKeyIsAnsweredAsBefore(t *testing.T) {
	for api := range 2 {
		for _, identifier := range []string{"", fmt.Sprintf("id_%d", api)} {
			f := working(t, nil)
			first, again := f.do(event(identifier, "1").calls("k1")[api]), f.do(event(identifier, "1").calls("k1")[api])
			if first.status != 200 || again.status != 200 || first.body != again.body || first.header.Get(headerReplayed) != "" || again.header.Get(headerReplayed) != "true" {
				t.Errorf("%d %s, and again %d %s %v", first.status, first.body, again.status, again.body, again.header)
			}
			a := f.do(event(identifier, "2").calls("k1")[api])
			if e := a.failure(t); a.status != 400 || e.Type != "idempotency_error" {
				t.Errorf("the key with another value: %d %s", a.status, a.body)
			}
			if a := f.do(event("other", "1").calls("k2")[api]); a.status != 200 || a.header.Get(headerReplayed) != "" {
				t.Errorf("another event: %d %s", a.status, a.body)
			}
		}
	}
}

// TestAnEventThatWasTakenIsAnsweredAgainWhenItsMeterSleeps: its sender may have lost the answer, and it is counted.
func TestAnEventThatWasTakenIsAnsweredAgainWhenItsMeterSleeps(t *testing.T) {
	for api := range 2 {
		f := working(t, nil)
		m := f.control.Snapshot().Named("acct_demo", false, "api_requests")
		first := f.do(event("", "1").calls("k1")[api])
		f.control.sleep(t, m)
		stored := len(f.log.records)
		again := f.do(event("", "1").calls("k1")[api])
		if first.status != 200 || again.status != 200 || again.body != first.body || again.header.Get(headerReplayed) != "true" {
			t.Errorf("%d %s, and again %d %s %v", first.status, first.body, again.status, again.body, again.header)
		}
		for key, why := range map[string]string{"k2": "another request", "": "a request without a key"} {
			if a := f.do(event("", "1").calls(key)[api]); a.status != 400 || a.header.Get(headerReplayed) != "" {
				t.Errorf("%s: %d %s", why, a.status, a.body)
			}
		}
		if len(f.log.records) != stored {
			t.Errorf("%d records were stored for an archived meter", len(f.log.records)-stored)
		}
	}
}

// TestTheSameEventInAnotherSpellingIsTheSameRequest: an application's own repetition may be encoded anew.
func TestTheSameEventInAnotherSpellingIsTheSameRequest(t *testing.T) {
	f := working(t, nil)
	key := map[string]string{"Idempotency-Key": "k1"}
	for i, body := range []string{
		`{"event_name":"api_requests","payload":{"stripe_customer_id":"cus_1","value":"1"},"identifier":"a","timestamp":1795294370}`,
		` { "identifier" : "a", "timestamp":"1795294370", "event_name":"api_requests","payload":{"stripe_customer_id":"cus_1", "value":"1"}}`,
	} {
		body = strings.ReplaceAll(body, "1795294370", fmt.Sprint(time.Now().Unix()/100*100))
		if a := f.do(call{path: eventsPath, key: testKey, body: body, header: key}); a.status != 200 || (a.header.Get(headerReplayed) == "true") != (i > 0) {
			t.Errorf("%d %s %v", a.status, a.body, a.header)
		}
	}
	for i, body := range []string{
		"event_name=api_requests&payload[stripe_customer_id]=cus_1&payload[value]=1&identifier=b",
		"identifier=%62&payload%5Bvalue%5D=1&payload[stripe_customer_id]=cus_1&event_name=api_requests",
	} {
		if a := f.do(call{path: v1EventsPath, key: testKey, body: body, header: key}); a.status != 200 || (a.header.Get(headerReplayed) == "true") != (i > 0) {
			t.Errorf("%d %s %v", a.status, a.body, a.header)
		}
	}
}

func TestAnotherEventWithTheIdentifierIsADuplicate(t *testing.T) {
	f := working(t, nil)
	for api := range 2 {
		id := fmt.Sprintf("id_%d", api)
		if a := f.do(event(id, "1").calls("")[api]); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for what, c := range map[string]call{
			"without a key": event(id, "1").calls("")[api], "with another": event(id, "1").calls("k2")[api],
			"by the other version": event(id, "1").calls("k3")[1-api],
		} {
			a := f.do(c)
			e := a.failure(t)
			want := ""
			if c.path == eventsPath {
				want = "duplicate_meter_event"
			}
			if a.status != 400 || e.Type != "invalid_request_error" || e.Code != want || e.Message != "An event already exists with identifier "+id+"." {
				t.Errorf("%s: %d %s", what, a.status, a.body)
			}
		}
	}
}

func TestWhatTheWorkerRefusesIsRefusedInTheWordsOfTheAPI(t *testing.T) {
	f := newFixture(t, nil)
	for async, sync := range map[string]string{
		"no_meter": "no_meter", "archived_meter": "archived_meter", "meter_event_no_customer_defined": "payload_no_customer_defined",
		"meter_event_value_not_found": "payload_no_value_defined", "meter_event_invalid_value": "payload_invalid_value",
		"meter_event_value_too_many_digits": "meter_event_value_too_many_digits", "timestamp_too_far_in_past": "timestamp_too_far_in_past",
		"timestamp_in_future": "timestamp_in_future", "invalid_record": "invalid_record",
	} {
		f.usage.set(func(o *oracle) {
			o.verdict = func(usage.VerdictQuery) (usage.Verdict, error) {
				return usage.Verdict{Outcome: usage.OutcomeRefused, Code: async, Message: "Why it was."}, nil
			}
		})
		for api, c := range event("id", "1").calls("") {
			a := f.do(c)
			e := a.failure(t)
			if want := map[bool]string{true: sync}[api == 0 || strings.HasPrefix(sync, "timestamp")]; a.status != 400 || e.Code != want {
				t.Errorf("%s: %d %s", async, a.status, a.body)
			}
		}
	}
}

func TestAVerdictThatCanNotBeHadIsNotGuessed(t *testing.T) {
	f := newFixture(t, nil)
	calls := append(event("id", "1").calls("k1"), call{path: adjustmentsPath, key: testKey, body: oneAdjustment}, call{path: v1AdjustPath, key: testKey, body: formAdjust})
	f.usage.set(func(o *oracle) { o.away = errors.New("nobody runs it") })
	for _, c := range calls {
		a := f.do(c)
		if e := a.failure(t); a.status != 503 || e.Code != "service_unavailable" || a.header.Get("Retry-After") == "" || !strings.Contains(e.Message, "Nothing of this request was stored") {
			t.Errorf("%s with an owner that is away: %d %s", c.path, a.status, a.body)
		}
	}
	if n := len(f.records()) + len(f.usage.asked); n > 0 {
		t.Errorf("%d records or questions though nobody could answer", n)
	}
	for what, verdict := range map[string]func(usage.VerdictQuery) (usage.Verdict, error){
		"an error":        func(usage.VerdictQuery) (usage.Verdict, error) { return usage.Verdict{}, errors.New("gone") },
		"an unknown word": func(usage.VerdictQuery) (usage.Verdict, error) { return usage.Verdict{Outcome: "perhaps"}, nil },
		"no word":         func(usage.VerdictQuery) (usage.Verdict, error) { return usage.Verdict{}, nil },
	} {
		f.usage.set(func(o *oracle) { o.away, o.verdict = nil, verdict })
		for _, c := range calls {
			a := f.do(c)
			if e := a.failure(t); a.status != 503 || e.Code != "outcome_unknown" || a.header.Get("Stripe-Should-Retry") != "true" || !strings.Contains(e.Message, "is stored") || !strings.Contains(e.Message, "same Idempotency-Key") {
				t.Errorf("%s with %s: %d %s", c.path, what, a.status, a.body)
			}
		}
		if n := len(f.records()); n != len(calls) {
			t.Errorf("%s: %d records", what, n)
		}
	}
}

func TestAVerdictIsAskedForAtTheRecordsPlace(t *testing.T) {
	f := newFixture(t, nil)
	if a := f.do(event("id_7", "1").calls("k1")[0]); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	asked, records := f.usage.asked, f.records()
	if len(asked) != 1 || len(records) != 1 {
		t.Fatalf("%v %v", asked, records)
	}
	q := asked[0]
	var r meterevent.Record
	if err := new(meterevent.RecordReader).Read(records[0].Value, &r); err != nil || !r.HasRequest || r.Request != q.Request {
		t.Errorf("the record's request is %+v %v, not %+v: %s", r.Request, err, q.Request, records[0].Value)
	}
	if q.Scope != (usage.Scope{Business: "acct_demo", EventName: "api_requests"}) || q.Identifier != "id_7" || q.Adjustment || q.Partition != records[0].partition {
		t.Errorf("%+v", q)
	}
}

func TestAnAdjustmentIsPendingAndTheSameAgainWithItsKey(t *testing.T) {
	f := working(t, func(c *Config) {
		c.Policy = &Policy{Businesses: map[string]Business{"acct_demo": {Spread: map[string]int{"hot": 8}}}}
	})
	for _, name := range []string{"api_requests", "hot"} {
		adjust := func(path, key, identifier string) *answer {
			body := `{"event_name":"` + name + `","type":"cancel","cancel":{"identifier":"` + identifier + `"}}`
			if path == v1AdjustPath {
				body = "event_name=" + name + "&type=cancel&cancel[identifier]=" + identifier
			}
			header := map[string]string{}
			if key != "" {
				header["Idempotency-Key"] = name + key
			}
			return f.do(call{path: path, key: testKey, body: body, header: header})
		}
		for _, path := range []string{adjustmentsPath, v1AdjustPath} {
			first, again := adjust(path, "k1", "a"), adjust(path, "k1", "a")
			if first.status != 200 || !strings.Contains(first.body, `"status":"pending"`) || first.body != again.body || again.header.Get(headerReplayed) != "true" {
				t.Errorf("%d %s, and again %d %s %v", first.status, first.body, again.status, again.body, again.header)
			}
			a := adjust(path, "k1", "b")
			if e := a.failure(t); a.status != 400 || e.Type != "idempotency_error" {
				t.Errorf("%d %s", a.status, a.body)
			}
			if other := adjust(path, "k2", "a"); other.status != 200 || other.body == first.body && path == adjustmentsPath {
				t.Errorf("another key: %d %s", other.status, other.body)
			}
			if one, two := adjust(path, "", "a"), adjust(path, "", "a"); one.status != 200 || one.body == two.body && path == adjustmentsPath {
				t.Errorf("without a key: %s and %s", one.body, two.body)
			}
		}
	}
}

func TestACancelThatComesTooLateIsRefused(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Policy = &Policy{Businesses: map[string]Business{"acct_demo": {Spread: map[string]int{"hot": 8}}}}
	})
	f.usage.set(func(o *oracle) {
		o.verdict = func(q usage.VerdictQuery) (usage.Verdict, error) {
			if q.Partition == 2 || q.EventName != "hot" { // where the event is
				return usage.Verdict{Outcome: usage.OutcomeRefused, Code: "invalid_cancel_configuration"}, nil
			}
			return usage.Verdict{Outcome: usage.OutcomeNew}, nil
		}
	})
	for _, name := range []string{"api_requests", "hot"} {
		for _, c := range []call{
			{path: adjustmentsPath, key: testKey, body: strings.Replace(oneAdjustment, "api_requests", name, 1)},
			{path: v1AdjustPath, key: testKey, body: strings.Replace(formAdjust, "api_requests", name, 1)},
		} {
			a := f.do(c)
			e := a.failure(t)
			if want := map[string]string{adjustmentsPath: "invalid_cancel_configuration"}[c.path]; a.status != 400 || e.Code != want || !strings.Contains(e.Message, "24 hours") {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
	}
	// Every partition of the spread meter was asked, once for each request.
	stored, asked := map[int32]int{}, map[int32]int{}
	for _, r := range f.records() {
		if strings.Contains(string(r.Key), "/hot/") {
			stored[r.partition]++
		}
	}
	for _, q := range f.usage.asked {
		if q.EventName == "hot" {
			asked[q.Partition]++
		}
	}
	for p := range stored {
		if asked[p] != 2 {
			t.Errorf("partition %d was asked %d times", p, asked[p])
		}
	}
	if len(asked) != len(stored) || len(asked) < 2 {
		t.Errorf("stored in %v, asked of %v", stored, asked)
	}
}

func TestV1RefusesAKeyThatIsInFlight(t *testing.T) {
	f := newFixture(t, nil)
	hold := make(chan struct{})
	f.ingest.hold.Store(&hold)
	v1 := event("id", "1").calls("k1")[1]
	answers := make(chan *answer, 2)
	go func() {
		a, _ := f.try(v1)
		answers <- a
	}()
	waitFor(t, "the first is in flight", func() bool { return f.ingest.held.Load() == 1 })
	for _, c := range []call{v1, {path: v1AdjustPath, key: testKey, body: formAdjust, header: v1.header}, {path: metersPath, key: testKey, body: meterForm, header: v1.header}} {
		a := f.do(c)
		if e := a.failure(t); a.status != 409 || e.Code != "idempotency_key_in_use" {
			t.Errorf("%s: %d %s", c.path, a.status, a.body)
		}
	}
	go func() { // v2 has no such refusal: both are stored, and one is the first
		a, _ := f.try(event("id", "1").calls("k1")[0])
		answers <- a
	}()
	waitFor(t, "v2 is in flight", func() bool { return f.ingest.held.Load() == 2 })
	close(hold)
	for range 2 {
		if a := <-answers; a == nil || a.status != 200 {
			t.Errorf("%+v", a)
		}
	}
}

// TestAMeterOfAnotherGatewayIsKnownBeforeItsEventIsRefused: what was answered elsewhere holds here.
func TestAMeterOfAnotherGatewayIsKnownBeforeItsEventIsRefused(t *testing.T) {
	f := newFixture(t, nil)
	f.control.away.Store(true)
	if a := f.do(event("id", "1").calls("")[0]); a.status != 200 {
		t.Errorf("an event of a meter that is known needs no news: %d %s", a.status, a.body)
	}
	c := call{path: eventsPath, key: testKey, body: strings.Replace(oneMeterEvent, "api_requests", "nope", 1)}
	if a := f.do(c); a.status != 503 {
		t.Errorf("a meter that may exist: %d %s", a.status, a.body)
	}
	f.control.away.Store(false)
	if a := f.do(c); a.status != 400 {
		t.Errorf("a meter that does not: %d %s", a.status, a.body)
	}
}

func TestASpreadMetersEventsGoByItsOwnCustomerKey(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Policy = &Policy{Businesses: map[string]Business{"acct_demo": {Spread: map[string]int{"hot": 4}}}}
	})
	f.control.meter(t, "acct_demo", false, control.NewMeter{EventName: "hot", CustomerKey: "who"})
	token := f.token(testKey)
	keys := map[string]map[string]bool{} // of each customer
	for i := range 40 {
		who := fmt.Sprintf("cus_%d", i%8)
		body := fmt.Sprintf(`{"event_name":"hot","identifier":"%d","payload":{"who":"%s","stripe_customer_id":"other_%d","value":"1"}}`, i, who, i)
		c := call{path: eventsPath, key: testKey, body: body}
		if i%2 == 1 {
			c = call{path: streamPath, key: token, body: `{"events":[` + body + `]}`}
		}
		if a := f.do(c); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	all := map[string]bool{}
	for _, r := range f.records() {
		var v struct{ Payload map[string]string }
		if err := json.Unmarshal(r.Value, &v); err != nil {
			t.Fatal(err)
		}
		who := v.Payload["who"]
		if keys[who] == nil {
			keys[who] = map[string]bool{}
		}
		keys[who][string(r.Key)], all[string(r.Key)] = true, true
	}
	for who, of := range keys {
		if len(of) != 1 {
			t.Errorf("%s is in %v", who, of)
		}
	}
	if len(keys) != 8 || len(all) < 3 {
		t.Errorf("%d customers in %v", len(keys), all)
	}
}

func TestASpreadMeterThatIsNotKnownYetIsAskedForBeforeItsEventIsPlaced(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Policy = &Policy{Businesses: map[string]Business{"acct_demo": {Spread: map[string]int{"hot": 64}}}}
	})
	f.control.meter(t, "acct_demo", false, control.NewMeter{EventName: "hot", CustomerKey: "who"})
	c := call{path: streamPath, key: f.token(testKey), body: `{"events":[{"event_name":"hot","identifier":"1","payload":{"who":"cus_1","value":"1"}}]}`}
	f.control.late.Store(true) // a gateway that has just started
	f.control.away.Store(true)
	if a := f.do(c); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("where the event belongs is not known: %d %s", a.status, a.body)
	}
	f.control.away.Store(false)
	for range 2 { // and the repetition must meet the first
		if a := f.do(c); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	records := f.records()
	if len(records) != 2 || string(records[0].Key) != string(records[1].Key) {
		t.Errorf("an event and its repetition are stored as %+v", records)
	}
}

func TestALargeFormIsNotKeptForTheNextRequest(t *testing.T) {
	for _, bytes := range []int{1000, 100_000} {
		x := &exchange{index: &noHeaders}
		if err := stripe.ParseForm(&x.form, []byte("a="+strings.Repeat("x", bytes))); err != nil {
			t.Fatal(err)
		}
		new(exchanges).put(x)
		if kept := x.form.Has("a"); kept != (bytes < bufferKeptMax) {
			t.Errorf("a form of %d bytes is kept: %v", bytes, kept)
		}
	}
}
