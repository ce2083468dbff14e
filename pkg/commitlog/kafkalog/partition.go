package kafkalog

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

const (
	backoffMin = 20 * time.Millisecond
	backoffMax = time.Second
	// compressBytesMin: smaller batches do not pay for it.
	compressBytesMin = 64 << 10
)

// topic is one topic of the configuration. It is immutable but for its atomics and, under Log.mu, inSyncMin.
type topic struct {
	config TopicConfig
	// partitions is nil until the cluster has said how many there are, and fixed from then on.
	partitions    atomic.Pointer[[]*partition]
	batchBytesMax atomic.Int64
	inSyncMin     int
}

func (t *topic) all() []*partition {
	if ps := t.partitions.Load(); ps != nil {
		return *ps
	}
	return nil
}

// fix gives a topic its partitions. Log.mu is held.
func (t *topic) fix(n int) {
	partitions := make([]*partition, n)
	for j := range partitions {
		partitions[j] = &partition{topic: t, number: int32(j), leader: -1, producer: recordbatch.NoProducer}
	}
	t.partitions.Store(&partitions)
}

// partition is the queue of batches of one partition, of which only the first is ever on its way.
//
// Log.mu guards all of it, with one exception: between lane.take, which sets flying, and the end of that attempt,
// sending, wire, scratch, stamped and producer belong to the lane.
type partition struct {
	topic  *topic
	number int32
	leader int32 // broker id, -1: nobody
	// When leaders were last asked for: replicas there are, and of these in sync.
	replicas, inSync int

	queue []*commitlog.Batch
	// since is when the first of the queue became the first: how long it has waited for an answer.
	since time.Time
	// doubt: an attempt may have put the first batch into the log.
	doubt bool
	// lastErr is what the last attempt came to.
	lastErr error

	flying  *lane // sends the first batch now, which is
	sending *commitlog.Batch
	listed  bool        // in its leader's list of partitions to send
	pausing bool        // until the timer fires
	timer   *time.Timer // ends a pause
	pause   time.Duration

	// stalled says why new batches are turned away, since stalledAt; nil: they are not.
	stalled   error
	stalledAt time.Time

	producer recordbatch.Producer // ID -1: to be asked for. Sequence: the first batch's
	wire     []byte               // the first batch as it is sent; nil: not encoded yet
	stamped  bool                 // wire carries the producer
	scratch  []byte               // holds compressed batches, one after the other
}

// short tells whether fewer replicas are in sync than a write needs. A broker asks for no more than there are.
func (p *partition) short() bool { return p.inSync < min(p.topic.inSyncMin, p.replicas) }

// waits tells whether there is a batch that a lane could take now.
func (p *partition) waits() bool {
	return len(p.queue) > 0 && p.flying == nil && !p.listed && !p.pausing
}

func (p *partition) push(b *commitlog.Batch, now time.Time) {
	if len(p.queue) == 0 {
		p.since = now
	}
	p.queue = append(p.queue, b)
}

// pop takes the first batch out of the queue. Its outcome is settled.
func (p *partition) pop(now time.Time) *commitlog.Batch {
	b := p.queue[0]
	n := copy(p.queue, p.queue[1:])
	p.queue[n] = nil
	p.queue = p.queue[:n]
	p.since, p.doubt, p.wire, p.stamped = now, false, nil, false
	return b
}

// succeed counts the first batch's records into the sequence, which wraps from 2³¹-1 to 0.
func (p *partition) succeed() {
	p.producer.Sequence = int32((int64(p.producer.Sequence) + int64(p.queue[0].Records)) & math.MaxInt32)
	p.pause, p.stalled, p.lastErr = 0, nil, nil
}

// replaceProducer makes the next attempt ask for a new producer id.
func (p *partition) replaceProducer() {
	p.producer, p.stamped = recordbatch.NoProducer, false
}

// nextPause doubles the pause between attempts and shakes it by half, so that many gateways do not knock together.
func (p *partition) nextPause() time.Duration {
	p.pause = min(max(2*p.pause, backoffMin), backoffMax)
	return p.pause/2 + rand.N(p.pause)
}

// encode makes the first batch ready to be sent. Encoding again gives the same bytes, unless the producer is new.
func (p *partition) encode(codec recordbatch.Codec) {
	if p.wire == nil {
		p.wire = p.sending.Bytes
		if codec != recordbatch.None && len(p.wire) >= compressBytesMin {
			// Incompressible records, or a fault in a codec: the batch goes as it is.
			if smaller, err := recordbatch.Compress(p.scratch, p.wire, codec); err == nil {
				p.scratch = smaller
				if len(smaller) < len(p.wire) {
					p.wire = smaller
				}
			}
		}
	}
	if !p.stamped {
		recordbatch.Stamp(p.wire, p.producer)
		p.stamped = true
	}
}
