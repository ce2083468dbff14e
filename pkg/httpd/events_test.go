package httpd

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tollgate/pkg/stripe"
	"tollgate/pkg/thinevent"
)

const (
	coreEventsPath   = "/v2/core/events"
	destinationsPath = "/v2/core/event_destinations"
)

// reference reads one of the reference's shapes, which the renderer's room keeps.
func reference(t testing.TB, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "stripe", "testdata", name))
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sameJSON says whether two texts mean the same, whatever the order of their members.
func sameJSON(t testing.TB, got, want string) bool {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Fatalf("%q: %v", got, err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatalf("%q: %v", want, err)
	}
	return reflect.DeepEqual(a, b)
}

// report is an event about a meter, or about names without one. Its Source tells reports of one window apart.
func report(business, meter string, n int64, createdMs int64) *thinevent.Event {
	return thinevent.NewReport(&thinevent.Report{
		Business: business, MeterID: meter, StartMs: createdMs / 10_000 * 10_000, EndMs: createdMs/10_000*10_000 + 10_000,
		Source: thinevent.Source{First: n, Through: n + 1},
		Codes:  []thinevent.CodeErrors{{Code: "meter_event_invalid_value", Count: 1, Samples: []thinevent.Sample{{Message: "No number.", Identifier: "id"}}}},
	}, createdMs)
}

const someMs = 1_772_445_600_000 // 2026-03-02T10:00:00Z

// aPage is a v2 list's page.
type aPage struct {
	Data []struct{ ID, Type string }
	Next string `json:"next_page_url"`
	Prev string `json:"previous_page_url"`
}

func (f *fixture) page(key, path string) (p aPage) {
	f.t.Helper()
	a := f.do(call{method: "GET", path: path, key: key})
	if a.status != 200 {
		f.t.Fatalf("%s: %d %s", path, a.status, a.body)
	}
	a.into(f.t, &p)
	return p
}

func (p aPage) ids() (ids []string) {
	for _, item := range p.Data {
		ids = append(ids, item.ID)
	}
	return ids
}

func (f *fixture) shelve(events ...*thinevent.Event) {
	f.t.Helper()
	if err := f.events.Append(f.t.Context(), events...); err != nil {
		f.t.Fatal(err)
	}
}

func TestEventsLookAsTheReferenceHasThem(t *testing.T) {
	f := newFixture(t, nil)
	var want struct {
		Retrieve map[string]json.RawMessage
		List     struct{ Page1, Page2, Empty json.RawMessage }
	}
	reference(t, "v2_events.json", &want)
	if a := f.do(call{method: "GET", path: coreEventsPath, key: testKey}); !sameJSON(t, a.body, string(want.List.Empty)) {
		t.Errorf("an empty list: %s", a.body)
	}
	for _, name := range []string{"error_report", "no_meter"} {
		var shape struct {
			ID, Type string
			Related  *stripe.RelatedObject `json:"related_object"`
			Data     json.RawMessage
		}
		if err := json.Unmarshal(want.Retrieve[name], &shape); err != nil {
			t.Fatal(err)
		}
		ms := map[string]int64{"error_report": someMs + 1_242_118, "no_meter": someMs + 1_242_120}[name]
		f.shelve(&thinevent.Event{Business: "acct_demo", Event: stripe.Event{ID: shape.ID, Type: shape.Type, CreatedMs: ms, Related: shape.Related, Data: shape.Data}})
		if a := f.do(call{method: "GET", path: coreEventsPath + "/" + shape.ID, key: testKey}); a.status != 200 || !sameJSON(t, a.body, string(want.Retrieve[name])) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	first := f.page(testKey, coreEventsPath+"?limit=1")
	second := f.page(testKey, first.Next)
	for _, row := range []struct {
		path, page, want string
	}{{coreEventsPath + "?limit=1", "page_fixture_2", string(want.List.Page1)}, {first.Next, "page_fixture_1", string(want.List.Page2)}} {
		a := f.do(call{method: "GET", path: row.path, key: testKey})
		masked := a.body
		for _, link := range []string{first.Next, second.Prev} {
			_, page, _ := strings.Cut(link, "page=")
			masked = strings.ReplaceAll(masked, page, row.page)
		}
		if !sameJSON(t, masked, row.want) {
			t.Errorf("%s: %s", row.path, a.body)
		}
	}
}

// TestEventsAreListedNewestFirstThroughAllPages walks there and back, while new events arrive.
func TestEventsAreListedNewestFirstThroughAllPages(t *testing.T) {
	f := newFixture(t, nil)
	var want []string
	for i := range 45 {
		e := report("acct_demo", "mtr_test_a", int64(i), someMs+int64(i/3)) // three of each millisecond
		f.shelve(e, report("acct_other", "mtr_test_b", int64(i), someMs))
		want = append([]string{e.ID}, want...)
	}
	var got, back []string
	var links []string
	for path, i := coreEventsPath+"?limit=7&object_id=mtr_test_a", 0; path != "" && i < 10; i++ {
		p := f.page(testKey, path)
		if len(p.Data) == 0 || !strings.HasPrefix(p.Next, coreEventsPath+"?limit=7&object_id=mtr_test_a&page=") && p.Next != "" || (p.Prev == "") != (i == 0) {
			t.Fatalf("page %d: %+v", i, p)
		}
		got = append(got, p.ids()...)
		links = append(links, p.Prev)
		path = p.Next
		f.shelve(report("acct_demo", "mtr_test_a", int64(1000+i), someMs+1000+int64(i)))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d events in this order: %v", len(got), got)
	}
	for path, i := links[len(links)-1], 0; path != "" && i < 6; i++ {
		p := f.page(testKey, path)
		back = append(p.ids(), back...)
		path = p.Prev
	}
	if !slices.Equal(back, want[:42]) {
		t.Errorf("back: %d events in this order: %v", len(back), back)
	}
}

func TestEventsAreFoundByWhatIsAskedFor(t *testing.T) {
	f := newFixture(t, nil)
	early, late := report("acct_demo", "mtr_test_a", 1, someMs), report("acct_demo", "mtr_test_b", 2, someMs+5000)
	none := report("acct_demo", "", 3, someMs+2000)
	f.shelve(early, late, none)
	for query, want := range map[string][]*thinevent.Event{
		"":                                  {late, none, early},
		"object_id=mtr_test_a":              {early},
		"object_id=nothing":                 nil,
		"types[0]=" + thinevent.TypeNoMeter: {none},
		"types=" + thinevent.TypeNoMeter + "&types=" + thinevent.TypeErrorReport:               {late, none, early},
		"types=" + thinevent.TypeNoMeter + "&types=" + thinevent.TypeNoMeter:                   {none},
		"types[]=" + thinevent.TypeErrorReport:                                                 {late, early},
		"types%5B0%5D=" + thinevent.TypeErrorReport + "&types%5B1%5D=" + thinevent.TypeNoMeter: {late, none, early},
		"types[0]=v1.billing.meter.something_new":                                              nil,
		"created[gt]=2026-03-02T10:00:00Z":                                                     {late, none},
		"created[gte]=2026-03-02T11:00:00%2B01:00":                                             {late, none, early},
		"created[lt]=2026-03-02T10:00:05Z&created[gt]=1772445600":                              {none},
		"created%5Blte%5D=1772445605":                                                          {late, none, early},
		"created[lt]=0":                                                                        nil,
		"created[gt]=1772445605&created[lt]=1772445600":                                        nil,
	} {
		var ids []string
		for _, e := range want {
			ids = append(ids, e.ID)
		}
		if p := f.page(testKey, coreEventsPath+"?"+query); !slices.Equal(p.ids(), ids) || p.Next != "" || p.Prev != "" {
			t.Errorf("%q: %+v, not %v", query, p, ids)
		}
	}
	for _, q := range f.events.asked {
		if types := slices.Compact(slices.Sorted(slices.Values(q.Types))); len(types) != len(q.Types) {
			t.Errorf("a type was asked for twice: %v", q.Types)
		}
	}
	if p := f.page(liveKey, coreEventsPath); len(p.Data) > 0 {
		t.Errorf("in live mode: %+v", p)
	}
	if p := f.page(otherKey, coreEventsPath); len(p.Data) > 0 {
		t.Errorf("to another business: %+v", p)
	}
}

// refusedCall is a call and how it is refused.
type refusedCall struct {
	name        string
	call        call
	status      int
	code, param string
}

func (f *fixture) refuses(rows []refusedCall) {
	f.t.Helper()
	for _, row := range rows {
		a := f.do(row.call)
		if e := a.failure(f.t); a.status != row.status || e.Code != row.code || e.Param != row.param {
			f.t.Errorf("%s: %d %s\nnot %d %s %s", row.name, a.status, a.body, row.status, row.code, row.param)
		}
	}
}

func TestRequestsAboutEventsAreRefusedWithCodeAndParam(t *testing.T) {
	f := newFixture(t, nil)
	e := report("acct_demo", "mtr_test_a", 1, someMs)
	f.shelve(e, report("acct_demo", "mtr_test_a", 2, someMs), report("acct_third", "mtr_test_a", 1, someMs), report("acct_third", "mtr_test_a", 2, someMs))
	next := f.page(testKey, coreEventsPath+"?limit=1").Next
	foreign := f.page(thirdKey, coreEventsPath+"?limit=1").Next
	destinations := func() string {
		f.destination(`,"name":"a"`)
		f.destination(`,"name":"b"`)
		p := f.page(testKey, destinationsPath+"?limit=1")
		return strings.Replace(p.Next, destinationsPath, coreEventsPath, 1)
	}()
	list := func(query string) call { return call{method: "GET", path: coreEventsPath + "?" + query, key: testKey} }
	get := func(path string) call { return call{method: "GET", path: path, key: testKey} }
	middle := len(next) - 20
	f.refuses([]refusedCall{
		{"no such event", get(coreEventsPath + "/evt_test_x"), 404, "not_found", "id"},
		{"an event of live mode", call{method: "GET", path: coreEventsPath + "/" + e.ID, key: liveKey}, 404, "not_found", "id"},
		{"another's event", call{method: "GET", path: coreEventsPath + "/" + e.ID, key: otherKey}, 404, "not_found", "id"},
		{"an event with a parameter", get(coreEventsPath + "/" + e.ID + "?include=x"), 400, "invalid_fields", "include"},
		{"an unknown parameter", list("objectid=a"), 400, "invalid_fields", "objectid"},
		{"expand", list("expand[]=data"), 400, "invalid_fields", "expand[]"},
		{"no limit", list("limit=0"), 400, "invalid_fields", "limit"},
		{"a limit over the bound", list("limit=101"), 400, "invalid_fields", "limit"},
		{"a limit that is none", list("limit=a"), 400, "invalid_fields", "limit"},
		{"21 types", list(strings.Repeat("types[]=a&", 21)), 400, "invalid_fields", "types"},
		{"an object twice", list("object_id=a&object_id=b"), 400, "invalid_fields", "object_id"},
		{"a time that is none", list("created[gt]=yesterday"), 400, "invalid_fields", "created[gt]"},
		{"a bound that is none", list("created[eq]=1"), 400, "invalid_fields", "created[eq]"},
		{"a bare time", list("created=1"), 400, "invalid_fields", "created"},
		{"a page that is none", list("page=abc"), 400, "invalid_fields", "page"},
		{"a long page", list("page=" + strings.Repeat("A", 8000)), 400, "invalid_fields", "page"},
		{"two pages", get(next + "&page=a"), 400, "invalid_fields", "page"},
		{"a page that was altered", get(next[:middle] + string(next[middle]^1) + next[middle+1:]), 400, "invalid_fields", "page"},
		{"a page of other filters", get(next + "&object_id=mtr_test_a"), 400, "invalid_fields", "page"},
		{"a page of other types", get(next + "&types[0]=a"), 400, "invalid_fields", "page"},
		{"a page of another time", get(next + "&created[gt]=0"), 400, "invalid_fields", "page"},
		{"another's page", get(foreign), 400, "invalid_fields", "page"},
		{"a page of live mode", call{method: "GET", path: next, key: liveKey}, 400, "invalid_fields", "page"},
		{"a page of another list", get(destinations), 400, "invalid_fields", "page"},
		{"a session token for a page", list("page=" + f.token(testKey)), 400, "invalid_fields", "page"},
		{"a huge query", list("object_id=" + strings.Repeat("a", 20_000)), 431, "request_header_too_large", ""},
		{"many parameters", list(strings.Repeat("a=b&", 200)), 400, "invalid_fields", ""},
		{"a broken escape", list("object_id=%zz"), 400, "invalid_fields", "object_id"},
	})
}

func TestALinkKeepsWhatWasAskedFor(t *testing.T) {
	f := newFixture(t, nil)
	for i := range 3 {
		f.shelve(report("acct_demo", "mtr_test_\"<ü", int64(i), someMs))
	}
	for _, query := range []string{
		"limit=1", "&&limit=1&object_id=mtr_test_%22%3C%C3%BC", "object_id=mtr_test_\"<ü&limit=1",
		"types%5B0%5D=" + thinevent.TypeErrorReport + "&limit=1", "created[gt]=2026-03-01T00:00:00%2B00:00&limit=1",
	} {
		a := f.raw("GET " + coreEventsPath + "?" + query + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer " + testKey + "\r\n\r\n")
		var p aPage
		a[0].into(t, &p)
		if _, err := url.Parse(p.Next); err != nil || strings.ContainsAny(p.Next, "\"<#ü") {
			t.Errorf("%q leads to %q: %v", query, p.Next, err)
		}
		second := f.page(testKey, p.Next)
		third := f.page(testKey, second.Next)
		if len(third.Data) != 1 || third.Next != "" || strings.Count(third.Prev, "page=") != 1 {
			t.Errorf("%q: %+v", query, third)
		}
	}
}

func TestEventsOfOtherGatewaysAreSeen(t *testing.T) {
	f := newFixture(t, nil)
	e := report("acct_demo", "mtr_test_a", 1, someMs)
	hide := func() { f.events.set(func(s *shelf) { s.hidden, s.events = append(s.hidden, e), nil }) }
	hide()
	if p := f.page(testKey, coreEventsPath); len(p.Data) != 1 {
		t.Errorf("the list: %+v", p)
	}
	hide()
	if a := f.do(call{method: "GET", path: coreEventsPath + "/" + e.ID, key: testKey}); a.status != 200 {
		t.Errorf("the event: %d %s", a.status, a.body)
	}
}

func TestEventsThatCanNotBeReadAreUnavailable(t *testing.T) {
	f := newFixture(t, nil)
	e := report("acct_demo", "mtr_test_a", 1, someMs)
	f.shelve(e)
	unavailable := func(path string) {
		t.Helper()
		a := f.do(call{method: "GET", path: path, key: testKey})
		if got := a.failure(t); a.status != 503 || got.Code != "service_unavailable" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	f.events.set(func(s *shelf) { s.away = true })
	unavailable(coreEventsPath)
	unavailable(coreEventsPath + "/evt_test_x")
	if a := f.do(call{method: "GET", path: coreEventsPath + "/" + e.ID, key: testKey}); a.status != 200 {
		t.Errorf("an event that is here: %d %s", a.status, a.body)
	}
	f.events.set(func(s *shelf) { s.away, s.broken = false, &thinevent.DamagedError{} })
	unavailable(coreEventsPath)
	unavailable(coreEventsPath + "/" + e.ID)
}

// TestAKeyReadsTheEventsOfWhatItMayRead: silently in a list, by name of the permission of one.
func TestAKeyReadsTheEventsOfWhatItMayRead(t *testing.T) {
	f := newFixture(t, nil)
	f.addKeys("event_read", "event_read,billing_meter_read", "event_read,webhook_read", "event_read,billing_meter_write,webhook_write")
	meter, noMeter := report("acct_demo", "mtr_test_a", 1, someMs), report("acct_demo", "", 2, someMs+1)
	ping := thinevent.NewPing("acct_demo", false, "ed_test_a", [16]byte{1}, nil, someMs+2)
	unknown := report("acct_demo", "mtr_test_a", 3, someMs+3)
	unknown.Type = "v9.made.by.another.version"
	f.shelve(meter, noMeter, ping, unknown)
	all := []*thinevent.Event{unknown, ping, noMeter, meter}
	for key, readable := range map[string][]*thinevent.Event{
		testKey:                  all,
		restricted("event_read"): nil,
		restricted("event_read,billing_meter_read"):                {noMeter, meter},
		restricted("event_read,webhook_read"):                      {ping},
		restricted("event_read,billing_meter_write,webhook_write"): all,
	} {
		var ids []string
		for _, e := range readable {
			ids = append(ids, e.ID)
		}
		if p := f.page(key, coreEventsPath); !slices.Equal(p.ids(), ids) || p.Next != "" {
			t.Errorf("%s lists %+v", key, p)
		}
		if p := f.page(key, coreEventsPath+"?types="+thinevent.TypePing); (len(p.Data) == 1) != slices.Contains(readable, ping) {
			t.Errorf("%s lists %+v", key, p)
		}
		for _, e := range all {
			a := f.do(call{method: "GET", path: coreEventsPath + "/" + e.ID, key: key})
			switch {
			case slices.Contains(readable, e):
				if a.status != 200 {
					t.Errorf("%s retrieves %s: %d %s", key, e.Type, a.status, a.body)
				}
			case a.status != 403 || a.failure(t).Code != "insufficient_permissions":
				t.Errorf("%s retrieves %s: %d %s", key, e.Type, a.status, a.body)
			}
		}
	}
	a := f.do(call{method: "GET", path: coreEventsPath + "/" + ping.ID, key: restricted("event_read,billing_meter_read")})
	if message := a.failure(t).Message; !strings.Contains(message, "'webhook_read'") {
		t.Errorf("the missing permission: %s", message)
	}
}

func TestAnEventIsSentAgain(t *testing.T) {
	f := newFixture(t, nil)
	f.addKeys("event_read,webhook_write", "event_read,webhook_write,billing_meter_read")
	e := report("acct_demo", "mtr_test_a", 1, someMs)
	f.shelve(e)
	on, off := f.destination(`,"name":"on"`), f.destination(`,"name":"off"`)
	if a := f.do(call{path: destinationsPath + "/" + off + "/disable", key: testKey}); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	resend := func(key, event, query, body string) call {
		return call{path: coreEventsPath + "/" + event + "/resend" + query, key: key, body: body}
	}
	for _, c := range []call{
		resend(testKey, e.ID, "?destination="+on, ""), resend(testKey, e.ID, "?destination="+on, " {} "),
		resend(restricted("event_read,webhook_write,billing_meter_read"), e.ID, "?destination="+on, ""),
	} {
		a := f.do(c)
		if want := f.do(call{method: "GET", path: coreEventsPath + "/" + e.ID, key: testKey}); a.status != 200 || a.body != want.body {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if want := on + " " + e.ID; !slices.Equal(f.webhooks.sent, []string{want, want, want}) {
		t.Errorf("sent: %v", f.webhooks.sent)
	}
	f.refuses([]refusedCall{
		{"no destination", resend(testKey, e.ID, "", "{}"), 400, "invalid_fields", "destination"},
		{"no such destination", resend(testKey, e.ID, "?destination=ed_test_x", ""), 404, "not_found", "id"},
		{"no such event", resend(testKey, "evt_test_x", "?destination="+on, ""), 404, "not_found", "id"},
		{"another's", resend(otherKey, e.ID, "?destination="+on, ""), 404, "not_found", "id"},
		{"a disabled destination", resend(testKey, e.ID, "?destination="+off, ""), 400, "event_destination_disabled", ""},
		{"something in the body", resend(testKey, e.ID, "?destination="+on, `{"destination":"a"}`), 400, "invalid_fields", "destination"},
		{"something else in the query", resend(testKey, e.ID, "?destination="+on+"&to=a", ""), 400, "invalid_fields", "to"},
		{"an event that the key may not read", resend(restricted("event_read,webhook_write"), e.ID, "?destination="+on, ""), 403, "insufficient_permissions", ""},
	})
	if len(f.webhooks.sent) != 3 {
		t.Errorf("sent: %v", f.webhooks.sent)
	}
}

func TestWhatIsNotKnownOfASendingIsSaid(t *testing.T) {
	f := newFixture(t, nil)
	e := report("acct_demo", "mtr_test_a", 1, someMs)
	f.shelve(e)
	on := f.destination(`,"name":"on"`)
	for _, row := range unwritten {
		f.webhooks.err = row.err
		a := f.do(call{path: coreEventsPath + "/" + e.ID + "/resend?destination=" + on, key: testKey})
		if got := a.failure(t); a.status != row.status || got.Code != row.code {
			t.Errorf("%v: %d %s", row.err, a.status, a.body)
		}
		f.events.set(func(s *shelf) { s.err = row.err })
		a = f.do(call{path: destinationsPath + "/" + on + "/ping", key: testKey})
		if got := a.failure(t); a.status != row.status || got.Code != row.code {
			t.Errorf("%v: %d %s", row.err, a.status, a.body)
		}
	}
	f.events.set(func(s *shelf) { s.err = fmt.Errorf("late: %w", thinevent.ErrNotIndexed) })
	if a := f.do(call{path: destinationsPath + "/" + on + "/ping", key: testKey}); a.status != 200 {
		t.Errorf("a ping that is durable: %d %s", a.status, a.body)
	}
}
