package spill

import (
	"time"

	"tollgate/internal/metrics"
)

// State is what a person wants to know of a spill.
type State struct {
	// Mode is "direct", "spilling" when what waits here does not get to Kafka, "draining" when it does.
	Mode string
	// Partitions is how many are not direct, of Of.
	Partitions, Of int
	// Bytes wait here, of MaxBytes.
	Bytes, MaxBytes int64
	// Oldest is about when the oldest of it was received; zero when there is none.
	Oldest time.Time
	// Full: appends that would have to be spilled are refused.
	Full bool
	// Reason is why nothing is drained, one of them; nil unless Mode is "spilling".
	Reason error
}

// The modes of a State.
const (
	Direct   = "direct"
	Spilling = "spilling"
	Draining = "draining"
)

// State tells how things stand.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := State{Mode: Direct, Of: len(l.partitions), Bytes: l.bytes, MaxBytes: l.cfg.MaxBytes, Full: l.full}
	for _, p := range l.partitions {
		if p.mode == direct {
			continue
		}
		s.Partitions++
		switch {
		case p.failing != nil:
			s.Mode, s.Reason = Spilling, p.failing
		case s.Mode == Direct:
			s.Mode = Draining
		}
		if p.bytes > 0 && (s.Oldest.IsZero() || p.oldest.Before(s.Oldest)) {
			s.Oldest = p.oldest
		}
	}
	return s
}

// Direct tells whether everything of a partition that was acknowledged here before is in Kafka, and the next batch goes there.
func (l *Log) Direct(partition int32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return partition >= 0 && int(partition) < len(l.partitions) && l.partitions[partition].mode == direct
}

// counts are the spill's metrics.
type counts struct {
	batches, bytes, drained, refused, resent *metrics.Counter
}

func (c *counts) register(r *metrics.Registry, l *Log) {
	c.batches = r.Counter("tollgate_spill_batches_total", "Batches acknowledged by the local disk while Kafka did not.")
	c.bytes = r.Counter("tollgate_spill_bytes_total", "Bytes of these batches.")
	c.drained = r.Counter("tollgate_spill_drained_bytes_total", "Bytes of these batches that Kafka has taken since.")
	c.refused = r.Counter("tollgate_spill_refused_total", "Batches refused since as much waits as spill.max_bytes allows.")
	c.resent = r.Counter("tollgate_spill_resent_total", "Ranges in doubt that were sent under a new producer id: each may be in Kafka twice if the broker had forgotten the old one.")
	r.GaugeFunc("tollgate_spill_state", "0 direct, 1 draining, 2 spilling.", func() float64 {
		switch l.State().Mode {
		case Draining:
			return 1
		case Spilling:
			return 2
		}
		return 0
	})
	r.GaugeFunc("tollgate_spill_waiting_bytes", "Bytes that wait on the local disk for Kafka.", func() float64 { return float64(l.State().Bytes) })
	r.GaugeFunc("tollgate_spill_oldest_seconds", "Age of the oldest record that waits on the local disk, 0 without one.", func() float64 {
		s := l.State()
		if s.Oldest.IsZero() {
			return 0
		}
		return max(0, l.cfg.Now().Sub(s.Oldest).Seconds())
	})
}
