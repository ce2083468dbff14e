package spill

import (
	"errors"
	"fmt"
	"math"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/kafkalog"
	"tollgate/pkg/recordbatch"
)

// flight is a range of a partition's journal on its way to Kafka as one batch.
type flight struct {
	from, end int64
	producer  recordbatch.Producer // ID -1: to be asked for
	noted     bool                 // range and producer are durable
	failed    bool                 // an attempt came to nothing
	sealed    []byte               // nil: not built yet
	records   int
	bytes     int64 // of the journal
	newest    int64 // timestamp, ms
}

// drain brings what is in the journal to Kafka until there is nothing left, or the log closes.
func (p *partition) drain() {
	if p.idle() {
		p.sleep(idlePause) // what came back was refused here too: not the same again for each append
	}
	pause := time.Duration(0)
	for p.log.ctx.Err() == nil {
		back, err := p.step()
		if back {
			return // another drainer may run already
		}
		p.setFailing(err)
		if err == nil {
			pause = 0
			continue
		}
		p.release()
		pause = min(max(2*pause, drainPauseMin), drainPauseMax)
		p.sleep(pause/2 + time.Duration(p.log.cfg.Random()*float64(pause)/2))
	}
	p.release()
	p.reader.close()
}

// idle tells whether there is nothing to drain.
func (p *partition) idle() bool {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	return p.bytes == 0
}

func (p *partition) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.log.ctx.Done():
	}
}

// setFailing notes why nothing is drained, and tells when it is not that Kafka is away.
func (p *partition) setFailing(err error) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.failing = err
	if err == nil || errors.Is(err, commitlog.ErrUnavailable) || errors.Is(err, commitlog.ErrClosed) {
		return
	}
	var doubt *kafkalog.DoubtError
	if text := err.Error(); !errors.As(err, &doubt) && text != p.told {
		p.told = text
		p.log.notice(Notice{NoticeStuck, p.number, text})
	}
}

// release lets what is held go into the journal.
func (p *partition) release() {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	if p.mode != returning {
		return
	}
	p.mode = spilling
	for _, e := range p.held {
		p.spill(e)
	}
	p.held = nil
}

// step does one thing: drains a range, goes back to direct, or waits for the journal.
func (p *partition) step() (back bool, err error) {
	if p.flight == nil && p.empty() {
		return p.returnToDirect()
	}
	if p.flight == nil || p.flight.sealed == nil {
		if err := p.load(); err != nil || p.flight == nil {
			return false, err
		}
	}
	f := p.flight
	if err := p.stamp(f); err != nil {
		f.failed = true
		return false, err
	}
	if !f.failed {
		p.holdBehind(f)
	}
	if err := p.send(f); err != nil {
		f.failed = true
		return false, err
	}
	p.land(f)
	return false, nil
}

// empty tells whether all that was spilled is in Kafka, and if so holds what comes.
func (p *partition) empty() bool {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	if p.writing > 0 || p.cursor < p.nextLocked() {
		return false
	}
	p.mode = returning
	return true
}

// nextLocked is the end of the partition's journal. With nothing at the journal it does not move. Log.mu is held.
func (p *partition) nextLocked() int64 {
	_, next, err := p.log.journal.Bounds(p.log.ctx, p.log.cfg.Topic, p.number)
	if err != nil {
		panic(fmt.Sprintf("BUG: spill: the journal does not know partition %d: %v", p.number, err))
	}
	return next
}

// returnToDirect notes that everything is in Kafka, so that a range of long ago is not sent again by a later process, and
// hands Kafka what was held.
func (p *partition) returnToDirect() (bool, error) {
	l := p.log
	if err := l.write(newNote(p.number, p.cursor, p.cursor, recordbatch.NoProducer)); err != nil {
		return false, err
	}
	l.journal.Trim(l.cfg.Topic, p.number, p.cursor)
	p.reader.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	// Kafka's log goes on with the producer of the last range: another session must not use it.
	p.mode, p.producer, p.failing, p.told, p.oldest = direct, recordbatch.NoProducer, nil, "", time.Time{}
	set := make([]*commitlog.Batch, 0, len(p.held))
	for _, e := range p.held {
		p.append(e)
		set = append(set, e.b)
	}
	p.held = nil
	l.returned()
	if len(set) > 0 {
		l.kafka.Append(set)
	}
	l.notice(Notice{NoticeDirect, p.number, "everything that was spilled is in Kafka"})
	return true, nil
}

// load makes the next flight, or that of the last note again. Without one there is nothing durable to send yet.
func (p *partition) load() error {
	l := p.log
	f := p.flight
	if f == nil {
		l.mu.Lock()
		next := p.nextLocked()
		l.mu.Unlock()
		if p.cursor >= next {
			select {
			case <-p.work:
			case <-l.ctx.Done():
			}
			return nil
		}
		f = &flight{from: p.cursor, end: next, producer: recordbatch.NoProducer}
	}
	bytesMax := min(l.cfg.DrainBytes, l.kafka.BatchBytesMax(l.cfg.Topic))
	var builder recordbatch.Builder
	builder.Reset(nil)
	var body []byte
	at := f.from
	f.bytes = 0
	for at < f.end {
		b, err := p.reader.peek(l.ctx, at, f.end)
		if err != nil {
			return fmt.Errorf("reading the spill: %w", err)
		}
		if !f.noted && at > f.from && (b.producer.ID >= 0 || builder.Len()+int(b.bytes) > bytesMax) {
			break
		}
		if b.missing > 0 {
			p.missing(at, b.missing)
		}
		for _, r := range b.records {
			body = recordbatch.AppendBody(body[:0], r.Key, r.Value)
			builder.Append(r.TimestampMs, body)
			f.newest = r.TimestampMs
		}
		at = b.next
		f.bytes += b.bytes
		p.reader.pass()
		if !f.noted && b.producer.ID >= 0 {
			f.producer = b.producer // a batch that was in doubt goes alone
			break
		}
	}
	if builder.Records() == 0 { // all that was left is missing
		p.cursor, p.flight = at, nil
		return nil
	}
	f.end, f.records, f.sealed = at, builder.Records(), builder.Seal()
	p.flight = f
	return nil
}

// missing tells of records that a repair of the journal has set aside.
func (p *partition) missing(at, records int64) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.log.notice(Notice{NoticeGap, p.number, fmt.Sprintf("%d records from offset %d of the spill on are not there any more, as after a repair; what is behind them goes on", records, at)})
}

// stamp makes sure that a flight has a producer and that both are durable.
func (p *partition) stamp(f *flight) (err error) {
	if f.noted {
		return nil
	}
	if f.producer.ID < 0 {
		if p.producer.ID < 0 {
			if p.producer, err = p.log.kafka.NewProducer(p.log.ctx); err != nil {
				p.producer = recordbatch.NoProducer
				return err
			}
		}
		f.producer = p.producer
	}
	if err := p.log.write(newNote(p.number, f.from, f.end, f.producer)); err != nil {
		return err
	}
	f.noted = true
	return nil
}

// holdBehind holds what comes when a flight is the last of the journal, so that the partition can be direct when it lands.
func (p *partition) holdBehind(f *flight) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	if p.writing == 0 && f.end == p.nextLocked() {
		p.mode = returning
	}
}

// send makes one attempt, which Kafka's log bounds.
func (p *partition) send(f *flight) error {
	done := make(chan error, 1)
	b := &commitlog.Batch{Topic: p.log.cfg.Topic, Partition: p.number, Bytes: f.sealed, Records: f.records}
	b.Done = func(b *commitlog.Batch) { done <- b.Err }
	p.log.kafka.AppendAs(b, f.producer)
	var err error
	hold := time.NewTimer(holdMax)
	defer hold.Stop()
	select {
	case err = <-done:
	case <-hold.C:
		p.release() // whoever waits behind it is not to wait for a Kafka that is slow, or away again
		err = <-done
	}
	var doubt *kafkalog.DoubtError
	if errors.As(err, &doubt) && doubt.Lost {
		f.producer, p.producer, f.noted = recordbatch.NoProducer, recordbatch.NoProducer, false
		p.log.counts.resent.Add(1)
		p.log.mu.Lock()
		p.log.notice(Notice{NoticeResent, p.number, fmt.Sprintf("offsets %d to before %d of the spill are sent under a new producer id: %v", f.from, f.end, err)})
		p.log.mu.Unlock()
	}
	return err
}

// land counts a flight that is in Kafka.
func (p *partition) land(f *flight) {
	l := p.log
	p.cursor, p.flight = f.end, nil
	p.producer = f.producer
	p.producer.Sequence = int32((int64(f.producer.Sequence) + int64(f.records)) & math.MaxInt32)
	l.counts.drained.Add(uint64(f.bytes))
	l.mu.Lock()
	p.free(f.bytes)
	p.oldest = time.UnixMilli(f.newest)
	l.mu.Unlock()
	// The next note says that it landed; until it is durable the range may have to be read again.
	l.journal.Trim(l.cfg.Topic, p.number, f.from)
}
