// Package kafkalog is a commitlog.Log on Apache Kafka: record batches that we encode, sent idempotently with acks=all.
//
// The model. Each partition has a queue of batches, of which the first is on its way to the partition's leader and the
// others wait: one append in flight a partition, so that nothing overtakes and a broker that comes back from kill -9,
// remembering one batch a producer, still knows ours. Each broker has a few lanes, goroutines with a connection; a lane
// takes the first batches of all partitions that the broker leads and that have none in flight, compresses and stamps
// them, and sends them as one request. One goroutine (watch) asks who leads what and makes topics; one (review) finds
// partitions that do not get answers; one (deliver) hands back batches that were turned away.
//
//	watch ── leaders ──► partition.queue ──► broker.list ──► lane ── request ──► leader
//	                            ▲                              │ answer → decide → done, or again after a pause
//	                         Append                            ▼
//
// A batch is sent again, the same bytes under the same producer id and sequence, until a broker answers; then it is in
// the log once. rules in outcome.go says what each answer means. How a batch can end without an answer:
// ErrUnavailable when it certainly never reached a log and the partition has been unanswered for StallMax; ErrUnknown
// when it may have and the log is closed, or the broker has forgotten our sequence. While a partition is stalled, new
// batches for it are turned away at once.
//
// Open returns at once, whatever state Kafka is in; Ready tells when it can be used, and why not.
//
// It will not choose partitions, follow a topic that grows more partitions, use transactions, or reorder. Producer ids
// are not kept: across lives of the process, events are deduplicated by their identifiers (G3).
//
//	log, err := kafkalog.Open(kafkalog.Config{
//		Brokers: []string{"127.0.0.1:9092"},
//		Topics:  []kafkalog.TopicConfig{{Name: "tollgate.usage", Partitions: 12, ReplicationFactor: 3}},
//	})
package kafkalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// Log implements commitlog.Log on Kafka.
type Log struct {
	config Config
	dialer dialer
	topics map[string]*topic // by name; never changes
	counts counts

	// ctx ends when the log gives up: after Close has waited.
	ctx     context.Context
	giveUp  context.CancelFunc
	running sync.WaitGroup
	// wakeWatch asks watch to look for leaders now.
	wakeWatch chan struct{}
	// unready is the answer of Ready.
	unready atomic.Pointer[unreadiness]

	mu sync.Mutex
	// All below is guarded by mu, and so are the partitions and the brokers, see there.
	brokers map[int32]*broker
	// away is why no batch is taken at all: the cluster is out of reach. nil: it is not. A partition's own trouble is in
	// partition.stalled.
	away error
	// configured: every topic's partitions are known.
	configured bool
	// toldAway: a Notice has said that Kafka could not be reached at start.
	toldAway bool
	// watchErr is what keeps watch from hearing of leaders, since watchFailing.
	watchErr     error
	watchFailing time.Time
	// watched is when leaders were last heard of.
	watched time.Time
	// answered is when a batch was last accepted.
	answered time.Time
	closing  bool
	open     int           // batches handed over and not completed
	idle     chan struct{} // closed when closing and open is 0
	// outbox is what deliver hands out.
	outbox     outbox
	outboxWork *sync.Cond
}

// unreadiness is why appends are turned away; err nil: they are not.
type unreadiness struct{ err error }

// Open starts a log. The error is a fault in the configuration; Kafka may be away.
func Open(config Config) (*Log, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	mechanism, err := config.SASL.mechanism()
	if err != nil {
		return nil, err
	}
	l := &Log{
		config: config,
		dialer: dialer{
			dial: config.Dial, timeout: config.DialTimeout, clientID: config.ClientID, tls: config.TLS, mechanism: mechanism,
		},
		topics:    make(map[string]*topic, len(config.Topics)),
		wakeWatch: make(chan struct{}, 1),
		brokers:   map[int32]*broker{},
		idle:      make(chan struct{}),
		answered:  time.Now(),
	}
	l.ctx, l.giveUp = context.WithCancel(context.Background())
	l.outboxWork = sync.NewCond(&l.mu)
	l.unready.Store(&unreadiness{commitlog.ErrUnavailable}) // until the first review, some lines below
	l.counts.register(config.Metrics, l)
	for _, tc := range config.Topics {
		t := &topic{config: tc}
		t.batchBytesMax.Store(int64(config.BatchBytesMax))
		l.topics[tc.Name] = t
	}
	l.watchFailing = time.Now()
	l.watchErr = errors.New("not connected yet")
	l.review(time.Now())
	l.running.Go(l.watch)
	l.running.Go(l.reviews)
	l.running.Go(l.deliver)
	return l, nil
}

// Append implements commitlog.Log.
func (l *Log) Append(set []*commitlog.Batch) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range set {
		l.open++
		p, err := l.admit(b)
		if err != nil {
			l.complete(b, err)
			continue
		}
		p.push(b, now)
		l.offer(p)
	}
}

// admit returns the partition that a batch goes to, or why it is turned away.
func (l *Log) admit(b *commitlog.Batch) (*partition, error) {
	if l.closing {
		return nil, commitlog.ErrClosed
	}
	t := l.topics[b.Topic]
	if t == nil {
		return nil, fmt.Errorf("%w: topic %q is not configured", commitlog.ErrRefused, b.Topic)
	}
	if limit := t.batchBytesMax.Load(); int64(len(b.Bytes)) > limit {
		return nil, fmt.Errorf("%w: a batch of %d bytes, topic %s takes %d", commitlog.ErrRefused, len(b.Bytes), b.Topic, limit)
	}
	h, err := recordbatch.ParseHeader(b.Bytes)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", commitlog.ErrRefused, err)
	case int(h.Records) != b.Records || int(h.Length) != len(b.Bytes) || b.Records == 0:
		// The broker would refuse it, or worse: the sequence would no longer be the broker's.
		return nil, fmt.Errorf("%w: %d records in %d bytes, the header says %d in %d",
			commitlog.ErrRefused, b.Records, len(b.Bytes), h.Records, h.Length)
	}
	all := t.all()
	if all == nil {
		return nil, cmp.Or(l.away, fmt.Errorf("%w: topic %s is not there", commitlog.ErrUnavailable, b.Topic))
	}
	if b.Partition < 0 || int(b.Partition) >= len(all) {
		return nil, fmt.Errorf("%w: topic %s has no partition %d", commitlog.ErrRefused, b.Topic, b.Partition)
	}
	p := all[b.Partition]
	if p.stalled != nil {
		return nil, p.stalled
	}
	return p, l.away
}

// offer puts a partition on its leader's list when it has a batch to send. Without a leader, watch offers it later.
func (l *Log) offer(p *partition) {
	if !p.waits() {
		return
	}
	if k := l.brokers[p.leader]; k != nil {
		k.add(p)
	}
}

// complete hands a batch that no lane holds back to its owner, by way of deliver: Append and the others that call this
// hold the lock, and Done belongs to a goroutine of ours.
func (l *Log) complete(b *commitlog.Batch, err error) {
	b.Err, b.Base = err, -1
	if l.ctx.Err() != nil {
		go b.Done(b) // deliver has gone
		return
	}
	l.outbox.batches = append(l.outbox.batches, b)
	l.outboxWork.Signal()
}

// settled counts completed batches, after their Done has returned.
func (l *Log) settled(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open -= n
	if l.open == 0 && l.closing {
		l.closeIdle()
	}
}

func (l *Log) closeIdle() {
	select {
	case <-l.idle:
	default:
		close(l.idle)
	}
}

// Partitions implements commitlog.Log. It is 0 as well until the cluster has said how many there are.
func (l *Log) Partitions(name string) int {
	if t := l.topics[name]; t != nil {
		return len(t.all())
	}
	return 0
}

// BatchBytesMax implements commitlog.Log: the smaller of the configuration's and the topic's.
func (l *Log) BatchBytesMax(name string) int {
	if t := l.topics[name]; t != nil {
		return int(t.batchBytesMax.Load())
	}
	return 0
}

// Ready implements commitlog.Log. It is not nil while no broker can be reached, and while partitions are stalled, no
// other one has answered an append for StallMax, and none looks as if it would. The error wraps
// commitlog.ErrUnavailable, or ErrClosed.
func (l *Log) Ready() error { return l.unready.Load().err }

// Close implements commitlog.Log. When ctx ends before all batches are answered, those that certainly never reached a
// broker complete with ErrClosed, the others with ErrUnknown, and the error says how many there were.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	already := l.closing
	l.closing = true
	l.unready.Store(&unreadiness{commitlog.ErrClosed})
	if l.open == 0 {
		l.closeIdle()
	}
	l.mu.Unlock()
	if already {
		return commitlog.ErrClosed
	}
	var err error
	select {
	case <-l.idle:
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.stop()
	if left := l.abandon(); left > 0 {
		return fmt.Errorf("kafka: closed with %d batches unanswered: %w", left, err)
	}
	return nil
}

// stop ends all goroutines. Closing the lanes' sockets ends their round trips, so this does not wait for a broker.
func (l *Log) stop() {
	l.giveUp()
	l.mu.Lock()
	for _, k := range l.brokers {
		for _, n := range k.lanes {
			n.conn.close()
		}
	}
	for _, t := range l.topics {
		for _, p := range t.all() {
			if p.timer != nil {
				p.timer.Stop()
			}
		}
	}
	l.outboxWork.Broadcast()
	l.mu.Unlock()
	l.running.Wait()
}

// abandon completes what is left when no goroutine runs any more.
func (l *Log) abandon() (left int) {
	var done []*commitlog.Batch
	l.mu.Lock()
	now := time.Now()
	for _, t := range l.topics {
		for _, p := range t.all() {
			for len(p.queue) > 0 {
				b := p.queue[0]
				b.Err, b.Base = fmt.Errorf("%w; the batch was never sent", commitlog.ErrClosed), -1
				if p.doubt {
					b.Err = fmt.Errorf("%w: the log was closed before %s-%d answered: %w", commitlog.ErrUnknown, b.Topic, b.Partition, p.lastErr)
				}
				done = append(done, p.pop(now))
			}
		}
	}
	l.mu.Unlock()
	for _, b := range done {
		b.Done(b)
	}
	return len(done)
}

var _ commitlog.Log = (*Log)(nil)
