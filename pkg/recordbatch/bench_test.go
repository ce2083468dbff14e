package recordbatch_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/segmentio/kafka-go/protocol"

	"tollgate/pkg/recordbatch"
)

// benchRecords is what one batch of these benchmarks holds: 1,000 records of about 175 bytes.
const benchRecords = 1000

func benchBodies() (bodies [][]byte) {
	for i := range benchRecords {
		v := fmt.Appendf(nil, `{"object":"meter_event","business":"acct_demo","livemode":false,"event_name":"api_requests","identifier":"id-%08d","payload":{"value":"%d"}}`, i, i)
		bodies = append(bodies, recordbatch.AppendBody(nil, []byte("acct_demo/testmode/api_requests"), v))
	}
	return bodies
}

func benchBatch() []byte {
	var b recordbatch.Builder
	b.Reset(nil)
	for i, body := range benchBodies() {
		b.Append(int64(i), body)
	}
	return b.Seal()
}

// perRecord reports the time of one record.
func perRecord(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRecords, "ns/record")
}

// BenchmarkBuild assembles a batch; its peer is kafka-go's encoder of the same records.
//
//	go test -run - -bench . -benchmem ./pkg/recordbatch
func BenchmarkBuild(b *testing.B) {
	bodies := benchBodies()
	buf := make([]byte, 0, 1<<20)
	var builder recordbatch.Builder
	for b.Loop() {
		builder.Reset(buf)
		for i, body := range bodies {
			builder.Append(int64(i), body)
		}
		recordbatch.Stamp(builder.Seal(), recordbatch.NoProducer)
	}
	perRecord(b)
}

func BenchmarkBuildPeerKafkaGo(b *testing.B) {
	var s recordbatch.Scanner
	if err := s.Reset(benchBatch(), 0); err != nil {
		b.Fatal(err)
	}
	var records []protocol.Record
	for s.Next() {
		r := s.Record()
		records = append(records, protocol.Record{Key: protocol.NewBytes(bytes.Clone(r.Key)), Value: protocol.NewBytes(bytes.Clone(r.Value))})
	}
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		set := protocol.RecordSet{Version: 2, Records: protocol.NewRecordReader(records...)}
		if _, err := set.WriteTo(&out); err != nil {
			b.Fatal(err)
		}
	}
	perRecord(b)
}

func BenchmarkScan(b *testing.B) {
	batch := benchBatch()
	var s recordbatch.Scanner
	for b.Loop() {
		_ = s.Reset(batch, 0)
		for s.Next() {
			_ = s.Record()
		}
		if s.Err() != nil {
			b.Fatal(s.Err())
		}
	}
	perRecord(b)
}

// BenchmarkVerify has the checksum alone as its peer: the floor.
func BenchmarkVerify(b *testing.B) {
	batch := benchBatch()
	recordbatch.Stamp(batch, recordbatch.NoProducer)
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		if _, err := recordbatch.Verify(batch); err != nil {
			b.Fatal(err)
		}
	}
	perRecord(b)
}

func BenchmarkVerifyPeerChecksum(b *testing.B) {
	batch, table := benchBatch(), crc32.MakeTable(crc32.Castagnoli)
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		crc32.Checksum(batch, table)
	}
	perRecord(b)
}

func BenchmarkCompress(b *testing.B) {
	batch := benchBatch()
	for _, codec := range []recordbatch.Codec{recordbatch.LZ4, recordbatch.Zstd} {
		b.Run(codec.String(), func(b *testing.B) {
			buf := make([]byte, 0, 2*len(batch))
			var out []byte
			b.SetBytes(int64(len(batch)))
			for b.Loop() {
				var err error
				if out, err = recordbatch.Compress(buf, batch, codec); err != nil {
					b.Fatal(err)
				}
			}
			perRecord(b)
			b.ReportMetric(float64(len(out))/benchRecords, "bytes/record")
		})
	}
}

func BenchmarkDecompress(b *testing.B) {
	for _, codec := range []recordbatch.Codec{recordbatch.LZ4, recordbatch.Zstd} {
		b.Run(codec.String(), func(b *testing.B) {
			batch, err := recordbatch.Compress(nil, benchBatch(), codec)
			if err != nil {
				b.Fatal(err)
			}
			var s recordbatch.Scanner
			for b.Loop() {
				if err := s.Reset(batch, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
			perRecord(b)
		})
	}
}
