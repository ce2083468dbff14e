package recordbatch

import (
	"encoding/binary"
)

// Filter appends to dst the batch at the start of b without the records that keep refuses, and returns how many are left.
// Offsets stay: the new batch has the old one's base and last offset, as Kafka's own compaction leaves it, and the
// timestamps of what is left. It has no producer and is not compressed. With nothing left, dst comes back as
// it was; Gap makes what then takes the batch's place. dst must not overlap b.
func (s *Scanner) Filter(dst, b []byte, decompressedMax int, keep func(Record) bool) (out []byte, left int, err error) {
	if err := s.Reset(b, decompressedMax); err != nil {
		return dst, 0, err
	}
	start, maxTimestamp := len(dst), int64(-1)
	out = append(dst, b[:HeaderBytes]...)
	for before := s.rest; s.Next(); before = s.rest {
		if keep(s.record) {
			out = append(out, before[:len(before)-len(s.rest)]...)
			maxTimestamp = max(maxTimestamp, s.record.TimestampMs)
			left++
		}
	}
	if s.err != nil || left == 0 {
		return dst, 0, s.err
	}
	batch := out[start:]
	binary.BigEndian.PutUint32(batch[posLength:], uint32(len(batch)-lengthBehind))
	binary.BigEndian.PutUint16(batch[posAttributes:], uint16(s.header.Attributes&^attrCodec))
	binary.BigEndian.PutUint64(batch[posMaxTimestamp:], uint64(maxTimestamp))
	binary.BigEndian.PutUint32(batch[posRecords:], uint32(left))
	setProducer(batch, NoProducer)
	setCRC(batch)
	return out, left, nil
}
