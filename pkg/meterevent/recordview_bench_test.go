package meterevent_test

import (
	"encoding/json"
	"testing"

	"tollgate/pkg/meterevent"
)

// usageRecords are the records of the events of a stream body, of one request or of a request each.
func usageRecords(b testing.TB, body []byte, apartMs int64) (values [][]byte) {
	events, err := meterevent.NewDecoder(meterevent.Options{}).Stream(body)
	if err != nil {
		b.Fatal(err)
	}
	var rec meterevent.Recorder
	for i := range events {
		rec.Begin("acct_demo", false, receivedMs+int64(i)*apartMs)
		rec.Meter(events[i].Name)
		values = append(values, rec.Append(nil, &events[i]))
	}
	return values
}

// BenchmarkRead reads the records of 100 events and the two values of each payload that a worker needs. one_meter is a
// partition's usual record; requests are of other milliseconds each; meters are eight in turn. general_way and the peer read
// the record only. On two shared and busy cores of an Intel Xeon, Go 1.26, the lowest of some 20 runs:
//
//	one_meter 72 · requests 79 · meters 107 · general way 727 · encoding/json, a map and times as texts, 5,079
//
//	go test -run xxx -bench Read -benchtime 50ms -count 20 ./pkg/meterevent
func BenchmarkRead(b *testing.B) {
	read := func(name string, values [][]byte, do func(p *meterevent.RecordReader, value []byte, r *meterevent.Record) error) {
		b.Run(name, func(b *testing.B) {
			var p meterevent.RecordReader
			var r meterevent.Record
			b.ReportAllocs()
			for b.Loop() {
				for _, value := range values {
					if err := do(&p, value, &r); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(values)), "ns/record")
		})
	}
	usual := func(p *meterevent.RecordReader, value []byte, r *meterevent.Record) error {
		err := p.Read(value, r)
		customer, _ := p.PayloadValue(r, "stripe_customer_id")
		number, _ := p.PayloadValue(r, "value")
		if len(customer) == 0 || len(number) == 0 {
			b.Fatal("no customer or value")
		}
		return err
	}
	read("one_meter", usageRecords(b, streamBody(100), 0), usual)
	read("requests", usageRecords(b, streamBody(100), 7), usual)
	read("meters", usageRecords(b, variedBody(100), 7), usual)
	read("general_way", usageRecords(b, streamBody(100), 0), (*meterevent.RecordReader).ReadGeneral)
	read("encoding_json", usageRecords(b, streamBody(100), 0), func(_ *meterevent.RecordReader, value []byte, _ *meterevent.Record) error {
		var logged struct {
			Business, Identifier string
			Name                 string `json:"event_name"`
			Livemode             bool
			Timestamp, Received  string
			Payload              map[string]string
		}
		return json.Unmarshal(value, &logged)
	})
}
