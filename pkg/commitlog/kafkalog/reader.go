package kafkalog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/listoffsets"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

const (
	codeOutOfRange = 1
	// fetchBytesMax is how much a reader asks for at once. A batch that is larger comes whole all the same.
	fetchBytesMax = 4 << 20
	// fetchWaitMax is how long a broker waits for the next record before it answers that there is none.
	fetchWaitMax = 500 * time.Millisecond
	// decompressedMax bounds what one batch unpacks to.
	decompressedMax = 64 << 20
)

// ListOffsets takes these for a time.
const (
	latestOffset   = -1
	earliestOffset = -2
)

// find returns a partition that exists.
func (l *Log) find(name string, number int32) (*partition, error) {
	t := l.topics[name]
	if t == nil {
		return nil, fmt.Errorf("kafka: topic %q is not configured", name)
	}
	all := t.all()
	if all == nil {
		return nil, fmt.Errorf("%w: the partitions of %s are not known yet", commitlog.ErrUnavailable, name)
	}
	if number < 0 || int(number) >= len(all) {
		return nil, fmt.Errorf("kafka: topic %s has no partition %d", name, number)
	}
	return all[number], nil
}

// toLeader returns c when it is a connection to the partition's leader, and otherwise a new one in its place.
func (l *Log) toLeader(ctx context.Context, c *conn, p *partition) (*conn, error) {
	l.mu.Lock()
	k, address, generation := l.brokers[p.leader], "", 0
	if k != nil {
		address, generation = k.address, k.generation
	}
	l.mu.Unlock()
	if k == nil {
		c.close()
		l.lookForLeaders()
		return nil, fmt.Errorf("%w: %s-%d has no leader", commitlog.ErrUnavailable, p.topic.config.Name, p.number)
	}
	if c != nil && c.address == address && c.generation == generation && (c.expires.IsZero() || time.Now().Before(c.expires)) {
		return c, nil
	}
	c.close()
	c, err := l.dialer.connect(ctx, address)
	if err != nil {
		l.lookForLeaders()
		return nil, fmt.Errorf("%w: %w", commitlog.ErrUnavailable, err)
	}
	c.generation = generation
	return c, nil
}

// Bounds implements commitlog.Log. It tries until ctx ends, at most for Config.RequestTimeout.
func (l *Log) Bounds(ctx context.Context, name string, number int32) (oldest, next int64, err error) {
	p, err := l.find(name, number)
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.config.RequestTimeout)
	defer cancel()
	for pause := backoffMin; ; pause = min(2*pause, backoffMax) {
		oldest, next, err = l.askBounds(ctx, p)
		if err == nil {
			return oldest, next, nil
		}
		select {
		case <-ctx.Done():
			return 0, 0, fmt.Errorf("bounds of %s-%d: %w (%w)", name, number, err, ctx.Err())
		case <-l.ctx.Done():
			return 0, 0, commitlog.ErrClosed
		case <-time.After(rand.N(pause)):
		}
	}
}

func (l *Log) askBounds(ctx context.Context, p *partition) (oldest, next int64, err error) {
	c, err := l.toLeader(ctx, nil, p)
	if err != nil {
		return 0, 0, err
	}
	defer c.close()
	if oldest, err = l.askOffset(ctx, c, p, earliestOffset); err != nil {
		return 0, 0, err
	}
	next, err = l.askOffset(ctx, c, p, latestOffset)
	return oldest, next, err
}

func (l *Log) askOffset(ctx context.Context, c *conn, p *partition, which int64) (int64, error) {
	answer, err := l.ask(ctx, c, &listoffsets.Request{ReplicaID: -1, Topics: []listoffsets.RequestTopic{{
		Topic: p.topic.config.Name,
		Partitions: []listoffsets.RequestPartition{{
			Partition: p.number, CurrentLeaderEpoch: -1, Timestamp: which,
		}},
	}}}, l.config.RequestTimeout)
	if err != nil {
		return 0, err
	}
	topics := answer.(*listoffsets.Response).Topics
	if len(topics) != 1 || len(topics[0].Partitions) != 1 {
		return 0, errNoAnswer
	}
	if code := topics[0].Partitions[0].ErrorCode; code != 0 {
		l.lookForLeaders()
		return 0, describe(code, "")
	}
	return topics[0].Partitions[0].Offset, nil
}

// ask is a round trip that ends with ctx, whose end costs the connection.
func (l *Log) ask(ctx context.Context, c *conn, request protocol.Message, timeout time.Duration) (protocol.Message, error) {
	stop := context.AfterFunc(ctx, func() { c.close() })
	answer, _, err := c.roundTrip(request, timeout)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	return answer, err
}

// reader implements commitlog.Reader. It has a connection of its own.
type reader struct {
	log       *Log
	partition *partition
	next      int64 // the offset that the caller wants next
	conn      *conn
	request   fetchRequest
	rest      []byte // batches fetched and not read yet
	scanner   recordbatch.Scanner
	records   []recordbatch.Record
}

// NewReader implements commitlog.Log.
func (l *Log) NewReader(name string, number int32, offset int64) (commitlog.Reader, error) {
	p, err := l.find(name, number)
	if err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fmt.Errorf("%w: %d", commitlog.ErrOffsetOutOfRange, offset)
	}
	r := &reader{log: l, partition: p, next: offset}
	r.request.clientID = l.config.ClientID
	r.request.Request = fetch.Request{
		ReplicaID: -1, MinBytes: 1, MaxBytes: fetchBytesMax, SessionEpoch: -1,
		Topics: []fetch.RequestTopic{{
			Topic:      name,
			Partitions: []fetch.RequestPartition{{Partition: number, CurrentLeaderEpoch: -1, PartitionMaxBytes: fetchBytesMax}},
		}},
	}
	return r, nil
}

// Next implements commitlog.Reader. It returns the records of one batch. Brokers that do not answer are asked again until
// ctx ends, and then the error says what was wrong with them.
func (r *reader) Next(ctx context.Context) ([]recordbatch.Record, error) {
	var trouble error
	pause := backoffMin
	for {
		records, err := r.scan()
		if err != nil || len(records) > 0 {
			return records, err
		}
		if err := r.over(ctx); err != nil {
			return nil, errors.Join(err, trouble)
		}
		err = r.fetch(ctx)
		switch {
		case err == nil:
			pause, trouble = backoffMin, nil
			continue
		case errors.Is(err, commitlog.ErrOffsetOutOfRange):
			return nil, err
		case ctx.Err() == nil:
			trouble = err
		}
		select {
		case <-ctx.Done():
		case <-r.log.ctx.Done():
		case <-time.After(rand.N(pause)):
		}
		pause = min(2*pause, backoffMax)
	}
}

func (r *reader) over(ctx context.Context) error {
	if r.log.ctx.Err() != nil {
		return commitlog.ErrClosed
	}
	return ctx.Err()
}

// scan returns the records of the next batch that has any that are wanted; none when there is no whole batch left.
func (r *reader) scan() ([]recordbatch.Record, error) {
	for {
		h, err := recordbatch.Verify(r.rest)
		if errors.Is(err, recordbatch.ErrShort) {
			r.rest = nil // cut off by the size of the answer: it comes again
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s-%d at offset %d: %w", r.partition.topic.config.Name, r.partition.number, r.next, err)
		}
		batch := r.rest[:h.Length]
		r.rest = r.rest[h.Length:]
		if h.NextOffset() <= r.next {
			continue
		}
		if err := r.collect(batch, h); err != nil {
			return nil, fmt.Errorf("%s-%d at offset %d: %w", r.partition.topic.config.Name, r.partition.number, h.BaseOffset, err)
		}
		r.next = h.NextOffset()
		if len(r.records) > 0 {
			return r.records, nil
		}
	}
}

// collect takes the batch's records from r.next on.
func (r *reader) collect(batch []byte, h recordbatch.Header) error {
	r.records = r.records[:0]
	if h.Control() {
		return nil
	}
	if err := r.scanner.Reset(batch, decompressedMax); err != nil {
		return err
	}
	for r.scanner.Next() {
		record := r.scanner.Record()
		if record.Offset < r.next {
			continue
		}
		if record.Headers != nil {
			record.Headers = append([]recordbatch.HeaderKV(nil), record.Headers...) // the scanner uses the slice again
		}
		r.records = append(r.records, record)
	}
	return r.scanner.Err()
}

// fetch asks the leader for what comes next. No error and nothing fetched: there is nothing yet.
func (r *reader) fetch(ctx context.Context) error {
	c, err := r.log.toLeader(ctx, r.conn, r.partition)
	r.conn = c
	if err != nil {
		return err
	}
	wait := fetchWaitMax
	if deadline, ok := ctx.Deadline(); ok {
		// The answer should be here before ctx ends, which would cost the connection.
		wait = min(wait, time.Until(deadline)*3/4)
	}
	r.request.MaxWaitTime = int32(wait.Milliseconds())
	r.request.Topics[0].Partitions[0].FetchOffset = r.next
	r.request.Topics[0].Partitions[0].LogStartOffset = -1
	if _, err := r.log.ask(ctx, c, &r.request, r.log.config.RequestTimeout); err != nil {
		r.drop()
		return fmt.Errorf("%w: %w", commitlog.ErrUnavailable, err)
	}
	switch code := r.request.answer.code; code {
	case 0:
		r.rest = r.request.answer.batches
		return nil
	case codeOutOfRange:
		return fmt.Errorf("%w: %s-%d has no offset %d", commitlog.ErrOffsetOutOfRange,
			r.partition.topic.config.Name, r.partition.number, r.next)
	default:
		r.drop()
		r.log.lookForLeaders()
		return fmt.Errorf("%w: %w", commitlog.ErrUnavailable, describe(code, ""))
	}
}

func (r *reader) drop() {
	r.conn.close()
	r.conn = nil
}

// Close implements commitlog.Reader.
func (r *reader) Close() error {
	r.drop()
	return nil
}
