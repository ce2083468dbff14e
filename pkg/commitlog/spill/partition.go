package spill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/kafkalog"
	"tollgate/pkg/recordbatch"
)

type mode int

const (
	direct mode = iota
	leaving
	spilling
	returning
)

// partition is one partition of the topic. Log.mu guards it, but for what is its drainer's.
type partition struct {
	log    *Log
	number int32
	mode   mode

	away    []*entry // at Kafka, in order, from the first that is not given back to its owner
	held    []*entry // in memory, in order: in leaving and returning
	writing int      // at the journal
	bytes   int64    // as Log.bytes
	oldest  time.Time
	failing error         // why the last attempt to drain came to nothing
	work    chan struct{} // one token: the drainer has something to look at

	// The drainer's.
	cursor   int64 // everything before it is in Kafka
	producer recordbatch.Producer
	flight   *flight
	reader   reader
	told     string
}

// append takes a batch of the caller's; true: it is to be handed to Kafka.
func (p *partition) append(e *entry) bool {
	switch p.mode {
	case direct:
		e.b.Done, e.at = e.kafkaDone, p.log.cfg.Now()
		p.away = append(p.away, e)
		return true
	case spilling:
		p.spill(e)
	default:
		p.held = append(p.held, e)
	}
	return false
}

// kafkaDone takes back a batch that was handed to Kafka while the partition was direct.
func (e *entry) kafkaDone(b *commitlog.Batch) {
	p, l := e.p, e.p.log
	l.mu.Lock()
	e.back, e.err = true, b.Err
	if !spills(b.Err) {
		b.Done, e.final = e.done, true
	} else if p.mode == direct {
		p.mode = leaving
		l.left(p.away[0].at)
	}
	for len(p.away) > 0 && p.away[0].final && p.mode == direct {
		p.away[0] = nil
		p.away = p.away[1:]
	}
	final := e.final
	if p.mode == leaving {
		p.leave()
	}
	l.mu.Unlock()
	if final {
		e.done(b)
		l.settled(1)
	}
}

// spills tells whether a batch that Kafka has given back is kept here.
func spills(err error) bool {
	var doubt *kafkalog.DoubtError
	return errors.Is(err, commitlog.ErrUnavailable) || errors.As(err, &doubt)
}

// leave begins to spill, if Kafka has given everything back.
func (p *partition) leave() {
	for _, e := range p.away {
		if !e.back {
			return
		}
	}
	away, held := p.away, p.held
	p.away, p.held = nil, nil
	landed := false // one that was handed over later
	for i := len(away) - 1; i >= 0; i-- {
		e := away[i]
		if e.final {
			landed = landed || e.err == nil
		} else if landed {
			p.log.complete(e, e.err)
		}
	}
	p.mode, p.failing = spilling, nil
	for _, e := range away {
		if !e.final {
			p.failing = e.err
			p.spill(e)
		}
	}
	for _, e := range held {
		p.spill(e)
	}
	if p.log.closing {
		return // the next process drains
	}
	p.log.notice(Notice{NoticeSpilling, p.number, fmt.Sprint(p.failing)})
	p.log.running.Go(p.drain)
}

// spill hands a batch to the journal.
func (p *partition) spill(e *entry) {
	l := p.log
	producer := recordbatch.NoProducer
	var doubt *kafkalog.DoubtError
	if errors.As(e.err, &doubt) {
		if !doubt.Lost {
			producer = doubt.Producer
		}
	} else if l.bytes+e.size > l.cfg.MaxBytes {
		l.full = true
		l.counts.refused.Add(1)
		l.complete(e, l.errFull())
		return
	}
	if _, err := recordbatch.ParseHeader(e.b.Bytes); err != nil {
		l.complete(e, fmt.Errorf("%w: %w", commitlog.ErrRefused, err))
		return
	}
	recordbatch.Stamp(e.b.Bytes, producer)
	l.bytes += e.size
	p.bytes += e.size
	if p.oldest.IsZero() {
		p.oldest = l.cfg.Now()
	}
	p.writing++
	e.b.Done = e.journalDone
	l.journal.Append([]*commitlog.Batch{e.b})
}

// journalDone takes a batch back from the journal.
func (e *entry) journalDone(b *commitlog.Batch) {
	p, l := e.p, e.p.log
	l.mu.Lock()
	defer l.mu.Unlock()
	p.writing--
	recordbatch.SetBase(b.Bytes, 0, 0)
	if b.Err == nil {
		l.counts.batches.Add(1)
		l.counts.bytes.Add(uint64(e.size))
		l.complete(e, nil)
	} else {
		p.free(e.size)
		err := b.Err
		if errors.Is(e.err, commitlog.ErrUnknown) && !errors.Is(err, commitlog.ErrUnknown) {
			// Not here; it may be at Kafka. Only one of the sentinels is wrapped.
			err = fmt.Errorf("%w; it could not be kept here: %v", e.err, b.Err)
		}
		l.complete(e, err)
	}
	p.wake()
}

// free counts bytes that do not wait any more. Log.mu is held.
func (p *partition) free(bytes int64) {
	p.log.bytes -= bytes
	p.bytes -= bytes
	p.log.full = false
}

func (p *partition) wake() {
	select {
	case p.work <- struct{}{}:
	default:
	}
}

// takeUp finds what an earlier process has left. Log.mu is held.
func (p *partition) takeUp(n note) error {
	ctx := context.Background()
	l := p.log
	oldest, next, err := l.journal.Bounds(ctx, l.cfg.Topic, p.number)
	if err != nil {
		return err
	}
	p.cursor = max(oldest, n.From)
	p.producer = recordbatch.NoProducer
	p.reader.p = p
	if n.End > next {
		return fmt.Errorf("%s-%d ends at %d, and up to %d was sent to Kafka: the files were changed. Restore them, or move %s away, "+
			"which gives up what it holds", l.cfg.Topic, p.number, next, n.End, l.cfg.Dir)
	}
	if p.cursor >= next {
		p.cursor = next
		return nil
	}
	p.mode = spilling
	if n.End > n.From && p.cursor == n.From {
		p.flight = &flight{from: n.From, end: n.End, producer: n.producer(), noted: true}
	}
	// What waits is counted once; the drainer reads it again.
	r := reader{p: p}
	defer r.close()
	for at := p.cursor; at < next; {
		b, err := r.peek(ctx, at, next)
		if err != nil {
			return err
		}
		if p.oldest.IsZero() && len(b.records) > 0 {
			p.oldest = time.UnixMilli(b.records[0].TimestampMs)
		}
		p.bytes += b.bytes
		at = b.next
		r.pass()
	}
	return nil
}
