package schema

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tollgate/test/e2e/harness"
)

const eventsKey = "sk_test_schema"

// v2 sends a request of the v2 API.
func v2(t *testing.T, g *harness.Gateway, method, path, body string) map[string]any {
	t.Helper()
	req, err := http.NewRequest(method, g.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+eventsKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s %s: %d %v %v", method, path, body, res.StatusCode, answer, err)
	}
	return answer
}

// What a real gateway writes about meters, destinations, thin events, deliveries and sessions is what the schemas of their topics
// say.
func TestTheRecordsOfARealGatewayMatchTheSchemasOfTheOtherTopics(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{APIKeys: "acct_schema:" + eventsKey})
	works, fails := harness.NewHook(t), harness.NewHook(t)
	fails.Answer(func(string) int { return http.StatusInternalServerError })
	harness.EnsureMeter(t, g.URL, eventsKey, `größe "\`)
	const destinations = "/v2/core/event_destinations"
	create := func(hook *harness.Hook) string {
		return v2(t, g, "POST", destinations, fmt.Sprintf(`{"name":"ü \"\\","description":"d","type":"webhook_endpoint","event_payload":"thin",`+
			`"enabled_events":["v1.billing.meter.error_report_triggered","v1.billing.meter.no_meter_found","v2.core.event_destination.ping"],`+
			`"metadata":{"käse":"\n"},"webhook_endpoint":{"url":%q}}`, hook.URL))["id"].(string)
	}
	good, bad, gone := create(works), create(fails), create(works)
	v2(t, g, "POST", destinations+"/"+good, `{"name":"another","metadata":{"käse":null,"a":"b"}}`)
	v2(t, g, "POST", destinations+"/"+good+"/roll_secret", "")
	v2(t, g, "POST", destinations+"/"+gone+"/disable", "")
	v2(t, g, "POST", destinations+"/"+gone+"/enable", "")
	v2(t, g, "DELETE", destinations+"/"+gone, "")
	v2(t, g, "POST", destinations+"/"+good+"/ping", "")
	v2(t, g, "POST", destinations+"/"+bad+"/ping", "")
	token := post(t, g, "/v2/billing/meter_event_session", eventsKey, "{}")["authentication_token"].(string)
	post(t, g, "/v2/billing/meter_event_stream", token, `{"events":[`+
		`{"event_name":"größe \"\\","identifier":"\"ü\u0000","payload":{"stripe_customer_id":"c","value":"none"}},`+
		`{"event_name":"größe \"\\","payload":{"value":"1"}},`+
		`{"event_name":"no\"body","payload":{"stripe_customer_id":"c","value":"1"}}]}`)
	harness.Eventually(t, 30*time.Second, "a ping and two reports are delivered to one and tried at the other", func() bool {
		return len(works.Times()) == 3 && len(fails.Times()) == 3
	})
	if status, answer, _, err := harness.Post(g.URL+"/v2/billing/meter_event_session", eventsKey, "{}", "Idempotency-Key", "ü\" \\"); status != http.StatusOK {
		t.Fatalf("a session with a key: %d %v %v", status, answer, err)
	}
	time.Sleep(time.Second) // what came of the tries is written a few times a second
	if code, took := g.Term(); code != 0 {
		t.Fatalf("the gateway ended with %d after %v", code, took)
	}
	for topic, want := range map[string][]string{
		"events":   {"v2.core.event"},
		"control":  {"meter"},
		"cursors":  {"destination_cursor", "destination_delivery"},
		"sessions": {"meter_event_session"},
	} {
		s := published(t, topic)
		seen := map[string]int{}
		for _, r := range harness.DumpTopic(t, g.DataDir, "tollgate."+topic) {
			if string(r.Value) == "null" || len(r.Value) == 0 { // the key is over
				continue
			}
			if err := s.Validate(r.Value); err != nil {
				t.Errorf("%s@%d: %s: %v", topic, r.Offset, r.Value, err)
			}
			var v struct{ Object string }
			_ = json.Unmarshal(r.Value, &v)
			seen[v.Object]++
		}
		for _, object := range want {
			if seen[object] == 0 {
				t.Errorf("%s holds no %s: %v", topic, object, seen)
			}
		}
		t.Logf("%s: %v", topic, seen)
	}
}
