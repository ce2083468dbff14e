// Package recordstest builds record batches for tests with kafka-go's encoder, another implementation of the format
// than the one under test.
package recordstest

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// Codecs of a batch, as in its attributes.
const (
	None, LZ4, Zstd = 0, 3, 4
)

// Batch encodes values, "" as null, and panics when it can not.
func Batch(baseOffset int64, codec int8, values ...string) []byte {
	var all []protocol.Record
	for i, v := range values {
		r := protocol.Record{Offset: int64(i), Time: time.UnixMilli(1_800_000_000_000 + int64(i)), Key: protocol.NewBytes([]byte("key"))}
		if v != "" {
			r.Value = protocol.NewBytes([]byte(v))
		}
		all = append(all, r)
	}
	set := protocol.RecordSet{Version: 2, Attributes: protocol.Attributes(codec), Records: protocol.NewRecordReader(all...)}
	var b bytes.Buffer
	if _, err := set.WriteTo(&b); err != nil {
		panic(err)
	}
	batch := b.Bytes()[4:]                                // behind the size of the set
	binary.BigEndian.PutUint64(batch, uint64(baseOffset)) // not under the checksum
	return batch
}
