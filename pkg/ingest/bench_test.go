package ingest

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
)

// discard is a log that takes every batch at once and keeps nothing.
type discard struct{ partitions int }

func (discard) Append(set []*commitlog.Batch) {
	for _, b := range set {
		b.Done(b)
	}
}
func (d discard) Partitions(string) int     { return d.partitions }
func (discard) BatchBytesMax(string) int    { return 1 << 20 }
func (discard) Ready() error                { return nil }
func (discard) Close(context.Context) error { return nil }
func (discard) Bounds(context.Context, string, int32) (oldest, next int64, err error) {
	return 0, 0, nil
}
func (discard) NewReader(string, int32, int64) (commitlog.Reader, error) { return nil, nil }
func (discard) Group(string, string) commitlog.Group                     { return nil }

// event is a usage record of the usual size.
var event = []byte(`{"object":"meter_event","business":"acct_demo","livemode":false,"event_name":"api_requests","identifier":"0192f3c4-5a6b-7c8d","timestamp":"2026-11-21T12:00:00.000Z","received":"2026-11-21T12:00:00.123Z","payload":{"stripe_customer_id":"cus_1","value":"25"}}`)

func cpuNow() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSubmit is a request from NewFrame to its answer, with a log that discards: what this package costs. cpu-ns
// is the process's time, since with a pause between sets a request takes longer than it costs.
//
//	go test -run - -bench Submit -cpu 1,2 ./pkg/ingest
func BenchmarkSubmit(b *testing.B) {
	for _, records := range []int{1, 10, 100} {
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("records=%d/clients=%d", records, clients), func(b *testing.B) {
				g := open(b, discard{partitions: 12}, Config{})
				b.ReportAllocs()
				b.SetParallelism(clients)
				before := cpuNow()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					key := keyOf("acct_demo/testmode/api_requests")
					for pb.Next() {
						f := g.NewFrame(g.NowMs())
						for range records {
							f.End(append(f.Begin(key), event...))
						}
						if err := g.Submit(f); err != nil {
							b.Error(err)
						}
					}
				})
				perRequest := float64(cpuNow()-before) / float64(b.N)
				b.ReportMetric(perRequest, "cpu-ns/op")
				b.ReportMetric(perRequest/float64(records), "cpu-ns/event")
			})
		}
	}
}
