package commitlog

import "tollgate/pkg/recordbatch"

// Packer puts records of one partition into batches, each as many as the topic takes at once. It is for one goroutine.
//
//	p := commitlog.NewPacker(log, topic, partition)
//	for … {
//		if !p.Fits(body) {
//			… p.Take() …
//		}
//		p.Add(nowMs, body)
//	}
//	… p.Take() …
//
// It does not append: whether a batch may follow one whose outcome is not known is for those to say whose records they are.
type Packer struct {
	topic     string
	partition int32
	bytesMax  int
	builder   recordbatch.Builder
}

// NewPacker returns one without records.
func NewPacker(log Log, topic string, partition int32) *Packer {
	p := &Packer{topic: topic, partition: partition, bytesMax: log.BatchBytesMax(topic)}
	p.builder.Reset(nil)
	return p
}

// Fits tells whether a record fits beside what was added. Where nothing was, false says that the topic does not take it.
func (p *Packer) Fits(body []byte) bool {
	return p.builder.Len()+recordbatch.RecordBytesMax(len(body)) <= p.bytesMax
}

// Add adds a record of recordbatch.AppendBody, which is copied.
func (p *Packer) Add(timestampMs int64, body []byte) { p.builder.Append(timestampMs, body) }

// Take returns what was added as a batch, and begins another; nil when nothing was.
func (p *Packer) Take() *Batch {
	n := p.builder.Records()
	if n == 0 {
		return nil
	}
	b := &Batch{Topic: p.topic, Partition: p.partition, Records: n, Bytes: p.builder.Seal()}
	p.builder.Reset(nil)
	return b
}

// OneRecord is a batch of one record.
func OneRecord(topic string, partition int32, timestampMs int64, key, value []byte) *Batch {
	body := recordbatch.AppendBody(nil, key, value)
	var b recordbatch.Builder
	b.Reset(make([]byte, 0, recordbatch.HeaderBytes+recordbatch.RecordBytesMax(len(body))))
	b.Append(timestampMs, body)
	return &Batch{Topic: topic, Partition: partition, Records: 1, Bytes: b.Seal()}
}
