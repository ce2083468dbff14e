package ingest

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
	"tollgate/pkg/ring"
)

const (
	// sweepBytes is how much of each ring is read before the next one has its turn.
	sweepBytes = 64 << 10
	// askEvery is how often the log is asked whether it is ready, while there is work.
	askEvery = 50 * time.Millisecond

	// stuckTicks of the watchdog without an answer of the log make a partition stuck: half of WaitMax.
	stuckTicks = watchdogTicks / 2

	noTimeout = -1
)

// drainer is the one goroutine between the rings and the log. Everything in it is its own, but for done.
type drainer struct {
	g          *Ingester
	topic      *topic // nil until the first frame
	partitions []partition
	ready      []*partition // that can hand a batch over
	flying     int          // partitions with a batch flying
	stuck      int          // of these, the stuck ones
	backlog    int          // bytes of all batches that are not answered
	spares     []*batch
	spareBytes int                // capacity of these
	set        []*commitlog.Batch // reused
	takeFrame  func(frame []byte) // d.take, bound once: a method value would be allocated at each use

	done doneList

	pace    pace
	closing bool      // Drain was called: do not pause
	asked   time.Time // when the log was last asked whether it is ready
}

func newDrainer(g *Ingester) *drainer {
	d := &drainer{g: g}
	d.pace.pause = g.cfg.PauseMin
	d.pace.ringBytes = g.rings.Cap()
	d.takeFrame = d.take
	return d
}

func (d *drainer) run() {
	for {
		now := d.g.cfg.Now()
		d.g.clockMs.Store(now.UnixMilli())
		d.closing = d.g.draining.Load()

		done := d.land()
		d.sweep(now)
		if len(d.ready) > 0 && (d.closing || d.full() || d.pace.due(now)) {
			d.handOver(now)
		}
		// Last, so that the log works again while handlers are woken.
		d.answer(done)
		if now.Sub(d.asked) >= askEvery {
			d.askLog(now)
			d.giveUpBehind()
		}
		d.g.metrics.backlogBytes.Store(int64(d.backlog))

		if !d.sleep(now) {
			return
		}
	}
}

// askLog notes for all requests whether the log takes records.
func (d *drainer) askLog(now time.Time) {
	d.asked = now
	_ = d.g.askLog() // what it says is noted, and that is all
}

// land takes the batches back that the log is done with, and makes their partitions ready.
func (d *drainer) land() *batch {
	done := d.done.takeAll()
	for b := done; b != nil; b = b.next {
		p := &d.partitions[b.Partition]
		if p.flying--; p.flying == 0 {
			d.flying--
		}
		p.flyingSince = d.g.tick.Load()
		if p.stuck != nil {
			p.stuck = nil
			d.stuck--
		}
		p.bytes -= b.bytes
		d.backlog -= b.bytes
		d.list(p)
	}
	return done
}

// list makes a partition ready that can hand over a batch: one that waits when none is flying, and behind another one if
// it is large enough.
func (d *drainer) list(p *partition) {
	if p.listed || p.first == nil {
		return
	}
	if least := d.g.cfg.BehindBytes; p.flying == 0 || p.flying == 1 && least > 0 && p.first.bytes >= least {
		p.listed = true
		d.ready = append(d.ready, p)
	}
}

// sweep moves frames from the rings into batches until the rings are empty or the backlog is full.
func (d *drainer) sweep(now time.Time) {
	before := d.pace.frames
	for !d.full() && d.g.rings.Drain(sweepBytes, d.takeFrame) > 0 {
		if len(d.ready) > 0 && d.pace.bytes >= bytesEnough {
			break // let the log begin; the rest comes with the next turn
		}
	}
	if d.pace.frames > before && len(d.ready) == 0 {
		d.pace.missed(now)
	}
}

// full tells whether frames must stay in the rings until the log has answered some. Whatever is ready goes to the log
// then without a pause: the drainer can not sleep for arrivals that it would not take.
func (d *drainer) full() bool { return d.backlog >= d.g.cfg.BacklogBytesMax }

// take appends the records of one frame to its partitions' batches.
func (d *drainer) take(frame []byte) {
	v := view(frame)
	ticket := v.ticket()
	if !d.g.tickets.meet(ticket) {
		return // abandoned: its answer was "not written"
	}
	s, slotNumber := d.g.tickets.slotOf(ticket)
	if d.partitions == nil {
		d.begin()
	}
	if err := d.stuckIn(v); err != nil {
		d.g.tickets.reply(slotNumber, err)
		return
	}
	if !d.fits(v) {
		d.g.metrics.fullPartition.Add(1)
		d.g.tickets.reply(slotNumber, ErrFull)
		return
	}
	receivedMs := v.receivedMs()
	at := frameHeaderBytes
	var b *batch
	for range v.records() {
		number, body, next := v.record(at)
		at = next
		p := &d.partitions[number]
		b = p.last
		if b == nil || b.bytes+recordbatch.RecordBytesMax(len(body)) > d.topic.batchBytesMax ||
			b.builder.Records() >= d.g.cfg.BatchRecordsMax {
			b = d.fillNext(p)
		}
		b.builder.Append(receivedMs, body)
		added := b.builder.Len() - b.bytes
		b.bytes += added
		p.bytes += added
		d.backlog += added
		if n := len(b.tickets); n == 0 || b.tickets[n-1] != slotNumber {
			b.tickets = append(b.tickets, slotNumber)
			s.parts++
		}
		d.list(p)
	}
	s.last, s.at.Offset = b, int64(b.builder.Records()-1)
	d.pace.took(len(frame))
}

// begin sets the partitions up. A frame is only submitted when the log knows the topic.
func (d *drainer) begin() {
	d.topic = d.g.topic.Load()
	d.partitions = make([]partition, d.topic.partitions)
	for i := range d.partitions {
		d.partitions[i].number = int32(i)
	}
}

// fits tells whether every partition of the frame has room for it. A partition may hold PartitionBacklogBytesMax, but
// never more than is left for all the others together: so k partitions that are away take k parts of k+1, and the last
// part always remains for those that are not. The frame counts in full against each of its partitions; that is exact for
// the usual frame of one, and otherwise refuses a little too early. A partition without a backlog takes any frame.
func (d *drainer) fits(v view) bool {
	c := &d.g.cfg
	if d.backlog+len(v) <= min(c.PartitionBacklogBytesMax, c.BacklogBytesMax/2) {
		return true // no partition can have more than its part
	}
	most := min(c.PartitionBacklogBytesMax, c.BacklogBytesMax-d.backlog)
	at := frameHeaderBytes
	for range v.records() {
		number, _, next := v.record(at)
		at = next
		if p := &d.partitions[number]; p.bytes > 0 && p.bytes+len(v) > most {
			return false
		}
	}
	return true
}

// stuckIn returns why a partition of the frame is stuck, nil when none is.
func (d *drainer) stuckIn(v view) error {
	if d.stuck == 0 {
		return nil
	}
	at := frameHeaderBytes
	for range v.records() {
		number, _, next := v.record(at)
		at = next
		if err := d.partitions[number].stuck; err != nil {
			return err
		}
	}
	return nil
}

// giveUpBehind finds partitions that are stuck, and answers what waits there. A log that can neither write a batch nor
// rule out that it is written keeps it for as long as its leader is away: what waited behind would hold its tickets that
// long, and when none is left the other partitions would have stopped too. What waits was never handed over, so the
// answer can be that it is not written.
func (d *drainer) giveUpBehind() {
	tick := d.g.tick.Load()
	for i := range d.partitions {
		p := &d.partitions[i]
		if p.flying == 0 || p.stuck != nil || tick-p.flyingSince <= stuckTicks {
			continue
		}
		p.stuck = fmt.Errorf("%w: partition %d of %s has not answered for %v", commitlog.ErrUnavailable,
			p.number, d.g.cfg.Topic, d.g.cfg.WaitMax*stuckTicks/watchdogTicks)
		d.stuck++
		waiting := p.first
		p.first, p.last = nil, nil
		if p.listed {
			p.listed = false
			d.ready = slices.DeleteFunc(d.ready, func(r *partition) bool { return r == p })
		}
		for b := waiting; b != nil; b = b.next {
			p.bytes -= b.bytes
			d.backlog -= b.bytes
			b.Bytes, b.Err = b.builder.Seal(), p.stuck
		}
		d.answer(waiting)
	}
}

// fillNext gives the partition a new batch to fill.
func (d *drainer) fillNext(p *partition) *batch {
	b := d.newBatch(p)
	if p.last == nil {
		p.first = b
	} else {
		p.last.next = b
	}
	p.last = b
	p.bytes += b.bytes
	d.backlog += b.bytes
	d.list(p)
	return b
}

// handOver gives the log the oldest batch of every partition that is ready.
func (d *drainer) handOver(now time.Time) {
	set, tick := d.set[:0], d.g.tick.Load()
	ready := d.ready
	d.ready = d.ready[:0]
	for _, p := range ready {
		b := p.first
		p.first, b.next = b.next, nil
		if p.first == nil {
			p.last = nil
		}
		if p.flying++; p.flying == 1 {
			p.flyingSince = tick
			d.flying++
		}
		p.listed = false
		d.list(p) // takes a place in the list that was read already
		set = append(set, b.seal())
		d.g.metrics.batchRecords.Observe(int64(b.Records))
		d.g.metrics.batchBytes.Observe(int64(b.bytes))
	}
	d.g.metrics.setBatches.Observe(int64(len(set)))
	d.pace.handedOver(now)
	d.g.cfg.Log.Append(set)
	clear(set)
	d.set = set[:0]
}

// answer gives the frames of batches that are done their outcome, once it is the last one.
func (d *drainer) answer(done *batch) {
	for done != nil {
		b := done
		done = b.next
		err := classify(b.Err)
		if err != nil {
			d.asked = time.Time{} // it may have more to say
		}
		for _, i := range b.tickets {
			s := &d.g.tickets.slots[i]
			s.add(err)
			s.settle(b)
			if s.parts--; s.parts == 0 {
				d.g.tickets.reply(i, s.verdict())
			}
		}
		d.recycle(b)
	}
}

// sleep waits until there is something to do; false when the drainer's work is over.
func (d *drainer) sleep(now time.Time) bool {
	until, timeout := d.plan(now)
	gate := d.g.rings.Gate
	gate.Arm(until)
	select {
	case <-d.g.stop:
		return false
	default:
	}
	if d.done.newest.Load() != nil || d.closing != d.g.draining.Load() || until != ring.UntilWoken && d.g.rings.Pending() {
		gate.Disarm()
		return true
	}
	if timeout < 0 {
		d.g.clockMs.Store(0) // nobody keeps the clock now
	}
	if gate.Sleep(timeout) && d.done.newest.Load() == nil {
		if d.pace.worthYielding() {
			runtime.Gosched()
		}
	}
	return true
}

// plan decides which event should wake the drainer, and when it wakes by itself.
func (d *drainer) plan(now time.Time) (until int, timeout time.Duration) {
	switch {
	case len(d.ready) > 0: // pausing
		return d.pace.untilDue(now)
	case d.full(): // only the log can make room
		return ring.UntilWoken, noTimeout
	case d.flying > 0 && d.flying == len(d.partitions): // frames will wait, unless they make a batch of BehindBytes
		return ring.UntilFilled, noTimeout
	}
	return d.pace.untilWorth(now)
}
