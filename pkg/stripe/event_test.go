package stripe

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// fixture reads a file of testdata into what v points to.
func fixture(t *testing.T, file string, v any) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	noError(t, err)
	noError(t, json.Unmarshal(text, v))
}

// compact is JSON without the spaces of a fixture; fields keep their order.
func compact(t *testing.T, text []byte) string {
	t.Helper()
	var buf bytes.Buffer
	noError(t, json.Compact(&buf, text))
	return buf.String()
}

// eventText is an event as the reference has it, for reading what is to be written.
type eventText struct {
	ID, Type, Context string
	Created           time.Time
	Livemode          bool
	Reason            *struct {
		Request struct {
			ID             string
			IdempotencyKey string `json:"idempotency_key"`
		}
	}
	Related *RelatedObject `json:"related_object"`
	Data    json.RawMessage
}

func eventOf(t *testing.T, text []byte) *Event {
	t.Helper()
	var read eventText
	noError(t, json.Unmarshal(text, &read))
	e := &Event{
		ID: read.ID, Type: read.Type, CreatedMs: read.Created.UnixMilli(), Livemode: read.Livemode, Context: read.Context,
		Related: read.Related, Data: read.Data,
	}
	if read.Data != nil {
		e.Data = []byte(compact(t, read.Data))
	}
	if r := read.Reason; r != nil {
		e.Reason = &EventReason{RequestID: r.Request.ID, IdempotencyKey: r.Request.IdempotencyKey}
	}
	return e
}

type eventFixtures struct {
	Retrieve map[string]json.RawMessage
	List     map[string]json.RawMessage
}

func TestARetrievedEventIsAsInTheReference(t *testing.T) {
	var f eventFixtures
	fixture(t, "v2_events.json", &f)
	if len(f.Retrieve) != 3 {
		t.Fatalf("%d events", len(f.Retrieve))
	}
	for name, text := range f.Retrieve {
		if got, want := string(AppendEvent(nil, eventOf(t, text))), compact(t, text); got != want {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestAPageIsAsInTheReference(t *testing.T) {
	var f eventFixtures
	fixture(t, "v2_events.json", &f)
	for _, name := range []string{"page1", "page2", "empty"} {
		var page struct {
			Data     []json.RawMessage
			Next     string `json:"next_page_url"`
			Previous string `json:"previous_page_url"`
		}
		noError(t, json.Unmarshal(f.List[name], &page))
		var events []*Event
		for _, text := range page.Data {
			events = append(events, eventOf(t, text))
		}
		if got, want := string(AppendPage(nil, events, page.Next, page.Previous, AppendEvent)), compact(t, f.List[name]); got != want {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
	}
	two := string(AppendPage(nil, []string{"a", "b"}, "", "", func(dst []byte, s string) []byte { return append(dst, s...) }))
	if two != `{"data":[a,b],"next_page_url":null,"previous_page_url":null}` {
		t.Error(two)
	}
}

// A client that is pushed an event and one that retrieves it must not be crashed by what is not there.
func TestAnEventAlwaysHasDataAndANotificationNever(t *testing.T) {
	bare := &Event{ID: "evt_1", Type: "v2.core.event_destination.ping"}
	const head = `{"id":"evt_1","object":"v2.core.event","type":"v2.core.event_destination.ping","created":"1970-01-01T00:00:00.000Z",` +
		`"livemode":false,"context":null,"reason":null,"related_object":null`
	if got := string(AppendEvent(nil, bare)); got != head+`,"changes":null,"data":{}}` {
		t.Error(got)
	}
	bare.Data = []byte(`{"a":1}`)
	if got := string(AppendNotification(nil, bare)); got != head+`}` {
		t.Error(got)
	}
	whole := &Event{
		ID: "evt_2", Type: "x", CreatedMs: created, Livemode: true, Context: "acct_a/acct_b",
		Reason: &EventReason{RequestID: "req_1"}, Related: &RelatedObject{ID: `"`, Type: "t", URL: "/v1/t/%22"}, Data: []byte(`{}`),
	}
	want := `{"id":"evt_2","object":"v2.core.event","type":"x","created":"2026-11-21T12:00:00.000Z","livemode":true,"context":"acct_a/acct_b",` +
		`"reason":{"type":"request","request":{"id":"req_1","idempotency_key":""}},"related_object":{"id":"\"","type":"t","url":"/v1/t/%22"},` +
		`"changes":null,"data":{}}`
	if got := string(AppendEvent(nil, whole)); got != want {
		t.Errorf(" got %s\nwant %s", got, want)
	}
}

type signatureFixtures struct {
	Vectors []struct {
		Type         string
		Body         string `json:"body_text"`
		Timestamp    int64
		Secret       string
		Header       string
		OldSecret    string `json:"rolling_old_secret"`
		HeaderOfBoth string `json:"header_while_rolling"`
	}
}

func TestANotificationAndItsSignatureAreAsInTheReference(t *testing.T) {
	var f signatureFixtures
	fixture(t, "thin_notification.json", &f)
	if len(f.Vectors) != 3 {
		t.Fatalf("%d vectors", len(f.Vectors))
	}
	for _, v := range f.Vectors {
		e := eventOf(t, []byte(v.Body))
		e.Data = []byte(`{"of":"the retrieved form only"}`)
		body := AppendNotification(nil, e)
		if string(body) != v.Body {
			t.Errorf("%s\n got %s\nwant %s", v.Type, body, v.Body)
		}
		if got := string(AppendSignature(nil, v.Timestamp, body, v.Secret)); got != v.Header {
			t.Errorf("%s\n got %s\nwant %s", v.Type, got, v.Header)
		}
		if got := string(AppendSignature([]byte("x"), v.Timestamp, body, v.Secret, v.OldSecret)); got != "x"+v.HeaderOfBoth {
			t.Errorf("%s\n got %s\nwant x%s", v.Type, got, v.HeaderOfBoth)
		}
	}
}

// The message that is signed must not be put where the header is written: with room behind dst it would be overwritten.
func TestASignatureIsTheSameWhateverRoomThereIs(t *testing.T) {
	body := []byte(`{"a":1}`)
	want := string(AppendSignature(nil, 1772446842, body, "one", "two", "three"))
	for room := range 4 * len(want) {
		dst := make([]byte, 0, room)
		if got := string(AppendSignature(dst, 1772446842, body, "one", "two", "three")); got != want {
			t.Fatalf("room %d\n got %s\nwant %s", room, got, want)
		}
	}
}

func TestIDsOfEventsAndDestinationsShowTheirMode(t *testing.T) {
	const text = "001IYT0XLWRLIHjtKzAfTb"
	for got, want := range map[string]string{
		string(AppendEventID([]byte("x"), true, sampleRandom)):       "xevt_" + text,
		string(AppendEventID(nil, false, sampleRandom)):              "evt_test_" + text,
		string(AppendDestinationID([]byte("x"), true, sampleRandom)): "xed_" + text,
		string(AppendDestinationID(nil, false, sampleRandom)):        "ed_test_" + text,
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// destinationText is an event destination as the reference has it.
type destinationText struct {
	ID, Name, Description, Status, Type string
	Created, Updated                    time.Time
	EnabledEvents                       []string `json:"enabled_events"`
	Livemode                            bool
	Metadata                            map[string]string
	StatusDetails                       struct{ Disabled struct{ Reason string } } `json:"status_details"`
	WebhookEndpoint                     struct {
		SigningSecret string `json:"signing_secret"`
		URL           string
	} `json:"webhook_endpoint"`
}

func destinationOf(t *testing.T, text []byte) *EventDestination {
	t.Helper()
	var d destinationText
	noError(t, json.Unmarshal(text, &d))
	return &EventDestination{
		ID: d.ID, Name: d.Name, Description: d.Description, CreatedMs: d.Created.UnixMilli(), UpdatedMs: d.Updated.UnixMilli(),
		EnabledEvents: d.EnabledEvents, Livemode: d.Livemode, Metadata: d.Metadata, Type: d.Type, Enabled: d.Status == "enabled",
		DisabledReason: d.StatusDetails.Disabled.Reason, URL: d.WebhookEndpoint.URL, SigningSecret: d.WebhookEndpoint.SigningSecret,
	}
}

func TestADestinationIsAsInTheReference(t *testing.T) {
	answers := destinationAnswers(t)
	for _, name := range []string{"create", "retrieve", "retrieve_with_url", "update", "disable", "enable"} {
		text := answers[name]
		if got, want := string(AppendEventDestination(nil, destinationOf(t, text))), compact(t, text); got != want {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
	}
	if got, want := string(AppendDeleted(nil, "v2.core.event_destination", "ed_test_65gwFixture0001")), compact(t, answers["delete"]); got != want {
		t.Errorf(" got %s\nwant %s", got, want)
	}
	if got, want := string(AppendEvent(nil, eventOf(t, answers["ping"]))), compact(t, answers["ping"]); got != want {
		t.Errorf(" got %s\nwant %s", got, want)
	}
}

func destinationAnswers(t *testing.T) map[string]json.RawMessage {
	t.Helper()
	var calls map[string]json.RawMessage
	fixture(t, "v2_event_destinations.json", &calls)
	answers := make(map[string]json.RawMessage)
	for name, text := range calls {
		var call struct{ Response json.RawMessage }
		if json.Unmarshal(text, &call) == nil && call.Response != nil {
			answers[name] = call.Response
		}
	}
	return answers
}

func TestWhatADestinationShowsBesideStripesIsOurs(t *testing.T) {
	field := func(d *EventDestination, name string) string {
		t.Helper()
		var fields map[string]json.RawMessage
		noError(t, json.Unmarshal(AppendEventDestination(nil, d), &fields))
		if text, there := fields[name]; there {
			return string(text)
		}
		return "absent"
	}
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	d := &EventDestination{
		Type: WebhookEndpoint, Enabled: true, SigningSecret: "whsec_1", Metadata: map[string]string{"z": `"`, "a": "1", "m": ""},
		Failing: &DestinationFailing{SinceMs: created, LastError: "dial tcp: refused\n", Pending: 3},
	}
	f(field(d, "status"), `"enabled"`)
	f(field(d, "status_details"), `{"failing":{"since":"2026-11-21T12:00:00.000Z","last_error":"dial tcp: refused\n","pending":3}}`)
	f(field(d, "webhook_endpoint"), `{"signing_secret":"whsec_1","url":null}`)
	f(field(d, "kafka_topic"), "absent")
	f(field(d, "enabled_events"), `[]`)
	for range 8 {
		f(field(d, "metadata"), `{"a":"1","m":"","z":"\""}`)
	}
	d.Enabled, d.DisabledReason = false, "user"
	f(field(d, "status_details"), `{"disabled":{"reason":"user"}}`)
	d = &EventDestination{Type: KafkaTopic, Topic: "company.events", Enabled: true}
	f(field(d, "kafka_topic"), `{"topic":"company.events"}`)
	f(field(d, "webhook_endpoint"), "null")
	f(field(d, "metadata"), "{}")
	if !strings.HasSuffix(string(AppendDeleted([]byte("x"), `o"`, "i")), `x{"id":"i","object":"o\""}`) {
		t.Error("AppendDeleted")
	}
}
