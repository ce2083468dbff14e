package kafkalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/produce"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// lane is a goroutine that sends to one broker.
type lane struct {
	log    *Log
	broker *broker
	// conn is replaced by the lane under Log.mu, so that others may close it; nil: none.
	conn *conn
	// woken holds one element when a lane that was idle is to look at the list.
	woken chan struct{}

	// Scratch of one attempt.
	set     []*partition
	request produceRequest
	done    []*commitlog.Batch
}

func (n *lane) run() {
	for n.take() {
		if len(n.set) > 0 {
			n.send()
		}
	}
	n.conn.close()
}

// take waits for partitions to send for and takes as many as one request may carry. False: the log is given up.
func (n *lane) take() bool {
	k := n.broker
	n.log.mu.Lock()
	defer n.log.mu.Unlock()
	for len(k.list) == 0 && n.log.ctx.Err() == nil {
		k.idle = append(k.idle, n)
		n.log.mu.Unlock()
		select {
		case <-n.woken:
		case <-n.log.ctx.Done():
		}
		n.log.mu.Lock()
	}
	if n.log.ctx.Err() != nil {
		return false
	}
	n.set = n.set[:0]
	size, taken := 0, 0
	for _, p := range k.list {
		if len(p.queue) > 0 { // else review turned its batches away
			if size += len(p.queue[0].Bytes); len(n.set) > 0 && size > requestBytesMax {
				break
			}
			p.flying, p.sending = n, p.queue[0]
			n.set = append(n.set, p)
		}
		p.listed = false
		taken++
	}
	k.list = slices.Delete(k.list, 0, taken)
	slices.SortStableFunc(n.set, byTopic)
	if len(k.list) > 0 {
		k.wake()
	}
	return true
}

// byTopic brings the partitions of a topic together, as a request names each topic once.
func byTopic(a, b *partition) int { return strings.Compare(a.topic.config.Name, b.topic.config.Name) }

// send makes one attempt for the set and settles each of its partitions.
func (n *lane) send() {
	if err := n.connect(); err != nil {
		n.settleAll(decideLost(err, false, false))
		return
	}
	if !n.obtainProducers() {
		return
	}
	n.encode()
	for _, p := range n.set {
		n.log.counts.batchBytes.Observe(int64(len(p.wire)))
		n.log.counts.bytes.Add(uint64(len(p.wire)))
	}
	began := time.Now()
	n.log.counts.requests.Add(1)
	answer, written, err := n.conn.produce(&n.request, n.set, n.log.config.RequestTimeout)
	n.log.counts.seconds.Observe(int64(time.Since(began)))
	if err != nil {
		n.disconnect()
		n.settleAll(decideLost(err, written, false))
		return
	}
	n.settleAnswers(answer)
}

// connect makes sure that there is a connection worth using.
func (n *lane) connect() error {
	l, k := n.log, n.broker
	l.mu.Lock()
	address, generation := k.address, k.generation
	l.mu.Unlock()
	if c := n.conn; c != nil {
		if c.generation == generation && (c.expires.IsZero() || time.Now().Before(c.expires)) && !c.hungUp() {
			return nil
		}
		n.setConn(nil)
	}
	c, err := l.dialer.connect(l.ctx, address)
	if err != nil {
		return err
	}
	c.generation = generation
	n.setConn(c)
	return nil
}

// disconnect drops the connection after a fault, and with it those of the broker's other lanes that are of its age.
func (n *lane) disconnect() {
	n.log.mu.Lock()
	if n.conn != nil && n.conn.generation == n.broker.generation {
		n.broker.generation++
	}
	n.log.mu.Unlock()
	n.setConn(nil)
}

func (n *lane) setConn(c *conn) {
	n.log.mu.Lock()
	defer n.log.mu.Unlock()
	n.conn.close()
	n.conn = c
	if n.log.ctx.Err() != nil {
		c.close() // stop has closed the others already
	}
}

// obtainProducers gets a producer id for each partition of the set that has none. A partition has one of its own: when a
// broker loses track of one sequence, the others go on. False: nothing was sent and the set is settled.
func (n *lane) obtainProducers() bool {
	for _, p := range n.set {
		if p.producer.ID >= 0 {
			continue
		}
		answer, _, err := n.conn.roundTrip(new(initproducerid.Request), n.log.config.RequestTimeout)
		if err != nil {
			n.disconnect()
			n.settleAll(decideLost(fmt.Errorf("asking for a producer id: %w", err), false, false))
			return false
		}
		id := answer.(*initproducerid.Response)
		if id.ErrorCode != 0 {
			// Nobody's batch was sent. A right that is missing fails them at once, anything else is tried again.
			v := decide(id.ErrorCode, "", false)
			v.doubt, v.replace = false, false
			n.settleAll(v)
			return false
		}
		p.producer = recordbatch.Producer{ID: id.ProducerID, Epoch: id.ProducerEpoch}
	}
	return true
}

// encode compresses and stamps the set's batches, several at a time when there is something to compress.
func (n *lane) encode() {
	codec := n.log.config.Codec
	if codec == recordbatch.None || len(n.set) == 1 {
		for _, p := range n.set {
			p.encode(codec)
		}
		return
	}
	var group sync.WaitGroup
	for _, p := range n.set {
		group.Go(func() { p.encode(codec) })
	}
	group.Wait()
}

var errNoAnswer = errors.New("the broker's answer leaves the partition out")

// settleAnswers settles each partition by its own part of the answer.
func (n *lane) settleAnswers(answer *produce.Response) {
	n.settle(func(p *partition) (verdict, int64) {
		for i := range answer.Topics {
			if answer.Topics[i].Topic != p.topic.config.Name {
				continue
			}
			for j := range answer.Topics[i].Partitions {
				if a := &answer.Topics[i].Partitions[j]; a.Partition == p.number {
					n.log.counts.answer(a.ErrorCode)
					return decide(a.ErrorCode, a.ErrorMessage, p.doubt), a.BaseOffset
				}
			}
		}
		return decideLost(errNoAnswer, true, p.doubt), -1
	})
}

// settleAll settles the set by one verdict. What was in doubt before stays so.
func (n *lane) settleAll(v verdict) {
	n.log.counts.lost.Add(1)
	n.settle(func(p *partition) (verdict, int64) {
		v := v
		if p.doubt && v.final {
			// A final verdict is about this attempt; an earlier one is in doubt still, so go on trying.
			v.final = false
		}
		v.doubt = v.doubt || p.doubt
		return v, -1
	})
}

// settle acts on the verdicts: batches with an outcome go back to their owners, the others are sent again.
func (n *lane) settle(verdictOf func(p *partition) (v verdict, base int64)) {
	l := n.log
	now := time.Now()
	refresh := false
	n.done = n.done[:0]
	l.mu.Lock()
	for _, p := range n.set {
		v, base := verdictOf(p)
		p.flying, p.sending, p.lastErr = nil, nil, v.err
		refresh = refresh || v.refresh
		if p.topic.config.HandBack {
			v = p.handBack(v)
		}
		if v.replace {
			p.replaceProducer()
			l.outbox.notice(Notice{NoticeProducerReplaced, p.topic.config.Name, fmt.Sprintf(
				"partition %d goes on with a new producer id; records acknowledged earlier may be missing if the cluster elected a leader that was not in sync: %v", p.number, v.err)})
			l.outboxWork.Signal()
		}
		if !v.final {
			l.again(p, v)
			continue
		}
		b := p.queue[0]
		b.Err, b.Base = v.err, -1
		if v.err == nil {
			p.succeed()
			l.answered = now
			if v.base {
				b.Base = base
			}
		}
		n.done = append(n.done, p.pop(now))
		if errors.Is(v.err, commitlog.ErrUnavailable) {
			l.stall(p, v.err) // the batches behind it would hear the same
		}
		l.offer(p)
	}
	if refresh {
		l.lookForLeaders()
	}
	l.mu.Unlock()
	for _, b := range n.done {
		b.Done(b)
	}
	l.settled(len(n.done))
	clear(n.done)
}

// again lets a partition's first batch wait for its next attempt. Log.mu is held.
func (l *Log) again(p *partition, v verdict) {
	p.doubt = v.doubt
	p.pausing = true
	l.counts.retries.Add(1)
	p.timer = time.AfterFunc(p.nextPause(), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		p.pausing = false
		l.offer(p)
	})
}
