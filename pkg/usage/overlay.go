package usage

import (
	"slices"

	"tollgate/pkg/meterevent"
)

// series is one customer of one meter, with what was added since the last flush.
type series struct {
	key     []byte // its part of the store's keys
	dirty   bool
	last    int // index of the bucket used last
	buckets []bucket
}

// bucket is a minute's share, minutes counted from 1970; a series' buckets are in order.
type bucket struct {
	minute int64
	total
}

// at finds or makes the bucket of a minute.
func (s *series) at(minute int64) *bucket {
	if s.last < len(s.buckets) && s.buckets[s.last].minute == minute {
		return &s.buckets[s.last]
	}
	i, found := slices.BinarySearchFunc(s.buckets, minute, func(b bucket, m int64) int { return int(b.minute - m) })
	if !found {
		s.buckets = slices.Insert(s.buckets, i, bucket{minute: minute})
	}
	s.last = i
	return &s.buckets[i]
}

// seriesOf finds or makes a customer's series.
func (p *partition) seriesOf(s *scope, meterID string, customer []byte) *series {
	if found := s.series[string(customer)]; found != nil {
		return found
	}
	made := &series{key: appendSeries(nil, meterID, customer)}
	s.series[string(customer)] = made
	p.seriesKnown++
	return made
}

// add adds to a minute of a series until the next flush.
func (p *partition) add(s *series, minute, count int64, value *meterevent.Decimal, negative bool) {
	if !s.dirty {
		s.dirty = true
		p.dirty = append(p.dirty, s)
	}
	before := len(s.buckets)
	b := s.at(minute)
	p.bucketsDirty += len(s.buckets) - before
	b.count += count
	if negative {
		b.sum.Sub(value)
	} else {
		b.sum.Add(value)
	}
}

// drainSeries writes what was added into the batch, and forgets it.
func (p *partition) drainSeries() error {
	floor := p.state.minuteFloor()
	for _, s := range p.dirty {
		if err := p.drainOne(s, floor); err != nil {
			return err
		}
		s.dirty, s.last = false, 0
		clear(s.buckets)
		s.buckets = s.buckets[:0]
		if cap(s.buckets) > 8 {
			s.buckets = nil
		}
	}
	clear(p.dirty)
	p.dirty, p.bucketsDirty = p.dirty[:0], 0
	if p.seriesKnown > p.cfg.SeriesMax {
		p.forget()
	}
	return nil
}

func (p *partition) drainOne(s *series, floor int64) error {
	var hour total
	for i := range s.buckets {
		b := &s.buckets[i]
		if day := floorDiv(b.minute, 24*60); day >= floor {
			p.key = appendI32(append(appendI32(appendTable(p.key[:0], p.number, tableMinutes), day), s.key...), b.minute)
			p.value = b.append(p.value[:0])
			if err := p.batch.Merge(p.key, p.value, nil); err != nil {
				return err
			}
		}
		hour.add(&b.total)
		h := floorDiv(b.minute, 60)
		if i+1 < len(s.buckets) && floorDiv(s.buckets[i+1].minute, 60) == h {
			continue
		}
		p.key = appendHour(p.key[:0], p.number, tableHours, s.key, h)
		p.value = hour.append(p.value[:0])
		if err := p.batch.Merge(p.key, p.value, nil); err != nil {
			return err
		}
		hour = total{}
	}
	return nil
}

// appendHour appends the key of an hour of a series, hours counted from 1970, in table hours or survivors.
func appendHour(dst []byte, partition int32, table byte, series []byte, hour int64) []byte {
	dst = appendI32(appendTable(dst, partition, table), floorDiv(hour, 24*periodDays))
	return appendI32(append(dst, series...), hour)
}
