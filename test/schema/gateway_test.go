package schema

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tollgate/test/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// What a real gateway writes for each endpoint, with the spellings that SDKs use and texts that need escaping, is what
// the schema says.
func TestTheRecordsOfARealGatewayMatchTheUsageSchema(t *testing.T) {
	config := filepath.Join(t.TempDir(), "gateway.yaml")
	err := os.WriteFile(config, []byte(`
businesses:
  - id: acct_schema
    keys:
      - {key: sk_test_schema}
      - {key: sk_live_schema}
    meters:
      - {event_name: hot, spread: 3}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	g := harness.Start(t, harness.Options{APIKeys: "-", Args: []string{"--config", config}})
	const (
		events      = "/v2/billing/meter_events"
		adjustments = "/v2/billing/meter_event_adjustments"
		stream      = "/v2/billing/meter_event_stream"
	)
	for _, name := range []string{"api_requests", `größe "\`} {
		harness.EnsureMeter(t, g.URL, "sk_test_schema", name)
	}
	harness.EnsureMeter(t, g.URL, "sk_live_schema", "hot")
	token := post(t, g, "/v2/billing/meter_event_session", "sk_live_schema", "{}")["authentication_token"].(string)
	post(t, g, events, "sk_test_schema", `{"event_name":"api_requests","payload":{"stripe_customer_id":"cus_1","value":"25"}}`)
	post(t, g, events, "sk_test_schema", `{"event_name":"größe \"\\","identifier":"\ud83d\ude00 /","payload":{"stripe_customer_id":"c","value":"1","":"","käse":"\n\t\u0000"}}`)
	post(t, g, stream, token, `{"events":[`+
		`{"event_name":"api_requests","payload":{}},`+
		`{"event_name":"api_requests","timestamp":"2020-02-29T23:59:59.999999999+01:00","payload":{"a": "b" , "c":"d"}},`+
		`{"event_name":"api_requests","timestamp":1795294370,"payload":{"value":"not a number"}},`+
		`{"event_name":"hot","timestamp":"1795294370","identifier":"`+strings.Repeat("ü", 100)+`","payload":{"stripe_customer_id":"cus_2","value":"-1.5"}}]}`)
	post(t, g, adjustments, "sk_test_schema", `{"event_name":"api_requests","type":"cancel","cancel":{"identifier":"i"}}`)
	post(t, g, adjustments, "sk_live_schema", `{"event_name":"hot","type":"cancel","cancel":{"identifier":"\"\\"}}`)
	postForm(t, g, "/v1/billing/meter_events", fmt.Sprintf("event_name=api_requests&payload[stripe_customer_id]=cus_1&payload[value]=2%%2e5&timestamp=%d", time.Now().Unix()))
	postForm(t, g, "/v1/billing/meter_event_adjustments", "event_name=api_requests&type=cancel&cancel[identifier]=%C3%BC")
	if code, took := g.Term(); code != 0 {
		t.Fatalf("the gateway ended with %d after %v", code, took)
	}

	s := usage(t)
	seen := make(map[string]int)
	for _, e := range harness.DumpJournal(t, g.DataDir) {
		if err := s.Validate([]byte(e.Value)); err != nil {
			t.Errorf("offset %d: %s: %v", e.Offset, e.Value, err)
		}
		mode := map[bool]string{false: "testmode", true: "livemode"}[e.Livemode]
		key, bucket, _ := strings.Cut(e.Key, "/"+mode+"/"+e.Name)
		if key != e.Business || (e.Name == "hot") != (bucket != "") {
			t.Errorf("offset %d: the key of %s is %q", e.Offset, e.Value, e.Key)
		}
		seen[e.Object]++
	}
	if want := map[string]int{"meter_event": 7, "meter_event_adjustment": 5}; fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("the log holds %v, want %v", seen, want)
	}
}

func post(t *testing.T, g *harness.Gateway, path, credential, body string) map[string]any {
	t.Helper()
	status, answer, _, err := harness.Post(g.URL+path, credential, body)
	if err != nil || status != 200 {
		t.Fatalf("POST %s %s: %d %v %v", path, body, status, answer, err)
	}
	return answer
}

func postForm(t *testing.T, g *harness.Gateway, path, form string) {
	t.Helper()
	req, err := http.NewRequest("POST", g.URL+path, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("sk_test_schema", "")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Fatalf("POST %s %s: %d", path, form, res.StatusCode)
	}
}
