package opened

import (
	"testing"

	"tollgate/pkg/commitlog/propose"
	"tollgate/pkg/recordbatch"
)

// What a gateway does at its start, without the log's part, which has KeysMax records for it at most. The command is
//
//	go test -run '^$' -bench . -benchmem ./pkg/opened
func BenchmarkFold(b *testing.B) {
	const records = 100_000
	log := make([]recordbatch.Record, 0, records)
	bytes := 0
	for i := range records {
		s := session(0, noon.UnixMilli()+int64(i))
		s.Key = [16]byte{byte(i), byte(i >> 8), byte(i >> 16)}
		value := encode(&s)
		bytes += len(value)
		log = append(log, recordbatch.Record{Offset: int64(i), Value: value})
	}
	now := newClock()
	b.ReportAllocs()
	for b.Loop() {
		o := &Opened{
			cfg: Config{Now: now.now}.withDefaults(), table: newTable(defaultKeysMax),
			proposals: propose.New[Session](propose.Config{InFlightMax: 1}),
		}
		if err := o.apply(log, true); err != nil || o.table.len() != records {
			b.Fatal("the fold lost sessions")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
	b.ReportMetric(float64(bytes)/records, "bytes/record")
}
