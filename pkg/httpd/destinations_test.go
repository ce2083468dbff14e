package httpd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/stripe"
	"tollgate/pkg/thinevent"
	"tollgate/pkg/webhook"
)

// unwritten is what a log may say, and what is answered then.
var unwritten = []struct {
	err    error
	status int
	code   string
}{
	{fmt.Errorf("x: %w", commitlog.ErrUnknown), 503, "outcome_unknown"},
	{fmt.Errorf("x: %w", commitlog.ErrUnavailable), 503, "service_unavailable"},
	{fmt.Errorf("x: %w", commitlog.ErrRefused), 500, "log_refused"},
	{errors.New("x"), 503, "outcome_unknown"},
}

const (
	bothEvents = `"enabled_events":["v1.billing.meter.error_report_triggered","v1.billing.meter.no_meter_found"]`
	// aDestination is a body but for its name and what else a test wants.
	aDestination = `{"type":"webhook_endpoint","event_payload":"thin",` + bothEvents + `,"webhook_endpoint":{"url":"https://hooks.example.com/a"}`
)

// destination makes one in the demo business, in test mode, and returns its id.
func (f *fixture) destination(more string) string {
	f.t.Helper()
	return f.destinationOf(testKey, more)
}

func (f *fixture) destinationOf(key, more string) string {
	f.t.Helper()
	a := f.do(call{path: destinationsPath, key: key, body: aDestination + more + "}"})
	var d struct{ ID string }
	if a.into(f.t, &d); a.status != 200 {
		f.t.Fatalf("%d %s", a.status, a.body)
	}
	return d.ID
}

var (
	anID    = regexp.MustCompile(`\b(ed|evt|req)_(test_)?[0-9A-Za-z]{10,}`)
	aTime   = regexp.MustCompile(`"20[0-9T:.-]*Z"`)
	aSecret = regexp.MustCompile(`whsec_[0-9a-z]+`)
)

// masked is text without what differs from run to run.
func masked(text string) string {
	return aSecret.ReplaceAllString(aTime.ReplaceAllString(anID.ReplaceAllString(text, "id"), `"time"`), "whsec")
}

// TestDestinationsLookAsTheReferenceHasThem does with one destination what the reference's examples do, in their order.
func TestDestinationsLookAsTheReferenceHasThem(t *testing.T) {
	f := newFixture(t, nil)
	type example struct {
		Body     json.RawMessage `json:"request_body"`
		Query    string
		Response json.RawMessage
	}
	var want struct {
		Create, Retrieve, Update, Disable, Enable, Delete, List, Ping example
		URL                                                           example `json:"retrieve_with_url"`
	}
	reference(t, "v2_event_destinations.json", &want)
	same := func(what string, a *answer, want example) {
		t.Helper()
		if got, want := masked(a.body), masked(string(want.Response)); a.status != 200 || !sameJSON(t, got, want) {
			t.Errorf("%s: %d %s\nnot %s", what, a.status, got, want)
		}
	}
	a := f.do(call{path: destinationsPath, key: testKey, body: string(want.Create.Body)})
	same("create", a, want.Create)
	var made struct{ ID string }
	a.into(t, &made)
	path := destinationsPath + "/" + made.ID
	same("retrieve", f.do(call{method: "GET", path: path, key: testKey}), want.Retrieve)
	same("list", f.do(call{method: "GET", path: destinationsPath, key: testKey}), want.List)
	same("retrieve with url", f.do(call{method: "GET", path: path + "?" + want.URL.Query, key: testKey}), want.URL)
	same("disable", f.do(call{path: path + "/disable", key: testKey, body: "{}"}), want.Disable)
	same("enable", f.do(call{path: path + "/enable", key: testKey}), want.Enable)
	key := "b9a1c0de-0000-4000-8000-000000000009"
	same("ping", f.do(call{path: path + "/ping", key: testKey, header: map[string]string{"Idempotency-Key": key}}), want.Ping)
	same("update", f.do(call{path: path, key: testKey, body: string(want.Update.Body)}), want.Update)
	same("delete", f.do(call{method: "DELETE", path: path, key: testKey}), want.Delete)
	if a := f.do(call{method: "GET", path: path, key: testKey}); a.status != 404 {
		t.Errorf("behind its removal: %d %s", a.status, a.body)
	}
}

// aDest is a destination as clients see it.
type aDest struct {
	ID, Name, Description, Status, Type string
	Enabled                             []string `json:"enabled_events"`
	Metadata                            map[string]string
	Livemode                            bool
	Details                             *struct {
		Failing *struct {
			Since   string
			Error   string `json:"last_error"`
			Pending int
		}
		Disabled *struct{ Reason string }
	} `json:"status_details"`
	Endpoint *struct {
		Secret *string `json:"signing_secret"`
		URL    *string
	} `json:"webhook_endpoint"`
	Kafka *struct{ Topic string } `json:"kafka_topic"`
}

func (f *fixture) dest(c call) (d aDest) {
	f.t.Helper()
	if c.key == "" {
		c.key = testKey
	}
	a := f.do(c)
	if a.status != 200 {
		f.t.Fatalf("%s %s: %d %s", c.method, c.path, a.status, a.body)
	}
	a.into(f.t, &d)
	return d
}

func TestADestinationIsChangedFieldByField(t *testing.T) {
	f := newFixture(t, nil)
	id := f.destination(`,"name":"a","description":"b","metadata":{"x":"1","y":"2"},"events_from":["@self"],"snapshot_api_version":null`)
	path := destinationsPath + "/" + id
	d := f.dest(call{path: path, body: `{"metadata":{"x":null,"z":""},"include":["webhook_endpoint.url"]}`})
	if d.Name != "a" || d.Description != "b" || len(d.Metadata) != 2 || d.Metadata["y"] != "2" || d.Endpoint == nil || *d.Endpoint.URL != "https://hooks.example.com/a" || d.Endpoint.Secret != nil {
		t.Errorf("%+v", d)
	}
	d = f.dest(call{path: path, body: `{"description":null,"enabled_events":["v1.billing.meter.no_meter_found","v1.billing.meter.no_meter_found"],"webhook_endpoint":{"url":"http://127.0.0.1:1/b"},"include":["webhook_endpoint.url"]}`})
	if d.Description != "" || len(d.Enabled) != 1 || *d.Endpoint.URL != "http://127.0.0.1:1/b" || len(d.Metadata) != 2 {
		t.Errorf("%+v", d)
	}
	if d = f.dest(call{path: path, body: `{}`}); d.Name != "a" || d.Endpoint != nil {
		t.Errorf("%+v", d)
	}
}

func TestASecretIsShownWhenItIsMade(t *testing.T) {
	f := newFixture(t, nil)
	secret := func(c call) string {
		t.Helper()
		d := f.dest(c)
		if d.Endpoint == nil || d.Endpoint.Secret == nil {
			return ""
		}
		return *d.Endpoint.Secret
	}
	create := func(key, more string) call {
		return call{path: destinationsPath, body: aDestination + `,"name":"a"` + more + `}`, header: map[string]string{"Idempotency-Key": key}}
	}
	show := `,"include":["webhook_endpoint.signing_secret"]`
	first := secret(create("a", show))
	if again := secret(create("a", show)); !regexp.MustCompile(`^whsec_[0-9a-f]{64}$`).MatchString(first) || again != first {
		t.Errorf("%q, and again %q", first, again)
	}
	if second := secret(create("b", show)); second == first {
		t.Error("two destinations have one secret")
	}
	if hidden := secret(create("c", "")); hidden != "" {
		t.Errorf("shown without being asked for: %q", hidden)
	}
	d := f.control.Snapshot().Destinations("acct_demo", false)
	path := destinationsPath + "/" + d[len(d)-1].ID
	if hidden := secret(call{method: "GET", path: path + "?include[0]=webhook_endpoint.url"}); hidden != "" {
		t.Errorf("shown later: %q", hidden)
	}

	before := time.Now().UnixMilli()
	rolled := secret(call{path: path + "/roll_secret", body: `{"expires_after_seconds":60}`, header: map[string]string{"Idempotency-Key": "roll"}})
	again := secret(call{path: path + "/roll_secret", body: ` { "expires_after_seconds" : 60 } `, header: map[string]string{"Idempotency-Key": "roll"}})
	now := f.control.Snapshot().Destination("acct_demo", false, d[len(d)-1].ID)
	if rolled == "" || rolled == first || again != rolled || now.Secret != rolled || now.OldSecret != first || now.OldUntilMs < before+60_000 || now.OldUntilMs > before+70_000 {
		t.Errorf("%q, again %q, from %q: %+v", rolled, again, first, now)
	}
	if secret(call{path: path + "/roll_secret"}); f.control.Snapshot().Destination("acct_demo", false, now.ID).OldUntilMs < before+86_400_000 {
		t.Error("the old secret does not sign for a day more")
	}
	if secret(call{path: path + "/roll_secret", body: `{"expires_after_seconds":0}`}); f.control.Snapshot().Destination("acct_demo", false, now.ID).OldUntilMs > time.Now().UnixMilli() {
		t.Error("the old secret signs on")
	}
}

func TestAKafkaTopicMustBeOneThatMayBeNamed(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.KafkaTopics = func(name string) bool { return name == "company.events" } })
	body := func(topic string) string {
		return `{"name":"a","type":"kafka_topic","event_payload":"thin",` + bothEvents + `,"kafka_topic":{"topic":"` + topic + `"}}`
	}
	d := f.dest(call{path: destinationsPath, body: body("company.events")})
	if d.Type != "kafka_topic" || d.Kafka == nil || d.Kafka.Topic != "company.events" || d.Endpoint != nil {
		t.Errorf("%+v", d)
	}
	path := destinationsPath + "/" + d.ID
	if d = f.dest(call{path: path, body: `{"name":"b"}`}); d.Name != "b" || d.Kafka == nil {
		t.Errorf("%+v", d)
	}
	f.refuses([]refusedCall{
		{"another topic", call{path: destinationsPath, key: testKey, body: body("tollgate.usage")}, 400, "invalid_fields", "kafka_topic.topic"},
		{"a URL for it", call{path: path, key: testKey, body: `{"webhook_endpoint":{"url":"https://example.com"}}`}, 400, "invalid_fields", "webhook_endpoint"},
		{"a secret for it", call{path: path + "/roll_secret", key: testKey}, 400, "invalid_fields", ""},
		{"another topic later", call{path: path, key: testKey, body: `{"kafka_topic":{"topic":"company.events"}}`}, 400, "invalid_fields", "kafka_topic"},
	})
	none := newFixture(t, nil)
	a := none.do(call{path: destinationsPath, key: testKey, body: body("company.events")})
	if e := a.failure(t); a.status != 400 || e.Param != "kafka_topic.topic" || !strings.Contains(e.Message, "webhooks.kafka_topics") {
		t.Errorf("without any: %d %s", a.status, a.body)
	}
}

func TestRequestsAboutDestinationsAreRefusedWithCodeAndParam(t *testing.T) {
	f := newFixture(t, nil)
	id := f.destination(`,"name":"a"`)
	path := destinationsPath + "/" + id
	create := func(change ...string) call {
		body := strings.NewReplacer(change...).Replace(aDestination + `,"name":"a"}`)
		return call{path: destinationsPath, key: testKey, body: body}
	}
	more := func(members string) call { return create(`"name":"a"}`, `"name":"a",`+members+`}`) }
	update := func(body string) call { return call{path: path, key: testKey, body: body} }
	many := func(n int, entry string) string {
		entries := make([]string, n)
		for i := range entries {
			entries[i] = strings.ReplaceAll(entry, "#", fmt.Sprint(i))
		}
		return strings.Join(entries, ",")
	}
	f.refuses([]refusedCall{
		{"no JSON", create(`{`, ``), 400, "invalid_fields", ""},
		{"half of it", create(`"}`, ``), 400, "invalid_fields", ""},
		{"something behind it", create(`"name":"a"}`, `"name":"a"} {}`), 400, "invalid_fields", ""},
		{"an array", call{path: destinationsPath, key: testKey, body: `[]`}, 400, "invalid_fields", ""},
		{"no UTF-8", create(`"a"`, "\"\xff\""), 400, "invalid_fields", ""},
		{"half a surrogate", create(`"a"`, `"\ud800"`), 400, "invalid_fields", "name"},
		{"half a surrogate for a name", more(`"metadata":{"\udc00":"a"}`), 400, "invalid_fields", "metadata.\uFFFD"},
		{"a property twice", more(`"name":"b"`), 400, "invalid_fields", "name"},
		{"a property twice, deep", more(`"metadata":{"a":"1","\u0061":"2"}`), 400, "invalid_fields", "metadata.a"},
		{"deep JSON", more(`"metadata":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)), 400, "invalid_fields", "metadata[0][0][0]"},
		{"deeper JSON", more(`"metadata":` + strings.Repeat(`[`, 30_000)), 400, "invalid_fields", ""},
		{"a wide object", more(`"metadata":{` + many(1000, `"k#":"v"`) + `}`), 400, "invalid_fields", "metadata"},
		{"a wide body", more(many(1000, `"k#":"v"`)), 400, "invalid_fields", ""},
		{"a large body", more(`"x":"` + strings.Repeat("a", 70_000) + `"`), 413, "request_too_large", ""},
		{"a form", call{path: destinationsPath, key: testKey, body: "name=a", contentType: "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", ""},

		{"nothing", call{path: destinationsPath, key: testKey}, 400, "invalid_fields", "name"},
		{"no name", create(`,"name":"a"`, ``), 400, "invalid_fields", "name"},
		{"an empty name", create(`"name":"a"`, `"name":""`), 400, "invalid_fields", "name"},
		{"a long name", create(`"name":"a"`, `"name":"`+strings.Repeat("ü", 251)+`"`), 400, "invalid_fields", "name"},
		{"a name that is a number", create(`"name":"a"`, `"name":1`), 400, "invalid_fields", "name"},
		{"a null for a name", create(`"name":"a"`, `"name":null`), 400, "invalid_fields", "name"},
		{"a NUL in a name", create(`"name":"a"`, `"name":"a\u0000"`), 400, "invalid_fields", "name"},
		{"a long description", more(`"description":"` + strings.Repeat("a", 501) + `"`), 400, "invalid_fields", "description"},
		{"no type", create(`"type":"webhook_endpoint",`, ``), 400, "invalid_fields", "type"},
		{"eventbridge", create(`"type":"webhook_endpoint"`, `"type":"amazon_eventbridge"`), 400, "invalid_fields", "type"},
		{"eventbridge's own", more(`"amazon_eventbridge":{}`), 400, "invalid_fields", "amazon_eventbridge"},
		{"snapshots", create(`"thin"`, `"snapshot"`), 400, "invalid_fields", "event_payload"},
		{"no payload", create(`"event_payload":"thin",`, ``), 400, "invalid_fields", "event_payload"},
		{"a version", more(`"snapshot_api_version":"2026-07-29.dahlia"`), 400, "invalid_fields", "snapshot_api_version"},
		{"others' events", more(`"events_from":["@accounts"]`), 400, "invalid_fields", "events_from"},
		{"others' events too", more(`"events_from":["self","other_accounts"]`), 400, "invalid_fields", "events_from"},
		{"events of nobody", more(`"events_from":[]`), 400, "invalid_fields", "events_from"},
		{"no events", create(bothEvents, `"enabled_events":[]`), 400, "invalid_fields", "enabled_events"},
		{"events missing", create(bothEvents+",", ``), 400, "invalid_fields", "enabled_events"},
		{"all events", create(bothEvents, `"enabled_events":["*"]`), 400, "invalid_fields", "enabled_events"},
		{"unknown events", create(bothEvents, `"enabled_events":["v1.billing.meter.no_meter_found","customer.created"]`), 400, "invalid_fields", "enabled_events"},
		{"101 events", create(bothEvents, `"enabled_events":[`+many(101, `"v1.billing.meter.no_meter_found"`)+`]`), 400, "invalid_fields", "enabled_events"},
		{"an event that is none", create(bothEvents, `"enabled_events":["v1.billing.meter.no_meter_found",1]`), 400, "invalid_fields", "enabled_events[1]"},
		{"events as a string", create(bothEvents, `"enabled_events":"v1.billing.meter.no_meter_found"`), 400, "invalid_fields", "enabled_events"},
		{"metadata that is none", more(`"metadata":[]`), 400, "invalid_fields", "metadata"},
		{"a number in metadata", more(`"metadata":{"a":1}`), 400, "invalid_fields", "metadata.a"},
		{"a null in metadata", more(`"metadata":{"a":null}`), 400, "invalid_fields", "metadata.a"},
		{"a long key of metadata", more(`"metadata":{"` + strings.Repeat("k", 41) + `":"a"}`), 400, "invalid_fields", "metadata." + strings.Repeat("k", 41)},
		{"a long value of metadata", more(`"metadata":{"a":"` + strings.Repeat("v", 501) + `"}`), 400, "invalid_fields", "metadata.a"},
		{"much metadata", more(`"metadata":{` + many(51, `"k#":"v"`) + `}`), 400, "invalid_fields", "metadata"},
		{"no endpoint", create(`,"webhook_endpoint":{"url":"https://hooks.example.com/a"}`, ``), 400, "invalid_fields", "webhook_endpoint"},
		{"an endpoint without URL", create(`{"url":"https://hooks.example.com/a"}`, `{}`), 400, "invalid_fields", "webhook_endpoint.url"},
		{"an endpoint with more", create(`/a"}`, `/a","x":1}`), 400, "invalid_fields", "webhook_endpoint.x"},
		{"a URL that is none", create(`https://hooks.example.com/a`, `hooks`), 400, "invalid_fields", "webhook_endpoint.url"},
		{"http in live mode", call{path: destinationsPath, key: liveKey, body: strings.Replace(aDestination, "https:", "http:", 1) + `,"name":"a"}`}, 400, "invalid_fields", "webhook_endpoint.url"},
		{"a topic beside the endpoint", more(`"kafka_topic":{"topic":"a"}`), 400, "invalid_fields", "kafka_topic"},
		{"to include something", more(`"include":["x"]`), 400, "invalid_fields", "include"},
		{"to include a string", more(`"include":"webhook_endpoint.url"`), 400, "invalid_fields", "include"},
		{"an unknown property", more(`"nonsense":1`), 400, "invalid_fields", "nonsense"},

		{"a type later", update(`{"type":"webhook_endpoint"}`), 400, "invalid_fields", "type"},
		{"events from later", update(`{"events_from":["self"]}`), 400, "invalid_fields", "events_from"},
		{"a bad URL later", update(`{"webhook_endpoint":{"url":"hooks"}}`), 400, "invalid_fields", "webhook_endpoint.url"},
		{"much metadata later", update(`{"metadata":{` + many(51, `"k#":"v"`) + `}}`), 400, "invalid_fields", "metadata"},
		{"the secret later", update(`{"include":["webhook_endpoint.signing_secret"]}`), 400, "invalid_fields", "include"},
		{"no such destination to update", call{path: destinationsPath + "/ed_test_x", key: testKey, body: `{"name":"b"}`}, 404, "not_found", "id"},
		{"no such destination", call{method: "GET", path: destinationsPath + "/ed_test_x", key: testKey}, 404, "not_found", "id"},
		{"another's destination", call{method: "GET", path: path, key: otherKey}, 404, "not_found", "id"},
		{"another's destination to remove", call{method: "DELETE", path: path, key: otherKey}, 404, "not_found", "id"},
		{"a destination of live mode", call{method: "GET", path: path, key: liveKey}, 404, "not_found", "id"},
		{"no such destination to remove", call{method: "DELETE", path: destinationsPath + "/ed_test_x", key: testKey}, 404, "not_found", "id"},
		{"no such destination to enable", call{path: destinationsPath + "/ed_test_x/enable", key: testKey}, 404, "not_found", "id"},
		{"no such destination to ping", call{path: destinationsPath + "/ed_test_x/ping", key: testKey}, 404, "not_found", "id"},
		{"to enable with parameters", call{path: path + "/enable", key: testKey, body: `{"a":1}`}, 400, "invalid_fields", "a"},
		{"to remove with parameters", call{method: "DELETE", path: path, key: testKey, body: `{"a":1}`}, 400, "invalid_fields", "a"},
		{"to ping with parameters", call{path: path + "/ping", key: testKey, body: `{"a":1}`}, 400, "invalid_fields", "a"},
		{"a secret that lasts too long", call{path: path + "/roll_secret", key: testKey, body: `{"expires_after_seconds":86401}`}, 400, "invalid_fields", "expires_after_seconds"},
		{"a secret that lasts by halves", call{path: path + "/roll_secret", key: testKey, body: `{"expires_after_seconds":1.5}`}, 400, "invalid_fields", "expires_after_seconds"},
		{"a secret that lasts a word", call{path: path + "/roll_secret", key: testKey, body: `{"expires_after_seconds":"1"}`}, 400, "invalid_fields", "expires_after_seconds"},
		{"the secret of a query", call{method: "GET", path: path + "?include[0]=webhook_endpoint.signing_secret", key: testKey}, 400, "invalid_fields", "include"},
		{"a list by status", call{method: "GET", path: destinationsPath + "?status=enabled", key: testKey}, 400, "invalid_fields", "status"},
		{"a page of destinations that is none", call{method: "GET", path: destinationsPath + "?page=a", key: testKey}, 400, "invalid_fields", "page"},
	})
	if all := f.control.Snapshot().Destinations("acct_demo", false); len(all) != 1 || all[0].Name != "a" || !all[0].Enabled || all[0].OldSecret != "" {
		t.Errorf("after all these refusals there are %d: %+v", len(all), all[0])
	}
}

// TestADestinationsAddressIsPublicOrAllowed looks at addresses that stand in URLs; those that names lead to are looked at
// when they are connected to.
func TestADestinationsAddressIsPublicOrAllowed(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")} })
	for _, row := range []struct {
		key, host string
		status    int
	}{
		{testKey, "10.0.0.1", 400},
		{testKey, "169.254.169.254", 400},
		{testKey, "10.1.0.1", 200},
		{testKey, "127.0.0.1", 200},
		{liveKey, "10.0.0.1", 400},
		{liveKey, "10.1.0.1", 200},
		{liveKey, "127.0.0.1", 400},
	} {
		a := f.do(call{path: destinationsPath, key: row.key, body: strings.Replace(aDestination, "hooks.example.com", row.host, 1) + `,"name":"a"}`})
		if a.status != row.status || a.status == 400 && (a.failure(t).Param != includeURL || !strings.Contains(a.failure(t).Message, "url must not lead to "+row.host)) {
			t.Errorf("%s for %s: %d %s", row.host, row.key, a.status, a.body)
		}
	}
}

func TestDestinationsAreListedNewestFirstAPageAtATime(t *testing.T) {
	var ms atomic.Int64
	f := newFixture(t, func(c *Config) { c.Now = func() time.Time { return time.UnixMilli(someMs + ms.Add(1)) } })
	var ids []string
	for i := range 9 {
		ids = append([]string{f.destination(fmt.Sprintf(`,"name":"%d"`, i))}, ids...)
	}
	p := f.page(testKey, destinationsPath+"?limit=3&include[]=webhook_endpoint.url")
	if !slices.Equal(p.ids(), ids[:3]) || p.Prev != "" {
		t.Errorf("%+v", p)
	}
	second := f.page(testKey, p.Next)
	if !slices.Equal(second.ids(), ids[3:6]) || !strings.Contains(second.Next, "include[]=") {
		t.Errorf("%+v", second)
	}
	if back := f.page(testKey, second.Prev); !slices.Equal(back.ids(), ids[:3]) || back.Prev != "" || back.Next == "" {
		t.Errorf("%+v", back)
	}
	for _, gone := range []int{2, 5} { // what the links stand next to
		if a := f.do(call{method: "DELETE", path: destinationsPath + "/" + ids[gone], key: testKey}); a.status != 200 {
			t.Fatal(a.body)
		}
	}
	f.destination(`,"name":"new"`)
	if last := f.page(testKey, second.Next); !slices.Equal(last.ids(), ids[6:]) || last.Next != "" {
		t.Errorf("behind one that was removed: %v, not %v", last, ids[6:])
	}
	if back := f.page(testKey, strings.Replace(second.Prev, "limit=3", "limit=1", 1)); !slices.Equal(back.ids(), []string{ids[1]}) {
		t.Errorf("before one that was not: %v, not %v", back, ids[1])
	}
	if a := f.page(testKey, destinationsPath); len(a.Data) != 8 || a.Next != "" {
		t.Errorf("%+v", a)
	}
}

// TestAPageNextToARemovedDestinationRepeatsRatherThanSkips: of one millisecond nobody knows any more what came first.
func TestAPageNextToARemovedDestinationRepeatsRatherThanSkips(t *testing.T) {
	all := []*control.Destination{{ID: "d", CreatedMs: 6}, {ID: "c", CreatedMs: 5}, {ID: "b", CreatedMs: 5}, {ID: "a", CreatedMs: 4}}
	for _, row := range []struct {
		before   bool
		atMs     int64
		from, to int
	}{{false, 5, 1, 3}, {true, 5, 0, 1}, {false, 3, 4, 4}, {false, 7, 0, 2}, {true, 3, 2, 4}, {true, 7, 0, 0}} {
		m := &pageMark{before: row.before, id: "removed"}
		m.at.CreatedMs = row.atMs
		if from, to := destinationPage(all, m, 2); from != row.from || to != row.to {
			t.Errorf("%+v: from %d to %d", row, from, to)
		}
	}
}

func TestAFailingDestinationSaysSo(t *testing.T) {
	f := newFixture(t, nil)
	id := f.destination(`,"name":"a"`)
	f.webhooks.states[id] = webhook.State{FailingSinceMs: someMs, LastError: "500", Pending: 3}
	d := f.dest(call{method: "GET", path: destinationsPath + "/" + id})
	if d.Status != "enabled" || d.Details == nil || d.Details.Failing == nil || d.Details.Failing.Since != "2026-03-02T10:00:00.000Z" || d.Details.Failing.Error != "500" || d.Details.Failing.Pending != 3 {
		t.Errorf("%+v", d)
	}
	if d = f.dest(call{path: destinationsPath + "/" + id + "/disable"}); d.Status != "disabled" || d.Details.Disabled == nil || d.Details.Disabled.Reason != "user" {
		t.Errorf("%+v", d)
	}
}

// TestAKeyBringsADestinationsAnswerAgain is the rule of v2: what succeeded is not done again.
func TestAKeyBringsADestinationsAnswerAgain(t *testing.T) {
	f := newFixture(t, nil)
	key := func(name string) map[string]string { return map[string]string{"Idempotency-Key": name} }
	twice := func(what string, c call, again call) {
		t.Helper()
		c.key, again.key = testKey, testKey
		first := f.do(c)
		if first.status != 200 || first.header.Get("Idempotent-Replayed") != "" {
			t.Fatalf("%s: %d %s", what, first.status, first.body)
		}
		if second := f.do(again); second.status != 200 || second.body != first.body || second.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("%s again: %d %s\nnot %s", what, second.status, second.body, first.body)
		}
	}
	body := aDestination + `,"name":"a"}`
	twice("create", call{path: destinationsPath, body: body, header: key("1")}, call{path: destinationsPath, body: strings.ReplaceAll(body, `":`, `" : `), header: key("1")})
	if n := len(f.control.Snapshot().Destinations("acct_demo", false)); n != 1 {
		t.Fatalf("%d destinations", n)
	}
	path := destinationsPath + "/" + f.control.Snapshot().Destinations("acct_demo", false)[0].ID
	same := func(what string, c call) { t.Helper(); twice(what, c, c) }
	same("update", call{path: path, body: `{"name":"b"}`, header: key("2")})
	same("an update of nothing", call{path: path, header: key("3")})
	same("disable", call{path: path + "/disable", header: key("4")})
	same("enable", call{path: path + "/enable", header: key("5")})
	same("roll", call{path: path + "/roll_secret", header: key("6")})
	same("ping", call{path: path + "/ping", header: key("7")})
	if n := len(f.events.events); n != 1 {
		t.Errorf("%d events", n)
	}
	other := destinationsPath + "/" + f.destination(`,"name":"other"`)
	reused := func(what string, c call) {
		t.Helper()
		c.key = testKey
		a := f.do(c)
		if e := a.failure(t); a.status != 400 || e.Code != "idempotency_error" {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	reused("another name", call{path: path, body: `{"name":"c"}`, header: key("2")})
	reused("another path", call{path: path + "/enable", header: key("4")})
	reused("another destination", call{path: other + "/enable", header: key("5")})
	reused("a ping with the key of a change", call{path: path + "/ping", header: key("5")})
	reused("a ping of another destination", call{path: other + "/ping", header: key("7")})
	reused("an event with the key of a change", call{path: eventsPath, body: oneMeterEvent, header: key("5")})
	reused("an adjustment with the key of a change", call{path: adjustmentsPath, body: oneAdjustment, header: key("5")})
	reused("a session with the key of a change", call{path: sessionPath, header: key("5")})
	if a := f.do(call{path: sessionPath, key: testKey, header: key("8")}); a.status != 200 {
		t.Fatal(a.body)
	}
	reused("a change with the key of a session", call{path: path + "/enable", header: key("8")})
	reused("a ping with the key of a session", call{path: path + "/ping", header: key("8")})
	if a := f.do(call{path: path + "/enable", key: testKey, header: key("é")}); a.status != 400 {
		t.Errorf("a key that is no text: %d %s", a.status, a.body)
	}
	same("delete", call{method: "DELETE", path: path, header: key("9")})
	if n := len(f.records()); n > 0 {
		t.Errorf("%d records of usage were stored", n)
	}
}

// TestAKeyOfAMetersChangeIsUsedUp: also where nothing was to be changed, and on paths that are not about meters.
func TestAKeyOfAMetersChangeIsUsedUp(t *testing.T) {
	f := newFixture(t, nil)
	m := f.control.Snapshot().Named("acct_demo", false, "api_requests")
	header := map[string]string{"Idempotency-Key": "k"}
	update := call{path: metersPath + "/" + m.ID, key: testKey, header: header}
	if a := f.do(update); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := f.do(update); a.status != 200 || a.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("again: %d %v", a.status, a.header)
	}
	for _, c := range []call{
		{path: metersPath + "/" + m.ID, body: "display_name=a"},
		{path: metersPath, body: meterForm},
		{path: metersPath + "/" + m.ID + "/deactivate"},
		{path: v1EventsPath, body: formEvent},
		{path: v1AdjustPath, body: formAdjust},
	} {
		c.key, c.header = testKey, header
		if a := f.do(c); a.status != 400 || a.failure(t).Type != "idempotency_error" {
			t.Errorf("%s: %d %s", c.path, a.status, a.body)
		}
	}
	for _, c := range []call{{path: eventsPath, key: testKey, body: oneMeterEvent}, {path: v1EventsPath, key: liveKey, body: formEvent}} { // another API, another mode
		c.header = header
		if a := f.do(c); a.status != 200 {
			t.Errorf("%s: %d %s", c.path, a.status, a.body)
		}
	}
}

func TestAPingIsAnEventOfItsDestination(t *testing.T) {
	f := newFixture(t, nil)
	id := f.destination(`,"name":"a"`)
	a := f.do(call{path: destinationsPath + "/" + id + "/ping", key: testKey})
	b := f.do(call{path: destinationsPath + "/" + id + "/ping", key: testKey})
	var first, second struct {
		ID, Type string
		Reason   struct{ Request struct{ ID string } }
		Related  struct{ ID string } `json:"related_object"`
	}
	a.into(t, &first)
	b.into(t, &second)
	if first.ID == second.ID || first.Related.ID != id || first.Reason.Request.ID != a.header.Get("Request-Id") || second.Reason.Request.ID != b.header.Get("Request-Id") {
		t.Errorf("%s\n%s", a.body, b.body)
	}
	if got := f.do(call{method: "GET", path: coreEventsPath + "/" + first.ID, key: testKey}); got.body != a.body {
		t.Errorf("%s, and not %s", got.body, a.body)
	}
	f.do(call{path: destinationsPath + "/" + id + "/disable", key: testKey})
	a = f.do(call{path: destinationsPath + "/" + id + "/ping", key: testKey})
	if e := a.failure(t); a.status != 400 || e.Code != "event_destination_disabled" || len(f.events.events) != 2 {
		t.Errorf("disabled: %d %s", a.status, a.body)
	}
}

func TestDestinationsThatCanNotBeReadAreUnavailable(t *testing.T) {
	f := newFixture(t, nil)
	id := f.destination(`,"name":"a"`)
	path := destinationsPath + "/" + id
	f.control.away.Store(true)
	for _, c := range []call{
		{method: "GET", path: destinationsPath},
		{method: "GET", path: path},
		{path: path + "/ping"},
		{path: path + "/enable", header: map[string]string{"Idempotency-Key": "k"}},
	} {
		c.key = testKey
		a := f.do(c)
		if e := a.failure(t); a.status != 503 || e.Code != "service_unavailable" || !strings.Contains(e.Message, "event destinations") {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
		}
	}
	f.control.away.Store(false)
	for _, row := range unwritten {
		f.control.err.Store(&row.err)
		a := f.do(call{method: http.MethodDelete, path: path, key: testKey})
		if e := a.failure(t); a.status != row.status || e.Code != row.code {
			t.Errorf("%v: %d %s", row.err, a.status, a.body)
		}
	}
}

func TestABusinessHasOnlySoManyDestinations(t *testing.T) {
	f := newFixture(t, nil)
	for i := range control.DestinationsMax {
		f.destination(fmt.Sprintf(`,"name":"%d"`, i))
	}
	a := f.do(call{path: destinationsPath, key: testKey, body: aDestination + `,"name":"a"}`})
	if e := a.failure(t); a.status != 400 || e.Code != "invalid_fields" || !strings.Contains(e.Message, "100") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// brokenDice gives what New needs, and nothing after it.
type brokenDice struct{ given atomic.Int32 }

func (b *brokenDice) Read(p []byte) (int, error) {
	if b.given.Add(1) > 1 {
		return 0, errors.New("the source of randomness is gone")
	}
	return len(p), nil
}

func TestASecretThatCanNotBeDrawnIsNone(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Random = &brokenDice{} })
	a := f.do(call{path: destinationsPath, key: testKey, body: aDestination + `,"name":"a"}`})
	if a.status != 500 || len(f.control.Snapshot().Destinations("acct_demo", false)) > 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestOfTwoPingsWithOneKeyAtOnceBothAreTheFirst(t *testing.T) {
	f := newFixture(t, nil)
	id := f.destination(`,"name":"a"`)
	f.events.before = func(e *thinevent.Event) *thinevent.Event {
		other := *e
		other.Reason = &stripe.EventReason{RequestID: "req_first", IdempotencyKey: "k"}
		return &other
	}
	a := f.do(call{path: destinationsPath + "/" + id + "/ping", key: testKey, header: map[string]string{"Idempotency-Key": "k"}})
	if a.status != 200 || !strings.Contains(a.body, `"id":"req_first"`) || a.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
}
