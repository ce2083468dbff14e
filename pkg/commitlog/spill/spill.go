package spill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/journal"
)

// Log implements commitlog.Log.
type Log struct {
	cfg    Config
	kafka  Kafka
	counts counts

	ctx     context.Context // ends when Close begins: nothing new is drained
	stop    context.CancelFunc
	running sync.WaitGroup // drainers and prepare
	wake    chan struct{}  // one token: deliver has something to do
	over    chan struct{}  // closed when deliver is to end
	ended   chan struct{}  // closed when it has
	// journal is set before partitions is, and fixed then.
	journal *journal.Journal
	known   atomic.Int32 // len(partitions), 0 until they are there

	// mu guards all below, and the partitions. Kafka's and the journal's own locks are taken within it; both call Done
	// outside of theirs.
	mu         sync.Mutex
	partitions []*partition
	indirect   int // partitions that are not direct
	episodes   []episode
	bytes      int64 // journaled, or on their way there, and not known to be in Kafka
	full       bool  // a batch was refused for lack of room, and none was given back since
	open       int   // entries not given back
	closing    bool
	idle       chan struct{} // closed when closing and open is 0
	unusable   error         // why there is no journal yet
	done       []*entry      // for deliver
	gone       bool          // deliver takes no more
	notices    []Notice
}

var _ commitlog.Log = (*Log)(nil)

// entry is one batch of the caller's.
type entry struct {
	p     *partition
	b     *commitlog.Batch
	done  func(*commitlog.Batch) // the caller's
	size  int64
	at    time.Time // when it was handed to Kafka
	back  bool      // Kafka has given it back
	final bool      // and so to the caller
	err   error
}

// Append implements commitlog.Log.
func (l *Log) Append(set []*commitlog.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	direct := make([]*commitlog.Batch, 0, len(set))
	for _, b := range set {
		if b.Topic != l.cfg.Topic {
			direct = append(direct, b)
			continue
		}
		e := &entry{b: b, done: b.Done, size: int64(len(b.Bytes))}
		l.open++
		if err := l.admit(e); err != nil {
			l.complete(e, err)
			continue
		}
		if e.p.append(e) {
			direct = append(direct, b)
		}
	}
	if len(direct) > 0 {
		l.kafka.Append(direct) // within mu: the order is that of the hand-over
	}
}

func (l *Log) admit(e *entry) error {
	switch n := e.b.Partition; {
	case l.closing:
		return fmt.Errorf("spill: %w", commitlog.ErrClosed)
	case l.unusable != nil:
		return l.unusable
	case n < 0 || int(n) >= len(l.partitions):
		return fmt.Errorf("%w: topic %s has no partition %d", commitlog.ErrRefused, l.cfg.Topic, n)
	case int(e.size) > l.kafka.BatchBytesMax(l.cfg.Topic):
		return fmt.Errorf("%w: a batch of %d bytes, topic %s takes %d", commitlog.ErrRefused, e.size, l.cfg.Topic, l.kafka.BatchBytesMax(l.cfg.Topic))
	}
	e.p = l.partitions[e.b.Partition]
	return nil
}

// complete gives a batch back by way of deliver. mu is held.
func (l *Log) complete(e *entry, err error) {
	e.b.Err, e.b.Base, e.b.Done, e.final = err, -1, e.done, true
	if l.gone {
		go e.done(e.b)
		return
	}
	l.done = append(l.done, e)
	l.signal()
}

// notice is delivered by deliver. mu is held.
func (l *Log) notice(n Notice) {
	if len(l.notices) < noticesMax {
		l.notices = append(l.notices, n)
	}
	l.signal()
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// deliver calls Done and Notify outside the lock.
func (l *Log) deliver() {
	defer close(l.ended)
	for last := false; ; {
		l.mu.Lock()
		done, notices := l.done, l.notices
		l.done, l.notices, l.gone = nil, nil, last
		l.mu.Unlock()
		for _, e := range done {
			e.done(e.b)
		}
		l.settled(len(done))
		for _, n := range notices {
			l.cfg.Notify(n)
		}
		if last {
			return
		}
		select {
		case <-l.wake:
		case <-l.over:
			last = true
		}
	}
}

// settled counts entries whose Done has returned.
func (l *Log) settled(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open -= n
	l.closeIdle()
}

func (l *Log) closeIdle() {
	if l.open == 0 && l.closing {
		select {
		case <-l.idle:
		default:
			close(l.idle)
		}
	}
}

// Partitions implements commitlog.Log.
func (l *Log) Partitions(topic string) int {
	if topic != l.cfg.Topic {
		return l.kafka.Partitions(topic)
	}
	return int(l.known.Load())
}

// BatchBytesMax implements commitlog.Log.
func (l *Log) BatchBytesMax(topic string) int { return l.kafka.BatchBytesMax(topic) }

// Bounds implements commitlog.Log. They are Kafka's.
func (l *Log) Bounds(ctx context.Context, topic string, partition int32) (oldest, next int64, err error) {
	return l.kafka.Bounds(ctx, topic, partition)
}

// NewReader implements commitlog.Log. It reads Kafka.
func (l *Log) NewReader(topic string, partition int32, offset int64) (commitlog.Reader, error) {
	return l.kafka.NewReader(topic, partition, offset)
}

// Group implements commitlog.Log. It is Kafka's.
func (l *Log) Group(topic, name string) commitlog.Group { return l.kafka.Group(topic, name) }

// Ready implements commitlog.Log, for the topic that spills: while there is room here an append is acknowledged. Whether
// other topics can be appended to, Kafka's own log says.
func (l *Log) Ready() error {
	l.mu.Lock()
	closing, unusable, full := l.closing, l.unusable, l.full
	l.mu.Unlock()
	if closing {
		return fmt.Errorf("spill: %w", commitlog.ErrClosed)
	}
	away := l.kafka.Ready()
	switch {
	case full:
		return errors.Join(l.errFull(), away)
	case away == nil && unusable == nil:
		return nil
	case unusable != nil:
		return unusable
	}
	if err := l.journal.Ready(); err != nil {
		return fmt.Errorf("%w; and Kafka is away: %w", err, away)
	}
	return nil
}

func (l *Log) errFull() error {
	return fmt.Errorf("%w: %d bytes wait here for Kafka, as many as spill.max_bytes allows; appends are taken again by "+
		"themselves when Kafka has taken some", commitlog.ErrUnavailable, l.cfg.MaxBytes)
}

// Close implements commitlog.Log. What is spilled stays on the disk for the next start.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	already := l.closing
	l.closing = true
	l.closeIdle()
	l.mu.Unlock()
	if already {
		return commitlog.ErrClosed
	}
	l.stop()
	select {
	case <-l.idle:
	case <-ctx.Done():
	}
	err := l.kafka.Close(ctx) // gives back all that it has
	l.running.Wait()
	if l.journal != nil {
		select {
		case <-l.idle:
		case <-ctx.Done():
		}
		err = errors.Join(err, l.journal.Close(ctx))
	}
	close(l.over)
	<-l.ended
	return err
}
