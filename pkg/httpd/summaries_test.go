package httpd

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"tollgate/pkg/control"
	"tollgate/pkg/usage"
)

// hours answers queries as a worker does, with a window in every second hour from a time on, newest first.
func hours(fromMs int64, n int) func(usage.Query) (usage.Totals, error) {
	const hourMs = hourSeconds * 1000
	return func(q usage.Query) (usage.Totals, error) {
		t := usage.Totals{AsOfMs: fromMs + 7}
		if q.Grouping == usage.NoGrouping {
			t.Windows = []usage.WindowTotal{{StartMs: q.StartMs, EndMs: q.EndMs, Value: "12345678901234567890.123"}}
			return t, nil
		}
		var all []usage.WindowTotal // newest first
		for i := n - 1; i >= 0; i-- {
			w := usage.WindowTotal{StartMs: fromMs + int64(i)*2*hourMs, Value: fmt.Sprint(i)}
			w.EndMs = w.StartMs + hourMs
			if w.StartMs >= q.StartMs && w.EndMs <= q.EndMs && (q.BeforeMs == 0 || w.StartMs < q.BeforeMs) && (q.AfterMs == 0 || w.StartMs > q.AfterMs) {
				all = append(all, w)
			}
		}
		if t.Windows = all; len(all) > q.Limit {
			t.More = true
			if t.Windows = all[:q.Limit]; q.AfterMs != 0 {
				t.Windows = all[len(all)-q.Limit:]
			}
		}
		return t, nil
	}
}

type aSummary struct {
	ID, Object, Meter string
	Value             json.Number `json:"aggregated_value"`
	Start             int64       `json:"start_time"`
	End               int64       `json:"end_time"`
}

type summaryList struct {
	Object, URL string
	HasMore     bool `json:"has_more"`
	Data        []aSummary
}

func TestSummariesArePagedNewestFirst(t *testing.T) {
	f := newFixture(t, nil)
	m := f.control.meter(t, "acct_demo", false, control.NewMeter{EventName: "m", Formula: control.Last})
	const from = 1_772_445_600 // an hour
	f.usage.totals = hours(from*1000, 25)
	path := metersPath + "/" + m.ID + "/event_summaries"
	list := func(query string) (l summaryList) {
		t.Helper()
		a := f.do(call{method: "GET", path: path + "?customer=cus_1" + query, key: readerKey})
		a.into(t, &l)
		if l.Object != "list" || l.URL != path || l.Data == nil {
			t.Errorf("%s: %s", query, a.body)
		}
		for _, s := range l.Data {
			if s.Object != "billing.meter_event_summary" || s.Meter != m.ID || !strings.HasPrefix(s.ID, "mtrusg_test_") {
				t.Errorf("%+v", s)
			}
		}
		return l
	}
	grouped := fmt.Sprintf("&value_grouping_window=hour&start_time=%d&end_time=%d", from, from+100*hourSeconds)
	var walked []string
	cursor := ""
	for {
		l := list(grouped + "&limit=7" + cursor)
		for _, s := range l.Data {
			walked = append(walked, string(s.Value))
		}
		if !l.HasMore {
			break
		}
		cursor = "&starting_after=" + l.Data[len(l.Data)-1].ID
	}
	var want []string
	for i := 24; i >= 0; i-- {
		want = append(want, fmt.Sprint(i))
	}
	if fmt.Sprint(walked) != fmt.Sprint(want) {
		t.Errorf("walked %v", walked)
	}
	all := list(grouped + "&limit=100")
	if len(all.Data) != 25 || all.HasMore {
		t.Fatalf("%d windows", len(all.Data))
	}
	back := list(grouped + "&limit=3&ending_before=" + all.Data[10].ID)
	if len(back.Data) != 3 || !back.HasMore || back.Data[2] != all.Data[9] {
		t.Errorf("backwards %+v", back)
	}
	if l := list(grouped + "&starting_after=" + all.Data[24].ID); len(l.Data) != 0 || l.HasMore {
		t.Errorf("behind the last %+v", l)
	}
}

func TestARangeWithoutGroupingIsWidenedToWholeMinutes(t *testing.T) {
	f := newFixture(t, nil)
	m := f.control.meter(t, "acct_demo", false, control.NewMeter{EventName: "m"})
	var asked usage.Query
	f.usage.totals = func(q usage.Query) (usage.Totals, error) {
		asked = q
		return hours(0, 0)(q)
	}
	a := f.do(call{method: "GET", path: metersPath + "/" + m.ID + "/event_summaries?customer=cus%5F1&start_time=1&end_time=1772445601&expand%5B%5D=data", key: testKey})
	var l summaryList
	a.into(t, &l)
	want := usage.Query{
		Scope:   usage.Scope{Business: "acct_demo", EventName: "m"},
		MeterID: m.ID, Formula: control.Sum, Customer: "cus_1", EndMs: 1_772_445_660_000, Limit: 10,
	}
	if asked != want {
		t.Errorf("asked %+v", asked)
	}
	if len(l.Data) != 1 || l.Data[0].Value != "12345678901234567890.123" || l.Data[0].Start != 0 || l.Data[0].End != 1_772_445_660 || l.HasMore {
		t.Errorf("%s", a.body)
	}
	if got := a.header.Get("Tollgate-As-Of"); got != "1970-01-01T00:00:00.007Z" {
		t.Errorf("Tollgate-As-Of: %q", got)
	}
	again := f.do(call{method: "GET", path: metersPath + "/" + m.ID + "/event_summaries?customer=cus_1&start_time=0&end_time=1772445660&starting_after=" + l.Data[0].ID, key: testKey})
	if again.into(t, &l); len(l.Data) != 0 || l.HasMore {
		t.Errorf("behind the only window: %s", again.body)
	}
}

func TestRequestsForSummariesAreRefusedWithCodeAndParam(t *testing.T) {
	f := newFixture(t, nil)
	m := f.control.meter(t, "acct_demo", false, control.NewMeter{EventName: "m"})
	f.usage.totals = hours(0, 10)
	path := metersPath + "/" + m.ID + "/event_summaries"
	ask := func(query string) *answer { return f.do(call{method: "GET", path: path + query, key: testKey}) }
	var l summaryList
	ask("?customer=a&start_time=0&end_time=86400&value_grouping_window=hour").into(t, &l)
	id := l.Data[0].ID
	for _, row := range []struct{ query, code, param, saying string }{
		{"", "parameter_missing", "customer", ""},
		{"?customer=", "parameter_invalid_empty", "customer", ""},
		{"?customer=a", "parameter_missing", "start_time", ""},
		{"?customer=a&start_time=1", "parameter_missing", "end_time", ""},
		{"?customer=a&start_time=x&end_time=2", "parameter_invalid_integer", "start_time", ""},
		{"?customer=a&start_time=-1&end_time=2", "", "start_time", "1970"},
		{"?customer=a&start_time=1&end_time=253402300800", "", "end_time", "9999"},
		{"?customer=a&start_time=120&end_time=120", "", "end_time", "after start_time"},
		{"?customer=a&start_time=121&end_time=120", "", "end_time", "after start_time"},
		{"?customer=a&start_time=3601&end_time=7200&value_grouping_window=hour", "", "start_time", "start_time must fall on an hour."},
		{"?customer=a&start_time=3600&end_time=7201&value_grouping_window=hour", "", "end_time", "end_time must fall on an hour."},
		{"?customer=a&start_time=3600&end_time=86400&value_grouping_window=day", "", "start_time", "midnight UTC"},
		{"?customer=a&start_time=0&end_time=90000&value_grouping_window=day", "", "end_time", "midnight UTC"},
		{"?customer=a&start_time=0&end_time=90000&value_grouping_window=week", "", "value_grouping_window", "day or hour"},
		{"?customer=a&start_time=0&end_time=60&limit=101", "", "limit", "between 1 and 100"},
		{"?customer=a&start_time=0&end_time=60&nonsense=1", "parameter_unknown", "nonsense", ""},
		{"?customer=" + strings.Repeat("c", 501) + "&start_time=0&end_time=60", "", "customer", "500 bytes"},
		{"?customer=a&start_time=0&end_time=86400&value_grouping_window=hour&starting_after=mtrusg_test_0000000000000000000000", "resource_missing", "starting_after", "No such billing meter event summary"},
		{"?customer=a&start_time=0&end_time=86400&value_grouping_window=hour&ending_before=mtr_1", "resource_missing", "ending_before", ""},
		// An id of another list.
		{"?customer=b&start_time=0&end_time=86400&value_grouping_window=hour&starting_after=" + id, "resource_missing", "starting_after", ""},
		{"?customer=a&start_time=0&end_time=86400&value_grouping_window=day&starting_after=" + id, "resource_missing", "starting_after", ""},
	} {
		a := ask(row.query)
		e := a.failure(t)
		if a.status != 400 || e.Code != row.code || e.Param != row.param || !strings.Contains(e.Message, row.saying) {
			t.Errorf("%s: %d %s", row.query, a.status, a.body)
		}
	}
	for what, c := range map[string]call{
		"no such meter":      {path: metersPath + "/mtr_x/event_summaries?customer=a&start_time=0&end_time=60", key: testKey},
		"another business's": {path: path + "?customer=a&start_time=0&end_time=60", key: otherKey},
		"the other mode's":   {path: path + "?customer=a&start_time=0&end_time=60", key: liveKey},
	} {
		c.method = "GET"
		a := f.do(c)
		if e := a.failure(t); a.status != 404 || e.Code != "resource_missing" || e.Param != "id" {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	if a := f.do(call{method: "GET", path: path, key: idleKey}); a.status != 403 || !strings.Contains(a.body, "billing_meter_event_read") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestTotalsAreWholeOrNone(t *testing.T) {
	f := newFixture(t, nil)
	m := f.control.meter(t, "acct_demo", false, control.NewMeter{EventName: "m"})
	for _, row := range []struct {
		err    error
		status int
		param  string
		saying string
	}{
		{errors.New("the owner of partition 3 is away"), 503, "", "a part is no answer"},
		{nil, 503, "", "nothing of it is known yet"}, // as of 1970: a worker that has not begun
		{fmt.Errorf("from elsewhere: %w", &usage.IncompleteError{FromMs: 1_000, ToMs: 1_772_445_600_001}), 400, "start_time", "1772445601"},
		{&usage.IncompleteError{FromMs: 1_772_445_600_999}, 400, "end_time", "1772445600"},
	} {
		f.usage.set(func(o *oracle) {
			o.totals = func(usage.Query) (usage.Totals, error) {
				return usage.Totals{Windows: []usage.WindowTotal{{Value: "1"}}}, row.err
			}
		})
		a := f.do(call{method: "GET", path: metersPath + "/" + m.ID + "/event_summaries?customer=a&start_time=0&end_time=60", key: testKey})
		e := a.failure(t)
		if a.status != row.status || e.Param != row.param || !strings.Contains(e.Message, row.saying) || (a.header.Get("Retry-After") != "") != (row.status == 503) {
			t.Errorf("%v: %d %v %s", row.err, a.status, a.header, a.body)
		}
	}
}

func TestTheFateOfAnEventIsTold(t *testing.T) {
	f := newFixture(t, nil)
	var asked usage.FateQuery
	fate := usage.Fate{
		Status: usage.Refused, Topic: "tollgate.usage", Partition: 2, Offset: 77, ReceivedMs: 1_772_445_600_001, TimestampMs: 1_772_445_600_000,
		Code: "archived_meter", Message: "The meter sleeps.", Duplicate: &usage.Place{Partition: 2, Offset: 78, ReceivedMs: 1_772_445_601_000}, AsOfMs: 1_772_445_700_000,
	}
	f.usage.fate = func(q usage.FateQuery) (usage.Fate, error) {
		asked = q
		return fate, nil
	}
	c := call{method: "GET", path: "/v1/tollgate/usage_events/a%2Fb+%C3%BC?event_name=no%5Fsuch", key: readerKey}
	a := f.do(c)
	want := `{"object":"tollgate.usage_event","identifier":"a/b+ü","event_name":"no_such","livemode":false,"status":"refused",` +
		`"record":{"topic":"tollgate.usage","partition":2,"offset":77,"received":"2026-03-02T10:00:00.001Z"},"timestamp":"2026-03-02T10:00:00.000Z",` +
		`"code":"archived_meter","message":"The meter sleeps.","duplicate":{"topic":"tollgate.usage","partition":2,"offset":78,"received":"2026-03-02T10:00:01.000Z"},"cancelled_by":null}`
	if a.status != 200 || a.body != want || a.header.Get("Tollgate-As-Of") != "2026-03-02T10:01:40.000Z" {
		t.Errorf("%d %s %v", a.status, a.body, a.header)
	}
	if asked != (usage.FateQuery{Scope: usage.Scope{Business: "acct_demo", EventName: "no_such"}, Identifier: "a/b+ü"}) {
		t.Errorf("asked %+v", asked)
	}
	for _, status := range []usage.Status{usage.Accepted, usage.Counted, usage.Cancelled} {
		fate.Status = status
		if a := f.do(c); a.status != 200 || !strings.Contains(a.body, `"status":"`+string(status)+`"`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	fate = usage.Fate{Status: usage.NotFound, AsOfMs: 1_772_445_700_000, CancelledBy: &usage.Place{}}
	a = f.do(c)
	if e := a.failure(t); a.status != 404 || e.Code != "resource_missing" || !strings.Contains(e.Message, "cancellation") || a.header.Get("Tollgate-As-Of") == "" {
		t.Errorf("%d %s %v", a.status, a.body, a.header)
	}
	f.usage.set(func(o *oracle) {
		o.fate = func(usage.FateQuery) (usage.Fate, error) { return usage.Fate{}, errors.New("away") }
	})
	if a := f.do(c); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	for query, param := range map[string]string{"": "event_name", "?event_name=": "event_name", "?event_name=" + strings.Repeat("x", 101): "event_name", "?event_name=a&b=c": "b"} {
		a := f.do(call{method: "GET", path: "/v1/tollgate/usage_events/a" + query, key: testKey})
		if e := a.failure(t); a.status != 400 || e.Param != param {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	long := strings.Repeat("%3C", 101) // every < is six bytes in a question to another gateway
	if a := f.do(call{method: "GET", path: "/v1/tollgate/usage_events/" + long + "?event_name=a", key: testKey}); a.status != 400 || a.failure(t).Param != "identifier" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := f.do(call{method: "GET", path: "/v1/tollgate/usage_events/a?event_name=b", key: idleKey}); a.status != 403 {
		t.Errorf("%d %s", a.status, a.body)
	}
	f.usage.set(func(o *oracle) { // a worker that has not begun
		o.fate = func(usage.FateQuery) (usage.Fate, error) { return usage.Fate{Status: usage.NotFound}, nil }
	})
	if a := f.do(c); a.status != 503 || a.header.Get("Retry-After") == "" || a.header.Get("Tollgate-As-Of") != "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := f.do(call{path: "/v1/tollgate/usage_events/a", key: testKey}); a.status != 405 || a.header.Get("Allow") != "GET" {
		t.Errorf("%d %v", a.status, a.header)
	}
}
