package spill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/kafkalog"
	"tollgate/pkg/recordbatch"
)

// broker is a model of Kafka: what it has of each partition, and what it remembers of producers.
type broker struct {
	mu     sync.Mutex
	dice   *rand.Rand
	up     bool
	lose   float64 // probability that an answer is lost
	logs   [][]string
	known  []map[int64]sequence // by partition and producer id
	nextID int64
}

// sequence is the newest batch of a producer: all that is left of it after a broker has been killed.
type sequence struct{ first, next int32 }

func newBroker(seed uint64, partitions int) *broker {
	k := &broker{dice: rand.New(rand.NewPCG(seed, 7)), up: true, logs: make([][]string, partitions)}
	for range partitions {
		k.known = append(k.known, map[int64]sequence{})
	}
	return k
}

var errAway = errors.New("connection refused")

type outcome int

const (
	landed outcome = iota
	outOfOrder
	notSent // no byte of it
	lost    // it may have been written
)

// produce is one attempt of one batch, as a broker answers it.
func (k *broker) produce(partition int32, producer recordbatch.Producer, values []string) outcome {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.up {
		return notSent
	}
	if k.dice.Float64() < k.lose/2 {
		return lost // before the write
	}
	o := k.write(partition, producer, values)
	if k.dice.Float64() < k.lose/2 {
		return lost
	}
	return o
}

func (k *broker) write(partition int32, producer recordbatch.Producer, values []string) outcome {
	was, known := k.known[partition][producer.ID]
	switch {
	case known && producer.Sequence == was.first && producer.Sequence+int32(len(values)) == was.next:
		return landed // the same again
	case known && producer.Sequence != was.next:
		return outOfOrder
	}
	k.known[partition][producer.ID] = sequence{producer.Sequence, producer.Sequence + int32(len(values))}
	k.logs[partition] = append(k.logs[partition], values...)
	return landed
}

// client is a kafkalog.Log with HandBack for its topic, as far as a spill can tell.
type client struct {
	k     *broker
	stall time.Duration

	mu     sync.Mutex
	parts  []*lane
	closed bool
	killed bool
}

// lane is one partition of a client.
type lane struct {
	queue    []*commitlog.Batch
	producer recordbatch.Producer
	doubt    bool
	running  bool
	stalled  bool
	since    time.Time
}

func newClient(k *broker, partitions int, stall time.Duration) *client {
	c := &client{k: k, stall: stall}
	for range partitions {
		c.parts = append(c.parts, &lane{producer: recordbatch.NoProducer})
	}
	return c
}

func (c *client) Append(set []*commitlog.Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range set {
		c.push(b, nil)
	}
}

func (c *client) AppendAs(b *commitlog.Batch, producer recordbatch.Producer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.push(b, &producer)
}

func (c *client) push(b *commitlog.Batch, as *recordbatch.Producer) {
	p := c.parts[b.Partition]
	switch {
	case c.closed:
		c.give(b, commitlog.ErrClosed)
		return
	case p.stalled:
		c.give(b, fmt.Errorf("%w: stalled", commitlog.ErrUnavailable))
		return
	case as != nil && (len(p.queue) > 0 || p.running):
		c.give(b, fmt.Errorf("%w: busy", commitlog.ErrUnavailable))
		return
	}
	if as != nil {
		p.producer, p.doubt = *as, true
	}
	if len(p.queue) == 0 {
		p.since = time.Now()
	}
	p.queue = append(p.queue, b)
	if !p.running {
		p.running = true
		go c.run(p)
	}
}

func (c *client) give(b *commitlog.Batch, err error) {
	go func() {
		b.Err, b.Base = err, -1
		b.Done(b)
	}()
}

// run sends a lane's batches one after the other.
func (c *client) run(p *lane) {
	for {
		c.mu.Lock()
		if len(p.queue) == 0 || c.killed {
			p.running = false
			c.mu.Unlock()
			return
		}
		b := p.queue[0]
		if p.producer.ID < 0 {
			c.k.mu.Lock()
			if c.k.up {
				c.k.nextID++
				p.producer = recordbatch.Producer{ID: c.k.nextID}
			}
			c.k.mu.Unlock()
		}
		producer := p.producer
		values := valuesOf(b)
		c.mu.Unlock()
		c.k.mu.Lock()
		latency := time.Duration(c.k.dice.IntN(20)) * time.Millisecond
		c.k.mu.Unlock()
		time.Sleep(latency)
		o := notSent
		if producer.ID >= 0 {
			o = c.k.produce(b.Partition, producer, values)
		}
		c.settle(p, b, o)
	}
}

func (c *client) settle(p *lane, b *commitlog.Batch, o outcome) {
	c.mu.Lock()
	if c.killed {
		c.mu.Unlock()
		return
	}
	var err error
	final := true
	switch o {
	case landed:
		p.producer.Sequence += int32(b.Records)
	case outOfOrder:
		if p.doubt {
			err = &kafkalog.DoubtError{Producer: p.producer, Lost: true, Why: errors.New("out of order")}
		} else {
			final = false
		}
		p.producer = recordbatch.NoProducer
	case notSent, lost:
		p.doubt = p.doubt || o == lost
		if final = time.Since(p.since) > c.stall; final {
			p.stalled = true
			time.AfterFunc(time.Second, func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				p.stalled = false
			})
			err = fmt.Errorf("%w: %w", commitlog.ErrUnavailable, errAway)
			if p.doubt {
				err = &kafkalog.DoubtError{Producer: p.producer, Why: errAway}
			}
			p.producer = recordbatch.NoProducer
		}
	}
	if !final {
		c.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		return
	}
	p.queue, p.doubt = p.queue[1:], false
	p.since = time.Now()
	behind := []*commitlog.Batch(nil)
	if p.stalled {
		behind, p.queue = p.queue, nil
	}
	c.mu.Unlock()
	for _, other := range behind { // before the first, as kafkalog may
		other.Err, other.Base = fmt.Errorf("%w: behind", commitlog.ErrUnavailable), -1
		other.Done(other)
	}
	if err != nil {
		c.k.mu.Lock()
		silence := time.Duration(c.k.dice.IntN(300)) * time.Millisecond
		c.k.mu.Unlock()
		time.Sleep(silence) // the request that the first was in takes its time to end
	}
	b.Err, b.Base = err, -1
	if err == nil {
		b.Base = 0 // some offset
	}
	b.Done(b)
}

func (c *client) NewProducer(context.Context) (recordbatch.Producer, error) {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	if !c.k.up {
		return recordbatch.NoProducer, fmt.Errorf("%w: %w", commitlog.ErrUnavailable, errAway)
	}
	c.k.nextID++
	return recordbatch.Producer{ID: c.k.nextID}, nil
}

func (c *client) Partitions(string) int    { return len(c.parts) }
func (c *client) BatchBytesMax(string) int { return 1 << 20 }
func (c *client) Bounds(context.Context, string, int32) (int64, int64, error) {
	return 0, 0, nil
}
func (c *client) NewReader(string, int32, int64) (commitlog.Reader, error) { return nil, errAway }
func (c *client) Group(string, string) commitlog.Group                     { return nil }
func (c *client) Ready() error {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	if !c.k.up {
		return commitlog.ErrUnavailable
	}
	return nil
}

func (c *client) Close(context.Context) error {
	c.mu.Lock()
	c.closed = true
	if c.killed {
		for _, p := range c.parts {
			for _, b := range p.queue {
				c.give(b, commitlog.ErrClosed) // so that its goroutines end; the ledger does not listen any more
			}
			p.queue = nil
		}
	}
	c.mu.Unlock()
	for {
		c.mu.Lock()
		busy := false
		for _, p := range c.parts {
			busy = busy || p.running
		}
		c.mu.Unlock()
		if !busy {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// kill ends the client with its process: nobody hears of anything again. What is on the wire may still land.
func (c *client) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killed, c.closed = true, true
}

func valuesOf(b *commitlog.Batch) (values []string) {
	var s recordbatch.Scanner
	recordbatch.Stamp(b.Bytes, recordbatch.NoProducer)
	if err := s.Reset(b.Bytes, 1<<24); err != nil {
		panic(err)
	}
	for s.Next() {
		values = append(values, string(s.Record().Value))
	}
	return values
}
