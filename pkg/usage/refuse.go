package usage

import (
	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

// openErrors is one reason of a scope in one error window, with what the next flush will bring of it.
type openErrors struct {
	window  int64
	scope   Scope
	subject string // the meter's id, or the event's name
	reason  meterevent.Reason
	queued  bool
	errorCount
}

// refuse counts a refused event or cancel, and keeps samples of them. mu is held.
func (p *partition) refuse(s *scope, rec *recordbatch.Record, r *meterevent.Record, reason meterevent.Reason, raw []byte, clockMs int64) {
	if p.replaying {
		return
	}
	p.tally.refused[numberOf(reason)]++
	e := p.errorsOf(s, reason, floorDiv(rec.TimestampMs, windowMs))
	e.count++
	if len(e.samples) == samplesMax && !r.HasRequest {
		return
	}
	text := message(reason, &s.Scope, s.meter, raw, rec.TimestampMs)
	if reason == meterevent.InvalidCancel {
		text = meterevent.InvalidCancelMessage(r.Identifier)
	}
	e.sample(rec.TimestampMs, r.Identifier, text)
	if r.HasRequest {
		row := refusalRow{reason, text, rec.TimestampMs}
		p.fresh.refusals[rec.Offset] = row
		p.write(appendRefusal(nil, p.number, floorDiv(clockMs, dayMs), rec.Offset), encodeRow(&row))
	}
}

func (e *openErrors) sample(atMs int64, identifier []byte, text string) {
	if len(e.samples) < samplesMax {
		e.samples = append(e.samples, sample{atMs, append([]byte(nil), identifier...), text})
	}
}

// errorsOf finds the open window of a reason. Records come nearly in order of their receipt, so one a reason is open.
func (p *partition) errorsOf(s *scope, reason meterevent.Reason, window int64) *openErrors {
	e := s.refused[numberOf(reason)]
	if e == nil || e.window != window || !e.queued {
		e = &openErrors{window: window, scope: s.Scope, subject: subjectOf(reason, s), reason: reason, queued: true}
		s.refused[numberOf(reason)] = e
		p.errors = append(p.errors, e)
	}
	return e
}

// subjectOf is what an error window is about: the meter, or without one the name that was sent.
func subjectOf(reason meterevent.Reason, s *scope) string {
	if reason == meterevent.NoMeter || s.meter == nil {
		return s.EventName
	}
	return s.meter.ID
}

// invalid counts a record that is none of ours. It has no business that could be told.
func (p *partition) invalid(rec *recordbatch.Record, why error) {
	if p.replaying {
		return
	}
	p.tally.refused[numberOf(meterevent.InvalidRecord)]++
	if p.broken == nil {
		p.broken = &scope{}
	}
	p.errorsOf(p.broken, meterevent.InvalidRecord, floorDiv(rec.TimestampMs, windowMs)).count++
	e := p.broken.refused[numberOf(meterevent.InvalidRecord)]
	if len(e.samples) < samplesMax {
		e.sample(rec.TimestampMs, rec.Key[:min(len(rec.Key), 200)], meterevent.InvalidRecordMessage(why))
	}
}

// reportNothing keeps an error record of a cancel that found no event in time.
func (p *partition) reportNothing(row *pendingRow, m *control.Meter, clockMs int64) {
	subject := row.EventName
	if m != nil && m.ExistedAt(row.AtMs) {
		subject = m.ID
	}
	e := &openErrors{window: floorDiv(clockMs, windowMs), scope: row.Scope, subject: subject, reason: meterevent.InvalidCancel, queued: true}
	e.count = 1
	e.sample(row.AtMs, row.Identifier, "No event "+string(row.Identifier)+" was received in the 24 hours before and after its cancel.")
	p.errors = append(p.errors, e)
}

// drainErrors writes the error windows' shares into the batch.
func (p *partition) drainErrors() error {
	for _, e := range p.errors {
		p.key = appendErrorKey(p.key[:0], p.number, e.window, &e.scope, e.subject, e.reason)
		p.value = e.append(p.value[:0])
		if err := p.batch.Merge(p.key, p.value, nil); err != nil {
			return err
		}
		e.queued = false
	}
	clear(p.errors)
	p.errors = p.errors[:0]
	return nil
}
