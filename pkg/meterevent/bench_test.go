package meterevent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/bytedance/sonic"
	gojson "github.com/goccy/go-json"
	"github.com/valyala/fastjson"

	"tollgate/pkg/meterevent"
)

// The benchmarks decode one request of 100 events of about 170 bytes, as the SDKs for Go and Java write them, and report
// nanoseconds an event beside the peers, of which only encoding/json/v2 is as strict. On two shared cores of an AMD EPYC,
// Go 1.26, the lowest of 36 runs:
//
//	tollgate 60 (scanner alone 117) · the same with Python's spaces 102 (166) · fastjson 167, without times and maps
//	sonic, strict 604 · goccy 696 · encoding/json/v2 1,272 · encoding/json 2,091
//
//	go test -run xxx -bench Decode -benchtime 15ms -count 36 ./pkg/meterevent; with GOEXPERIMENT=jsonv2 for encoding/json/v2

// streamBody is a request of n events. Identifiers, customers, values and times differ from event to event, so do the
// lengths of the values.
func streamBody(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2026, 11, 21, 11, 59, 0, 0, time.UTC)
	b := []byte(`{"events":[`)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		at = at.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
		b = fmt.Appendf(b, `{"event_name":"api_requests","identifier":"req_%016x","payload":{"stripe_customer_id":"cus_%014x","value":"%d"},"timestamp":"%s"}`,
			r.Uint64(), r.Uint64N(1<<56), r.IntN(1000), at.Format("2006-01-02T15:04:05.000Z"))
	}
	return append(b, `]}`...)
}

// variedBody is a request of n events of eight meters with names of 3 to 17 bytes, values of 1 to 6 digits, and customers and
// identifiers whose lengths vary too: nothing stands where it stood in the event before.
func variedBody(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	names := []string{"cpu", "tokens", "api_requests", "storage_gb", "egress", "seats_of_the_team", "messages_sent", "gpu_seconds"}
	at := time.Date(2026, 11, 21, 11, 59, 0, 0, time.UTC)
	b := []byte(`{"events":[`)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		at = at.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
		value := r.Uint64N([]uint64{10, 100, 1000, 10_000, 100_000, 1_000_000}[r.IntN(6)])
		b = fmt.Appendf(b, `{"event_name":"%s","identifier":"req-%d","payload":{"stripe_customer_id":"cus_%x","value":"%d"},"timestamp":"%s"}`,
			names[r.IntN(len(names))], r.Uint64()>>r.IntN(60), r.Uint64()>>r.IntN(40), value, at.Format("2006-01-02T15:04:05.000Z"))
	}
	return append(b, `]}`...)
}

// firstOf is the first event of a stream body, as a body of its own.
func firstOf(body []byte) []byte {
	return body[len(`{"events":[`) : bytes.Index(body, []byte(`},{`))+1]
}

// missingBody is a request of n events, each with another number of keys in its payload than the event before, so that the
// layout fits until near the event's end and then does not.
func missingBody(n int) []byte {
	r := rand.New(rand.NewPCG(5, 6))
	b := []byte(`{"events":[`)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"event_name":"api_requests","identifier":"req_%016x","timestamp":"2026-11-21T11:59:%02d.000Z","payload":{"stripe_customer_id":"cus_%014x"`,
			r.Uint64(), i%60, r.Uint64N(1<<56))
		for key := range i % 8 {
			b = fmt.Appendf(b, `,"%d":"%d"`, key, r.IntN(1000))
		}
		b = append(b, `}}`...)
	}
	return append(b, `]}`...)
}

func perEvent(b *testing.B, events int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(events), "ns/event")
}

func BenchmarkDecode(b *testing.B) {
	body := streamBody(100)
	spaced := []byte(strings.NewReplacer(`":`, `": `, `,"`, `, "`, `},{`, `}, {`).Replace(string(body))) // as Python's SDK writes
	decode := func(name string, d *meterevent.Decoder, body []byte) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Stream(body); err != nil {
					b.Fatal(err)
				}
			}
			perEvent(b, 100)
		})
	}
	decode("tollgate", meterevent.NewDecoder(meterevent.Options{}), body)
	decode("tollgate_varied", meterevent.NewDecoder(meterevent.Options{}), variedBody(100))
	decode("tollgate_missing", meterevent.NewDecoder(meterevent.Options{}), missingBody(100))
	decode("tollgate_UTF8", meterevent.NewDecoder(meterevent.Options{}), bytes.ReplaceAll(body, []byte("cus_"), []byte("Zoë_")))
	decode("tollgate_scanner", meterevent.NewDecoder(meterevent.Options{}).ScanOnly(), body)
	decode("tollgate_spaced", meterevent.NewDecoder(meterevent.Options{}), spaced)
	decode("tollgate_spaced_scanner", meterevent.NewDecoder(meterevent.Options{}).ScanOnly(), spaced)
	b.Run("tollgate_one", func(b *testing.B) {
		d, one := meterevent.NewDecoder(meterevent.Options{}), firstOf(body)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.One(one); err != nil {
				b.Fatal(err)
			}
		}
		perEvent(b, 1)
	})
	for _, peer := range peers {
		b.Run(peer.name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if n, err := peer.decode(body); err != nil || n != 100 {
					b.Fatal(n, err)
				}
			}
			perEvent(b, 100)
		})
	}
}

// plainRequest is the request as a library decodes it.
type plainRequest struct {
	Events []struct {
		Name       string            `json:"event_name"`
		Identifier *string           `json:"identifier"`
		Timestamp  *time.Time        `json:"timestamp"`
		Payload    map[string]string `json:"payload"`
	} `json:"events"`
}

type peer struct {
	name   string
	decode func(body []byte) (events int, err error)
}

// peers is extended by the files that need an experiment of the toolchain.
var peers = []peer{
	{"encoding_json", func(body []byte) (int, error) {
		var r plainRequest
		err := json.Unmarshal(body, &r)
		return len(r.Events), err
	}},
	{"goccy", func(body []byte) (int, error) {
		var r plainRequest
		err := gojson.Unmarshal(body, &r)
		return len(r.Events), err
	}},
	{"sonic_strict", func(body []byte) (int, error) {
		var r plainRequest
		err := sonicStrict.Unmarshal(body, &r)
		return len(r.Events), err
	}},
	{"fastjson", decodeFastjson},
}

// sonicStrict still takes lone surrogates and duplicate names.
var sonicStrict = sonic.Config{ValidateString: true}.Froze()

var fastjsonParser fastjson.Parser

// decodeFastjson reads the fields that a gateway needs, which is less than the other peers do: no maps, no times.
func decodeFastjson(body []byte) (int, error) {
	v, err := fastjsonParser.ParseBytes(body)
	if err != nil {
		return 0, err
	}
	events := v.GetArray("events")
	for _, e := range events {
		if len(e.GetStringBytes("event_name")) == 0 || len(e.GetStringBytes("payload", "value")) == 0 ||
			len(e.GetStringBytes("identifier")) == 0 || len(e.GetStringBytes("timestamp")) == 0 {
			return 0, fmt.Errorf("a field is missing")
		}
	}
	return len(events), nil
}

func BenchmarkRecord(b *testing.B) {
	events, err := meterevent.NewDecoder(meterevent.Options{}).Stream(streamBody(100))
	if err != nil {
		b.Fatal(err)
	}
	buf, key := make([]byte, 0, 1<<16), make([]byte, 0, 256)
	b.Run("AppendRecord", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = buf[:0]
			for i := range events {
				key = meterevent.AppendKey(key[:0], "acct_demo", false, events[i].Name)
				buf = meterevent.AppendRecord(buf, "acct_demo", false, &events[i], receivedMs)
			}
		}
		perEvent(b, 100)
	})
	b.Run("Recorder", func(b *testing.B) {
		b.ReportAllocs()
		var r meterevent.Recorder
		for b.Loop() {
			buf = buf[:0]
			r.Begin("acct_demo", false, receivedMs)
			for i := range events {
				r.Meter(events[i].Name)
				buf = r.Append(buf, &events[i])
			}
		}
		perEvent(b, 100)
	})
}

func BenchmarkDeriver(b *testing.B) {
	raw := streamBody(1)
	buf := make([]byte, 0, 64)
	key := []byte("3f1b2c4d-0000-4000-8000-123456789abc")
	d := meterevent.NewDeriver("acct_demo", false, key, nil)
	b.Run("request", func(b *testing.B) {
		for b.Loop() {
			d = meterevent.NewDeriver("acct_demo", false, key, nil)
		}
	})
	b.Run("event", func(b *testing.B) {
		for b.Loop() {
			buf = d.Identifier(buf[:0], 3, raw)
		}
	})
}

func BenchmarkParseTimestamp(b *testing.B) {
	for _, text := range []string{"2026-11-21T12:00:00.123Z", "2026-11-21T12:00:00.123456789+02:00", "1795294370"} {
		b.Run(text, func(b *testing.B) {
			for b.Loop() {
				meterevent.ParseTimestamp([]byte(text))
			}
		})
	}
}

func BenchmarkAppendTime(b *testing.B) {
	buf := make([]byte, 0, 64)
	for b.Loop() {
		buf = meterevent.AppendTime(buf[:0], 1795294370123)
	}
}

func BenchmarkCheckValue(b *testing.B) {
	for _, text := range []string{"25", "-12345.678901234"} {
		b.Run(text, func(b *testing.B) {
			value := []byte(text)
			for b.Loop() {
				meterevent.CheckValue(value)
			}
		})
	}
}

// BenchmarkHostile reads bodies near 1 MiB that are made to be slow: the bound on what one request can cost.
func BenchmarkHostile(b *testing.B) {
	const bodyBytes = 1 << 20
	object := func(names int, value string) string {
		var s strings.Builder
		for i := range names {
			fmt.Fprintf(&s, `,"k%02d":%s`, i, value)
		}
		return "{" + s.String()[1:] + "}"
	}
	array := func(element string) string {
		return "[" + strings.Repeat(element+",", bodyBytes/(len(element)+1)-1) + element + "]"
	}
	for name, body := range map[string]string{
		"payloads_of_50_keys":     `{"events":[` + strings.Repeat(`{"event_name":"a","payload":`+object(50, `"`+strings.Repeat("v", 200)+`"`)+`},`, 99) + `{"event_name":"a","payload":{}}]}`,
		"payloads_of_escapes":     `{"events":[` + strings.Repeat(`{"event_name":"a","payload":`+object(5, `"`+strings.Repeat(`\n`, 500)+`"`)+`},`, 99) + `{"event_name":"a","payload":{}}]}`,
		"payloads_beyond_ASCII":   `{"events":[` + strings.Repeat(`{"event_name":"a","payload":`+object(20, `"`+strings.Repeat(`é`, 250)+`"`)+`},`, 99) + `{"event_name":"a","payload":{}}]}`,
		"white_space":             strings.Repeat(" ", bodyBytes) + `{"events":[{"event_name":"a","payload":{}}]}`,
		"skipped_objects":         `{"x":` + array(object(100, "0")) + `,"events":[{"event_name":"a","payload":{}}]}`,
		"skipped_escaped_objects": `{"x":` + array(strings.ReplaceAll(object(100, "0"), `"k`, `"\u006b`)) + `,"events":[{"event_name":"a","payload":{}}]}`,
		"skipped_number":          `{"x":` + strings.Repeat("1", bodyBytes) + `,"events":[{"event_name":"a","payload":{}}]}`,
		"skipped_depth":           `{"x":` + array(strings.Repeat("[", 90)+strings.Repeat("]", 90)) + `,"events":[{"event_name":"a","payload":{}}]}`,
	} {
		b.Run(name, func(b *testing.B) {
			d := meterevent.NewDecoder(meterevent.Options{Lenient: true})
			body := []byte(body)
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := d.Stream(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
