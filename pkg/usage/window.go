package usage

import (
	"context"

	"tollgate/pkg/thinevent"
)

// Refused events are reported by windows of ten seconds of the partition's clock. The clock never goes back, so a window
// is a range of offsets that follows from the log alone, and all open parts close together: at the record that brings
// the clock into a later window, or by the time, when the partition is idle. Only the latter does not follow from the
// log. It happens where the log ended, hence never before a record that any worker has seen, and what was closed is known
// by its id to whoever comes to the same records again: see docs/adr/0031.

const (
	// graceMs after its end a window is closed by the time: records that were received in it are in the log by then.
	graceMs = 2_000
	// aheadMs after it was begun a window is closed whose time has not come: a gateway's clock is ahead.
	aheadMs = windowMs + graceMs
)

// partAbout finds the open part of a subject, or makes it.
func (p *partition) partAbout(s subject) *part {
	pt := p.parts[s]
	if pt == nil {
		pt = &part{subject: s, open: true}
		p.parts[s] = pt
	}
	return pt
}

// counting returns a part if it counts the record at an offset, and begins it if it has to be.
func (p *partition) counting(pt *part, offset int64) *part {
	if offset < pt.until || pt.through == 0 && !p.beginPart(pt, offset) {
		p.tally.passed++
		return nil
	}
	return pt
}

// beginPart begins a part with the record at an offset, unless an event counts that already.
func (p *partition) beginPart(pt *part, offset int64) bool {
	pt.startMs, pt.endMs, pt.first = p.windowEnd-windowMs, p.windowEnd, offset
	now := p.cfg.Now().UnixMilli()
	if tooOld(pt.endMs, now) {
		p.tally.reports[reportTooOld]++
		pt.until = untilWindowEnds
		return false
	}
	// Where nothing can be asked the report's id is asked for before it is appended, and when the partition is begun.
	if through, found, err := p.cfg.Events.Reported(pt.id(p.number)); err == nil && found {
		pt.until = max(through, offset+1)
		p.touch(pt)
		return false
	}
	p.tally.reports[reportOpened]++
	if p.openedMs == 0 {
		p.openedMs = now
	}
	return true
}

// tooOld says whether the event of a window would not be kept any more.
func tooOld(endMs, nowMs int64) bool { return endMs < nowMs-thinevent.RetentionMs }

// touch notes that a part is another than in the store.
func (p *partition) touch(pt *part) {
	if !pt.dirty {
		pt.dirty = true
		p.partsDirty = append(p.partsDirty, pt)
	}
}

// passWindow closes what is open, when the record at an offset brings the clock into a later window.
func (p *partition) passWindow(clockMs, offset int64) {
	if clockMs < p.windowEnd {
		return
	}
	if len(p.parts) > 0 {
		p.closeParts(offset)
	}
	p.windowEnd = floorTo(clockMs, windowMs) + windowMs
}

// closeParts closes the open parts in front of an offset: what they count goes into the outbox with the next flush.
// While the outbox is full they stay open. Parts that pass over records behind the offset stay, too.
func (p *partition) closeParts(offset int64) {
	now := p.cfg.Now().UnixMilli()
	full := p.outbox.full()
	for _, pt := range p.parts {
		switch {
		case pt.through == 0 && (pt.until <= offset || pt.until == untilWindowEnds):
			p.dropPart(pt)
		case pt.through != 0 && !full:
			p.tally.reports[reportClosed]++
			p.write(appendReport(nil, p.number, offset, &pt.subject), p.outbox.add(pt, now))
			p.dropPart(pt)
		}
	}
	if !full {
		p.openedMs = 0
	}
}

func (p *partition) dropPart(pt *part) {
	pt.open = false
	delete(p.parts, pt.subject)
	if pt.stored {
		p.erase(appendPart(nil, p.number, &pt.subject))
	}
}

// drainParts writes into the batch which parts are open.
func (p *partition) drainParts() {
	for _, pt := range p.partsDirty {
		pt.dirty = false
		switch {
		case !pt.open:
		case pt.through != 0 || pt.until > p.state.Offset && pt.until != untilWindowEnds:
			p.key, p.value = appendPart(p.key[:0], p.number, &pt.subject), pt.append(p.value[:0])
			p.write(p.key, p.value)
			pt.stored = true
		case pt.stored:
			p.erase(appendPart(nil, p.number, &pt.subject))
			pt.stored = false
		}
	}
	clear(p.partsDirty)
	p.partsDirty = p.partsDirty[:0]
}

// closeIdle closes by the time what no record closes.
func (f *follower) closeIdle(ctx context.Context) error {
	p := f.p
	if !p.idleDue() {
		return nil
	}
	p.closeParts(p.state.Offset)
	p.counts.add(&p.tally)
	if err := p.flush(ctx, true); err != nil {
		return err
	}
	f.flushedAt = f.w.cfg.Now()
	f.claim.Commit(p.state.Offset)
	return nil
}

// idleDue says whether the open window is over by the time, and all is applied that the log held when it was.
func (p *partition) idleDue() bool {
	if p.openedMs == 0 || p.outbox.full() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.Offset >= p.boundNext && p.boundMs >= p.dueMs()
}

// dueMs is when the open window is over by the time. One whose time was over when it was begun takes late records: it is
// left open as long as any other, so that those do not make an event each.
func (p *partition) dueMs() int64 {
	due := p.windowEnd + graceMs
	if p.openedMs >= due {
		due = p.openedMs + windowMs
	}
	return min(due, p.openedMs+aheadMs)
}
