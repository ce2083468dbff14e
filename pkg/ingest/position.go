package ingest

// Position is where a record is in the log.
type Position struct {
	Partition int32
	// Offset is -1 when the record is durable and the log does not know where: Kafka's answer to a repetition may say
	// just that. Whoever must know reads the partition for it.
	Offset int64
}

// nowhere is the position of what is not in the log.
var nowhere = Position{Partition: -1, Offset: -1}

// settle turns the place of the frame's last record in its batch into one in the log, when that batch comes back. It
// is called for each batch of the frame, so it costs all others one comparison.
func (s *slot) settle(b *batch) {
	if s.last != b {
		return
	}
	s.last = nil
	s.at.Partition = b.Partition
	if b.Base < 0 {
		s.at.Offset = -1
	} else {
		s.at.Offset += b.Base
	}
}
