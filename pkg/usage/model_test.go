package usage

import (
	"math/big"
	"slices"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
)

// model is the worker without anything that makes it fast or safe: it keeps all records of a partition and goes through
// them. It is written from the rules, with rational numbers and plain searches.
type model struct {
	partition int32
	meters    map[string]*modelMeter // by event name
	clock     int64
	events    []*modelEvent // those that took their identifier, in order
	refused   []*modelRefusal
	pending   []*modelPending
	requests  []modelRequest // of cancels
	verdicts  map[int64]Verdict
	clockAt   []int64 // by offset
}

type modelMeter struct {
	*control.Meter
	changes []modelChange // of status, after active at creation
}

type modelChange struct {
	at     int64
	active bool
}

type modelEvent struct {
	sent
	meter     *modelMeter
	offset    int64
	clock     int64
	received  int64
	timestamp int64
	value     *big.Rat
	cancelled *Place
	duplicate *Place
}

type modelRefusal struct {
	sent
	offset, clock int64
	reason        meterevent.Reason
}

type modelPending struct {
	sent
	offset, clock int64
}

type modelRequest struct {
	meterevent.Request
	offset, received int64
}

func hourOf(ms int64) int64   { return floorDiv(ms, 3_600_000) }
func minuteOf(ms int64) int64 { return floorDiv(ms, 60_000) }

// remembered is the rule of duplicates: whole hours, at least 24 of them.
func remembered(thenMs, nowMs int64) bool { return hourOf(nowMs)-hourOf(thenMs) <= 24 }

func (m *modelMeter) activeAt(ms int64) bool {
	active := true
	for _, c := range m.changes {
		if c.at <= ms {
			active = c.active
		}
	}
	return active
}

func (o *model) event(name, id string) *modelEvent {
	for _, e := range slices.Backward(o.events) {
		if e.name == name && e.id == id {
			if remembered(e.clock, o.clock) {
				return e
			}
			return nil
		}
	}
	return nil
}

func (o *model) waiting(name, id string) *modelPending {
	for _, p := range slices.Backward(o.pending) {
		if p.name == name && p.id == id {
			if remembered(p.clock, o.clock) {
				return p
			}
			return nil
		}
	}
	return nil
}

func (o *model) refusalOf(name, id string) *modelRefusal {
	var found *modelRefusal // the first of the newest hour
	for _, r := range o.refused {
		if r.name == name && r.id == id && remembered(r.clock, o.clock) && (found == nil || hourOf(r.clock) > hourOf(found.clock)) {
			found = r
		}
	}
	return found
}

// apply takes the record at an offset.
func (o *model) apply(s sent, offset int64) {
	o.clock = max(o.clock, s.receivedMs)
	o.clockAt = append(o.clockAt, o.clock)
	if s.cancel {
		o.cancel(s, offset)
		return
	}
	if s.timestamp == 0 {
		s.timestamp = s.receivedMs
	}
	m := o.meters[s.name]
	reason, value := o.judge(m, s)
	if reason != "" {
		o.refused = append(o.refused, &modelRefusal{s, offset, o.clock, reason})
		o.verdicts[offset] = Verdict{Outcome: OutcomeRefused, Code: string(reason)}
		return
	}
	if first := o.event(s.name, s.id); first != nil {
		if first.duplicate == nil {
			first.duplicate = &Place{o.partition, offset, minuteOf(o.clock) * 60_000}
		}
		o.verdicts[offset] = Verdict{Outcome: OutcomeDuplicate}
		if s.request != nil && first.request != nil {
			switch {
			case *s.request == *first.request:
				o.verdicts[offset] = Verdict{Outcome: OutcomeReplay, ReceivedMs: first.received, TimestampMs: first.timestamp}
			case s.request.Key == first.request.Key:
				o.verdicts[offset] = Verdict{Outcome: OutcomeKeyReused}
			}
		}
		return
	}
	e := &modelEvent{sent: s, meter: m, offset: offset, clock: o.clock, received: s.receivedMs, timestamp: s.timestamp, value: value}
	if p := o.waiting(s.name, s.id); p != nil && minuteOf(o.clock)-minuteOf(p.clock) <= 24*60 {
		e.cancelled = &Place{o.partition, p.offset, minuteOf(p.clock) * 60_000}
	}
	o.verdicts[offset] = Verdict{Outcome: OutcomeNew, ReceivedMs: e.received, TimestampMs: e.timestamp}
	o.events = append(o.events, e)
}

func (o *model) judge(m *modelMeter, s sent) (meterevent.Reason, *big.Rat) {
	switch {
	case m == nil || s.receivedMs < m.CreatedMs:
		return meterevent.NoMeter, nil
	case !m.activeAt(s.receivedMs):
		return meterevent.ArchivedMeter, nil
	case s.customer == "" && s.payload == `{"value":"1"}`:
		return meterevent.NoCustomer, nil
	}
	value := new(big.Rat)
	if m.Formula != control.Count {
		if s.customer == "" {
			return meterevent.ValueNotFound, nil
		}
		if reason := meterevent.CheckValue([]byte(s.value)); reason != "" {
			return reason, nil
		}
		value.SetString(s.value)
	}
	switch {
	case s.timestamp < s.receivedMs-35*86_400_000:
		return meterevent.TimestampTooFarInPast, nil
	case s.timestamp > s.receivedMs+300_000:
		return meterevent.TimestampInFuture, nil
	}
	return "", value
}

func (o *model) cancel(s sent, offset int64) {
	o.verdicts[offset] = Verdict{Outcome: OutcomeNew, ReceivedMs: s.receivedMs}
	if s.request != nil {
		for _, r := range slices.Backward(o.requests) {
			if r.Key == s.request.Key && o.clock-r.received < 30*86_400_000 {
				o.verdicts[offset] = Verdict{Outcome: OutcomeKeyReused}
				if r.Params == s.request.Params {
					o.verdicts[offset] = Verdict{Outcome: OutcomeReplay}
				}
				return
			}
		}
		o.requests = append(o.requests, modelRequest{*s.request, offset, s.receivedMs})
	}
	e := o.event(s.name, s.id)
	switch {
	case e == nil:
		if o.waiting(s.name, s.id) == nil {
			o.pending = append(o.pending, &modelPending{s, offset, o.clock})
		}
	case e.cancelled != nil:
	case minuteOf(o.clock)-minuteOf(e.clock) > 24*60:
		o.verdicts[offset] = Verdict{Outcome: OutcomeRefused, Code: string(meterevent.InvalidCancel)}
	default:
		e.cancelled = &Place{o.partition, offset, minuteOf(o.clock) * 60_000}
	}
}

func windowUnit(w control.Window) int64 {
	if w == control.Hour {
		return 3_600_000
	}
	return 86_400_000
}

func newerEvent(a, b *modelEvent) bool {
	return a.timestamp > b.timestamp || a.timestamp == b.timestamp && a.offset > b.offset
}

// counting are a customer's events that count, windows considered.
func (o *model) counting(m *modelMeter, customer string) []*modelEvent {
	var all []*modelEvent
	for _, e := range o.events {
		if e.meter == m && e.customerText() == customer && e.cancelled == nil {
			all = append(all, e)
		}
	}
	if m.Window == control.NoWindow {
		return all
	}
	newest := map[int64]*modelEvent{}
	for _, e := range all {
		w := floorDiv(e.timestamp, windowUnit(m.Window))
		if newest[w] == nil || newerEvent(e, newest[w]) {
			newest[w] = e
		}
	}
	all = nil
	for _, e := range newest {
		all = append(all, e)
	}
	return all
}

func (s *sent) customerText() string {
	if s.customer == "" {
		return "cus_payload"
	}
	return s.customer
}

// answer is what a query finds in one partition.
func (o *model) answer(m *modelMeter, q Query) []WindowTotal {
	groups := map[int64][]*modelEvent{}
	unit := map[Grouping]int64{ByHour: 3_600_000, ByDay: 86_400_000}[q.Grouping]
	for _, e := range o.counting(m, q.Customer) {
		if e.timestamp < q.StartMs || e.timestamp >= q.EndMs {
			continue
		}
		start := q.StartMs
		if unit != 0 {
			start = floorDiv(e.timestamp, unit) * unit
		}
		groups[start] = append(groups[start], e)
	}
	var out []WindowTotal
	for start, events := range groups {
		w := WindowTotal{StartMs: start, EndMs: start + unit}
		if unit == 0 {
			w.EndMs = q.EndMs
		}
		sum, last := new(big.Rat), events[0]
		for _, e := range events {
			sum.Add(sum, e.value)
			if newerEvent(e, last) {
				last = e
			}
		}
		switch m.Formula {
		case control.Count:
			sum.SetInt64(int64(len(events)))
		case control.Last:
			sum = last.value
			w.LastMs, w.LastReceivedMs = last.timestamp, last.clock
		}
		w.Value = ratText(sum)
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b WindowTotal) int { return int(b.StartMs/1000 - a.StartMs/1000) })
	return out
}

// ratText writes a number that has a finite decimal form.
func ratText(r *big.Rat) string {
	text := r.FloatString(40)
	for text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	if text[len(text)-1] == '.' {
		text = text[:len(text)-1]
	}
	return text
}

// fate is what the index still knows of an identifier.
func (o *model) fate(name, id string) Fate {
	f := Fate{Status: NotFound, Partition: o.partition}
	if e := o.event(name, id); e != nil {
		f.Status, f.Offset, f.ReceivedMs, f.TimestampMs, f.Duplicate, f.CancelledBy = Counted, e.offset, e.received, e.timestamp, e.duplicate, e.cancelled
		if f.CancelledBy != nil {
			f.Status = Cancelled
			if f.CancelledBy.Offset < e.offset && o.waiting(name, id) == nil {
				f.CancelledBy = nil
			}
		}
		return f
	}
	if p := o.waiting(name, id); p != nil {
		f.CancelledBy = &Place{o.partition, p.offset, minuteOf(p.clock) * 60_000}
	}
	if r := o.refusalOf(name, id); r != nil {
		f.Status, f.Code, f.Offset, f.ReceivedMs, f.TimestampMs = Refused, string(r.reason), r.offset, r.receivedMs, r.timestamp
	}
	return f
}
