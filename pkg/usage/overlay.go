package usage

import (
	"slices"

	"tollgate/pkg/meterevent"
)

// series is one customer of one meter, with what was added since the last flush.
type series struct {
	key     string // its part of the store's keys
	dirty   bool
	last    int // index of the bucket used last
	buckets []bucket
	first   [1]bucket // where buckets begins: most have one minute between two flushes
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
	if len(p.seriesFree) == 0 {
		p.seriesFree = make([]series, seriesBlock)
	}
	made := &p.seriesFree[0]
	p.seriesFree = p.seriesFree[1:]
	p.key = appendSeries(p.key[:0], meterID, customer)
	made.key = string(p.key)
	made.buckets = made.first[:0]
	s.series[made.key[len(made.key)-len(customer):]] = made
	p.seriesKnown++
	return made
}

// seriesBlock are made at once.
const seriesBlock = 32

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
			s.first[0] = bucket{}
			s.buckets = s.first[:0]
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
func appendHour[S ~string | ~[]byte](dst []byte, partition int32, table byte, series S, hour int64) []byte {
	dst = appendI32(appendTable(dst, partition, table), floorDiv(hour, 24*periodDays))
	return appendI32(append(dst, series...), hour)
}
