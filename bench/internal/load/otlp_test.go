package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/bench/internal/ledger"
)

// keyValues is a list of OTLP's as it comes in JSON.
type keyValues []struct {
	Key   string `json:"key"`
	Value struct {
		Text string `json:"stringValue"`
		List struct {
			Values keyValues `json:"values"`
		} `json:"kvlistValue"`
	} `json:"value"`
}

func (l keyValues) get(key string) (text string, list keyValues) {
	for _, kv := range l {
		if kv.Key == key {
			return kv.Value.Text, kv.Value.List.Values
		}
	}
	return "", nil
}

func TestALogRecordHoldsTheFieldsOfAMeterEvent(t *testing.T) {
	type exported struct {
		Resources []struct {
			Scopes []struct {
				Records []struct {
					Nanos string `json:"timeUnixNano"`
					Body  struct {
						List struct {
							Values keyValues `json:"values"`
						} `json:"kvlistValue"`
					} `json:"body"`
				} `json:"logRecords"`
			} `json:"scopeLogs"`
		} `json:"resourceLogs"`
	}
	var mu sync.Mutex
	seen, bad := map[string]bool{}, ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		raw, _ := io.ReadAll(q.Body)
		mu.Lock()
		defer mu.Unlock()
		var e exported
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil || q.URL.Path != "/base/v1/logs" || q.Header.Get("Content-Type") != "application/json" || q.Header.Get("Authorization") != "" {
			bad = fmt.Sprint(err, q.URL, q.Header, string(raw))
			return
		}
		records := e.Resources[0].Scopes[0].Records
		if len(records) != 7 {
			bad = fmt.Sprint(len(records), " records")
		}
		for _, r := range records {
			fields := r.Body.List.Values
			name, _ := fields.get("event_name")
			id, _ := fields.get("identifier")
			stamp, _ := fields.get("timestamp")
			_, payload := fields.get("payload")
			customer, _ := payload.get("stripe_customer_id")
			pad, _ := payload.get("pad")
			at, err := time.Parse(time.RFC3339, stamp)
			nanos, errNanos := strconv.ParseInt(r.Nanos, 10, 64)
			if err != nil || errNanos != nil || at.UnixNano() != nanos || time.Since(at).Abs() > time.Minute || seen[id] ||
				!strings.HasPrefix(name, "meter_000") || !strings.HasPrefix(customer, "cus_00000") || len(payload) != 3 || pad == "" {
				bad = fmt.Sprintf("%+v", r)
			}
			if _, _, ok := ledger.ParseIdentifier([]byte(id)); !ok {
				bad = "identifier " + id
			}
			seen[id] = true
		}
		io.WriteString(w, `{"partialSuccess":{}}`)
	}))
	defer s.Close()
	c := Config{Target: s.URL + "/base/", Dialect: OTLPLogs, Batch: 7, Connections: 3, Sessions: 2, Duration: 100 * time.Millisecond, PayloadBytes: 240}
	r, book, err := Run(context.Background(), c, nil)
	if err != nil || bad != "" || len(seen) < 21 || r.Failed != 0 {
		t.Fatalf("%v; %d records, %+v; %s", err, len(seen), r, bad)
	}
	acked := uint64(0)
	for _, l := range book.Lanes {
		acked += l.Acked()
	}
	if acked != uint64(len(seen)) {
		t.Errorf("%d acknowledged of %d", acked, len(seen))
	}
}

func TestAnAnswerOfOTLPIsAPromiseUnlessItRejects(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   ledger.Outcome
	}{
		{200, "{}", ledger.Acked},
		{200, `{"partialSuccess":{}}`, ledger.Acked},
		{200, `{"partialSuccess":{"rejectedLogRecords":"3"}}`, ledger.Unknown},
		{202, "", ledger.Unknown},
		{400, "{}", ledger.Refused},
		{429, "", ledger.Refused},
		{500, "", ledger.Unknown},
		{503, `{"code":14,"message":"service_unavailable"}`, ledger.Unknown},
	} {
		if got := outcomeOf(OTLPLogs, answer{status: c.status, body: []byte(c.body)}); got != c.want {
			t.Errorf("%d %s is %d and not %d", c.status, c.body, got, c.want)
		}
	}
	_, _, err := Run(context.Background(), Config{Target: "http://127.0.0.1:1", Dialect: "grpc", Businesses: []Business{{Key: "k"}}}, nil)
	if err == nil || !strings.Contains(err.Error(), "grpc") {
		t.Errorf("a dialect that does not exist: %v", err)
	}
}
