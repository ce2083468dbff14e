package usage

import (
	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

// refuse counts a refused event or cancel, and keeps samples of them for the report. mu is held.
func (p *partition) refuse(s *scope, rec *recordbatch.Record, r *meterevent.Record, reason meterevent.Reason, raw []byte, clockMs int64) {
	if p.replaying {
		return
	}
	n := numberOf(reason)
	p.tally.refused[n]++
	var e *errorCount
	if pt := p.partOf(s, reason, rec.Offset); pt != nil {
		e = p.take(pt, n, rec.Offset)
	}
	shown := e != nil && len(e.samples) < samplesMax
	if !shown && !r.HasRequest {
		return
	}
	text := message(reason, &s.Scope, s.meter, raw, rec.TimestampMs)
	if reason == meterevent.InvalidCancel {
		text = meterevent.InvalidCancelMessage(r.Identifier)
	}
	if shown {
		e.sample(text, r.Identifier)
	}
	if r.HasRequest {
		row := refusalRow{reason, text, rec.TimestampMs}
		p.fresh.refusals[rec.Offset] = row
		p.write(appendRefusal(nil, p.number, floorDiv(clockMs, dayMs), rec.Offset), encodeRow(&row))
	}
}

// take counts one record in a part.
func (p *partition) take(pt *part, n uint8, offset int64) *errorCount {
	pt.through, pt.endMs = offset+1, p.windowEnd
	p.touch(pt)
	e := &pt.codes[n]
	e.count++
	return e
}

// partOf finds the part that counts a refused event; nil: none does, since an event does already, or nobody is told.
func (p *partition) partOf(s *scope, reason meterevent.Reason, offset int64) *part {
	if p.cfg.Events == nil {
		return nil
	}
	which := 0
	if reason == meterevent.NoMeter {
		which = 1
	} else if s.meter == nil {
		p.tally.reports[reportNobody]++
		return nil
	}
	pt := s.parts[which]
	if pt == nil || !pt.open || which == 0 && pt.meter != s.meter.ID {
		about := subject{business: s.Business, livemode: s.Livemode}
		if which == 0 {
			about.meter = s.meter.ID
		}
		pt = p.partAbout(about)
		s.parts[which] = pt
	}
	return p.counting(pt, offset)
}

// invalid counts a record that is none of ours. It has no business that could be told.
func (p *partition) invalid() {
	if !p.replaying {
		p.tally.refused[numberOf(meterevent.InvalidRecord)]++
	}
}

// reportNothing reports a cancel that found no event in time. offset is of the record that brought the time.
func (p *partition) reportNothing(row *pendingRow, m *control.Meter, offset int64) {
	if p.cfg.Events == nil {
		return
	}
	if m == nil || !m.ExistedAt(row.AtMs) {
		p.tally.reports[reportNobody]++
		return
	}
	pt := p.counting(p.partAbout(subject{row.Business, row.Livemode, m.ID}), offset)
	if pt == nil {
		return
	}
	e := p.take(pt, numberOf(meterevent.InvalidCancel), offset)
	e.sample("No event "+string(row.Identifier)+" was received in the 24 hours before and after its cancel.", row.Identifier)
}
